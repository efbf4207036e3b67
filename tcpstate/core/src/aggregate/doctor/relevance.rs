//! Whether a setting can help with the sockets that there are.

use tcpstate_common::state::TcpState;

use super::{facts::Facts, settings::Setting};
use crate::{
    aggregate::states::{SocketCounts, is_near},
    model::{State, doctor::Reading},
};

/// Whether it can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Help {
    /// Nothing that is seen now has to do with it.
    No,
    /// What is seen now has to do with it.
    Perhaps,
    /// It is not here.
    Absent,
}

/// Whether a setting can help, and why or why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relevance {
    /// In one word.
    pub help: Help,
    /// In one sentence.
    pub why: String,
}

/// Sockets in a state.
pub(super) fn count(counts: &SocketCounts, state: TcpState) -> u64 {
    counts.states.iter().find(|row| row.state == State::Known(state)).map_or(0, |row| row.sockets)
}

pub(super) fn of(setting: &Setting, facts: &Facts) -> Relevance {
    match facts.settings.get(setting.name) {
        Some(Reading::Value(_)) => {}
        Some(Reading::Unreadable(why)) => return absent(format!("it cannot be read: {why}")),
        Some(Reading::Absent) | None => return absent(absence(setting, facts)),
    }
    let here = &facts.sockets_here;
    let sockets = |states: &[TcpState]| states.iter().map(|&state| count(here, state)).sum::<u64>();
    match setting.name {
        "net.ipv4.tcp_fin_timeout" => match sockets(&[TcpState::FinWait2]) {
            0 => no("no socket is in FIN_WAIT2"),
            found => perhaps(format!("{found} in FIN_WAIT2; those still held by a program are not concerned")),
        },
        "net.ipv4.tcp_tw_reuse" | "net.ipv4.ip_local_port_range" => ports(setting, here),
        "net.ipv4.tcp_tw_recycle" => no("leave it at 0: it refuses clients behind NAT"),
        "net.ipv4.tcp_max_tw_buckets" => time_wait(facts),
        "net.ipv4.tcp_keepalive_time" | "net.ipv4.tcp_keepalive_intvl" | "net.ipv4.tcp_keepalive_probes" => {
            no("nothing that is seen tells of a lost peer; a probe ends no TIME_WAIT and closes no CLOSE_WAIT")
        }
        "net.ipv4.tcp_syncookies" | "net.ipv4.tcp_max_syn_backlog" | "net.ipv4.tcp_synack_retries" => {
            match sockets(&[TcpState::SynRecv]) {
                0 => no("no handshake is waiting (SYN_RECV)"),
                found
                    if setting.name == "net.ipv4.tcp_max_syn_backlog"
                        && facts.number("net.ipv4.tcp_syncookies") != Some(0) =>
                {
                    no(format!("{found} in SYN_RECV, but tcp_syncookies is not 0"))
                }
                found => perhaps(format!("{found} in SYN_RECV")),
            }
        }
        "net.core.somaxconn" => backlog(facts),
        "net.ipv4.tcp_orphan_retries" => match sockets(&[TcpState::FinWait1, TcpState::LastAck, TcpState::Closing]) {
            0 => no("no socket is in FIN_WAIT1, LAST_ACK or CLOSING"),
            found => perhaps(format!("{found} in FIN_WAIT1, LAST_ACK or CLOSING")),
        },
        "net.ipv4.tcp_syn_retries" => match sockets(&[TcpState::SynSent]) {
            0 => no("no connect() is waiting (SYN_SENT)"),
            found => perhaps(format!("{found} in SYN_SENT")),
        },
        "fs.file-max" => files(facts),
        "fs.nr_open" => no("raising a limit gives a leak more time, and ends none"),
        _ => no("it has to do with no state of a connection"),
    }
}

fn absence(setting: &Setting, facts: &Facts) -> String {
    match setting.gone {
        Some((major, minor)) => format!("it does not exist on this kernel: gone since Linux {major}.{minor}"),
        None if setting.host_wide && setting.name.starts_with("net.") => {
            format!("it is one for the whole host, and network namespace {} does not show it", facts.netns)
        }
        None => "it does not exist on this kernel".to_owned(),
    }
}

fn ports(setting: &Setting, here: &SocketCounts) -> Relevance {
    let Some(fullest) = here.destinations.first() else {
        return no("no connection is from a port that the kernel gave");
    };
    if !is_near(fullest.used, fullest.limit) {
        return no(format!("at most {} of {} ports are in use towards one remote end", fullest.used, fullest.limit));
    }
    let used = format!(
        "{} of {} ports towards one remote end, {} in TIME_WAIT",
        fullest.used, fullest.limit, fullest.time_wait
    );
    match fullest.time_wait {
        0 if setting.name == "net.ipv4.tcp_tw_reuse" => no(format!("{used}: open connections keep them")),
        _ => perhaps(format!("{used}; connections that are used again need none")),
    }
}

fn time_wait(facts: &Facts) -> Relevance {
    let found = count(&facts.sockets_here, TcpState::TimeWait);
    let limit = facts.number("net.ipv4.tcp_max_tw_buckets").and_then(|limit| u64::try_from(limit).ok());
    match limit {
        Some(limit) if is_near(found, limit) => {
            perhaps(format!("{found} in TIME_WAIT of {limit}: raise it, never lower it"))
        }
        _ => no(format!("{found} in TIME_WAIT, which is far from it; lowering it ends none safely")),
    }
}

fn backlog(facts: &Facts) -> Relevance {
    let limit = facts.number("net.core.somaxconn").and_then(|limit| u64::try_from(limit).ok());
    let mut full = facts.sockets_here.listeners.iter().filter(|row| row.used > 0 && is_near(row.used, row.limit));
    match full.next() {
        None => no("no listener's backlog is nearly full"),
        Some(row) if limit.is_some_and(|limit| row.limit >= limit) => perhaps(format!(
            "the backlog at port {} is nearly full, and this bounds it; a faster accept() cures it",
            row.local.port
        )),
        Some(row) => {
            no(format!("the backlog at port {} is nearly full, but its program asked for no more", row.local.port))
        }
    }
}

fn files(facts: &Facts) -> Relevance {
    let numbers = facts.settings.get("fs.file-nr").and_then(Reading::value).unwrap_or_default();
    let mut numbers = numbers.split(' ').map(str::parse::<u64>);
    match (numbers.next(), numbers.nth(1)) {
        (Some(Ok(open)), Some(Ok(limit))) if is_near(open, limit) => {
            perhaps(format!("{open} of {limit} files are open"))
        }
        (Some(Ok(open)), _) => no(format!("{open} files are open")),
        _ => no("how many files are open is not known"),
    }
}

fn no(why: impl Into<String>) -> Relevance {
    Relevance { help: Help::No, why: why.into() }
}

fn perhaps(why: impl Into<String>) -> Relevance {
    Relevance { help: Help::Perhaps, why: why.into() }
}

fn absent(why: String) -> Relevance {
    Relevance { help: Help::Absent, why }
}
