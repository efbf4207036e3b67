//! The process that has attached to the kernel, takes events and reports.

use std::path::Path;

use anyhow::{Context as _, Result};
use rustix::{
    fs::{Access, AtFlags, CWD, accessat},
    thread::{CapabilitySet, set_capabilities, set_no_new_privs},
};

use super::{
    broker::CAPABILITIES as BROKER_CAPABILITIES,
    capabilities,
    confined::Confined,
    syscalls::{Allowed, Argument, OF_DESCRIPTORS, OF_THE_RUNTIME, Otherwise},
};

/// What a tracer still has to do once it is attached.
#[derive(Clone, Copy, Debug, Default)]
pub struct Duties<'a> {
    /// It looks at processes of others, enters network namespaces, and starts brokers and workers: a hunt.
    pub hunts: bool,
    /// It names functions of the kernel.
    pub names_kernel: bool,
    /// Files that it will make, rename or remove.
    pub makes: &'a [&'a Path],
}

/// For iterators and maps by `bpf(2)`, which takes it before Linux 5.19 where `kernel.unprivileged_bpf_disabled` is set.
const BPF: CapabilitySet = CapabilitySet::BPF;
/// `/proc/PID` of other users' processes, network namespaces, and the end of a worker that hangs, which is another user's.
const HUNT: CapabilitySet = CapabilitySet::SYS_PTRACE
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::SYS_ADMIN)
    .union(CapabilitySet::KILL);
/// What brokers and workers need at their start and the tracer itself does not use: with `no_new_privs` a program that root executes
/// has no more than its parent may have (`cap_bprm_creds_from_file()`, `security/commoncap.c`).
const FOR_CHILDREN: CapabilitySet = BROKER_CAPABILITIES
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::SYS_CHROOT);

/// Gives up what is not needed any more once everything is attached. To be called before other threads are started, whose capabilities are
/// their own; those that are there already give up theirs by [`super::give_up_all()`].
///
/// # Errors
///
/// Where something cannot be given up that every kernel lets one give up.
pub fn tracer(duties: &Duties<'_>) -> Result<Confined> {
    let (effective, permitted) = kept(duties)?;
    set_no_new_privs(true).context("failed to give up new privileges")?;
    capabilities::shrink_bounding_set(effective | permitted)?;
    capabilities::keep(effective, permitted)?;
    let seccomp = allowed(duties)?.confine_all_threads(Otherwise::Lack)?;
    Ok(Confined { seccomp, ..Confined::default() })
}

/// The capabilities to be used, and those to be handed on.
fn kept(duties: &Duties<'_>) -> Result<(CapabilitySet, CapabilitySet)> {
    let had = capabilities::held()?.effective;
    // Whoever has no CAP_BPF was let in by this one (`bpf_capable()`, `include/linux/capability.h`).
    let mut effective = if had.contains(BPF) { BPF } else { CapabilitySet::SYS_ADMIN };
    let mut permitted = CapabilitySet::empty();
    if duties.hunts {
        effective |= HUNT;
        permitted |= FOR_CHILDREN;
    }
    if duties.names_kernel {
        effective |= CapabilitySet::SYSLOG;
    }
    if duties.makes.iter().any(|file| !is_writable_without(directory(file))) {
        effective |= CapabilitySet::DAC_OVERRIDE;
    }
    Ok((effective, permitted))
}

fn directory(file: &Path) -> &Path {
    match file.parent() {
        Some(directory) if directory != Path::new("") => directory,
        _ => Path::new("."),
    }
}

/// Whether files can be made in a directory by who has no capability for it. The kernel asks with the effective ones.
fn is_writable_without(directory: &Path) -> bool {
    let Ok(had) = capabilities::held() else { return false };
    let mut without = had;
    without.effective -= CapabilitySet::DAC_OVERRIDE;
    if set_capabilities(None, without).is_err() {
        return false;
    }
    let wanted = Access::WRITE_OK | Access::EXEC_OK;
    let writable = accessat(CWD, directory, wanted, AtFlags::EACCESS).is_ok();
    // What was had can be had again, as it is still permitted.
    set_capabilities(None, had).is_ok() && writable
}

/// What the tracer needs; in a hunt also what a broker or a worker does until it has a filter of its own, which can only be stricter.
fn allowed(duties: &Duties<'_>) -> Result<Allowed> {
    let mut allowed = Allowed::default()
        .always(OF_THE_RUNTIME)
        .always(OF_DESCRIPTORS)
        .always(OF_TRACER)
        .when(libc::SYS_ioctl, &[Argument::IsNot(1, libc::TIOCSTI as u32), Argument::IsNot(1, TIOCLINUX)])?
        .when(libc::SYS_setns, &[Argument::Is(1, libc::CLONE_NEWNET.cast_unsigned())])?;
    for family in [libc::AF_NETLINK, libc::AF_UNIX] {
        let of_family = [Argument::Is(0, family.cast_unsigned())];
        allowed = allowed.when(libc::SYS_socket, &of_family)?.when(libc::SYS_socketpair, &of_family)?;
    }
    for command in BPF_COMMANDS {
        allowed = allowed.when(libc::SYS_bpf, &[Argument::Is(0, command)])?;
    }
    if duties.hunts {
        allowed = allowed.always(OF_CHILDREN);
    }
    Ok(allowed)
}

/// Pushes characters into a console, as TIOCSTI into any terminal.
const TIOCLINUX: u32 = 0x541c;

/// Of `enum bpf_cmd` (`include/uapi/linux/bpf.h`): maps that are there, iterators of programs that are loaded, and what is known of both.
const BPF_COMMANDS: [u32; 13] = [
    1,  // BPF_MAP_LOOKUP_ELEM
    2,  // BPF_MAP_UPDATE_ELEM
    3,  // BPF_MAP_DELETE_ELEM
    4,  // BPF_MAP_GET_NEXT_KEY
    9,  // BPF_PROG_DETACH
    15, // BPF_OBJ_GET_INFO_BY_FD
    21, // BPF_MAP_LOOKUP_AND_DELETE_ELEM
    24, // BPF_MAP_LOOKUP_BATCH
    26, // BPF_MAP_UPDATE_BATCH
    27, // BPF_MAP_DELETE_BATCH
    28, // BPF_LINK_CREATE
    33, // BPF_ITER_CREATE
    34, // BPF_LINK_DETACH
];

/// Events, output, files that are read and written, sockets that are listed, threads.
const OF_TRACER: &[libc::c_long] = &[
    libc::SYS_bind,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_copy_file_range,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fallocate,
    libc::SYS_fchmod,
    libc::SYS_fchown,
    libc::SYS_fcntl,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_fstatfs,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_get_robust_list,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getpeername,
    libc::SYS_getpgid,
    libc::SYS_getppid,
    libc::SYS_getpriority,
    libc::SYS_getrusage,
    libc::SYS_getsid,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_gettimeofday,
    libc::SYS_getuid,
    libc::SYS_kill,
    libc::SYS_linkat,
    libc::SYS_membarrier,
    libc::SYS_memfd_create,
    libc::SYS_mkdirat,
    libc::SYS_mlock,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_msync,
    libc::SYS_munlock,
    libc::SYS_nanosleep,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
    libc::SYS_pipe2,
    libc::SYS_prctl,
    libc::SYS_preadv2,
    libc::SYS_prlimit64,
    libc::SYS_pselect6,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_readlinkat,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_rseq,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sched_getaffinity,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_signalfd4,
    libc::SYS_splice,
    libc::SYS_statfs,
    libc::SYS_statx,
    libc::SYS_symlinkat,
    libc::SYS_sysinfo,
    libc::SYS_tgkill,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_tkill,
    libc::SYS_umask,
    libc::SYS_uname,
    libc::SYS_unlinkat,
    libc::SYS_utimensat,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_write,
    libc::SYS_writev,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_access,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_arch_prctl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_dup2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_getpgrp,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_link,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lstat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mkdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_pipe,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_select,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_time,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
];

/// To start a broker or a worker, for it to confine itself, and to read others' memory, which the broker does.
const OF_CHILDREN: &[libc::c_long] = &[
    libc::SYS_capget,
    libc::SYS_capset,
    libc::SYS_chdir,
    libc::SYS_chroot,
    libc::SYS_close_range,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_landlock_create_ruleset,
    libc::SYS_landlock_restrict_self,
    libc::SYS_process_vm_readv,
    libc::SYS_seccomp,
    libc::SYS_setgid,
    libc::SYS_setgroups,
    libc::SYS_setpgid,
    libc::SYS_setresgid,
    libc::SYS_setresuid,
    libc::SYS_setsid,
    libc::SYS_setuid,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
];
