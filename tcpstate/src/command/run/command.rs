//! The command: forked before anything is traced, executed when everything is.

use std::{
    ffi::{OsStr, OsString},
    io::{self, Read as _},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    path::Path,
    process::{Command, ExitStatus},
    thread,
};

use anyhow::{Context as _, Result, anyhow};
use rustix::{
    io::Errno,
    pipe::{PipeFlags, pipe_with},
    process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal},
};
use tokio::sync::oneshot;

use super::signals::Signals;
use crate::confinement;

/// A process that will become the command once it is told to. Dropped before that, it ends without having run anything.
pub(super) struct Waiting {
    pid: u32,
    process: OwnedFd,
    go: OwnedFd,
    started: oneshot::Receiver<io::Result<()>>,
    ended: oneshot::Receiver<io::Result<ExitStatus>>,
}

/// The running command.
pub(super) struct Running {
    /// Process id.
    pub(super) pid: u32,
    process: OwnedFd,
    /// Comes once, with its end.
    pub(super) ended: oneshot::Receiver<io::Result<ExitStatus>>,
}

/// Why a command could not be started, with the exit code that shells give for it.
#[derive(Debug, thiserror::Error)]
#[error("failed to run `{}`{}", .command.display(), .remedy)]
pub(super) struct CannotRun {
    command: OsString,
    /// Exit code.
    pub(super) code: u8,
    remedy: &'static str,
    source: io::Error,
}

impl CannotRun {
    fn new(command: &OsStr, source: io::Error) -> Self {
        // A bare name is looked for in PATH.
        let by_path = command.as_encoded_bytes().contains(&b'/');
        let (code, remedy) = match source.kind() {
            io::ErrorKind::NotFound if by_path && Path::new(command).exists() => {
                (127, ": it is there, but not the interpreter that its first line or its ELF header names")
            }
            io::ErrorKind::NotFound => (127, ": it is neither a file nor in PATH"),
            io::ErrorKind::PermissionDenied if Path::new(command).is_dir() => (126, ": it is a directory"),
            io::ErrorKind::PermissionDenied => {
                (126, ": it is not executable, or a directory on its way may not be entered")
            }
            _ => (126, ""),
        };
        Self { command: command.to_owned(), code, remedy, source }
    }
}

impl Waiting {
    /// Forks. The new process waits before its first instruction of the command.
    pub(super) fn fork(argv: &[OsString], signals: &Signals) -> Result<Self> {
        let (program, arguments) = argv.split_first().context("no command to run")?;
        let pipe = || pipe_with(PipeFlags::CLOEXEC).context("failed to make a pipe");
        let ((said, say), (wait, go)) = (pipe()?, pipe()?);
        let mut command = Command::new(program);
        command.args(arguments);
        let our_end = go.as_raw_fd();
        let mut restore = signals.restore();
        // SAFETY: between fork and exec only system calls are made, on descriptors that the child has as copies of its own.
        unsafe {
            command.pre_exec(move || {
                // Its copy would keep the pipe open if we died.
                libc::close(our_end);
                restore()?;
                rustix::io::write(&say, &getpid().as_raw_nonzero().get().to_ne_bytes())?;
                let mut byte = [0];
                loop {
                    match rustix::io::read(&wait, &mut byte) {
                        Ok(1) => return Ok(()),
                        Ok(_) => return Err(Errno::CANCELED.into()),
                        Err(Errno::INTR) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            });
        }
        let (start, started) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        // `spawn()` comes back when the command is executed, so it waits, too. Nobody listens to a command that is given up.
        let work = move || match command.spawn() {
            Ok(mut child) => {
                drop(command);
                // It only waits from here on.
                if let Err(error) = confinement::give_up_all() {
                    tracing::debug!("{error:#}");
                }
                let _ = start.send(Ok(()));
                let _ = end.send(child.wait());
            }
            Err(error) => {
                drop(command);
                let _ = start.send(Err(error));
            }
        };
        thread::Builder::new().name("tcpstate-cmd".into()).spawn(work).context("failed to start a thread")?;
        let mut pid = [0; 4];
        if std::fs::File::from(said).read_exact(&mut pid).is_err() {
            let error = started.blocking_recv().ok().and_then(Result::err);
            return Err(error.map_or_else(|| anyhow!("it ended at once"), Into::into).context("failed to fork"));
        }
        let pid = i32::from_ne_bytes(pid);
        let process = Pid::from_raw(pid).context("no process id")?;
        let process = pidfd_open(process, PidfdFlags::empty()).context("failed to watch the command")?;
        Ok(Self { pid: pid.unsigned_abs(), process, go, started, ended })
    }

    /// Its process id, which the command will have.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Lets it become the command.
    pub(super) async fn start(self, argv: &[OsString]) -> Result<Running> {
        let Self { pid, process, go, started, ended } = self;
        // A child that was killed meanwhile does not read it, and says so.
        let _ = rustix::io::write(&go, &[1]);
        drop(go);
        match started.await.context("the thread of the command ended")? {
            Ok(()) => Ok(Running { pid, process, ended }),
            Err(error) => Err(CannotRun::new(argv.first().map_or(OsStr::new(""), |name| name), error).into()),
        }
    }
}

impl Running {
    /// Passes a signal on. One that has ended gets none.
    pub(super) fn signal(&self, signal: i32) {
        if let Some(signal) = Signal::from_named_raw(signal) {
            let _ = pidfd_send_signal(&self.process, signal);
        }
    }
}
