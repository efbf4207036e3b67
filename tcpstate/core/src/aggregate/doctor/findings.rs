//! What matters now.

use tcpstate_common::state::TcpState;

use super::{
    facts::Facts,
    finding::{Finding, FindingKind, Severity},
    values,
};
use crate::{
    aggregate::states::{GroupRow, ProcessRow, is_near},
    model::{State, doctor::Confinement},
};

/// A socket is for shorter than this in `CLOSE_WAIT` in any program that works, nanoseconds.
const USUAL_NS: u64 = 1_000_000_000;
/// Rows of one kind at most; the rest is counted.
const TOP: usize = 10;

/// Why nothing can be traced.
pub(super) fn cannot_trace(facts: &Facts) -> Option<String> {
    match &facts.machine.hooks {
        Err(why) => Some(why.clone()),
        Ok(hooks) => {
            let role = hooks.missing().find(|role| role.is_required())?;
            Some(format!("kernel {} allows no hook for `{}`: {}", hooks.kernel, role.name(), role.lost()))
        }
    }
}

/// Everything that matters, worst first; of equal weight in the order of the kinds, the larger first.
pub(super) fn all(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(cannot_trace(facts).map(|why| Finding::error(FindingKind::CannotTrace(why))));
    let sockets = &facts.sockets;
    extend(&mut findings, sockets.groups.iter().filter_map(close_wait));
    extend(&mut findings, sockets.processes.iter().filter(|row| row.is_near()).map(descriptors));
    let near = sockets.destinations.iter().filter(|row| is_near(row.used, row.limit));
    extend(
        &mut findings,
        near.map(|row| Finding { severity: used_up(row.used, row.limit), kind: FindingKind::Ports(*row) }),
    );
    // One more than the limit is let in (`sk_acceptq_is_full()`).
    let full = sockets.listeners.iter().filter(|row| row.used > row.limit);
    extend(&mut findings, full.map(|row| Finding::error(FindingKind::Backlog(*row))));
    let overflows = sockets.namespaces.iter().filter(|row| row.listen_overflows > Some(0));
    extend(&mut findings, overflows.map(|row| Finding::note(FindingKind::Overflows(row.clone()))));
    if let Ok(hooks) = &facts.machine.hooks {
        let lost = hooks.missing().filter(|role| !role.is_required());
        findings.extend(lost.map(|role| Finding::warning(FindingKind::Lost { role: role.name(), lost: role.lost() })));
    }
    findings.extend(values::all(facts));
    findings.extend(sandbox(facts));
    if !sockets.gaps.is_empty() {
        findings.push(Finding::note(FindingKind::Gaps(sockets.gaps.clone())));
    }
    findings.sort_by_key(|finding| finding.severity);
    findings
}

/// Adds the first of a kind, and how many more there are.
fn extend(findings: &mut Vec<Finding>, more: impl Iterator<Item = Finding>) {
    let mut more: Vec<_> = more.collect();
    more.sort_by_key(|finding| finding.severity);
    let rest = more.split_off(TOP.min(more.len()));
    findings.append(&mut more);
    if let Some(first) = rest.first() {
        let kind = FindingKind::More { kind: first.kind.name(), count: rest.len() as u64 };
        findings.push(Finding { severity: first.severity, kind });
    }
}

/// Where nothing can be traced, nothing is read.
fn sandbox(facts: &Facts) -> Option<Finding> {
    let found = &facts.machine.sandbox;
    let kind = FindingKind::Sandbox(found.clone());
    match found {
        _ if cannot_trace(facts).is_some() => None,
        Err(_) => Some(Finding::error(kind)),
        Ok(Confinement::COMPLETE) => None,
        Ok(Confinement { seccomp: false, .. }) => Some(Finding::warning(kind)),
        Ok(_) => Some(Finding::note(kind)),
    }
}

fn close_wait(group: &GroupRow) -> Option<Finding> {
    let row = group.states.iter().find(|row| row.state == State::Known(TcpState::CloseWait) && row.sockets > 0)?;
    // One whose age is not known is not taken for a young one.
    let young = row.oldest.is_some_and(|oldest| oldest.at_least_ns < USUAL_NS) && row.aged == row.sockets;
    let kind = FindingKind::CloseWait { group: group.key, name: group.name.clone(), row: *row };
    Some(if young { Finding::note(kind) } else { Finding::warning(kind) })
}

fn descriptors(row: &ProcessRow) -> Finding {
    Finding { severity: used_up(row.descriptors, row.limit.unwrap_or(u64::MAX)), kind: FindingKind::Descriptors(*row) }
}

fn used_up(used: u64, limit: u64) -> Severity {
    if used >= limit { Severity::Error } else { Severity::Warning }
}
