//! `tcpstate leaks -o folded`: one line a stack and its weight, as flamegraph programs take it.

use std::{collections::BTreeMap, io};

use tcpstate_core::aggregate::leaks::{Group, Inferred, Opening, Side};

use super::{
    escape::Escaped,
    leaks::{LeakReport, verdict_name},
    words::ProcessText,
};

/// What a stack weighs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weight {
    /// The sockets that it opened.
    Sockets,
    /// Their ages together, whole seconds, rounded up: so no stack is without weight.
    #[default]
    Seconds,
}

impl Weight {
    /// What is counted.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Sockets => "sockets",
            Self::Seconds => "socket-seconds",
        }
    }

    fn of(self, sockets: u64, socket_ns: u64) -> u64 {
        match self {
            Self::Sockets => sockets,
            Self::Seconds => socket_ns.div_ceil(1_000_000_000),
        }
    }
}

/// The lines, without their ends, sorted: the process, the opening stack from the outermost function on, the verdict, a blank and the weight.
///
/// All leaks are in it, whatever the limit of the report; half-closes in use are not.
#[must_use]
pub fn lines(report: &LeakReport, weight: Weight) -> Vec<String> {
    let mut weights: BTreeMap<String, u64> = BTreeMap::new();
    for group in &report.survey.groups {
        let Inferred { sockets, socket_ns, verdict: _ } = group.inferred;
        let seen = (group.sockets - sockets, group.socket_ns.saturating_sub(socket_ns));
        for (inferred, (sockets, socket_ns)) in [(false, seen), (true, (sockets, socket_ns))] {
            if sockets > 0 {
                *weights.entry(line(report, group, inferred)).or_default() += weight.of(sockets, socket_ns);
            }
        }
    }
    weights.into_iter().map(|(line, weight)| format!("{line} {weight}")).collect()
}

/// Writes the lines.
///
/// # Errors
///
/// Those of `out`.
pub fn write(out: &mut impl io::Write, report: &LeakReport, weight: Weight) -> io::Result<()> {
    lines(report, weight).iter().try_for_each(|line| writeln!(out, "{line}"))
}

/// That of its sockets whose opening was seen, or of those of which it is inferred.
fn line(report: &LeakReport, group: &Group, inferred: bool) -> String {
    let process =
        group.process.map_or_else(|| "unknown process".to_owned(), |process| ProcessText(process).to_string());
    let mut frames = vec![part(&process)];
    match group.origin.opening.place().map(|place| report.stack(place)) {
        Some(Some(stack)) => {
            if stack.truncated.is_some() {
                frames.push("[truncated]".to_owned());
            }
            if stack.frames.is_empty() {
                frames.push("[no frames]".to_owned());
            }
            let names = stack.frames.iter().rev().map(|frame| part(&Escaped(frame.name().as_bytes()).to_string()));
            frames.extend(names);
            // As other programs mark kernel functions.
            frames.extend(stack.kernel.iter().rev().map(|name| part(&Escaped(name.as_bytes()).to_string()) + "_[k]"));
        }
        Some(None) => frames.push("[its stack is missing]".to_owned()),
        None => frames.push(unopened(group)),
    }
    if inferred {
        frames.push("[inferred]".to_owned());
    }
    frames.push(verdict_name(group.verdict));
    frames.join(";")
}

fn unopened(group: &Group) -> String {
    let why = match group.origin.opening {
        Opening::NotTaken => "stack not taken",
        Opening::NotAccepted => "not accepted",
        Opening::NotSeen => "accept not seen",
        Opening::NotKnown => "no accept seen",
        Opening::LeftOut => "before the trace or left out",
        Opening::BeforeTrace | Opening::Seen(_) | Opening::Inferred(_) => "before the trace",
    };
    let (side, port) = match group.origin.side {
        Side::Accepted(port) | Side::LocalPort(port) => ("local", port),
        Side::Connected(port) | Side::RemotePort(port) => ("remote", port),
    };
    format!("[{why}: {side} port {port}]")
}

/// The separator is no part of a name.
fn part(escaped: &str) -> String {
    escaped.replace(';', r"\x3b")
}
