//! One line that says what a verdict rests on, and one that says what to do.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use tcpstate_core::{
    aggregate::{
        event_loop::EventLoop,
        leaks::{Fate, Group, LeftByCounts, Range},
        verdict::Verdict,
    },
    model::{
        Protocol,
        activity::{Activity, Busiest, WokenBy},
    },
};

use super::{
    escape::Escaped,
    leaks::LeakReport,
    span::Span,
    words::{Bytes, Count, ProcessText},
};

/// Backlogs whose figures are listed; the rest is counted.
const BACKLOGS: usize = 8;

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
        Verdict::EofRead => match group.inferred.verdict {
            0 => format!(
                "a receive returned 0, and {oldest} later the socket is still open; {}{}",
                queue("Recv-Q", group.recv_q),
                forgotten(group)
            ),
            n => format!(
                "a receive returned 0, and the socket is still open; {}; {n} of them, from before the trace, are drained: that \
                 a receive returned 0 is inferred{}",
                queue("Recv-Q", group.recv_q),
                forgotten(group)
            ),
        },
        Verdict::FinConsumed => format!("{}{}", fin_consumed(group), forgotten(group)),
        Verdict::HeldElsewhere => held_elsewhere(group),
        Verdict::Sending => sending(group),
        Verdict::BlockedInSend => blocked(group, report.sleepers(group).next().is_some()),
        Verdict::GhostFd => ghost(group),
        Verdict::Pool => pool(group),
        Verdict::Unknown => unknown(group),
    };
    line.push_str(&threads(report, group));
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
pub fn advice(report: &LeakReport, group: &Group) -> Cow<'static, str> {
    if group.verdict == Verdict::EofRead
        && group.held.by_nobody < group.sockets
        && let Some(event_loop) = told_through(report, group)
    {
        return Cow::Owned(format!(
            "the code below is of {}, an event loop, which was told of the end (a read of 0) and tells the program: {} has to close \
             the socket, on every path",
            event_loop.name, event_loop.callback
        ));
    }
    if group.verdict == Verdict::EofUnread && report.activities(group).any(|(_, activity)| activity.woken_by.is_some())
    {
        return Cow::Borrowed(
            "a loop is told of the end (EPOLLRDHUP or EPOLLIN) again and again and does nothing about it: read until 0, then close; \
             to stop watching the socket would end the spinning, and not the leak",
        );
    }
    if matches!(group.verdict, Verdict::EofUnread | Verdict::NeverAccepted) && is_held_back(report, group) {
        return Cow::Borrowed(
            "none of its threads can go on: see who has stopped it (SIGCONT, the debugger, or the cgroup's freezer lets it go on)",
        );
    }
    Cow::Borrowed(plain_advice(group))
}

/// Whether all threads that could read or accept are stopped or frozen.
fn is_held_back(report: &LeakReport, group: &Group) -> bool {
    let mut activities = report.activities(group).map(|(_, activity)| activity).peekable();
    activities.peek().is_some()
        && activities
            .all(|Activity { running, stopped, traced, frozen, .. }| *running == 0 && stopped + traced + frozen > 0)
        && report.sleepers(group).next().is_none()
}

/// The event loop by which all of a group were told of the end, if it is one.
fn told_through(report: &LeakReport, group: &Group) -> Option<&'static EventLoop> {
    let mut through = group.told.top.iter().map(|&(teller, _)| report.event_loop(teller.place?));
    let first = through.next()??;
    (group.told.others == 0 && through.all(|other| other == Some(first))).then_some(first)
}

fn plain_advice(group: &Group) -> &'static str {
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
        Verdict::Sending if !group.awaited_by.is_empty() => {
            "no leak yet: the peer has closed its side only and waits for an answer; it counts as one when nothing has been sent \
             for a minute"
        }
        Verdict::Sending => "no leak: the peer has closed its side only, and is still being served",
        Verdict::BlockedInSend => {
            "the peer does not read: give sends a time-out (SO_SNDTIMEO, TCP_USER_TIMEOUT, or a deadline), then close"
        }
        Verdict::GhostFd => {
            "invisible to `ss`, but each takes a descriptor, which no close() has given back: call it, or see why the runtime's own \
             has not (Java's puts it off until the channel's selector selects)"
        }
        Verdict::Pool => {
            "usually harmless: a keep-alive pool closes them when they are used next; a shorter idle time-out than the server's \
             avoids them"
        }
        Verdict::Unknown => "a hunt that goes on sees more of them",
    }
}

fn never_accepted(group: &Group) -> String {
    let waiting = format!("accept() has not returned them: {}", queue("Recv-Q", group.recv_q));
    let evidence = group.backlogs.iter().take(BACKLOGS).fold(waiting, |line, backlog| {
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
    });
    match group.backlogs.len().saturating_sub(BACKLOGS) as u64 + group.other_backlogs {
        0 => evidence,
        more => format!("{evidence}; and {}", Count(more, "more backlog")),
    }
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

fn pool(group: &Group) -> String {
    let idle = Count(group.sockets, "idle client connection");
    let window = Span(group.growth.map_or(0, |growth| growth.window_ns));
    let unread = match (group.last_words, group.recv_q) {
        (1.., Some(Range { max: 2.., .. })) => {
            let of = if group.last_words < group.sockets { format!(" in {}", group.last_words) } else { String::new() };
            format!("unread are{of} what came unasked with the end ({}), and the FIN", queue("Recv-Q", group.recv_q))
        }
        _ => "only their FIN unread".to_owned(),
    };
    format!("{idle} of one opening stack, {unread}; their number has not grown for {window}")
}

fn held_elsewhere(group: &Group) -> String {
    let opener = group.opener.map_or_else(|| "the opener".to_owned(), |opener| ProcessText(opener).to_string());
    let holders: Vec<_> =
        group.held.by.iter().take(3).map(|&(process, n)| format!("{} holds {n}", ProcessText(process))).collect();
    let more = group.held.by.len().saturating_sub(3) as u64 + group.held.others.number;
    let more = if more > 0 { format!(" and {} more", Count(more, "process")) } else { String::new() };
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
    let (of, by) = waiting(group);
    format!("the peer{of} has closed its own side only and waits in FIN_WAIT2: {by}; {}", sent(group))
}

/// The same where they have waited for too long to count as being served.
fn forgotten(group: &Group) -> String {
    if group.awaited_by.is_empty() {
        return String::new();
    }
    let (of, by) = waiting(group);
    format!("; the peer{of} has closed its own side only and still waits in FIN_WAIT2: {by}; {}", sent(group))
}

/// Of how many the peer is known to wait, unless of all, and who it is.
fn waiting(group: &Group) -> (String, String) {
    let by: Vec<_> = group.awaited_by.iter().take(3).map(|&(process, _)| ProcessText(process).to_string()).collect();
    let more = group.awaited_by.len().saturating_sub(3) as u64 + group.awaited_by_others.number;
    let more = if more > 0 { format!(" and {} more", Count(more, "process")) } else { String::new() };
    let awaited = group.awaited_by.iter().map(|&(_, sockets)| sockets).sum::<u64>() + group.awaited_by_others.sockets;
    let of = if awaited < group.sockets { format!(" of {awaited}") } else { String::new() };
    (of, format!("{}{more}", by.join(", ")))
}

/// When data was sent last, if ever.
fn sent(group: &Group) -> String {
    match (group.sent_ago_ns, group.nothing_sent) {
        (None, 0) => "when data was sent last is not known".to_owned(),
        (None, _) => "nothing was ever sent".to_owned(),
        (Some(ago), 0) => format!("data sent last {} ago", Span(ago.min)),
        (Some(ago), nothing) => format!("data sent last {} ago, nothing ever on {nothing}", Span(ago.min)),
    }
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
    match (multipath, group.recv_q) {
        (true, Some(_)) => {
            "all data was read; Multipath TCP does not queue the end, and no receive was seen to return 0".to_owned()
        }
        (true, None) => {
            "Multipath TCP does not queue the end, and this kernel does not tell what is unread before it".to_owned()
        }
        (false, _) => "no snapshot has seen their queues yet".to_owned(),
    }
}

/// What the threads do, where that says something.
fn threads(report: &LeakReport, group: &Group) -> String {
    let mut by_call: BTreeMap<&str, u64> = BTreeMap::new();
    let mut pids = BTreeSet::new();
    for sleepers in report.sleepers(group) {
        pids.insert(sleepers.pid);
        if let Some(syscall) = &sleepers.syscall {
            *by_call.entry(syscall).or_default() += sleepers.threads;
        }
    }
    let mut calls: Vec<_> = by_call.into_iter().collect();
    calls.sort_by_key(|&(call, threads)| (std::cmp::Reverse(threads), call));
    let mut does: Vec<(u64, String)> = Vec::new();
    for (call, threads) in calls {
        let asleep = if does.is_empty() { "asleep in" } else { "in" };
        does.push((threads, format!("{asleep} `{}`", Escaped(call.as_bytes()))));
    }
    if group.verdict.wants_threads() {
        let sum = |of: fn(&Activity) -> u64| report.activities(group).map(|(_, activity)| of(activity)).sum();
        let awake = [
            (sum(|activity| activity.running), "running"),
            (sum(|activity| activity.stopped), "stopped by a signal (SIGSTOP or the like)"),
            (sum(|activity| activity.traced), "stopped by a debugger"),
            (sum(|activity| activity.frozen), "frozen with their cgroup (a paused container)"),
        ];
        does.extend(
            awake.into_iter().filter(|&(threads, _)| threads > 0).map(|(threads, what)| (threads, what.to_owned())),
        );
    }
    pids.extend(report.activities(group).map(|(pid, _)| pid));
    let whose = match pids.first() {
        Some(pid) if pids.len() == 1 => format!("pid {pid}"),
        _ => "these processes".to_owned(),
    };
    let at_least = if report.leaves_out_sleepers(group) { "at least " } else { "" };
    let mut line = String::new();
    for (index, (threads, what)) in does.into_iter().enumerate() {
        // Formatting into a string does not fail.
        let _ = match index {
            0 => write!(line, "; {at_least}{} of {whose} {what}", Count(threads, "thread")),
            _ => write!(line, ", {threads} {what}"),
        };
    }
    report.activities(group).for_each(|(_, activity)| line.push_str(&busy(activity)));
    line
}

/// A thread that does little else than run, and what keeps it from sleeping.
fn busy(activity: &Activity) -> String {
    let Some(Busiest { tid, comm, permille, window_ns }) = activity.busiest.filter(Busiest::is_busy) else {
        return String::new();
    };
    let share = permille.div_ceil(10);
    let mut line = format!("; thread {}[{tid}] used {share} % of a CPU in {}", Escaped(comm.bytes()), Span(window_ns));
    if let Some(WokenBy { epoll, sockets }) = activity.woken_by {
        let _ = write!(
            line,
            ", and epoll (descriptor {epoll}) watches {} for the end, level-triggered: it tells of it at once each time it is asked",
            Count(sockets, "leaked socket")
        );
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
