//! `tcpstate probes -o json`: one object, as `schema/probes-v1.schema.json` says.

use std::io;

use serde::Serialize;
use tcpstate_core::model::probes::{HookAttempt, Hooks, RoleProbe};

use super::json::{optional_phrase, phrase};

/// Version of the schema. Fields and roles may be added within a version; a field that changes its meaning or goes away makes a
/// new one.
pub const SCHEMA: u32 = 1;

/// Writes the object and a newline.
///
/// # Errors
///
/// Those of `out`.
pub fn write(out: &mut impl io::Write, hooks: &Hooks) -> io::Result<()> {
    let body = HooksReportBody {
        schema: SCHEMA,
        tcpstate: env!("CARGO_PKG_VERSION"),
        kernel: &hooks.kernel,
        lockdown: hooks.lockdown.as_deref(),
        usable: !hooks.missing().any(|role| role.is_required()),
        roles: roles(hooks),
    };
    serde_json::to_writer(&mut *out, &body)?;
    writeln!(out)
}

/// The roles, as other commands write them, too.
pub(super) fn roles(hooks: &Hooks) -> Vec<RoleBody<'_>> {
    hooks.roles.iter().map(RoleBody::from).collect()
}

#[derive(Serialize)]
struct HooksReportBody<'a> {
    schema: u32,
    tcpstate: &'static str,
    #[serde(serialize_with = "phrase")]
    kernel: &'a str,
    #[serde(serialize_with = "optional_phrase")]
    lockdown: Option<&'a str>,
    usable: bool,
    roles: Vec<RoleBody<'a>>,
}

#[derive(Serialize)]
pub(super) struct RoleBody<'a> {
    role: &'static str,
    required: bool,
    #[serde(serialize_with = "optional_phrase")]
    chosen: Option<&'a str>,
    lost: Option<&'static str>,
    hooks: Vec<HookBody<'a>>,
}

#[derive(Serialize)]
struct HookBody<'a> {
    #[serde(serialize_with = "phrase")]
    hook: &'a str,
    allowed: bool,
    errno: Option<i32>,
    #[serde(serialize_with = "optional_phrase")]
    reason: Option<&'a str>,
}

impl<'a> From<&'a RoleProbe> for RoleBody<'a> {
    fn from(probe: &'a RoleProbe) -> Self {
        let chosen = probe.chosen();
        Self {
            role: probe.role.name(),
            required: probe.role.is_required(),
            chosen,
            lost: chosen.is_none().then(|| probe.role.lost()),
            hooks: probe.attempts.iter().map(HookBody::from).collect(),
        }
    }
}

impl<'a> From<&'a HookAttempt> for HookBody<'a> {
    fn from(HookAttempt { hook, refused }: &'a HookAttempt) -> Self {
        Self {
            hook,
            allowed: refused.is_none(),
            errno: refused.as_ref().and_then(|refusal| refusal.errno),
            reason: refused.as_ref().map(|refusal| refusal.reason.as_str()),
        }
    }
}
