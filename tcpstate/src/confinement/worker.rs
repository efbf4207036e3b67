//! The process that parses what other programs control.

use std::os::fd::BorrowedFd;

use anyhow::{Context as _, Result};
use rustix::{
    process::{Signal, set_parent_process_death_signal},
    thread::{CapabilitySet, set_no_new_privs},
};
use tcpstate_stacks::MOST_MODULES;

use super::{
    capabilities,
    confined::Confined,
    identity::{become_stranger, leave_root},
    inherited::{close_others, forget_backtraces},
    landlock,
    limits::{self, ReaderLimits},
    syscalls::{Allowed, Argument, OF_DESCRIPTORS, OF_THE_RUNTIME, Otherwise, lack},
};

/// `RLIMIT_CPU` of a worker, seconds in all: the last resort, since its tracer ends it sooner. A tracer replaces one that has used
/// half of it when it asks nothing of it, lest the end meets an innocent file.
pub const CPU_SECONDS: u64 = 600;
/// `RLIMIT_NOFILE` of a worker: the modules that it keeps, and what it is handed at a time.
pub const DESCRIPTORS: u64 = MOST_MODULES as u64 + 64;

const LIMITS: ReaderLimits =
    ReaderLimits { address_space: 16 << 30, data: 512 << 20, descriptors: DESCRIPTORS, cpu: Some(CPU_SECONDS) };

/// Gives up everything but memory, its channel, and what comes over that. To be called first thing in a process that was executed to
/// be a worker, while it has one thread.
///
/// It keeps its priority: what a lower one would take from it on a busy machine is the time in which a process lives whose stack is
/// unwound, and its share of the CPUs is bounded by its deadlines.
///
/// # Errors
///
/// Where something cannot be given up that every kernel lets one give up. The process must end then.
pub fn worker(channel: BorrowedFd<'_>) -> Result<Confined> {
    forget_backtraces();
    close_others(channel)?;
    let rootless = leave_root();
    capabilities::shrink_bounding_set(CapabilitySet::empty())?;
    let stranger = become_stranger()?;
    capabilities::give_up_all()?;
    set_no_new_privs(true).context("failed to give up new privileges")?;
    limits::hide_memory()?;
    // Both were undone by the change of user.
    set_parent_process_death_signal(Some(Signal::KILL)).context("failed to bind the worker to its tracer")?;
    limits::lower(LIMITS)?;
    let landlock = landlock::allow_nothing()?;
    // Of two filters the stricter one decides. Rust asks by `fstat()` then, which has no path.
    lack(&[libc::SYS_statx])?;
    let seccomp = allowed(channel)?.confine(Otherwise::Kill)?;
    Ok(Confined { seccomp, landlock, stranger, rootless })
}

fn allowed(channel: BorrowedFd<'_>) -> Result<Allowed> {
    Allowed::default()
        .always(OF_THE_RUNTIME)
        .always(OF_DESCRIPTORS)
        .always(&[libc::SYS_statx])
        // How glibc asks a descriptor (`fstat()` before 2.39). Of a path it would resolve, there is nothing in the root directory.
        .when(libc::SYS_newfstatat, &[Argument::Is(3, libc::AT_EMPTY_PATH.cast_unsigned())])?
        .memory_without_code()?
        .harmless_fcntl()?
        .channel(&channel)?
        .abort()
}
