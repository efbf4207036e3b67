//! The lines of `-o json`, as documented; a line that does not parse is a failure.

use std::{fmt, net::IpAddr};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

/// `kind: "transition"`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Transition {
    pub(crate) time: Option<Value>,
    pub(crate) mono_ns: u64,
    pub(crate) id: Option<u64>,
    /// As shown; or, where the kernel does not tell it at this moment, that of the same `id` at another.
    pub(crate) cookie: Option<u64>,
    /// Before 6.13 a child is a plain copy of its listener when it is made: no cookie of its own, and no peer.
    #[serde(skip)]
    pub(crate) is_copy: bool,
    pub(crate) skaddr: String,
    pub(crate) netns: u64,
    pub(crate) cgroup: Option<u64>,
    pub(crate) uid: u32,
    pub(crate) protocol: String,
    pub(crate) family: String,
    pub(crate) local: Endpoint,
    pub(crate) remote: Endpoint,
    pub(crate) old: String,
    pub(crate) new: String,
    pub(crate) in_old_ns: Option<u64>,
    pub(crate) in_old_at_least_ns: Option<u64>,
    pub(crate) owner: Option<Owner>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
pub(crate) struct Endpoint {
    pub(crate) addr: IpAddr,
    pub(crate) port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Owner {
    pub(crate) pid: u32,
    pub(crate) tid: u32,
    pub(crate) comm: String,
    pub(crate) via: String,
}

/// `kind: "summary"`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Summary {
    pub(crate) transitions: u64,
    pub(crate) seen: u64,
    pub(crate) lost: u64,
    pub(crate) filtered: u64,
    pub(crate) map_full: u64,
    pub(crate) unknown_state: u64,
    pub(crate) unseen_at_least: u64,
    pub(crate) unseen_sockets: u64,
    pub(crate) elapsed_ns: u64,
    pub(crate) dwell: Vec<DwellRow>,
}

/// Time spent in a state, over all sockets that left it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct DwellRow {
    pub(crate) state: String,
    /// Sockets whose whole time in the state was seen.
    pub(crate) count: u64,
    pub(crate) p50_ns: Option<u64>,
    pub(crate) p90_ns: Option<u64>,
    pub(crate) p99_ns: Option<u64>,
    pub(crate) max_ns: Option<u64>,
    /// Sockets that were in the state when the tracer came.
    pub(crate) at_least: u64,
    /// Sockets that were in the state at the end.
    pub(crate) open: u64,
    pub(crate) open_max_ns: Option<u64>,
}

pub(crate) enum Line {
    Probes(Value),
    Transition(Box<Transition>),
    /// `kind: "lost"`: how many transitions had been lost by then.
    Lost(u64),
    Summary(Summary),
}

impl Line {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let parse = || {
            ensure!(!text.chars().any(char::is_control), "a raw control character");
            let value: Value = serde_json::from_str(text)?;
            ensure!(value["schema"] == 1, "no `\"schema\":1`");
            Ok(match value["kind"].as_str() {
                Some("probes") => Self::Probes(value),
                Some("transition") => Self::Transition(Box::new(serde_json::from_value(value)?)),
                Some("lost") => Self::Lost(value["lost"].as_u64().context("`lost` is no number")?),
                Some("summary") => Self::Summary(serde_json::from_value(value)?),
                _ => bail!("no known `kind`"),
            })
        };
        parse().with_context(|| format!("line `{}`", text.escape_debug()))
    }
}

impl Transition {
    pub(crate) fn is(&self, old: &str, new: &str) -> bool {
        self.old == old && self.new == new
    }

    pub(crate) fn owner_pid(&self) -> Option<u32> {
        self.owner.as_ref().map(|owner| owner.pid)
    }

    /// Whether it shows the socket with this cookie.
    pub(crate) fn shows(&self, cookie: u64) -> bool {
        self.cookie == Some(cookie)
    }
}

impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { local, remote, old, new, .. } = self;
        let cookie = self.cookie.map_or("-".to_owned(), |cookie| format!("{cookie:x}"));
        write!(f, "{} sk {cookie} {local}→{remote} {old}→{new} ", self.mono_ns)?;
        match (self.in_old_ns, self.in_old_at_least_ns) {
            (Some(ns), None) => write!(f, "{ns} ns ")?,
            (None, Some(ns)) => write!(f, "≥{ns} ns ")?,
            (None, None) => {}
            both => write!(f, "{both:?} ")?,
        }
        match &self.owner {
            Some(Owner { pid, tid, comm, via }) => write!(f, "{comm} {pid}/{tid} by {via}"),
            None => write!(f, "nobody"),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.addr, self.port)
    }
}

impl From<std::net::SocketAddr> for Endpoint {
    fn from(address: std::net::SocketAddr) -> Self {
        Self { addr: address.ip(), port: address.port() }
    }
}
