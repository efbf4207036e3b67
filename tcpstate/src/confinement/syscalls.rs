//! Filters of system calls (`seccomp(2)`): what is not listed is not to be had.

use std::{collections::BTreeMap, env::consts::ARCH, io, os::fd::AsRawFd};

use anyhow::{Context as _, Result};
use seccompiler::{
    BackendError, BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter, apply_filter_all_threads,
};

/// What every process needs that has a heap, a clock, an end, and may panic on its way there.
pub(super) const OF_THE_RUNTIME: &[libc::c_long] = &[
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_yield,
    libc::SYS_sigaltstack,
];

/// What reads a descriptor that is there already.
pub(super) const OF_DESCRIPTORS: &[libc::c_long] = &[
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_lseek,
    libc::SYS_ppoll,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_read,
    libc::SYS_readv,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
];

/// The system calls that are left to a process.
#[derive(Clone, Debug, Default)]
pub(super) struct Allowed(BTreeMap<i64, Vec<SeccompRule>>);

/// What an argument has to be, by its number from 0 on. Arguments that are addresses cannot be looked behind.
#[derive(Clone, Copy, Debug)]
pub(super) enum Argument {
    /// This value, of 32 bits as descriptors, flags and commands are.
    Is(u8, u32),
    /// Another value.
    IsNot(u8, u32),
    /// None of these bits.
    Without(u8, u32),
}

impl Allowed {
    /// Allows calls whatever their arguments are.
    pub(super) fn always(mut self, calls: &[libc::c_long]) -> Self {
        for &call in calls {
            self.0.insert(call, Vec::new());
        }
        self
    }

    /// Allows a call also where all of `arguments` hold.
    pub(super) fn when(mut self, call: libc::c_long, arguments: &[Argument]) -> Result<Self> {
        let conditions: Result<Vec<_>, _> = arguments.iter().map(Argument::condition).collect();
        let rule = conditions.and_then(SeccompRule::new).context(MALFORMED)?;
        self.0.entry(call).or_default().push(rule);
        Ok(self)
    }

    /// Memory that is not executed: what parses others' bytes runs no code but what it was started with.
    pub(super) fn memory_without_code(self) -> Result<Self> {
        let without_code = [Argument::Without(2, libc::PROT_EXEC.cast_unsigned())];
        self.when(libc::SYS_mmap, &without_code)?.when(libc::SYS_mprotect, &without_code)
    }

    /// Asking a descriptor for its flags and duplicating it. Not `F_SETOWN`, which has signals sent, `F_SETLEASE`, nor locks.
    pub(super) fn harmless_fcntl(mut self) -> Result<Self> {
        for command in [libc::F_GETFD, libc::F_SETFD, libc::F_GETFL, libc::F_DUPFD_CLOEXEC] {
            self = self.when(libc::SYS_fcntl, &[Argument::Is(1, command.cast_unsigned())])?;
        }
        Ok(self)
    }

    /// Receiving from its channel and sending there; writing to standard error, which a panic does.
    pub(super) fn channel(mut self, channel: &impl AsRawFd) -> Result<Self> {
        let channel = [Argument::Is(0, channel.as_raw_fd().cast_unsigned())];
        for call in [libc::SYS_recvmsg, libc::SYS_recvfrom, libc::SYS_sendmsg, libc::SYS_sendto] {
            self = self.when(call, &channel)?;
        }
        for call in [libc::SYS_write, libc::SYS_writev] {
            self = self.when(call, &channel)?;
            self = self.when(call, &[Argument::Is(0, libc::STDERR_FILENO.cast_unsigned())])?;
        }
        Ok(self)
    }

    /// The signal of `abort()`, to this very process, so that such an end is told from a forbidden call.
    pub(super) fn abort(self) -> Result<Self> {
        let process = rustix::process::getpid().as_raw_nonzero().get().cast_unsigned();
        let thread = rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned();
        // musl does it by `tkill()`.
        self.when(libc::SYS_tgkill, &[Argument::Is(0, process)])?.when(libc::SYS_tkill, &[Argument::Is(0, thread)])
    }

    /// Has the kernel do `otherwise` from now on, for this thread and what comes of it, where a call is not allowed. Returns whether the
    /// kernel has such filters.
    ///
    /// # Errors
    ///
    /// Where it has and refuses.
    pub(super) fn confine(self, otherwise: Otherwise) -> Result<bool> {
        installed(apply_filter(&self.program(otherwise)?))
    }

    /// The same for all threads of this process.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses, also because one of them has a filter of its own.
    pub(super) fn confine_all_threads(self, otherwise: Otherwise) -> Result<bool> {
        installed(apply_filter_all_threads(&self.program(otherwise)?))
    }

    fn program(self, otherwise: Otherwise) -> Result<BpfProgram> {
        compile(self.0, otherwise.action(), SeccompAction::Allow)
    }
}

/// What comes of a call that is not allowed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Otherwise {
    /// The end of the process, by SIGSYS.
    Kill,
    /// ENOSYS, as of a kernel that does not have the call: who can do without it does.
    Lack,
}

impl Otherwise {
    fn action(self) -> SeccompAction {
        match self {
            Self::Kill => SeccompAction::KillProcess,
            Self::Lack => LACK,
        }
    }
}

const LACK: SeccompAction = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());

/// Has these calls fail as on a kernel without them, in this thread, whatever another filter says that allows them.
pub(super) fn lack(calls: &[libc::c_long]) -> Result<bool> {
    let rules = calls.iter().map(|&call| (call, Vec::new())).collect();
    installed(apply_filter(&compile(rules, SeccompAction::Allow, LACK)?))
}

const MALFORMED: &str = "the filter of system calls is malformed";

fn compile(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    matching: SeccompAction,
) -> Result<BpfProgram> {
    // A call by the numbers of another architecture, such as `int 0x80`, is fatal in any case.
    let filter = SeccompFilter::new(rules, otherwise, matching, ARCH.try_into().context(MALFORMED)?);
    filter.and_then(BpfProgram::try_from).context(MALFORMED)
}

fn installed(result: Result<(), Error>) -> Result<bool> {
    match result {
        Ok(()) => Ok(true),
        // Without CONFIG_SECCOMP, and without CONFIG_SECCOMP_FILTER (`kernel/seccomp.c`).
        Err(Error::Seccomp(error)) if is_absent(&error) => Ok(false),
        Err(error) => Err(error).context("failed to filter system calls"),
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL))
}

impl Argument {
    fn condition(&self) -> Result<SeccompCondition, BackendError> {
        let (index, operator, value) = match *self {
            Self::Is(index, value) => (index, SeccompCmpOp::Eq, value),
            Self::IsNot(index, value) => (index, SeccompCmpOp::Ne, value),
            Self::Without(index, bits) => (index, SeccompCmpOp::MaskedEq(bits.into()), 0),
        };
        SeccompCondition::new(index, SeccompCmpArgLen::Dword, operator, value.into())
    }
}
