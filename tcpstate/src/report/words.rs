//! Small things that several renderers write.

use std::{fmt, net::IpAddr};

use itoa::Buffer;
use tcpstate_core::{
    aggregate::leaks::{Fate, Growth, LeakFinding, Peer, Process, Threads},
    model::{Age, Endpoint, census::Gaps, scope::ScopedAddr},
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
            addr @ IpAddr::V6(_) => write!(f, "[{}]:", ScopedAddr(addr))?,
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
            None => ScopedAddr(addr).fmt(f),
        }
    }
}

/// `nginx[812]`, or `pid 812` without a name.
pub(super) struct ProcessText(pub(super) Process);

impl fmt::Display for ProcessText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Process { pid, comm, start: _ } = self.0;
        match comm {
            Some(comm) => write!(f, "{}[{pid}]", Escaped(comm.bytes())),
            None => write!(f, "pid {pid}"),
        }
    }
}

/// `thread worker`, `4 threads named worker`, `threads api, jobs`, `16 or more threads, such as worker-1, worker-2, worker-3`.
pub(super) struct ThreadsText<'a>(pub(super) &'a Threads);

impl fmt::Display for ThreadsText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Threads { number, more, names } = self.0;
        let listed = names.top.iter().map(|(name, _)| Escaped(name.bytes()).to_string()).collect::<Vec<_>>().join(", ");
        match (number, names.top.len()) {
            (1, 1) if !more => return write!(f, "thread {listed}"),
            (number, named) if !more && names.others == 0 && *number == named => return write!(f, "threads {listed}"),
            (1, _) if !more => f.write_str("thread")?,
            _ if *more => write!(f, "{number} or more threads")?,
            _ => write!(f, "{number} threads")?,
        }
        let how = if names.others > 0 { ", such as" } else { " named" };
        write!(f, "{how} {listed}")
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

/// How a number grows: `+12/min over 40 s`.
pub(super) struct GrowthText(pub(super) Growth);

impl fmt::Display for GrowthText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Growth { window_ns, change, .. } = self.0;
        match change {
            _ if self.0.has_rate() => RateText(self.0).fmt(f)?,
            0 => f.write_str("not growing")?,
            // By a leap, or now and then.
            change => write!(f, "{change:+}")?,
        }
        write!(f, " over {}", Span(window_ns))
    }
}

/// `+12/min`.
pub(super) struct RateText(pub(super) Growth);

impl fmt::Display for RateText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = self.0.per_minute;
        let digits = usize::from(rate.abs() < 10.0);
        write!(f, "{rate:+.digits$}/min")
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

/// How many processes could not be looked into, and which.
pub(super) struct RefusedText<'a>(pub(super) &'a Gaps);

impl fmt::Display for RefusedText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Gaps { processes, refused, .. } = self.0;
        write!(f, "{}", Count(*processes, "process"))?;
        let Some((first, rest)) = refused.split_first() else { return Ok(()) };
        write!(f, " (pid {first}")?;
        rest.iter().try_for_each(|pid| write!(f, ", {pid}"))?;
        f.write_str(if (refused.len() as u64) < *processes { ", …)" } else { ")" })
    }
}

/// Why they could not. Recordings of before do not say, and then it is what it takes anywhere.
pub(super) fn because(gaps: &Gaps) -> &str {
    gaps.why.as_deref().unwrap_or("it takes `CAP_SYS_PTRACE` and no security module that forbids it")
}

#[cfg(test)]
mod tests {
    use tcpstate_core::{aggregate::leaks::Tallied, model::Comm};

    use super::*;

    fn threads(number: usize, more: bool, names: &[&str], others: u64) -> String {
        let comm = |name: &str| {
            let mut comm = [0; 16];
            comm[..name.len()].copy_from_slice(name.as_bytes());
            Comm(comm)
        };
        let top = names.iter().map(|name| (comm(name), 1)).collect();
        ThreadsText(&Threads { number, more, names: Tallied { top, others } }).to_string()
    }

    #[test]
    fn one_thread_and_several() {
        for (said, expected) in [
            (threads(1, false, &["a"], 0), "thread a"),
            // It was renamed meanwhile.
            (threads(1, false, &["a", "b"], 0), "thread named a, b"),
            (threads(4, false, &["a"], 0), "4 threads named a"),
            (threads(2, false, &["a", "b"], 0), "threads a, b"),
            (threads(5, false, &["a", "b"], 0), "5 threads named a, b"),
            (threads(9, false, &["a", "b", "c"], 7), "9 threads, such as a, b, c"),
            (threads(16, true, &["a"], 0), "16 or more threads named a"),
            (threads(16, true, &["a", "b", "\u{1b}"], 1), "16 or more threads, such as a, b, \\x1b"),
        ] {
            assert_eq!(said, expected);
        }
    }
}
