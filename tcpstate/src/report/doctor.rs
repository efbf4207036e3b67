//! Sentences of `tcpstate doctor`, the same in both formats.

use tcpstate_core::{
    aggregate::{
        doctor::{Finding, FindingKind},
        states::{GroupKey, StateRow},
    },
    model::doctor::{Confinement, Limit, Machine},
};

use super::{
    escape::Escaped,
    words::{AgeText, Count, EndpointText, ProcessText, RefusedText},
};

/// Since this version BPF counts against the memory cgroup, not against `RLIMIT_MEMLOCK`
/// (`bpf_map_charge_init()` went in Linux 5.11).
const MEMCG: (u32, u32) = (5, 11);

/// What was found, in one sentence.
pub(super) fn sentence(finding: &Finding) -> String {
    match &finding.kind {
        FindingKind::CannotTrace(why) => format!("tcpstate cannot trace here: {why}"),
        FindingKind::Lost { role, lost } => format!("no hook for {role}: {lost}"),
        FindingKind::CloseWait { group, name, row } => {
            format!("{} in CLOSE_WAIT {}{}", Count(row.sockets, "socket"), whose(*group, name.as_deref()), oldest(row))
        }
        FindingKind::Descriptors(row) => format!(
            "{} uses {} of the {} descriptors it may have",
            ProcessText(row.process),
            row.descriptors,
            row.limit.unwrap_or_default()
        ),
        FindingKind::Ports(row) => format!(
            "{} of {} ephemeral ports from {} to {} are in use, {} of them in TIME_WAIT (network namespace {})",
            row.used,
            row.limit,
            row.local,
            EndpointText(row.remote),
            row.time_wait,
            row.netns
        ),
        FindingKind::Backlog(row) => {
            let process = row.process.map_or_else(String::new, |process| format!(" of {}", ProcessText(process)));
            let local = EndpointText(row.local);
            format!(
                "the backlog at {local}{process} is full: {} wait for accept(), the limit is {}",
                row.used, row.limit
            )
        }
        FindingKind::Overflows(row) => {
            let name = row.names.first().map_or_else(|| row.inode.to_string(), |name| Escaped(name).to_string());
            format!(
                "listeners in network namespace {name} have found their backlog full {} times since it began",
                row.listen_overflows.unwrap_or_default()
            )
        }
        FindingKind::Value { name, value, effect } => format!("`{name}` is {value}: {effect}"),
        FindingKind::Sandbox(Ok(sandbox)) => {
            format!("the process that parses other programs' files is confined {}", completeness(sandbox))
        }
        FindingKind::Sandbox(Err(why)) => format!("no process can be confined to parse other programs' files: {why}"),
        FindingKind::Configured { name, file } => {
            format!("`{}` sets `{name}`, which does not exist on this kernel", Escaped(file.as_bytes()))
        }
        FindingKind::Gaps(gaps) => {
            let namespaces = gaps.namespaces.len() as u64;
            let missing = [
                gaps.hidden.as_ref().map(|_| "processes that are not shown here".to_owned()),
                (gaps.processes > 0).then(|| RefusedText(gaps).to_string()),
                (namespaces > 0).then(|| Count(namespaces, "network namespace").to_string()),
            ];
            let missing: Vec<_> = missing.into_iter().flatten().collect();
            format!("could not be looked into: {}", missing.join(" and "))
        }
        FindingKind::More { kind, count } => format!("{count} more of `{kind}` are not listed"),
    }
}

fn whose(group: GroupKey, name: Option<&[u8]>) -> String {
    match (group, name) {
        (GroupKey::Process(pid), Some(name)) => format!("in process {}[{pid}]", Escaped(name)),
        (GroupKey::Process(pid), None) => format!("in process {pid}"),
        (GroupKey::NoDescriptor, _) => "that no process has accepted".to_owned(),
        _ => "of a process that could not be looked into".to_owned(),
    }
}

fn oldest(row: &StateRow) -> String {
    row.oldest.map_or_else(String::new, |oldest| format!(", the oldest {}", AgeText(oldest)))
}

/// What a sandbox lacks, if anything.
pub(super) fn completeness(sandbox: &Confinement) -> String {
    let missing: Vec<_> = sandbox.parts().into_iter().filter(|(there, ..)| !there).map(|(_, name, _)| name).collect();
    if missing.is_empty() { "completely".to_owned() } else { format!("without {}", missing.join(", ")) }
}

/// A limit, as `ulimit` writes it.
pub(super) fn limit(limit: Limit) -> String {
    let word = |limit: Option<u64>| limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
    format!("{} (hard {})", word(limit.soft), word(limit.hard))
}

/// What `RLIMIT_MEMLOCK` means on this kernel.
pub(super) fn memlock(machine: &Machine) -> &'static str {
    match machine.version() {
        Some(version) if version < MEMCG => "BPF programs and maps count against it, and tcpstate raises it",
        Some(_) => "does not matter: since Linux 5.11 BPF memory counts in the memory cgroup",
        None => "matters to BPF before Linux 5.11",
    }
}
