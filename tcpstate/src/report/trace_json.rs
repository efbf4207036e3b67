//! `tcpstate trace -o json`: one object a line, as `schema/trace-v1.schema.json` says.
//!
//! Names that processes chose are escaped as in text output before they become JSON strings, so that they reach no
//! terminal through `jq -r` either.

mod transition;

use std::io;

use serde::{Serialize, Serializer};
use tcpstate_core::{
    aggregate::dwell::DwellRow,
    model::{
        MonotonicNs, State, Transition,
        probes::{HookAttempt, Hooks, Probes, Refusal, Role, RoleProbe},
    },
};

use self::transition::TransitionLine;
use super::{
    Summary,
    clock::WallClock,
    json::{Line, optional_phrase, phrase},
};

/// Version of the schema, in every object. Fields may be added within a version; a field that changes its meaning or goes
/// away makes a new one.
pub const SCHEMA: u32 = 1;

/// Renders a trace as JSON lines.
#[derive(Debug)]
pub struct TraceJson {
    clock: WallClock,
    transition: TransitionLine,
}

impl TraceJson {
    /// A renderer with the wall time of the kernel's clock.
    #[must_use]
    pub fn new(clock: WallClock) -> Self {
        Self { clock, transition: TransitionLine::new(SCHEMA, clock) }
    }

    /// Writes what is attached, once at the start.
    ///
    /// # Errors
    ///
    /// None: there is room in a `Vec`.
    pub fn probes(&mut self, out: &mut Vec<u8>, at: MonotonicNs, probes: &Probes) -> io::Result<()> {
        self.write(out, "probes", at, ProbesBody::from(probes))
    }

    /// Writes a transition.
    ///
    /// # Errors
    ///
    /// None: there is room in a `Vec`.
    pub fn transition(&mut self, out: &mut Vec<u8>, transition: &Transition) -> io::Result<()> {
        self.transition.write(out, transition)
    }

    /// Writes how many transitions have been lost until now; to be called when that number has grown.
    ///
    /// # Errors
    ///
    /// None: there is room in a `Vec`.
    pub fn lost(&mut self, out: &mut Vec<u8>, at: MonotonicNs, lost: u64) -> io::Result<()> {
        self.write(out, "lost", at, LostBody { lost })
    }

    /// Writes what the trace amounts to, once at the end.
    ///
    /// # Errors
    ///
    /// None: there is room in a `Vec`.
    pub fn summary(&mut self, out: &mut Vec<u8>, at: MonotonicNs, summary: &Summary) -> io::Result<()> {
        self.write(out, "summary", at, SummaryBody::from(summary))
    }

    fn write(&self, out: &mut Vec<u8>, kind: &'static str, at: MonotonicNs, body: impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut *out, &Line::new(SCHEMA, kind, self.clock, at, body))?;
        out.push(b'\n');
        Ok(())
    }
}

#[derive(Serialize)]
struct ProbesBody<'a> {
    tcpstate: &'static str,
    #[serde(serialize_with = "phrase")]
    kernel: &'a str,
    #[serde(serialize_with = "optional_phrase")]
    lockdown: Option<&'a str>,
    hooks: HooksBody<'a>,
    snapshot: SnapshotBody,
    buffer_bytes: u32,
}

#[derive(Serialize)]
struct HooksBody<'a> {
    #[serde(serialize_with = "optional_phrase")]
    transition: Option<&'a str>,
    #[serde(serialize_with = "optional_phrase")]
    destroy: Option<&'a str>,
    #[serde(serialize_with = "optional_phrase")]
    accept: Option<&'a str>,
    roles: Vec<ChosenHookBody<'a>>,
    refused: Vec<RefusalBody<'a>>,
}

#[derive(Serialize)]
struct RefusalBody<'a> {
    #[serde(serialize_with = "phrase")]
    hook: &'a str,
    errno: Option<i32>,
    #[serde(serialize_with = "phrase")]
    reason: &'a str,
}

#[derive(Serialize)]
struct ChosenHookBody<'a> {
    role: &'static str,
    #[serde(serialize_with = "optional_phrase")]
    chosen: Option<&'a str>,
    lost: Option<&'static str>,
}

#[derive(Serialize)]
struct SnapshotBody {
    sockets: u64,
    netns: u32,
}

impl<'a> From<&'a Probes> for ProbesBody<'a> {
    fn from(probes: &'a Probes) -> Self {
        Self {
            tcpstate: env!("CARGO_PKG_VERSION"),
            kernel: &probes.hooks.kernel,
            lockdown: probes.hooks.lockdown.as_deref(),
            hooks: HooksBody::from(&probes.hooks),
            snapshot: SnapshotBody { sockets: probes.snapshot_sockets, netns: probes.snapshot_netns },
            buffer_bytes: probes.buffer_bytes,
        }
    }
}

impl<'a> From<&'a Hooks> for HooksBody<'a> {
    fn from(hooks: &'a Hooks) -> Self {
        let role = |probe: &'a RoleProbe| {
            let chosen = probe.chosen();
            ChosenHookBody { role: probe.role.name(), chosen, lost: chosen.is_none().then(|| probe.role.lost()) }
        };
        let refusal = |attempt: &'a HookAttempt| {
            let Refusal { errno, reason } = attempt.refused.as_ref()?;
            Some(RefusalBody { hook: &attempt.hook, errno: *errno, reason })
        };
        Self {
            transition: hooks.chosen(Role::Transitions),
            destroy: hooks.chosen(Role::Ends),
            accept: hooks.chosen(Role::Accept),
            roles: hooks.roles.iter().map(role).collect(),
            refused: hooks.roles.iter().flat_map(|probe| &probe.attempts).filter_map(refusal).collect(),
        }
    }
}

#[derive(Serialize)]
struct LostBody {
    lost: u64,
}

#[derive(Serialize)]
struct SummaryBody {
    elapsed_ns: u64,
    transitions: u64,
    seen: u64,
    lost: u64,
    filtered: u64,
    map_full: u64,
    unknown_state: u64,
    unseen_at_least: u64,
    unseen_sockets: u64,
    open_not_kept: u64,
    dwell: Vec<DwellBody>,
}

#[derive(Serialize)]
struct DwellBody {
    #[serde(serialize_with = "state")]
    state: State,
    count: u64,
    #[serde(flatten)]
    exact: Option<QuantilesBody>,
    at_least: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_least_max_ns: Option<u64>,
    open: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    open_max_ns: Option<u64>,
}

#[derive(Serialize)]
struct QuantilesBody {
    p50_ns: u64,
    p90_ns: u64,
    p99_ns: u64,
    max_ns: u64,
}

impl From<&Summary> for SummaryBody {
    fn from(Summary { elapsed, totals, unseen, dwell, open_not_kept }: &Summary) -> Self {
        Self {
            elapsed_ns: u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX),
            transitions: totals.transitions,
            seen: totals.seen,
            lost: totals.lost,
            filtered: totals.filtered,
            map_full: totals.map_full,
            unknown_state: totals.unknown_state,
            unseen_at_least: unseen.transitions,
            unseen_sockets: unseen.sockets,
            open_not_kept: *open_not_kept,
            dwell: dwell.iter().map(DwellBody::from).collect(),
        }
    }
}

impl From<&DwellRow> for DwellBody {
    fn from(row: &DwellRow) -> Self {
        let exact = row.exact.map(|quantiles| QuantilesBody {
            p50_ns: quantiles.p50_ns,
            p90_ns: quantiles.p90_ns,
            p99_ns: quantiles.p99_ns,
            max_ns: quantiles.max_ns,
        });
        let at_least_max_ns = (row.at_least > 0).then_some(row.at_least_max_ns);
        let open_max_ns = (row.open > 0).then_some(row.open_max_ns);
        Self {
            state: row.state,
            count: row.count,
            exact,
            at_least: row.at_least,
            at_least_max_ns,
            open: row.open,
            open_max_ns,
        }
    }
}

/// Its name, or the number of one that has none here.
fn state<S: Serializer>(state: &State, serializer: S) -> Result<S::Ok, S::Error> {
    match state {
        State::Known(state) => serializer.serialize_str(state.name()),
        State::Unknown(number) => serializer.serialize_u8(*number),
    }
}
