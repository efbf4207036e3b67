//! A process that confines itself and then does what a test wants to see refused or allowed: this binary, executed again.

use std::{
    env,
    ffi::CString,
    fs::File,
    hint::black_box,
    io::{self, IoSliceMut, Read, Seek, SeekFrom, Write},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{
            net::UnixStream,
            process::{CommandExt, ExitStatusExt},
        },
    },
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::{
    fs::{Mode, OFlags, ResolveFlags},
    mm::{MapFlags, ProtFlags},
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags},
};
use tcpstate::confinement::{self, Confined, Duties};

use crate::support::launch::Launch;

pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// What it says when it has done what was asked.
const DONE: u8 = b'y';
/// What it says when that was refused.
const REFUSED: u8 = b'n';

/// The test's side of it; killed when dropped.
pub(crate) struct Process {
    child: Child,
    channel: UnixStream,
    pub(crate) confined: Confined,
}

/// How it went.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) status: ExitStatus,
    /// What it said, if it did.
    pub(crate) said: Option<bool>,
}

impl Process {
    /// Confined, and waiting to do what `action` says.
    pub(crate) fn start(role: &str, action: &[&str]) -> Result<Self> {
        Self::launch(&Launch::default(), role, action)
    }

    /// The same under these conditions.
    pub(crate) fn launch(launch: &Launch, role: &str, action: &[&str]) -> Result<Self> {
        let (mut channel, its) = UnixStream::pair()?;
        channel.set_read_timeout(Some(PATIENCE))?;
        let mut command = launch.command(env::current_exe()?)?;
        command.args(["confined", role]).args(action).stdin(OwnedFd::from(its)).stdout(Stdio::null());
        let mut child = command.env_remove("RUST_BACKTRACE").stderr(Stdio::piped()).spawn()?;
        drop(command);
        let mut bits = [0];
        if let Err(error) = channel.read_exact(&mut bits) {
            let _ = child.kill();
            let output = child.wait_with_output()?;
            bail!("it is not confined ({error}): {} {}", output.status, String::from_utf8_lossy(&output.stderr));
        }
        Ok(Self { child, channel, confined: Confined::from_bits(bits[0]) })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Hands it a descriptor and has it go on.
    pub(crate) fn hand(&self, descriptor: BorrowedFd<'_>) -> Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let descriptors = [descriptor];
        ensure!(ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)));
        rustix::net::sendmsg(&self.channel, &[io::IoSlice::new(&[1])], &mut ancillary, SendFlags::empty())?;
        Ok(())
    }

    /// Has it do what it is there for.
    pub(crate) fn go(mut self) -> Result<End> {
        self.channel.write_all(&[1])?;
        self.end()
    }

    /// Has it become what it was told to, which confines itself anew.
    pub(crate) fn becomes(mut self) -> Result<Self> {
        self.channel.write_all(&[1])?;
        let mut bits = [0];
        self.channel.read_exact(&mut bits).context("it has not become what it was told to")?;
        self.confined = Confined::from_bits(bits[0]);
        Ok(self)
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Result<End> {
        let mut said = [0];
        let said = match self.channel.read(&mut said) {
            Ok(1) => Some(said[0] == DONE),
            _ => None,
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(End { status, said });
            }
            ensure!(Instant::now() < deadline, "it does not end");
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl End {
    /// It has lived to say that it did it.
    pub(crate) fn done(&self) -> bool {
        self.status.success() && self.said == Some(true)
    }

    /// It has lived to say that it was refused.
    pub(crate) fn refused(&self) -> bool {
        self.status.success() && self.said == Some(false)
    }

    pub(crate) fn killed_by(&self, signal: i32) -> bool {
        self.status.signal() == Some(signal)
    }
}

/// The other side. Whatever it does comes after it is confined.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let [role, action @ ..] = arguments else { bail!("no role") };
    let channel = rustix::stdio::stdin();
    let action: Vec<&str> = action.iter().map(String::as_str).collect();
    let confined = match role.as_str() {
        "worker" => confinement::worker(channel)?,
        "broker" => confinement::broker(channel)?,
        "tracer" => confinement::tracer(&Duties { hunts: true, ..Duties::default() })?,
        "anybody" => Confined::default(),
        _ => bail!("no role `{role}`"),
    };
    rustix::io::write(channel, &[confined.to_bits()])?;
    let (handed, go) = receive(channel)?;
    if !go {
        return Ok(());
    }
    let said = match act(&action, handed) {
        Ok(()) => DONE,
        Err(error) => {
            eprintln!("{error:#}");
            REFUSED
        }
    };
    rustix::io::write(channel, &[said])?;
    Ok(())
}

fn receive(channel: BorrowedFd<'_>) -> Result<(Option<OwnedFd>, bool)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let received =
        rustix::net::recvmsg(channel, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let descriptors = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    Ok((descriptors.flatten().next(), received.bytes == 1))
}

/// A call by its number and arguments. What it returns does not matter: that it returns does.
fn call(number: libc::c_long, arguments: [usize; 4]) {
    let [first, second, third, fourth] = arguments;
    // SAFETY: those that are called here change no memory of this process but what is given for it, and close nothing.
    unsafe { libc::syscall(number, first, second, third, fourth, 0, 0) };
}

fn act(action: &[&str], handed: Option<OwnedFd>) -> Result<()> {
    match *action {
        [] => Ok(()),
        ["call", number, ref arguments @ ..] => {
            let mut given = [0; 4];
            for (given, argument) in given.iter_mut().zip(arguments) {
                *given = argument.parse::<isize>()?.cast_unsigned();
            }
            call(number.parse()?, given);
            Ok(())
        }
        // It is refused where there is no such call.
        ["errno", number, ref arguments @ ..] => {
            act(&[&["call", number], arguments].concat(), None)?;
            ensure!(io::Error::last_os_error().raw_os_error() != Some(libc::ENOSYS));
            Ok(())
        }
        ["become", ref arguments @ ..] => {
            Err(Command::new("/proc/self/exe").arg("confined").args(arguments).exec()).context("failed to become it")
        }
        ["open", path, flags] => {
            let path = CString::new(path)?;
            call(libc::SYS_openat, [libc::AT_FDCWD as usize, path.as_ptr() as usize, flags.parse()?, 0]);
            Ok(())
        }
        ["execute", path] => {
            let path = CString::new(path)?;
            let none = [std::ptr::null::<libc::c_char>()];
            call(libc::SYS_execve, [path.as_ptr() as usize, none.as_ptr() as usize, none.as_ptr() as usize, 0]);
            bail!("`execve()` came back")
        }
        ["fork"] => {
            // SAFETY: this process has one thread, and the child ends at once.
            if unsafe { libc::fork() } == 0 {
                // SAFETY: it ends the child, and nothing else.
                unsafe { libc::_exit(0) };
            }
            Ok(())
        }
        ["thread"] => {
            let thread = thread::Builder::new().spawn(|| {})?;
            thread.join().map_err(|_| anyhow::anyhow!("it panicked"))
        }
        #[cfg(target_arch = "x86_64")]
        ["old-call"] => {
            // The numbers of 32-bit programs: 20 is `getpid()` there, and `writev()` here.
            let mut result: u64 = 20;
            // SAFETY: it changes nothing but its result.
            unsafe { std::arch::asm!("int 0x80", inout("rax") result) };
            black_box(result);
            Ok(())
        }
        ["executable-memory"] => {
            let prot = ProtFlags::READ | ProtFlags::EXEC;
            // SAFETY: new memory, which nobody uses.
            unsafe { rustix::mm::mmap_anonymous(std::ptr::null_mut(), 4096, prot, MapFlags::PRIVATE) }?;
            Ok(())
        }
        ["make-executable"] => {
            // SAFETY: new memory, which nobody uses.
            unsafe {
                let page = rustix::mm::mmap_anonymous(
                    std::ptr::null_mut(),
                    4096,
                    ProtFlags::READ | ProtFlags::WRITE,
                    MapFlags::PRIVATE,
                )?;
                rustix::mm::mprotect(page, 4096, rustix::mm::MprotectFlags::READ | rustix::mm::MprotectFlags::EXEC)?;
            }
            Ok(())
        }
        ["panic"] => panic!("as asked"),
        ["abort"] => std::process::abort(),
        ["recurse"] => {
            black_box(recurse(black_box(1)));
            Ok(())
        }
        ["allocate", bytes] => {
            let mut memory = Vec::<u8>::new();
            memory.try_reserve_exact(bytes.parse()?)?;
            black_box(memory.as_ptr());
            Ok(())
        }
        ["allocate-or-die", bytes] => {
            black_box(vec![1_u8; bytes.parse()?]);
            Ok(())
        }
        ["read", expected] => read_handed(handed.context("nothing was handed over")?, expected),
        _ => look(action),
    }
}

/// What a broker does to others.
fn look(action: &[&str]) -> Result<()> {
    match *action {
        ["contents", path, expected] => {
            let text = std::fs::read_to_string(path).with_context(|| format!("`{path}`"))?;
            ensure!(text == expected, "`{text}`");
            Ok(())
        }
        ["in-root", pid, path] => {
            let root = File::open(format!("/proc/{pid}/root"))?;
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
            rustix::fs::openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT)?;
            Ok(())
        }
        ["make", path] => {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
            rustix::fs::openat2(rustix::fs::CWD, path, flags, Mode::RUSR, ResolveFlags::empty())?;
            Ok(())
        }
        ["overwrite", path] => {
            let flags = OFlags::WRONLY | OFlags::CLOEXEC;
            rustix::fs::openat2(rustix::fs::CWD, path, flags, Mode::empty(), ResolveFlags::empty())?;
            Ok(())
        }
        ["maps", pid] => {
            let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"))?;
            ensure!(maps.contains("[stack]"), "`{maps}`");
            Ok(())
        }
        ["mapped-file", pid, range] => {
            let mut file = File::open(format!("/proc/{pid}/map_files/{range}"))?;
            let mut magic = [0; 4];
            file.read_exact(&mut magic)?;
            ensure!(magic == *b"\x7fELF", "{magic:?}");
            Ok(())
        }
        ["memory", pid, address] => {
            let mut magic = [0; 4];
            let remote = [nix::sys::uio::RemoteIoVec { base: usize::from_str_radix(address, 16)?, len: 4 }];
            let pid = nix::unistd::Pid::from_raw(pid.parse()?);
            nix::sys::uio::process_vm_readv(pid, &mut [IoSliceMut::new(&mut magic)], &remote)?;
            ensure!(magic == *b"\x7fELF", "{magic:?}");
            Ok(())
        }
        ["frame", pid, address] => {
            let mut pagemap = File::open(format!("/proc/{pid}/pagemap"))?;
            pagemap.seek(SeekFrom::Start(u64::from_str_radix(address, 16)? / 4096 * 8))?;
            let mut entry = [0; 8];
            pagemap.read_exact(&mut entry)?;
            ensure!(u64::from_ne_bytes(entry) << 9 != 0, "no frame is told");
            Ok(())
        }
        _ => bail!("no action {action:?}"),
    }
}

/// Reads a file that was handed over, in every way that its parsers know.
fn read_handed(handed: OwnedFd, expected: &str) -> Result<()> {
    let mut file = File::from(handed);
    let length = file.metadata().context("its length")?.len();
    let mut copy = file.try_clone().context("a copy")?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    ensure!(text == expected && length == text.len() as u64, "`{text}`, {length}");
    ensure!(copy.seek(SeekFrom::Start(0))? == 0);
    let mut again = vec![0; expected.len()];
    std::os::unix::fs::FileExt::read_exact_at(&copy, &mut again, 0)?;
    ensure!(again == expected.as_bytes());
    // SAFETY: the test does not change the file.
    let mapped = unsafe {
        rustix::mm::mmap(std::ptr::null_mut(), expected.len(), ProtFlags::READ, MapFlags::PRIVATE, copy.as_fd(), 0)
    }
    .context("a mapping")?;
    // SAFETY: mapped for so long, and nobody writes there.
    let bytes = unsafe { std::slice::from_raw_parts(mapped.cast::<u8>(), expected.len()) };
    ensure!(bytes == expected.as_bytes());
    Ok(())
}

#[expect(unconditional_recursion, reason = "it is there to find the end of the stack")]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    recurse(frame[0] + 1) + frame[63]
}

/// The first mapping of a process's program: its addresses as in `map_files`, and the first of them.
pub(crate) fn program_mapping(pid: u32) -> Result<(String, String)> {
    let program = std::fs::read_link(format!("/proc/{pid}/exe"))?;
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let line = maps.lines().find(|line| line.ends_with(&*program.to_string_lossy())).context("no mapping")?;
    let range = line.split_whitespace().next().context("no range")?;
    Ok((range.to_owned(), range.split_once('-').context("no end")?.0.to_owned()))
}
