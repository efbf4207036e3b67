//! Signals that are meant for the command.
//!
//! What a terminal sends goes to its whole foreground process group, so the command has it already, unless it has left ours, as
//! `timeout` and `setsid` do; what a process sends to us is passed on.

use std::io;

use anyhow::{Context as _, Result};
use nix::{
    errno::Errno,
    sys::{
        signal::{SigHandler, SigSet, SigmaskHow, Signal, signal},
        signalfd::{SfdFlags, SignalFd},
    },
};
use rustix::process::{Pid, getpgid, getpgrp};
use tokio::io::{Interest, unix::AsyncFd};

/// Signals that end programs, and those that programs give a meaning to.
const PASSED_ON: [Signal; 6] =
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2];

/// Kept from us from its making on: these signals do not end us while the command runs.
pub(super) struct Signals {
    descriptor: SignalFd,
    /// The signals that were blocked before.
    before: SigSet,
    /// Whether the ends of children were ignored before.
    children_ignored: bool,
}

/// The same while a runtime watches it.
pub(super) struct Watched(AsyncFd<SignalFd>);

impl Signals {
    /// Blocks the signals in this thread, and in those that it starts from now on; and has the ends of children told, of which
    /// `wait()` knows nothing where SIGCHLD is ignored, as whoever started us may have it (`do_notify_parent()` of
    /// `kernel/signal.c`, Linux 6.18).
    pub(super) fn block() -> Result<Self> {
        let mut set: SigSet = PASSED_ON.into_iter().collect();
        let descriptor = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK);
        let descriptor = descriptor.context("failed to watch for signals")?;
        // To take the terminal back from the background stops who does not block this.
        set.add(Signal::SIGTTOU);
        let before = set.thread_swap_mask(SigmaskHow::SIG_BLOCK).context("failed to block signals")?;
        // SAFETY: no handler is set, so there is none that could be unsafe.
        let children = unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) };
        let children = children.context("failed to have the ends of children told")?;
        Ok(Self { descriptor, before, children_ignored: matches!(children, SigHandler::SigIgn) })
    }

    /// What a child has to do before it executes another program, which has to find signals as we found them. Async-signal-safe.
    pub(super) fn restore(&self) -> impl FnMut() -> io::Result<()> + Send + Sync + 'static {
        let Self { before, children_ignored, .. } = *self;
        move || {
            if children_ignored {
                // SAFETY: no handler is set.
                unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) }?;
            }
            Ok(before.thread_set_mask()?)
        }
    }

    pub(super) fn watch(self) -> Result<Watched> {
        // SAFETY: a `SignalFd` is open and the same for as long as it lives, which is as long as the `AsyncFd`.
        let watched = unsafe { AsyncFd::register_with_interest(self.descriptor, Interest::READABLE) };
        Ok(Watched(watched.context("failed to watch for signals")?))
    }
}

impl Watched {
    /// The next signal that the process `command` does not have yet; cancellation-safe.
    pub(super) async fn next(&self, command: u32) -> Result<i32> {
        loop {
            let mut ready = self.0.readable().await.context("failed to watch for signals")?;
            match self.0.get_ref().read_signal() {
                Ok(Some(info)) => {
                    let has_it = if info.ssi_code == libc::SI_KERNEL {
                        is_in_our_group(command)
                    } else {
                        info.ssi_pid == command
                    };
                    if !has_it {
                        return Ok(info.ssi_signo.cast_signed());
                    }
                }
                Ok(None) => ready.clear_ready(),
                Err(Errno::EINTR) => {}
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
