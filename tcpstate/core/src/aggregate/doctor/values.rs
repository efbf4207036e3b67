//! Values that do harm, or not what they were set for.

use super::{
    facts::Facts,
    finding::{Finding, FindingKind},
    settings::SETTINGS,
};
use crate::{aggregate::states::is_near, model::doctor::Reading};

/// Fewer ports than this are few for a host that connects.
const FEW_PORTS: u64 = 10_000;

pub(super) fn all(facts: &Facts) -> Vec<Finding> {
    let number = |name| facts.number(name);
    let mut findings = Vec::new();
    let mut add = |bad: bool, name: &'static str, effect| {
        if let Some(value) = facts.settings.get(name).and_then(Reading::value) {
            let kind = FindingKind::Value { name, value: value.to_owned(), effect };
            findings.push(if bad { Finding::warning(kind) } else { Finding::note(kind) });
        }
    };
    if number("net.ipv4.tcp_tw_recycle").is_some_and(|value| value != 0) {
        add(
            true,
            "net.ipv4.tcp_tw_recycle",
            "connections of clients behind one NAT address are refused at random: set it to 0",
        );
    }
    if let Some(limit) = number("net.ipv4.tcp_max_tw_buckets").and_then(|limit| u64::try_from(limit).ok()) {
        let found = super::relevance::count(&facts.sockets_here, tcpstate_common::state::TcpState::TimeWait);
        if limit == 0 || is_near(found, limit) {
            add(
                true,
                "net.ipv4.tcp_max_tw_buckets",
                "connections end without TIME_WAIT, and late segments may reach new ones",
            );
        }
    }
    match number("net.ipv4.tcp_syncookies") {
        Some(0) => add(true, "net.ipv4.tcp_syncookies", "a flood of SYNs fills the queue, and nobody gets in"),
        Some(2) => add(true, "net.ipv4.tcp_syncookies", "every handshake is done by cookies, which is for tests"),
        _ => {}
    }
    if number("net.ipv4.tcp_abort_on_overflow") == Some(1) {
        add(
            true,
            "net.ipv4.tcp_abort_on_overflow",
            "a full backlog resets clients that would have got in a moment later",
        );
    }
    if number("net.ipv4.tcp_timestamps") == Some(0) && number("net.ipv4.tcp_tw_reuse").is_some_and(|value| value > 0) {
        add(false, "net.ipv4.tcp_tw_reuse", "does nothing while `net.ipv4.tcp_timestamps` is 0");
    }
    if number("net.ipv4.tcp_fin_timeout").is_some_and(|value| value != 60) {
        add(
            false,
            "net.ipv4.tcp_fin_timeout",
            "shortens or lengthens only FIN_WAIT2 of closed sockets; neither TIME_WAIT nor CLOSE_WAIT",
        );
    }
    if facts.sockets_here.namespaces.iter().any(|row| row.inode == facts.netns)
        && ports(facts).is_some_and(|ports| ports < FEW_PORTS)
    {
        add(false, "net.ipv4.ip_local_port_range", "few ports for connections to one remote end");
    }
    match number("net.core.bpf_jit_enable") {
        Some(0) => add(true, "net.core.bpf_jit_enable", "BPF programs are interpreted, so that tracing costs more"),
        Some(2) => add(
            true,
            "net.core.bpf_jit_enable",
            "the kernel prints every BPF program to its log, which is for debugging",
        ),
        _ => {}
    }
    findings.extend(configured(facts));
    findings
}

/// Ports of the range.
fn ports(facts: &Facts) -> Option<u64> {
    let range = facts.settings.get("net.ipv4.ip_local_port_range")?.value()?;
    let (low, high) = range.split_once(' ')?;
    (high.parse::<u64>().ok()? + 1).checked_sub(low.parse().ok()?)
}

/// Lines of files for settings that the kernel does not have.
fn configured(facts: &Facts) -> impl Iterator<Item = Finding> {
    facts.configured.iter().filter_map(|line| {
        let setting = SETTINGS.iter().find(|setting| setting.name == line.name)?;
        // A setting that only this network namespace does not show is there.
        let gone = facts.settings.get(setting.name) == Some(&Reading::Absent) && !setting.host_wide;
        gone.then(|| Finding::warning(FindingKind::Configured { name: setting.name, file: line.file.clone() }))
    })
}
