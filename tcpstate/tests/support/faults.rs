//! Standard streams on bad days: a program's output where it cannot be written, is not read, or is closed.

use std::{
    fs::{File, OpenOptions},
    io::{self, PipeReader, Read as _, Seek as _, Write as _},
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// What is wrong with a standard stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing: it is read as it comes.
    None,
    /// `>/dev/full`.
    Full,
    /// `>&-`.
    Closed,
    /// A pipe without a reader.
    Gone,
    /// A pipe whose reader comes late.
    Slow,
    /// A full pipe whose reader stays away.
    Stuck,
    /// A file, where files may not become longer than some bytes (`ulimit -f`).
    Limited,
}

/// How long a slow reader stays away.
const LATE: Duration = Duration::from_millis(400);
/// Bytes that a file may have under [`Fault::Limited`].
const LIMIT: u64 = 10;
/// For anything that ends by itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// How it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a command to its end with these streams.
pub(crate) fn run(mut command: Command, stdout: Fault, stderr: Fault) -> io::Result<Ended> {
    let (out, read_out) = stream(stdout)?;
    let (err, read_err) = stream(stderr)?;
    command.stdin(Stdio::null()).stdout(out).stderr(err);
    let closed: Vec<i32> =
        [(1, stdout), (2, stderr)].into_iter().filter(|&(_, fault)| fault == Fault::Closed).map(|(fd, _)| fd).collect();
    let limited = [stdout, stderr].contains(&Fault::Limited);
    // SAFETY: only system calls are made between fork and exec, on descriptors of the child.
    unsafe {
        command.pre_exec(move || {
            for &fd in &closed {
                libc::close(fd);
            }
            let limit = libc::rlimit { rlim_cur: LIMIT, rlim_max: LIMIT };
            if limited && libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) != 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
    let child = command.spawn()?;
    // The child's ends of the pipes.
    drop(command);
    let status = end(child)?;
    Ok(Ended { code: status, stdout: read_out.text(), stderr: read_err.text() })
}

/// Its exit code; `None` where a signal has ended it.
fn end(mut child: Child) -> io::Result<Option<i32>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.code());
        }
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            return Err(io::Error::other(format!("it did not end in {PATIENCE:?}")));
        }
        thread::sleep(Duration::from_millis(5));
    }
}

enum Reading {
    Nothing,
    Pipe(JoinHandle<String>),
    /// Not until it has ended.
    Never(#[expect(dead_code, reason = "it is only to be there")] PipeReader),
    File(File),
}

impl Reading {
    fn text(self) -> String {
        match self {
            Self::Nothing | Self::Never(_) => String::new(),
            Self::Pipe(reader) => reader.join().unwrap_or_default(),
            Self::File(mut file) => {
                let mut text = String::new();
                let read = file.rewind().and_then(|()| file.read_to_string(&mut text));
                read.map(|_| text).unwrap_or_default()
            }
        }
    }
}

fn stream(fault: Fault) -> io::Result<(Stdio, Reading)> {
    Ok(match fault {
        Fault::Full => (OpenOptions::new().write(true).open("/dev/full")?.into(), Reading::Nothing),
        Fault::Closed => (Stdio::null(), Reading::Nothing),
        Fault::Gone => (io::pipe()?.1.into(), Reading::Nothing),
        Fault::None | Fault::Slow => {
            let (mut reader, writer) = io::pipe()?;
            let read = move || {
                thread::sleep(if fault == Fault::Slow { LATE } else { Duration::ZERO });
                let mut bytes = Vec::new();
                let _ = reader.read_to_end(&mut bytes);
                String::from_utf8_lossy(&bytes).into_owned()
            };
            (writer.into(), Reading::Pipe(thread::spawn(read)))
        }
        Fault::Stuck => {
            let (reader, mut writer) = io::pipe()?;
            // Its capacity where nobody has changed it (`PIPE_DEF_BUFFERS` of `include/linux/pipe_fs_i.h`).
            writer.write_all(&[b'\n'; 64 << 10])?;
            (writer.into(), Reading::Never(reader))
        }
        Fault::Limited => {
            let file = tempfile::tempfile()?;
            (file.try_clone()?.into(), Reading::File(file))
        }
    })
}
