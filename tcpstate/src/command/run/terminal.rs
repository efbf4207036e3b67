//! The terminal, given back as it was.

use std::{
    fs::File,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    process::{Pid, getpgrp},
    stdio::stdin,
    termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetpgrp, tcsetattr, tcsetpgrp},
};

use crate::report::run::CommandEnd;

/// How the terminal was before the command.
pub(super) struct Terminal {
    descriptor: OwnedFd,
    modes: Termios,
    foreground: Pid,
}

impl Terminal {
    /// `None` where there is none.
    pub(super) fn of_this_process() -> Option<Self> {
        let input = isatty(stdin()).then(|| stdin().as_fd().try_clone_to_owned().ok()).flatten();
        let descriptor = input.or_else(|| File::open("/dev/tty").ok().map(OwnedFd::from))?;
        let modes = tcgetattr(&descriptor).ok()?;
        let foreground = tcgetpgrp(&descriptor).ok()?;
        Some(Self { descriptor, modes, foreground })
    }

    /// Takes the foreground back where a command that made itself the foreground left it; and, as shells do, the modes where it was
    /// killed: of one that ended by itself they are what it wanted. Best effort: a terminal may be gone.
    pub(super) fn restore(&self, end: CommandEnd) {
        let group = getpgrp();
        if self.foreground == group && tcgetpgrp(&self.descriptor).is_ok_and(|now| now != group) {
            let _ = tcsetpgrp(&self.descriptor, group);
        }
        if matches!(end, CommandEnd::Killed(_)) && self.foreground == group {
            let _ = tcsetattr(&self.descriptor, OptionalActions::Drain, &self.modes);
        }
    }
}
