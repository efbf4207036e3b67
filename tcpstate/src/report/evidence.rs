//! One line that says what a verdict rests on, and one that says what to do.

use std::{collections::BTreeMap, fmt::Write as _};

use tcpstate_core::{
    aggregate::{
        leaks::{Fate, Group, LeftByCounts, Range},
        verdict::Verdict,
    },
    model::Protocol,
};

use super::{
    escape::Escaped,
    leaks::LeakReport,
    span::Span,
    words::{Bytes, Count, ProcessText},
};

/// What was observed of a group that makes its verdict.
#[must_use]
pub fn evidence(report: &LeakReport, group: &Group) -> String {
    if let Some(fate @ (Fate::Exited | Fate::CleanedUp | Fate::ClosedLate)) = group.fate {
        return at_its_end(group, fate);
    }
    let oldest = Span(group.ages.oldest.at_least_ns);
    let mut line = match group.verdict {
        Verdict::NeverAccepted => never_accepted(group),
        Verdict::EofUnread => format!("{}: {} for {oldest}", queue("Recv-Q", group.recv_q), unread(group.recv_q)),
        Verdict::EofRead => {
            format!(
                "a receive returned 0, and {oldest} later the socket is still open; {}",
                queue("Recv-Q", group.recv_q)
            )
        }
        Verdict::FinConsumed => fin_consumed(group),
        Verdict::HeldElsewhere => held_elsewhere(group),
        Verdict::Sending => sending(group),
        Verdict::BlockedInSend => blocked(group, report.sleepers(group).next().is_some()),
        Verdict::GhostFd => ghost(group),
        Verdict::Pool => format!(
            "{} of one opening stack, only their FIN unread; their number has not grown for {}",
            Count(group.sockets, "idle client connection"),
            Span(group.growth.map_or(0, |growth| growth.window_ns)),
        ),
        Verdict::Unknown => unknown(group),
    };
    line.push_str(&asleep(report, group));
    if group.held.by_nobody > 0 && !matches!(group.verdict, Verdict::NeverAccepted) {
        // Formatting into a string does not fail.
        let _ = write!(
            line,
            "; no process has a descriptor of {}: in flight over a UNIX socket, or registered with io_uring",
            group.held.by_nobody
        );
    }
    line
}

/// The same of sockets that are gone.
fn at_its_end(group: &Group, fate: Fate) -> String {
    let seen = match group.verdict {
        Verdict::EofUnread => format!("{}: {}", queue("Recv-Q", group.recv_q), unread(group.recv_q)),
        Verdict::EofRead => format!("a receive returned 0; {}", queue("Recv-Q", group.recv_q)),
        Verdict::FinConsumed => fin_consumed(group),
        Verdict::HeldElsewhere => {
            let opener = group.opener.map_or_else(|| "the opener".to_owned(), |one| ProcessText(one).to_string());
            format!("{opener} opened them, another process held them last")
        }
        Verdict::BlockedInSend => blocked(group, false),
        Verdict::GhostFd => {
            "left CLOSE_WAIT by a shutdown, a reset or a time-out, with the descriptor still open".to_owned()
        }
        Verdict::NeverAccepted => "accept() had not returned them".to_owned(),
        Verdict::Sending | Verdict::Pool | Verdict::Unknown => "their queues were not seen".to_owned(),
    };
    let (oldest, first) = (Span(group.ages.oldest.at_least_ns), if group.sockets == 1 { "" } else { "up to " });
    match fate {
        Fate::ClosedLate => format!("{seen}; closed {first}{oldest} after the FIN"),
        Fate::CleanedUp => {
            format!("{seen}; closed only as the process cleaned up at its exit, {first}{oldest} after the FIN")
        }
        Fate::Exited | Fate::Open => {
            format!("{seen}; nothing but the exit closed the descriptor, {first}{oldest} after the FIN")
        }
    }
}

/// What to do about a group.
#[must_use]
pub fn advice(group: &Group) -> &'static str {
    match group.verdict {
        Verdict::EofUnread | Verdict::EofRead | Verdict::FinConsumed if group.held.by_nobody == group.sockets => {
            "no process can read or close them now: receive and close what was sent over the UNIX socket (SCM_RIGHTS), or \
             unregister the file from io_uring"
        }
        Verdict::NeverAccepted => {
            "the accept loop is stuck or too slow: see where the listener's threads sleep, and compare backlog and limit"
        }
        Verdict::EofUnread => {
            "nothing has read to the end: EPOLLIN/EPOLLRDHUP is ignored or not watched, or TLS (close_notify) or a peek (MSG_PEEK) \
             told of it already: read until 0, then close; see where the threads sleep"
        }
        Verdict::EofRead => {
            "the code below was told of the end (a read of 0) and has to close the socket, on every path"
        }
        Verdict::FinConsumed if group.watched < group.sockets => {
            "whoever reads these sockets has read all there is, and perhaps the end: it has to close them"
        }
        Verdict::FinConsumed => {
            "where the last data and the FIN came in one read, nothing more wakes the reader: read or splice on until 0, then close"
        }
        Verdict::HeldElsewhere => {
            "the descriptor was inherited or passed on: who was meant to have it has to read and close it; what executes another \
             program and was not, must not get it (SOCK_CLOEXEC/O_CLOEXEC)"
        }
        Verdict::Sending => "no leak: the peer has closed its side only, and is still being served",
        Verdict::BlockedInSend => {
            "the peer does not read: give sends a time-out (SO_SNDTIMEO, TCP_USER_TIMEOUT, or a deadline), then close"
        }
        Verdict::GhostFd => {
            "invisible to `ss`, but each takes a descriptor: the same missing close(), with the connection already gone"
        }
        Verdict::Pool => {
            "usually harmless: a keep-alive pool closes them when they are used next; a shorter idle time-out than the server's \
             avoids them"
        }
        Verdict::Unknown => "wait for the next report",
    }
}

fn never_accepted(group: &Group) -> String {
    let waiting = format!("accept() has not returned them: {}", queue("Recv-Q", group.recv_q));
    group.backlogs.iter().fold(waiting, |line, backlog| {
        format!(
            "{line}; backlog of {}{} holds {} of {}{}",
            super::words::EndpointText(backlog.local),
            match backlog.process {
                Some(process) if group.process.is_none() => format!(" ({})", ProcessText(process)),
                _ => String::new(),
            },
            backlog.waiting,
            backlog.limit,
            match backlog.dropped {
                0 => String::new(),
                dropped => format!(", {} dropped since it was made", Count(dropped.into(), "request")),
            }
        )
    })
}

fn unread(recv_q: Option<Range>) -> &'static str {
    match recv_q {
        Some(Range { max: 1, .. }) => "FIN unread",
        Some(Range { min: 2.., .. }) => "data and FIN unread",
        _ => "FIN unread, with data before it in some,",
    }
}

fn fin_consumed(group: &Group) -> String {
    let before = group.sockets - group.watched;
    let seen = "Recv-Q 0, but no receive was seen to return 0";
    match (group.watched, before) {
        (_, 0) => format!("{seen}: one took the FIN with the last data, or was of length 0"),
        (0, _) => "Recv-Q 0: drained; whether a read returned 0 was not observed".to_owned(),
        (_, before) => format!("{seen}; of {before} of them that was not observed"),
    }
}

fn held_elsewhere(group: &Group) -> String {
    let opener = group.opener.map_or_else(|| "the opener".to_owned(), |opener| ProcessText(opener).to_string());
    let holders: Vec<_> =
        group.held.by.iter().take(3).map(|&(process, n)| format!("{} holds {n}", ProcessText(process))).collect();
    let more = group.held.by.len().saturating_sub(3);
    let more = if more > 0 { format!(" and {} more", Count(more as u64, "process")) } else { String::new() };
    format!("{opener} has no descriptor any more; {}{more}", holders.join(", "))
}

fn sending(group: &Group) -> String {
    if !group.awaited_by.is_empty() {
        return awaited(group);
    }
    match (group.send_q, group.sent_ago_ns) {
        (Some(Range { max: 1.., .. }), _) => format!("{}, and it moves", queue("Send-Q", group.send_q)),
        (_, Some(ago)) => format!("data was sent after the end of file, last {} ago", Span(ago.min)),
        _ => "data was sent after the end of file".to_owned(),
    }
}

/// The peers are processes of this host.
fn awaited(group: &Group) -> String {
    let by: Vec<_> = group.awaited_by.iter().take(3).map(|&(process, _)| ProcessText(process).to_string()).collect();
    let more = group.awaited_by.len().saturating_sub(3);
    let more = if more > 0 { format!(" and {} more", Count(more as u64, "process")) } else { String::new() };
    let awaited: u64 = group.awaited_by.iter().map(|&(_, sockets)| sockets).sum();
    let of = if awaited < group.sockets { format!(" of {awaited}") } else { String::new() };
    let last = group.sent_ago_ns.map_or_else(String::new, |ago| format!("; data sent last {} ago", Span(ago.min)));
    format!("the peer{of} has closed its own side only and waits in FIN_WAIT2: {}{more}{last}", by.join(", "))
}

/// `threads_follow` says that what the threads do is said in full.
fn blocked(group: &Group, threads_follow: bool) -> String {
    let still = group.unmoved_ns.map(|unmoved| unmoved.max).filter(|&unmoved| unmoved > 0);
    let since = match (still, group.sent_ago_ns) {
        (Some(unmoved), _) => format!(" has not moved for {}", Span(unmoved)),
        (None, Some(ago)) => format!(" and nothing sent for {}", Span(ago.max)),
        (None, None) => String::new(),
    };
    let threads = match group.asleep_in_send {
        Some(0) => "; no thread is asleep in a send: a non-blocking socket".to_owned(),
        Some(threads) if !threads_follow => format!("; {} asleep in a send", Count(threads, "thread")),
        _ => String::new(),
    };
    format!("{}{since}{threads}", queue("Send-Q", group.send_q))
}

fn ghost(group: &Group) -> String {
    let left = group.examples.iter().filter_map(|example| example.left_ago_ns).max().map_or(0, |ns| ns);
    let LeftByCounts { shutdown, abort, unseen } = group.left_by;
    let ways = [
        (shutdown, "by shutdown()"),
        (abort, "by a reset, a time-out or a kill"),
        (unseen, "in a way that was not seen"),
    ];
    let ways: Vec<_> = ways.into_iter().filter(|&(sockets, _)| sockets > 0).collect();
    let how = match ways[..] {
        [(_, how)] => how.to_owned(),
        _ => ways.iter().map(|(sockets, how)| format!("{sockets} {how}")).collect::<Vec<_>>().join(", "),
    };
    let ago = if group.sockets == 1 { "" } else { "the first " };
    format!("left CLOSE_WAIT {how}, {ago}{} ago; the descriptor is still open", Span(left))
}

fn unknown(group: &Group) -> String {
    let multipath = group.examples.iter().any(|example| example.protocol == Protocol::Mptcp);
    if multipath {
        "Multipath TCP keeps the FIN in a subflow: Recv-Q does not tell whether it was read".to_owned()
    } else {
        "no snapshot has seen their queues yet".to_owned()
    }
}

/// What the threads do, where that says something.
fn asleep(report: &LeakReport, group: &Group) -> String {
    let mut by_call: BTreeMap<&str, u64> = BTreeMap::new();
    for sleepers in report.sleepers(group) {
        if let Some(syscall) = &sleepers.syscall {
            *by_call.entry(syscall).or_default() += sleepers.threads;
        }
    }
    let mut calls: Vec<_> = by_call.into_iter().collect();
    calls.sort_by_key(|&(call, threads)| (std::cmp::Reverse(threads), call));
    let Some(&(call, threads)) = calls.first() else { return String::new() };
    let whose = group.process.map_or_else(|| "these processes".to_owned(), |process| format!("pid {}", process.pid));
    let mut line = format!("; {} of {whose} asleep in `{}`", Count(threads, "thread"), Escaped(call.as_bytes()));
    for (call, threads) in &calls[1..] {
        let _ = write!(line, ", {threads} in `{}`", Escaped(call.as_bytes()));
    }
    line
}

/// A queue's length in all sockets of a group.
fn queue(name: &str, range: Option<Range>) -> String {
    match range {
        None => format!("{name} unknown"),
        Some(Range { min, max }) if min == max => format!("{name} {}", Bytes(min)),
        Some(Range { min, max }) => format!("{name} {} to {}", Bytes(min), Bytes(max)),
    }
}
