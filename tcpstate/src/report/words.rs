//! Small things that several renderers write.

use std::{fmt, net::IpAddr};

use itoa::Buffer;
use tcpstate_core::{
    aggregate::leaks::{Fate, LeakFinding, Peer, Process},
    model::{Age, Endpoint},
};

use super::{escape::Escaped, span::Span};

/// A number of things.
pub(super) struct Count(pub(super) u64, pub(super) &'static str);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(count, thing) = self;
        let plural = if thing.ends_with('s') { "es" } else { "s" };
        write!(f, "{count} {thing}{}", if *count == 1 { "" } else { plural })
    }
}

/// `192.0.2.1:80`, `[::1]:80`; `*` for port 0.
pub(super) struct EndpointText(pub(super) Endpoint);

impl fmt::Display for EndpointText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut number = Buffer::new();
        match self.0.addr {
            IpAddr::V4(addr) => {
                for (octet, end) in addr.octets().into_iter().zip([".", ".", ".", ":"]) {
                    f.write_str(number.format(octet))?;
                    f.write_str(end)?;
                }
            }
            IpAddr::V6(addr) => write!(f, "[{addr}]:")?,
        }
        f.write_str(if self.0.port == 0 { "*" } else { number.format(self.0.port) })
    }
}

/// A peer, without a port where it is the client.
pub(super) struct PeerText(pub(super) Peer);

impl fmt::Display for PeerText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Peer { addr, port } = self.0;
        match port {
            Some(port) => EndpointText(Endpoint { addr, port }).fmt(f),
            None => addr.fmt(f),
        }
    }
}

/// `nginx[812]`, or `pid 812` without a name.
pub(super) struct ProcessText(pub(super) Process);

impl fmt::Display for ProcessText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Process { pid, comm } = self.0;
        match comm {
            Some(comm) => write!(f, "{}[{pid}]", Escaped(comm.bytes())),
            None => write!(f, "pid {pid}"),
        }
    }
}

/// An age, or between what it is.
pub(super) struct AgeText(pub(super) Age);

impl fmt::Display for AgeText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Age { at_least_ns, at_most_ns } = self.0;
        let least = Span(at_least_ns);
        match at_most_ns {
            Some(at_most) if at_most == at_least_ns => write!(f, "{least}"),
            Some(at_most) if Span(at_most).to_string() == least.to_string() => write!(f, "~{least}"),
            Some(at_most) => write!(f, "{least} to {}", Span(at_most)),
            None => write!(f, "≥ {least}"),
        }
    }
}

/// A length of a queue, as `ss` writes it; with a unit beside it where the number is long.
pub(super) struct Bytes(pub(super) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes @ ..100_000 => write!(f, "{bytes}"),
            bytes @ ..10_485_760 => write!(f, "{bytes} ({} KiB)", bytes >> 10),
            bytes => write!(f, "{bytes} ({} MiB)", bytes >> 20),
        }
    }
}
/// What became of sockets, for people.
#[must_use]
pub(super) fn fate_text(fate: Fate) -> &'static str {
    match fate {
        Fate::Exited => "closed only by exit",
        Fate::CleanedUp => "closed only at exit",
        Fate::Open => "open at the end",
        Fate::ClosedLate => "closed late",
    }
}

/// The process of a finding, and how many others of its name there are.
#[must_use]
pub(super) fn processes(finding: &LeakFinding) -> String {
    let first = finding.group.process.map_or_else(|| "unknown process".to_owned(), |one| ProcessText(one).to_string());
    match finding.processes {
        0 | 1 => first,
        n => format!("{first} and {} more of its name", n - 1),
    }
}
