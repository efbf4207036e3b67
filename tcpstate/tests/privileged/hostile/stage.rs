//! Where attacks take place: namespaces that no other tracer on the machine looks into, the files that attacks are made of, and a
//! good neighbour.

use std::{
    env,
    fs::{self, File, Permissions},
    os::{
        fd::OwnedFd,
        unix::fs::{PermissionsExt as _, chown, symlink},
    },
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::{
    fs::{CWD, FileType, Mode, inotify, makedev, mknodat},
    io::Errno,
};

use super::{
    attack::Attack,
    elf::{Elf, links::DIRECTORY},
};
use crate::{
    scenarios::{compile, program::Program},
    support::launch::{Launch, Netns},
};

/// The user that attacks.
pub(crate) const ATTACKER: u32 = 65_534;
/// The user that does not.
const NEIGHBOUR: u32 = 65_533;
/// How many sockets the neighbour leaks each time.
pub(crate) const ITS_SOCKETS: usize = 3;
/// Larger than any file that anybody reads.
const SPARSE: u64 = 8 << 40;

/// Numbers of devices: `/dev/zero`, which is read for ever, and `/dev/fuse`.
const ZERO: (u32, u32) = (1, 5);
const FUSE: (u32, u32) = (10, 229);

/// The namespaces are the neighbour's. All is gone with it.
pub(crate) struct Stage {
    pub(crate) neighbour: Program,
    pub(crate) elf: Elf,
    secrets: OwnedFd,
}

/// An attack that goes on; ended when dropped.
pub(crate) struct Attacker {
    pub(crate) attack: Attack,
    pub(crate) program: Program,
    pub(crate) pid: u32,
}

/// Builds what the attacks are made of.
pub(crate) fn build() -> Result<()> {
    compile::hostile("hostile")?;
    compile::hostile("neighbour")?;
    compile::library("hostile/library.c").map(drop)
}

impl Stage {
    pub(crate) fn new() -> Result<Self> {
        let launch = Launch {
            uid: Some(NEIGHBOUR),
            netns: Some(Netns::New),
            emptied: vec![DIRECTORY.into()],
            ..Launch::default()
        };
        let neighbour = Program::launch(&launch, &compile::hostile("neighbour")?, &[ITS_SOCKETS.to_string()])?;
        neighbour.said("READY")?;
        let elf = Elf::read(fs::read(compile::library("hostile/library.c")?)?)?;
        let secrets = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
        let stage = Self { neighbour, elf, secrets };
        for name in ["hostile", "neighbour"] {
            stage.put(name, &fs::read(compile::hostile(name)?)?)?;
        }
        stage.put("library.so", &fs::read(compile::library("hostile/library.c")?)?)?;
        stage.furnish()?;
        Ok(stage)
    }

    /// What links lead to.
    fn furnish(&self) -> Result<()> {
        for (name, kind, mode, (major, minor)) in [
            ("fifo", FileType::Fifo, 0o666, (0, 0)),
            ("device", FileType::CharacterDevice, 0o600, ZERO),
            ("fuse", FileType::CharacterDevice, 0o666, FUSE),
        ] {
            let path = self.path(name);
            mknodat(CWD, &path, kind, Mode::empty(), makedev(major, minor)).with_context(|| name.to_owned())?;
            fs::set_permissions(&path, Permissions::from_mode(mode))?;
        }
        self.put("secret", b"root:$6$secret\n")?;
        fs::set_permissions(self.path("secret"), Permissions::from_mode(0o600))?;
        chown(self.path("secret"), Some(0), Some(0))?;
        self.put("sparse", b"")?;
        File::options().write(true).open(self.path("sparse"))?.set_len(SPARSE)?;
        symlink(format!("{DIRECTORY}/secret"), self.path("link-to-secret"))?;
        for name in ["secret", "device"] {
            let what = inotify::WatchFlags::OPEN | inotify::WatchFlags::ACCESS;
            inotify::add_watch(&self.secrets, self.path(name), what)?;
        }
        Ok(())
    }

    /// Where this process finds what is in the directory of the stage.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        Path::new(&format!("/proc/{}/root{DIRECTORY}", self.neighbour.pid)).join(name)
    }

    /// A file of the attackers'.
    pub(crate) fn put(&self, name: &str, content: &[u8]) -> Result<()> {
        let path = self.path(name);
        fs::write(&path, content).with_context(|| format!("`{}`", path.display()))?;
        fs::set_permissions(&path, Permissions::from_mode(0o755))?;
        Ok(chown(&path, Some(ATTACKER), Some(ATTACKER))?)
    }

    /// A directory of the attackers'.
    pub(crate) fn directory(&self, name: &str) -> Result<()> {
        let path = self.path(name);
        fs::create_dir(&path).with_context(|| format!("`{}`", path.display()))?;
        Ok(chown(&path, Some(ATTACKER), Some(ATTACKER))?)
    }

    /// The namespaces of the stage, for root.
    pub(crate) fn launch(&self) -> Launch {
        let namespace = |name: &str| PathBuf::from(format!("/proc/{}/ns/{name}", self.neighbour.pid));
        Launch { netns: Some(Netns::Existing(namespace("net"))), mounts: Some(namespace("mnt")), ..Launch::default() }
    }

    /// Options of the tracer that only sockets of the stage satisfy.
    pub(crate) fn filter(&self) -> Vec<String> {
        vec!["--netns".into(), format!("/proc/{}/ns/net", self.neighbour.pid)]
    }

    /// Has the neighbour leak once more, `late` at places of its own; tells how many sockets it has leaked by now.
    pub(crate) fn neighbour_leaks(&mut self, late: bool) -> Result<usize> {
        self.neighbour.tell(if late { "late" } else { "leak" })?;
        self.neighbour.number("LEAKED")
    }

    /// Starts an attack; its sockets have leaked when this returns, unless there are to be none.
    pub(crate) fn start(&self, attack: &Attack) -> Result<Attacker> {
        let attacker = self.begin(attack)?;
        attacker.leaked().with_context(|| attack.name.clone())
    }

    /// Starts all at once.
    pub(crate) fn start_all(&self, attacks: &[Attack]) -> Result<Vec<Attacker>> {
        let begun = attacks.iter().map(|attack| self.begin(attack)).collect::<Result<Vec<_>>>()?;
        begun.into_iter().map(Attacker::leaked).collect()
    }

    pub(crate) fn begin(&self, attack: &Attack) -> Result<Attacker> {
        self.prepare(attack)?;
        let [program, arguments @ ..] = &attack.command_line(self.elf.entry)?[..] else {
            bail!("an attack without a program")
        };
        let program = Program::launch(&self.launch(), Path::new(program), arguments).context(attack.name.clone())?;
        let pid = program.pid;
        Ok(Attacker { attack: attack.clone(), program, pid })
    }

    /// Makes the files of an attack.
    pub(crate) fn prepare(&self, attack: &Attack) -> Result<()> {
        for (name, make) in &attack.files {
            if !self.path(name).exists() {
                self.put(name, &make(&self.elf).with_context(|| name.clone())?)?;
            }
        }
        let missing = attack.directories.iter().filter(|name| !self.path(name).exists());
        missing.into_iter().try_for_each(|name| self.directory(name))
    }

    /// An error if anybody has opened what is root's alone.
    pub(crate) fn check_secrets(&self) -> Result<()> {
        let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.secrets, &mut buffer);
        match reader.next() {
            Err(Errno::AGAIN) => Ok(()),
            Err(error) => Err(error.into()),
            Ok(event) => bail!("somebody opened or read what is no process's own file: {event:?}"),
        }
    }
}

impl Attacker {
    /// Waits until it has done its worst.
    fn leaked(mut self) -> Result<Self> {
        let leaked: usize = self.program.number("LEAKED").with_context(|| self.attack.name.clone())?;
        let expected = self.attack.sockets;
        ensure!(leaked == expected, "{}: {leaked} sockets instead of {expected}", self.attack.name);
        if self.attack.served.is_some() {
            self.pid = self.program.only_child()?;
        }
        Ok(self)
    }
}

/// This very program, which serves file systems.
pub(crate) fn server() -> Result<String> {
    Ok(env::current_exe()?.to_str().context("a path of UTF-8")?.to_owned())
}
