//! A file system in user space with one file, whose server stops answering when it is told to.
//!
//! It speaks the protocol of `/dev/fuse` itself (`linux/fuse.h`). A look for the name `stop` is what tells it.

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::{fd::AsRawFd, unix::process::CommandExt as _},
    path::Path,
    process::Command,
    thread,
};

use anyhow::{Context, Result, bail, ensure};
use rustix::{
    mount::{MountFlags, MountPropagationFlags, mount, mount_change},
    process::{Signal, set_parent_process_death_signal},
    thread::{Gid, Uid, UnshareFlags, set_thread_groups, set_thread_res_gid, set_thread_res_uid, unshare_unsafe},
};
use serde::{Deserialize, Serialize};

/// How it is mounted, and what happens to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Served {
    /// Where it is mounted: a directory of everybody's.
    pub(crate) at: String,
    /// What is in the file.
    pub(crate) content: String,
    pub(crate) mounted: Mounted,
    pub(crate) stops: Stops,
    /// Of the server.
    pub(crate) uid: u32,
    /// A device node that this user may open.
    pub(crate) device: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Mounted {
    /// By the user, in namespaces of the user's own.
    ByTheUser,
    /// For everybody, as `fusermount3 -o allow_other` does where `/etc/fuse.conf` lets it.
    ForEverybody,
}

/// What is not answered any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stops {
    Opens,
    Reads,
    Everything,
}

/// The name of the file.
const FILE: &str = "library.so";
/// Looked for, it ends the answers.
const STOP: &str = "stop";

/// Numbers of nodes.
const ROOT: u64 = 1;
const LIBRARY: u64 = 2;

/// Operations.
const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const OPEN: u32 = 14;
const READ: u32 = 15;
const RELEASE: u32 = 18;
const FLUSH: u32 = 25;
const INIT: u32 = 26;
const INTERRUPT: u32 = 36;
const BATCH_FORGET: u32 = 42;

const IN_HEADER: usize = 40;
/// Time for which the kernel believes an answer, so that it asks only for what it has to.
const VALID_S: u64 = 1000;

/// Mounts and serves, and runs `argv` where that is seen. Ends with it.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let (served, argv) = arguments.split_first().context("no file system")?;
    let served: Served = serde_json::from_str(served)?;
    let content = fs::read(&served.content).with_context(|| format!("`{}`", served.content))?;
    let device = served.mount()?;
    thread::spawn(move || {
        if let Err(error) = serve(device, &content, served.uid, served.stops) {
            eprintln!("fuse: {error:#}");
        }
    });
    let (program, arguments) = argv.split_first().context("no program")?;
    let mut command = Command::new(program);
    // SAFETY: a system call, which may be made between fork and exec.
    unsafe { command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?)) };
    let status = command.args(arguments).status().with_context(|| format!("`{program}`"))?;
    ensure!(status.success(), "`{program}`: {status}");
    Ok(())
}

impl Served {
    /// Mounts it as root or as the user, and becomes the user.
    fn mount(&self) -> Result<File> {
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.uid));
        let become_user = || -> Result<()> {
            set_thread_groups(&[])?;
            set_thread_res_gid(gid, gid, gid)?;
            Ok(set_thread_res_uid(uid, uid, uid)?)
        };
        let open = || OpenOptions::new().read(true).write(true).open(&self.device).context("the device of FUSE");
        let device;
        let mut options = String::new();
        if self.mounted == Mounted::ByTheUser {
            become_user()?;
            // The change of user made these files root's.
            rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::Dumpable)?;
            unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNS)?;
            fs::write("/proc/self/setgroups", "deny")?;
            for map in ["/proc/self/uid_map", "/proc/self/gid_map"] {
                fs::write(map, format!("{0} {0} 1", self.uid)).with_context(|| format!("`{map}`"))?;
            }
            // In the namespace that mounts it.
            device = open()?;
        } else {
            unshare(UnshareFlags::NEWNS)?;
            device = open()?;
            options.push_str(",allow_other");
        }
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        let options = format!("fd={},rootmode=40755,user_id={1},group_id={1}{options}\0", device.as_raw_fd(), self.uid);
        let options = std::ffi::CStr::from_bytes_with_nul(options.as_bytes())?;
        mount("hostile", Path::new(&self.at), "fuse", MountFlags::NOSUID | MountFlags::NODEV, options)
            .with_context(|| format!("to mount FUSE at `{}`", self.at))?;
        if self.mounted == Mounted::ForEverybody {
            become_user()?;
        }
        set_parent_process_death_signal(Some(Signal::KILL))?;
        Ok(device)
    }
}

fn unshare(flags: UnshareFlags) -> Result<()> {
    // SAFETY: nothing of this program relies on the old namespaces, and it has one thread.
    Ok(unsafe { unshare_unsafe(flags) }?)
}

fn serve(mut device: File, content: &[u8], uid: u32, stops: Stops) -> Result<()> {
    let mut buffer = vec![0; 1 << 20];
    let mut stopped = false;
    loop {
        let length = match device.read(&mut buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            // It is mounted no more.
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let Some(request) = Request::read(&buffer[..length]) else { bail!("a request of {length} bytes") };
        stopped |= request.operation == LOOKUP && request.name() == STOP.as_bytes();
        let unanswered = stopped
            && match stops {
                Stops::Opens => request.operation == OPEN,
                Stops::Reads => request.operation == READ,
                Stops::Everything => request.name() != STOP.as_bytes(),
            };
        if unanswered || [FORGET, BATCH_FORGET, INTERRUPT].contains(&request.operation) {
            continue;
        }
        let (error, answer) = match request.answer(content, uid) {
            Ok(answer) => (0, answer),
            Err(error) => (-error, Vec::new()),
        };
        let mut reply = Vec::with_capacity(16 + answer.len());
        reply.extend(u32::try_from(16 + answer.len())?.to_le_bytes());
        reply.extend(error.to_le_bytes());
        reply.extend(request.unique.to_le_bytes());
        reply.extend(answer);
        match device.write_all(&reply) {
            // Who asked has gone.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            other => other?,
        }
    }
}

/// The fields of `fuse_in_header` that are of interest, and what follows.
struct Request<'a> {
    operation: u32,
    unique: u64,
    node: u64,
    body: &'a [u8],
}

impl<'a> Request<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let (header, body) = bytes.split_at_checked(IN_HEADER)?;
        let operation = u32::from_le_bytes(header[4..8].try_into().ok()?);
        let unique = u64::from_le_bytes(header[8..16].try_into().ok()?);
        let node = u64::from_le_bytes(header[16..24].try_into().ok()?);
        Some(Self { operation, unique, node, body })
    }

    fn name(&self) -> &[u8] {
        self.body.split(|&byte| byte == 0).next().unwrap_or_default()
    }

    fn number(&self, at: usize) -> Option<u64> {
        Some(u64::from_le_bytes(self.body.get(at..at + 8)?.try_into().ok()?))
    }

    fn answer(&self, content: &[u8], uid: u32) -> Result<Vec<u8>, i32> {
        let attributes = |node| attributes(node, content.len() as u64, uid);
        let valid = VALID_S.to_le_bytes();
        match self.operation {
            INIT => Ok(init()),
            LOOKUP if self.node == ROOT && self.name() == FILE.as_bytes() => {
                Ok([&LIBRARY.to_le_bytes(), &[0; 8], &valid, &valid, &[0; 8][..], &attributes(LIBRARY)].concat())
            }
            LOOKUP => Err(libc::ENOENT),
            GETATTR => Ok([&valid, &[0; 8][..], &attributes(self.node)].concat()),
            OPEN => Ok(vec![0; 16]),
            READ => {
                let offset = self.number(8).and_then(|offset| usize::try_from(offset).ok()).ok_or(libc::EINVAL)?;
                let size = self.number(16).map_or(0, |size| (size & 0xffff_ffff) as usize);
                let rest = content.get(offset..).unwrap_or_default();
                Ok(rest[..size.min(rest.len())].to_vec())
            }
            FLUSH | RELEASE => Ok(Vec::new()),
            _ => Err(libc::ENOSYS),
        }
    }
}

/// `fuse_init_out` of version 7.31, which every kernel speaks that the tests run on.
fn init() -> Vec<u8> {
    let mut answer = Vec::new();
    for number in [7_u32, 31, 1 << 17, 0] {
        answer.extend(number.to_le_bytes());
    }
    answer.extend([16, 0, 12, 0]);
    answer.extend((1_u32 << 17).to_le_bytes());
    answer.extend(1_u32.to_le_bytes());
    answer.resize(64, 0);
    answer
}

/// `fuse_attr`.
fn attributes(node: u64, size: u64, uid: u32) -> Vec<u8> {
    let mut answer = Vec::new();
    for number in [node, size, size.div_ceil(512), 0, 0, 0] {
        answer.extend(number.to_le_bytes());
    }
    let mode = if node == ROOT { libc::S_IFDIR | 0o755 } else { libc::S_IFREG | 0o755 };
    for number in [0, 0, 0, mode, 1, uid, uid, 0, 4096, 0] {
        answer.extend(number.to_le_bytes());
    }
    answer
}
