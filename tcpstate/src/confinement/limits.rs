//! Resource limits (`getrlimit(2)`) of a process that is confined.

use anyhow::{Context as _, Result};
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

/// Bounds that differ between processes.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReaderLimits {
    /// `RLIMIT_AS`, bytes: with files, which are mapped.
    pub(super) address_space: u64,
    /// `RLIMIT_DATA`, bytes: memory that may be written, which is what it costs.
    pub(super) data: u64,
    /// `RLIMIT_NOFILE`: one more than the highest descriptor.
    pub(super) descriptors: u64,
    /// `RLIMIT_CPU`, seconds in all.
    pub(super) cpu: Option<u64>,
}

/// Stack of the only thread, bytes: what a recursion that has no end reaches soon.
const STACK: u64 = 8 << 20;

/// Lowers this process's limits, for good. It writes no file, starts no process, locks no memory, and leaves no core.
///
/// # Errors
///
/// Those of `setrlimit(2)`: lowering is never refused but by a filter of system calls.
pub(super) fn lower(limits: ReaderLimits) -> Result<()> {
    let ReaderLimits { address_space, data, descriptors, cpu } = limits;
    let fixed = [
        (Resource::As, address_space),
        (Resource::Data, data),
        (Resource::Stack, STACK),
        (Resource::Nofile, descriptors),
        (Resource::Core, 0),
        (Resource::Fsize, 0),
        (Resource::Nproc, 0),
        (Resource::Memlock, 0),
        (Resource::Msgqueue, 0),
    ];
    for (resource, limit) in fixed.into_iter().chain(cpu.map(|seconds| (Resource::Cpu, seconds))) {
        // Raising is not ours.
        let limit = getrlimit(resource).maximum.map_or(limit, |most| most.min(limit));
        setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) })
            .with_context(|| format!("failed to lower the limit `{resource:?}`"))?;
    }
    Ok(())
}

/// Keeps this process's memory from other processes of its user, and from cores. After the last change of user, which undoes it.
///
/// # Errors
///
/// Those of `prctl(2)`.
pub(super) fn hide_memory() -> Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .context("failed to keep the memory of this process from others")
}
