//! Signals that are meant for the command.
//!
//! What a terminal sends goes to its whole foreground process group, so the command has it already, unless it has left ours, as
//! `timeout` and `setsid` do; what a process sends to us is passed on.

use std::{
    io, mem,
    os::fd::{FromRawFd as _, OwnedFd},
    ptr,
};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, getpgid, getpgrp};
use tokio::io::{Interest, unix::AsyncFd};

/// Signals that end programs, and those that programs give a meaning to.
const PASSED_ON: [i32; 6] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1, libc::SIGUSR2];

/// Kept from us from its making on: these signals do not end us while the command runs.
pub(super) struct Signals {
    descriptor: OwnedFd,
    /// The signals that were blocked before.
    before: libc::sigset_t,
    /// Whether the ends of children were ignored before.
    children_ignored: bool,
}

/// The same while a runtime watches it.
pub(super) struct Watched(AsyncFd<OwnedFd>);

impl Signals {
    /// Blocks the signals in this thread, and in those that it starts from now on; and has the ends of children told, of which
    /// `wait()` knows nothing where SIGCHLD is ignored, as whoever started us may have it (`do_notify_parent()` of
    /// `kernel/signal.c`, Linux 6.18).
    pub(super) fn block() -> Result<Self> {
        // SAFETY: a set of signals is plain data that `sigemptyset()` initializes; the calls read and write nothing else, and set no
        // handler.
        unsafe {
            let mut before: libc::sigset_t = mem::zeroed();
            let mut set: libc::sigset_t = mem::zeroed();
            libc::sigemptyset(&raw mut set);
            for signal in PASSED_ON {
                libc::sigaddset(&raw mut set, signal);
            }
            let descriptor = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            // To take the terminal back from the background stops who does not block this.
            libc::sigaddset(&raw mut set, libc::SIGTTOU);
            if descriptor < 0 {
                return Err(io::Error::last_os_error()).context("failed to watch for signals");
            }
            let descriptor = OwnedFd::from_raw_fd(descriptor);
            match libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, &raw mut before) {
                0 => {}
                error => return Err(io::Error::from_raw_os_error(error)).context("failed to block signals"),
            }
            let children_ignored = libc::signal(libc::SIGCHLD, libc::SIG_DFL) == libc::SIG_IGN;
            Ok(Self { descriptor, before, children_ignored })
        }
    }

    /// What a child has to do before it executes another program, which has to find signals as we found them.
    pub(super) fn restore(&self) -> impl FnMut() -> io::Result<()> + Send + Sync + 'static {
        let Self { before, children_ignored, .. } = *self;
        move || {
            if children_ignored {
                // SAFETY: no handler is set; async-signal-safe.
                unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
            }
            // SAFETY: reads a set of signals that is initialized; async-signal-safe.
            match unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut()) } {
                0 => Ok(()),
                error => Err(io::Error::from_raw_os_error(error)),
            }
        }
    }

    pub(super) fn watch(self) -> Result<Watched> {
        // SAFETY: an `OwnedFd` is open and the same for as long as it lives, which is as long as the `AsyncFd`.
        let watched = unsafe { AsyncFd::register_with_interest(self.descriptor, Interest::READABLE) };
        Ok(Watched(watched.context("failed to watch for signals")?))
    }
}

impl Watched {
    /// The next signal that the process `command` does not have yet; cancellation-safe.
    pub(super) async fn next(&self, command: u32) -> Result<i32> {
        loop {
            let mut ready = self.0.readable().await.context("failed to watch for signals")?;
            let mut info = [0; size_of::<libc::signalfd_siginfo>()];
            match rustix::io::read(self.0.get_ref(), &mut info) {
                Ok(_) => {
                    // SAFETY: plain data of that size, which the kernel has written.
                    let info: libc::signalfd_siginfo = unsafe { mem::transmute(info) };
                    let has_it = if info.ssi_code == libc::SI_KERNEL {
                        is_in_our_group(command)
                    } else {
                        info.ssi_pid == command
                    };
                    if !has_it {
                        return Ok(info.ssi_signo.cast_signed());
                    }
                }
                Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).context("failed to read signals"),
            }
        }
    }
}

/// Whether what went to our process group went to this process, too. One that has ended needs nothing more.
fn is_in_our_group(process: u32) -> bool {
    let process = Pid::from_raw(process.cast_signed());
    process.is_none_or(|process| getpgid(Some(process)).map_or(true, |group| group == getpgrp()))
}
