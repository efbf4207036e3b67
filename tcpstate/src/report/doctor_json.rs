//! `tcpstate doctor -o json`: one object, as `schema/doctor-v1.schema.json` says.

use std::io;

use serde::Serialize;
use tcpstate_core::{
    aggregate::doctor::{Diagnosis, Facts, Finding, FindingKind, Help, SettingRow},
    model::doctor::{Capability, Confinement, Limit, Reading},
};

use super::{
    doctor::sentence,
    probes_json::{self, RoleBody},
};

/// Version of the schema. Fields, kinds of findings and settings may be added within a version; a field that changes its meaning or
/// goes away makes a new one.
pub const SCHEMA: u32 = 1;

/// Writes the object and a newline.
///
/// # Errors
///
/// Those of `out`.
pub fn write(out: &mut impl io::Write, facts: &Facts, diagnosis: &Diagnosis) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &DoctorBody::new(facts, diagnosis))?;
    writeln!(out)
}

#[derive(Serialize)]
struct DoctorBody<'a> {
    schema: u32,
    tcpstate: &'static str,
    usable: bool,
    cannot_trace: Option<&'a str>,
    complete: bool,
    findings: Vec<FindingBody>,
    machine: MachineBody<'a>,
    roles: Vec<RoleBody<'a>>,
    netns: u32,
    own_netns: bool,
    states: Vec<StateBody>,
    settings: Vec<SettingBody<'a>>,
}

impl<'a> DoctorBody<'a> {
    fn new(facts: &'a Facts, diagnosis: &'a Diagnosis) -> Self {
        let gaps = &facts.sockets.gaps;
        let states = facts.sockets.states.iter();
        Self {
            schema: SCHEMA,
            tcpstate: env!("CARGO_PKG_VERSION"),
            usable: diagnosis.cannot_trace.is_none(),
            cannot_trace: diagnosis.cannot_trace.as_deref(),
            complete: gaps.is_empty(),
            findings: diagnosis.findings.iter().map(FindingBody::from).collect(),
            machine: MachineBody::from(facts),
            roles: facts.machine.hooks.as_ref().map(probes_json::roles).unwrap_or_default(),
            netns: facts.netns,
            own_netns: facts.own_netns,
            states: states.map(|row| StateBody { state: row.state.to_string(), sockets: row.sockets }).collect(),
            settings: diagnosis.settings.iter().map(SettingBody::from).collect(),
        }
    }
}

#[derive(Serialize)]
struct StateBody {
    state: String,
    sockets: u64,
}

#[derive(Serialize)]
struct FindingBody {
    severity: &'static str,
    kind: &'static str,
    message: String,
    advice: String,
    pid: Option<u32>,
    sockets: Option<u64>,
    setting: Option<&'static str>,
}

impl From<&Finding> for FindingBody {
    fn from(finding: &Finding) -> Self {
        let kind = &finding.kind;
        Self {
            severity: finding.severity.name(),
            kind: kind.name(),
            message: sentence(finding),
            advice: kind.advice(),
            pid: kind.pid(),
            sockets: if let FindingKind::CloseWait { row, .. } = kind { Some(row.sockets) } else { None },
            setting: match kind {
                FindingKind::Value { name, .. } | FindingKind::Configured { name, .. } => Some(name),
                _ => None,
            },
        }
    }
}

#[derive(Serialize)]
struct MachineBody<'a> {
    kernel: &'a str,
    lockdown: Option<&'a str>,
    btf: bool,
    uid: u32,
    initial_pid_namespace: bool,
    capabilities: Vec<CapabilityBody>,
    memlock: LimitBody,
    nofile: LimitBody,
    tracefs: bool,
    bpf_jit_enable: Option<&'a str>,
    unprivileged_bpf_disabled: Option<&'a str>,
    ptrace_scope: Option<&'a str>,
    sandbox: SandboxBody<'a>,
}

impl<'a> From<&'a Facts> for MachineBody<'a> {
    fn from(facts: &'a Facts) -> Self {
        let machine = &facts.machine;
        let setting = |name| facts.settings.get(name).and_then(Reading::value);
        Self {
            kernel: &machine.kernel,
            lockdown: machine.lockdown.as_deref(),
            btf: machine.btf,
            uid: machine.uid,
            initial_pid_namespace: machine.initial_pids,
            capabilities: machine.capabilities.iter().map(CapabilityBody::from).collect(),
            memlock: machine.memlock.into(),
            nofile: machine.nofile.into(),
            tracefs: machine.tracefs,
            bpf_jit_enable: setting("net.core.bpf_jit_enable"),
            unprivileged_bpf_disabled: setting("kernel.unprivileged_bpf_disabled"),
            ptrace_scope: setting("kernel.yama.ptrace_scope"),
            sandbox: SandboxBody::from(&machine.sandbox),
        }
    }
}

/// All false where no process can be confined.
#[derive(Serialize)]
struct SandboxBody<'a> {
    complete: bool,
    seccomp: bool,
    landlock: bool,
    own_user: bool,
    empty_root: bool,
    why_not: Option<&'a str>,
}

impl<'a> From<&'a Result<Confinement, String>> for SandboxBody<'a> {
    fn from(sandbox: &'a Result<Confinement, String>) -> Self {
        let none = Confinement { seccomp: false, landlock: false, stranger: false, rootless: false };
        let found = *sandbox.as_ref().unwrap_or(&none);
        let Confinement { seccomp, landlock, stranger, rootless } = found;
        Self {
            complete: found == Confinement::COMPLETE,
            seccomp,
            landlock,
            own_user: stranger,
            empty_root: rootless,
            why_not: sandbox.as_ref().err().map(String::as_str),
        }
    }
}

#[derive(Serialize)]
struct CapabilityBody {
    name: &'static str,
    purpose: &'static str,
    effective: bool,
}

impl From<&Capability> for CapabilityBody {
    fn from(&Capability { name, purpose, effective }: &Capability) -> Self {
        Self { name, purpose, effective }
    }
}

#[derive(Serialize)]
struct LimitBody {
    soft: Option<u64>,
    hard: Option<u64>,
}

impl From<Limit> for LimitBody {
    fn from(Limit { soft, hard }: Limit) -> Self {
        Self { soft, hard }
    }
}

#[derive(Serialize)]
struct SettingBody<'a> {
    name: &'static str,
    exists: bool,
    value: Option<&'a str>,
    default: &'static str,
    governs: &'static str,
    source: &'static str,
    help: &'static str,
    why: &'a str,
}

impl<'a> From<&'a SettingRow> for SettingBody<'a> {
    fn from(row: &'a SettingRow) -> Self {
        Self {
            name: row.setting.name,
            exists: row.reading != Reading::Absent,
            value: row.reading.value(),
            default: row.default,
            governs: row.setting.governs,
            source: row.setting.source,
            help: match row.relevance.help {
                Help::No => "no",
                Help::Perhaps => "perhaps",
                Help::Absent => "absent",
            },
            why: &row.relevance.why,
        }
    }
}
