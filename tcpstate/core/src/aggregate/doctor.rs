//! What a machine's facts amount to. No I/O: facts go in, findings and explained settings come out.

mod facts;
mod finding;
mod findings;
mod relevance;
pub mod settings;
#[cfg(test)]
mod tests;
mod values;

use self::settings::SETTINGS;
pub use self::{
    facts::Facts,
    finding::{Finding, FindingKind, Severity},
    relevance::{Help, Relevance},
    settings::Setting,
};
use crate::model::doctor::Reading;

/// A setting with its value, and what it means for the sockets that there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingRow {
    /// What is known of it.
    pub setting: &'static Setting,
    /// Its value here.
    pub reading: Reading,
    /// What a kernel of this version starts with.
    pub default: &'static str,
    /// Whether it can help with what is seen now, and why or why not.
    pub relevance: Relevance,
}

/// The judgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// Why nothing can be traced here; `None` when it can.
    pub cannot_trace: Option<String>,
    /// What matters now, worst first.
    pub findings: Vec<Finding>,
    /// The TCP settings.
    pub settings: Vec<SettingRow>,
}

/// Judges facts.
#[must_use]
pub fn diagnose(facts: &Facts) -> Diagnosis {
    let version = facts.machine.version();
    let rows = SETTINGS.iter().map(|setting| SettingRow {
        setting,
        reading: facts.settings.get(setting.name).cloned().unwrap_or(Reading::Absent),
        default: setting.default_of(version),
        relevance: relevance::of(setting, facts),
    });
    Diagnosis { cannot_trace: findings::cannot_trace(facts), findings: findings::all(facts), settings: rows.collect() }
}
