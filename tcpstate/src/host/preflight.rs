//! What this user may do, checked before anything is attached, so that the kernel's bare `EPERM` is never the answer.

use std::{fs, os::unix::fs::MetadataExt as _};

use anyhow::{Context as _, Result, bail};
use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    thread::{CapabilitySet, capabilities},
};

/// What loading and attaching the programs takes (capabilities(7)); `CAP_SYS_ADMIN` stands for all of them.
const NEEDED: [(CapabilitySet, &str, &str); 2] = [
    (CapabilitySet::BPF, "CAP_BPF", "loading BPF programs"),
    (CapabilitySet::PERFMON, "CAP_PERFMON", "attaching them to kernel tracepoints"),
];

/// Maps, programs, their links, and what a snapshot opens, some 70; and room for files whose code is named.
const DESCRIPTORS: u64 = 128;

/// Inode number of the initial user namespace (`PROC_USER_INIT_INO`, `include/linux/proc_ns.h`).
const INITIAL_USER_NAMESPACE: u64 = 0xefff_fffd;

/// Makes sure that the process has the capabilities that tracing needs.
///
/// # Errors
///
/// Names the capabilities that are missing, what each is for, and how to get them.
pub fn check_capabilities() -> Result<()> {
    if !in_initial_user_namespace() {
        bail!(
            "no capability counts for BPF in a user namespace other than the host's (`/proc/self/ns/user`): run it on the host, \
             outside of `unshare --user` and of rootless containers"
        );
    }
    let effective = capabilities(None).context("failed to read the capabilities of this process")?.effective;
    let missing = missing(effective);
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.iter().map(|(name, purpose)| format!("`{name}` ({purpose})")).collect::<Vec<_>>().join(" and ");
    let hint = if rustix::process::geteuid().is_root() {
        "root without them is usual in containers: start it with `--privileged` or on the host"
    } else {
        "run it with sudo"
    };
    bail!("missing capability {list}: {hint}")
}

/// Whether capabilities are those that `capable()` asks for (`kernel/capability.c`), as `bpf_capable()` does. A kernel without user
/// namespaces has one only, which is the initial one.
#[must_use]
pub fn in_initial_user_namespace() -> bool {
    fs::metadata("/proc/self/ns/user").map_or(true, |namespace| namespace.ino() == INITIAL_USER_NAMESPACE)
}

/// Makes sure that this process may open what tcpstate itself takes. To be called before there is a runtime, which panics where it
/// cannot.
///
/// # Errors
///
/// Names the limit and how to raise it.
pub fn check_descriptor_limit() -> Result<()> {
    match getrlimit(Resource::Nofile).maximum {
        Some(most) if most < DESCRIPTORS => bail!(
            "this process may open only {most} files, and tcpstate takes up to {DESCRIPTORS} for itself: raise the limit, as with \
             `ulimit -n 1024`"
        ),
        _ => Ok(()),
    }
}

/// Lets this process open as many files as it may: stacks keep the files open that their code is in, and each process that is
/// followed is a descriptor. Best effort: what cannot be opened has no names.
pub fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

fn missing(effective: CapabilitySet) -> Vec<(&'static str, &'static str)> {
    if effective.contains(CapabilitySet::SYS_ADMIN) {
        return Vec::new();
    }
    NEEDED
        .into_iter()
        .filter(|(capability, ..)| !effective.contains(*capability))
        .map(|(_, name, purpose)| (name, purpose))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_is_missing() {
        let names = |set| missing(set).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names(CapabilitySet::empty()), ["CAP_BPF", "CAP_PERFMON"]);
        assert_eq!(names(CapabilitySet::BPF | CapabilitySet::NET_ADMIN), ["CAP_PERFMON"]);
        assert!(names(CapabilitySet::BPF | CapabilitySet::PERFMON).is_empty());
        assert!(names(CapabilitySet::SYS_ADMIN).is_empty());
    }
}
