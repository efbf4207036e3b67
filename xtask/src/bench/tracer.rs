//! The tracers that are compared.

use std::{
    io::{BufRead as _, BufReader, Read},
    process::Command,
};

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;

use super::{floor::Floor, programs::Programs};

/// Prints each transition with the time in the old state: what people write when they need `tcpstate trace`.
const BPFTRACE: &str = r#"tracepoint:sock:inet_sock_set_state /args->protocol == 6/ {
    $since = @since[args->skaddr];
    printf("%llu %d %s %llx %d %d %d -> %d %d us\n", nsecs, pid, comm, (uint64)args->skaddr, args->sport, args->dport,
        args->oldstate, args->newstate, $since ? (nsecs - $since) / 1000 : 0);
    if (args->newstate == 7) { delete(@since[args->skaddr]); } else { @since[args->skaddr] = nsecs; }
}"#;

/// A tracer, set up in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Tracer {
    /// Every socket, with stacks.
    Leaks,
    TraceJson,
    TraceText,
    /// Of a process that does nothing.
    TracePid,
    Tcpstates,
    Tcplife,
    Bpftrace,
    /// Not a tracer: what one costs at least.
    Floor(Floor),
}

impl Tracer {
    pub(super) const ALL: [Self; 11] = [
        Self::Leaks,
        Self::TraceJson,
        Self::TraceText,
        Self::TracePid,
        Self::Tcpstates,
        Self::Tcplife,
        Self::Bpftrace,
        Self::Floor(Floor::Empty),
        Self::Floor(Floor::Record),
        Self::Floor(Floor::Trace),
        Self::Floor(Floor::Leaks),
    ];

    /// Whether it shows no transition at all in this set-up.
    pub(super) const fn is_silent(self) -> bool {
        matches!(self, Self::TracePid | Self::Floor(_))
    }

    /// As the tables name it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Leaks => "`tcpstate leaks -o json`",
            Self::TraceJson => "`tcpstate trace -o json`",
            Self::TraceText => "`tcpstate trace -o text`",
            Self::TracePid => "`tcpstate trace --pid` of an idle process",
            Self::Tcpstates => "libbpf-tools `tcpstates`",
            Self::Tcplife => "libbpf-tools `tcplife`",
            Self::Bpftrace => "bpftrace script, each transition with its duration",
            Self::Floor(Floor::Empty) => "*an empty program at the tracepoint*",
            Self::Floor(Floor::Record) => "*one that reads the clock and writes a record, which nobody reads*",
            Self::Floor(Floor::Trace) => "*empty programs wherever `trace` has one*",
            Self::Floor(Floor::Leaks) => "*empty programs wherever `leaks` has one*",
        }
    }

    /// How it is run; `idle` is a process without sockets.
    ///
    /// # Errors
    ///
    /// Where a floor's programs go is not known.
    pub(super) fn command(self, programs: &Programs, idle: u32) -> Result<Command> {
        let tcpstate = |arguments: &[&str]| {
            let mut command = Command::new(&programs.tcpstate);
            command.args(arguments);
            command
        };
        Ok(match self {
            Self::Leaks => tcpstate(&["leaks", "-o", "json"]),
            Self::TraceJson => tcpstate(&["trace", "-o", "json"]),
            Self::TraceText => tcpstate(&["trace", "-o", "text"]),
            Self::TracePid => tcpstate(&["trace", "-o", "json", "--pid", &idle.to_string()]),
            Self::Tcpstates => Command::new("/usr/sbin/tcpstates"),
            Self::Tcplife => Command::new("/usr/sbin/tcplife"),
            Self::Bpftrace => {
                let mut command = Command::new("bpftrace");
                command.args(["-e", BPFTRACE]);
                command
            }
            Self::Floor(floor) => floor.command(programs)?,
        })
    }

    /// Whether it writes a line for each transition.
    const fn writes_transitions(self) -> bool {
        matches!(self, Self::TraceJson | Self::TraceText | Self::Tcpstates | Self::Bpftrace)
    }

    /// Whether it writes something as soon as it sees every transition; the peers keep that in a buffer.
    pub(super) const fn speaks(self) -> bool {
        matches!(self, Self::TraceJson | Self::TraceText | Self::TracePid)
    }

    /// Lines that come before the first event, or of `leaks` the first report.
    pub(super) const fn lines_ahead(self) -> usize {
        if matches!(self, Self::Leaks) { 0 } else { 1 }
    }

    /// How many events were lost: what it says itself or, if that is more, what is missing of `expected` transitions.
    ///
    /// # Errors
    ///
    /// When its output cannot be read.
    pub(super) fn lost(self, expected: u64, stdout: impl Read, stderr: &str) -> Result<u64> {
        let mut reader = BufReader::with_capacity(1 << 20, stdout);
        let (mut line, mut last) = (Vec::new(), Vec::new());
        let (mut lines, mut said) = (0, 0);
        while reader.read_until(b'\n', &mut line)? > 0 {
            lines += 1;
            said += said_lost(&line);
            std::mem::swap(&mut line, &mut last);
            line.clear();
        }
        said += stderr.lines().map(|line| said_lost(line.as_bytes())).sum::<u64>();
        // Ours says it in the last object.
        if let Ok(object) = serde_json::from_slice::<Value>(&last) {
            let lost = ["/lost", "/losses/events"].iter().find_map(|path| object.pointer(path)?.as_u64());
            said = said.max(lost.unwrap_or(0));
        }
        let missing =
            if self.writes_transitions() { (expected + self.lines_ahead() as u64).saturating_sub(lines) } else { 0 };
        Ok(said.max(missing))
    }
}

/// `lost 79 events on CPU #1` (libbpf-tools), `Lost 17 events` (bpftrace), `9 transitions seen, 4 lost, …` (ours, at the end).
fn said_lost(line: &[u8]) -> u64 {
    let Some(line) = line.get(..line.len().min(200)).and_then(|line| std::str::from_utf8(line).ok()) else { return 0 };
    let number = |text: &str| text.split_ascii_whitespace().next()?.parse().ok();
    let said = match line.strip_prefix("lost ").or_else(|| line.strip_prefix("Lost ")) {
        Some(rest) => number(rest),
        None => line.split_once(" seen, ").and_then(|(_, rest)| number(rest)),
    };
    said.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::Tracer;

    #[test]
    fn every_way_to_say_what_was_lost_is_understood() -> anyhow::Result<()> {
        let lost = |tracer: Tracer, stdout: &str, stderr: &str| tracer.lost(2, stdout.as_bytes(), stderr);
        let peer = "lost 79 events on CPU #1!\nlost 1 events on CPU #0!\n";
        assert_eq!(lost(Tracer::Tcplife, "PID COMM\n", peer)?, 80);
        assert_eq!(lost(Tracer::Bpftrace, "Attaching 1 probe...\nLost 17 events\n", "")?, 17);
        assert_eq!(lost(Tracer::TraceText, "a\nb\nc\n", "11 transitions seen, 4 lost, 0 filtered out, in 1 s\n")?, 4);
        let summary = r#"{"kind":"summary","transitions":9,"seen":8,"lost":1}"#;
        assert_eq!(lost(Tracer::TraceJson, &format!("a\nb\n{summary}\n"), "")?, 1);
        assert_eq!(lost(Tracer::Leaks, r#"{"losses":{"events":3}}"#, "")?, 3);
        Ok(())
    }

    #[test]
    fn what_is_missing_was_lost() -> anyhow::Result<()> {
        assert_eq!(Tracer::Tcpstates.lost(10, "header\none\ntwo\n".as_bytes(), "")?, 8);
        assert_eq!(Tracer::Tcplife.lost(10, "header\n".as_bytes(), "")?, 0);
        Ok(())
    }
}
