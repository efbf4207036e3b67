//! Programs to look at: built here, blocked in a system call, and captured as the kernel side would.

use std::{
    error::Error,
    ffi::OsStr,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::{
        ptrace,
        wait::{WaitPidFlag, waitpid},
    },
    unistd::Pid,
};
use tcpstate_common::leak::Registers;

use crate::reader::{Copied, Reader};

pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// How much stack is read at most, bytes.
pub(crate) const MAX_STACK: usize = 64 * 1024;
/// How long a program may take to reach its system call.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The text of a program in `programs/`.
pub(crate) fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stacks/programs").join(name)
}

/// The line of `programs/NAME` that contains `mark`.
pub(crate) fn line_of(name: &str, mark: &str) -> Result<u32> {
    let text = fs::read_to_string(source(name))?;
    let index = text.lines().position(|line| line.contains(mark)).ok_or(format!("no `{mark}` in {name}"))?;
    Ok(u32::try_from(index)? + 1)
}

/// A file of this test's own.
pub(crate) fn scratch(test: &str) -> Result<PathBuf> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("stacks");
    fs::create_dir_all(&directory)?;
    Ok(directory.join(test))
}

/// Builds `programs/SOURCE` for one test with `command`, and gives the path of the executable.
pub(crate) fn build(test: &str, source_name: &str, command: &str) -> Result<PathBuf> {
    let output = scratch(test)?;
    // Not by this process: a test beside this one could start a program while it has the file open for writing, and the
    // copy could not be executed as long as that program does.
    let copied = Command::new("cp").arg(compiled(source_name, command)?).arg(&output).status()?;
    if !copied.success() {
        return Err(format!("`cp` to `{}`: {copied}", output.display()).into());
    }
    Ok(output)
}

/// The executable that `command` makes of `programs/SOURCE`, compiled when it has not been yet.
pub(crate) fn compiled(source_name: &str, command: &str) -> Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    (fs::read(source(source_name))?, command).hash(&mut hasher);
    let program = scratch(&format!("compiled-{:016x}", hasher.finish()))?;
    if program.exists() {
        return Ok(program);
    }
    let mut words = command.split_whitespace();
    let compiler = words.next().ok_or("no compiler")?;
    // Tests run beside each other.
    let unfinished = program.with_extension(format!("{:?}", thread::current().id()));
    let built = Command::new(compiler).arg(source(source_name)).arg("-o").arg(&unfinished).args(words).output()?;
    if !built.status.success() {
        return Err(format!("`{command}`: {}", String::from_utf8_lossy(&built.stderr)).into());
    }
    fs::rename(&unfinished, &program)?;
    Ok(program)
}

/// A running program; ended when dropped.
pub(crate) struct Target {
    pub(crate) child: Child,
}

/// What the kernel side would have captured of a thread.
pub(crate) struct Capture {
    pub(crate) pid: u32,
    pub(crate) registers: Registers,
    pub(crate) bytes: Vec<u8>,
    pub(crate) may_go_on: bool,
}

impl Capture {
    pub(crate) fn copy(&self) -> Copied {
        let Self { pid, registers, ref bytes, may_go_on } = *self;
        Copied { pid, start_stack: None, registers, bytes: bytes.clone(), missing: Vec::new(), may_go_on }
    }
}

impl Target {
    pub(crate) fn start(program: &Path, arguments: &[impl AsRef<OsStr>]) -> Result<Self> {
        // Node leaves a log where it runs.
        let directory = scratch("")?;
        let mut command = Command::new(program);
        command.args(arguments).current_dir(directory).stdin(Stdio::piped()).stdout(Stdio::null());
        Ok(Self { child: command.spawn()? })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the main thread is blocked in system call `number`, and captures it.
    pub(crate) fn blocked(&self, number: libc::c_long) -> Result<Capture> {
        wait_for_call(self.pid(), self.pid(), number)?;
        capture(self.pid(), self.pid(), MAX_STACK)
    }

    /// Ends the program and waits for it.
    pub(crate) fn end(&mut self) -> Result {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // It may have been ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The threads of a process, the main thread first.
pub(crate) fn threads(pid: u32) -> Result<Vec<u32>> {
    let mut threads = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        threads.push(entry?.file_name().to_string_lossy().parse()?);
    }
    threads.sort_unstable();
    Ok(threads)
}

/// Waits until a thread is blocked in system call `number`.
pub(crate) fn wait_for_call(pid: u32, tid: u32, number: libc::c_long) -> Result {
    let path = format!("/proc/{pid}/task/{tid}/syscall");
    let start = Instant::now();
    loop {
        let now = fs::read_to_string(&path)?;
        if now.split(' ').next() == Some(&number.to_string()) {
            return Ok(());
        }
        if start.elapsed() > PATIENCE {
            return Err(format!("thread {tid} is not in system call {number} but `{}`", now.trim()).into());
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Registers and stack of a blocked thread. Here ptrace gives the registers, in the tracer a BPF program.
pub(crate) fn capture(pid: u32, tid: u32, limit: usize) -> Result<Capture> {
    let thread = Pid::from_raw(i32::try_from(tid)?);
    ptrace::seize(thread, ptrace::Options::empty())?;
    ptrace::interrupt(thread)?;
    waitpid(thread, Some(WaitPidFlag::__WALL))?;
    let registers = ptrace::getregs(thread)?;
    let registers = Registers { ip: registers.rip, sp: registers.rsp, bp: registers.rbp };
    let bytes = Reader::default().memory(pid, registers.sp, limit);
    ptrace::detach(thread, None)?;
    let may_go_on = bytes.len() == limit;
    Ok(Capture { pid, registers, bytes, may_go_on })
}
