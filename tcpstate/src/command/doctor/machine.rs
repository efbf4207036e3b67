//! Reads what the kernel and the user allow.

use std::path::Path;

use rustix::{
    process::{Resource, getrlimit},
    thread::{CapabilitySet, capabilities},
};
use tcpstate_core::model::doctor::{Capability, Limit, Machine};

use crate::{
    host::{Host, preflight},
    kernel,
};

/// Capability, what it is for, and whether `CAP_SYS_ADMIN` stands for it (capabilities(7)).
const CAPABILITIES: [(CapabilitySet, &str, &str, bool); 6] = [
    (CapabilitySet::BPF, "CAP_BPF", "loading BPF programs", true),
    (CapabilitySet::PERFMON, "CAP_PERFMON", "attaching them to kernel tracepoints", true),
    (CapabilitySet::SYS_ADMIN, "CAP_SYS_ADMIN", "other network namespaces", false),
    (CapabilitySet::SYS_PTRACE, "CAP_SYS_PTRACE", "descriptors, code and stacks of other users' processes", false),
    (CapabilitySet::SYSLOG, "CAP_SYSLOG", "names of kernel functions, for `--kernel-stack`", false),
    (CapabilitySet::SYS_RESOURCE, "CAP_SYS_RESOURCE", "raising RLIMIT_MEMLOCK, where BPF counts against it", false),
];

pub(super) fn look(host: &Host) -> Machine {
    // What a process may in a user namespace of its own is not what these are for.
    let effective = match capabilities(None) {
        Ok(sets) if preflight::in_initial_user_namespace() => sets.effective,
        _ => CapabilitySet::empty(),
    };
    let capability = |(set, name, purpose, admin): (CapabilitySet, _, _, bool)| Capability {
        name,
        purpose,
        effective: effective.contains(set) || (admin && effective.contains(CapabilitySet::SYS_ADMIN)),
    };
    // Limits are read before the hooks are tried, which raises one of them.
    let (memlock, nofile) = (limit(Resource::Memlock), limit(Resource::Nofile));
    let hooks = preflight::check_capabilities().and_then(|()| kernel::probe());
    let tracefs = ["/sys/kernel/tracing/events", "/sys/kernel/debug/tracing/events"];
    Machine {
        kernel: kernel::release(),
        lockdown: kernel::lockdown(),
        uid: rustix::process::geteuid().as_raw(),
        capabilities: CAPABILITIES.into_iter().map(capability).collect(),
        btf: Path::new("/sys/kernel/btf/vmlinux").exists(),
        tracefs: tracefs.iter().any(|path| Path::new(path).is_dir()),
        initial_pids: host.initial_pids,
        memlock,
        nofile,
        hooks: hooks.map_err(|error| format!("{error:#}")),
    }
}

fn limit(resource: Resource) -> Limit {
    let limit = getrlimit(resource);
    Limit { soft: limit.current, hard: limit.maximum }
}
