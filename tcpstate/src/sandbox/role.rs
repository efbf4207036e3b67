//! What a process is for that the tracer has started: it is the same executable, under another name.

use std::{
    env,
    ffi::{CStr, OsStr},
    io,
    os::fd::AsFd as _,
    process::ExitCode,
};

use rustix::thread::{no_new_privs, set_name};
use tcpstate_wire::channel::{Channel, ChannelError};

use crate::confinement;

/// What a child of the tracer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildRole {
    /// Reads what belongs to other processes.
    Broker,
    /// Parses it.
    Worker,
}

impl ChildRole {
    /// Its name, as `ps` shows it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Broker => "tcpstate: broker",
            Self::Worker => "tcpstate: worker",
        }
    }

    const fn thread_name(self) -> &'static CStr {
        match self {
            Self::Broker => c"tcpstate-broker",
            Self::Worker => c"tcpstate-worker",
        }
    }

    /// The role that this process was started in, if it was started in one.
    #[must_use]
    pub fn own() -> Option<Self> {
        let name = env::args_os().next()?;
        [Self::Broker, Self::Worker].into_iter().find(|role| name == OsStr::new(role.name()))
    }

    /// Does what it is for until the tracer ends. The socket is standard input.
    #[must_use]
    pub fn run(self) -> ExitCode {
        match self.serve() {
            Ok(()) => ExitCode::SUCCESS,
            // Nobody is there to be told why.
            Err(_) => ExitCode::FAILURE,
        }
    }

    fn serve(self) -> Result<(), ChannelError> {
        // The tracer has promised for its children that they gain no privileges. Who starts this by itself, to have an executable with
        // file capabilities read for it, either has not, or has none of them.
        if !no_new_privs().map_err(io::Error::from)? {
            return Err(io::Error::from(io::ErrorKind::PermissionDenied).into());
        }
        set_name(self.thread_name()).map_err(io::Error::from)?;
        let channel = Channel::of(io::stdin().as_fd().try_clone_to_owned()?);
        let confined = match self {
            Self::Broker => confinement::broker(channel.as_fd()),
            Self::Worker => confinement::worker(channel.as_fd()),
        };
        confined.map_err(|error| io::Error::other(format!("{error:#}")))?;
        match self {
            Self::Broker => tcpstate_broker::serve(&channel),
            Self::Worker => tcpstate_stacks::worker::serve(&channel),
        }
    }
}
