//! The process that opens files of other programs and reads their memory, by rules of its own.

use std::os::fd::BorrowedFd;

use anyhow::{Context as _, Result};
use rustix::{
    process::{Signal, set_parent_process_death_signal},
    thread::{CapabilitySet, set_keep_capabilities, set_no_new_privs},
};

use super::{
    capabilities,
    confined::Confined,
    identity::become_stranger,
    inherited::{close_others, forget_backtraces},
    limits::{self, ReaderLimits},
    syscalls::{Allowed, Argument, OF_DESCRIPTORS, OF_THE_RUNTIME, Otherwise},
};

/// What is left to a broker, each for what it reads.
///
/// - `CAP_SYS_PTRACE`: `/proc/PID` and memory of other users' processes (`ptrace_may_access()`, `kernel/ptrace.c`).
/// - `CAP_DAC_READ_SEARCH`: files that their modes keep from it, which the processes that map them may read.
/// - `CAP_CHECKPOINT_RESTORE`: `/proc/PID/map_files` (`proc_map_files_get_link()`, `fs/proc/base.c`, Linux 5.9).
/// - `CAP_SYS_ADMIN`: numbers of page frames in `/proc/PID/pagemap` (`pagemap_read()`, `fs/proc/task_mmu.c`), which tell whether two
///   processes share a page. What else it is for takes system calls that are not allowed here.
pub const CAPABILITIES: CapabilitySet = CapabilitySet::SYS_PTRACE
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::CHECKPOINT_RESTORE)
    .union(CapabilitySet::SYS_ADMIN);

const LIMITS: ReaderLimits = ReaderLimits { address_space: 4 << 30, data: 512 << 20, descriptors: 256, cpu: None };

/// Gives up everything but opening for reading, reading, memory of other processes, and its channel. To be called first thing in a
/// process that was executed to be a broker, while it has one thread.
///
/// It becomes a user who owns no file and keeps the capabilities to read: so the modes of files keep it from writing, also where a
/// filter of system calls cannot look at how a file is opened (`openat2()`). Landlock cannot be had here: it would keep every process
/// from it that is not below it (`hook_ptrace_access_check()`, `security/landlock/task.c`).
///
/// # Errors
///
/// Where something cannot be given up that every kernel lets one give up. The process must end then.
pub fn broker(channel: BorrowedFd<'_>) -> Result<Confined> {
    forget_backtraces();
    close_others(channel)?;
    capabilities::shrink_bounding_set(CAPABILITIES)?;
    set_keep_capabilities(true).context("failed to keep the capabilities to read")?;
    let stranger = become_stranger()?;
    set_keep_capabilities(false).context("failed to go on as any other user does")?;
    capabilities::keep(CAPABILITIES, CAPABILITIES)?;
    set_no_new_privs(true).context("failed to give up new privileges")?;
    limits::hide_memory()?;
    set_parent_process_death_signal(Some(Signal::KILL)).context("failed to bind the broker to its tracer")?;
    limits::lower(LIMITS)?;
    let seccomp = allowed(channel)?.confine(Otherwise::Kill)?;
    Ok(Confined { seccomp, stranger, landlock: false, rootless: false })
}

fn allowed(channel: BorrowedFd<'_>) -> Result<Allowed> {
    let writing = libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC | libc::O_APPEND;
    let for_reading = |flags| [Argument::Without(flags, writing.cast_unsigned())];
    let allowed = Allowed::default()
        .always(OF_THE_RUNTIME)
        .always(OF_DESCRIPTORS)
        .always(&[
            libc::SYS_getdents64,
            libc::SYS_newfstatat,
            // How a file is to be opened stands in memory here, which a filter does not see: see above.
            libc::SYS_openat2,
            libc::SYS_pidfd_open,
            libc::SYS_process_vm_readv,
            libc::SYS_readlinkat,
            libc::SYS_statx,
            #[cfg(target_arch = "x86_64")]
            libc::SYS_readlink,
        ])
        .when(libc::SYS_openat, &for_reading(2))?
        .memory_without_code()?
        .harmless_fcntl()?
        .channel(&channel)?
        .abort()?;
    #[cfg(target_arch = "x86_64")]
    let allowed = allowed.when(libc::SYS_open, &for_reading(1))?;
    Ok(allowed)
}
