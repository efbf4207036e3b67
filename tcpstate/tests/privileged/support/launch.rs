//! A process started with something taken away: capabilities, a user id, its network namespace, a part of its file system.
//!
//! The test binary is executed again, changes itself in one thread, and then becomes the program asked for; its pid stays.

use std::{
    env,
    fs::File,
    os::{
        fd::{AsFd, AsRawFd},
        unix::process::CommandExt,
    },
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use rustix::{
    fs::{Gid, Uid},
    mount::{MountFlags, MountPropagationFlags, mount, mount_change},
    process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit},
    thread::{
        CapabilitySet, LinkNameSpaceType, UnshareFlags, move_into_link_name_space, remove_capability_from_bounding_set,
        set_thread_groups, set_thread_res_gid, set_thread_res_uid, unshare_unsafe,
    },
};
use serde::{Deserialize, Serialize};

/// What is different for the process.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Launch {
    /// Capabilities removed from the bounding set before the program is executed.
    pub(crate) without_capabilities: Vec<Capability>,
    /// User and group id; root where absent.
    pub(crate) uid: Option<u32>,
    /// Network namespace; the test's own where absent.
    pub(crate) netns: Option<Netns>,
    /// Directories that are empty for this process alone.
    pub(crate) emptied: Vec<PathBuf>,
    /// A user namespace of its own.
    pub(crate) new_users: bool,
    /// Descriptors that it may have as long as it does not ask for more.
    pub(crate) descriptors: Option<u64>,
    /// Whether it begins with SIGHUP ignored, as under `nohup`; as this process where absent.
    pub(crate) ignores_hangup: Option<bool>,
    /// Descriptors that it may have at most.
    pub(crate) most_descriptors: Option<u64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Netns {
    /// Of its own, with `lo` up.
    New,
    /// That of a path such as `/proc/PID/ns/net`.
    Existing(PathBuf),
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Capability {
    Bpf,
    Perfmon,
    SysAdmin,
}

impl From<Capability> for CapabilitySet {
    fn from(capability: Capability) -> Self {
        match capability {
            Capability::Bpf => Self::BPF,
            Capability::Perfmon => Self::PERFMON,
            Capability::SysAdmin => Self::SYS_ADMIN,
        }
    }
}

impl Launch {
    /// A command that runs `program` under these conditions.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Result<Command> {
        let mut command = Command::new(env::current_exe()?);
        command.arg("launch").arg(serde_json::to_string(self)?).arg(program.as_ref());
        Ok(command)
    }

    /// Becomes `argv`.
    pub(crate) fn become_program(&self, argv: &[String]) -> Result<()> {
        let (program, arguments) = argv.split_first().context("no program to launch")?;
        let file = File::open(program).with_context(|| format!("`{program}`"))?;
        match &self.netns {
            None => {}
            Some(Netns::New) => {
                unshare(UnshareFlags::NEWNET)?;
                let status = Command::new("ip").args(["link", "set", "lo", "up"]).status().context("`ip`")?;
                ensure!(status.success(), "`ip link set lo up`: {status}");
            }
            Some(Netns::Existing(path)) => {
                let netns = File::open(path).with_context(|| format!("`{}`", path.display()))?;
                move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))?;
            }
        }
        if !self.emptied.is_empty() {
            self.empty_directories()?;
        }
        for &capability in &self.without_capabilities {
            remove_capability_from_bounding_set(CapabilitySet::from(capability))?;
        }
        if let Some(id) = self.uid {
            set_thread_groups(&[])?;
            let gid = Gid::from_raw(id);
            set_thread_res_gid(gid, gid, gid)?;
            let uid = Uid::from_raw(id);
            set_thread_res_uid(uid, uid, uid)?;
        }
        if let Some(descriptors) = self.descriptors {
            let limit = getrlimit(Resource::Nofile);
            setrlimit(Resource::Nofile, Rlimit { current: Some(descriptors), ..limit })?;
        }
        if let Some(ignored) = self.ignores_hangup {
            // SAFETY: no handler is set.
            unsafe { libc::signal(libc::SIGHUP, if ignored { libc::SIG_IGN } else { libc::SIG_DFL }) };
        }
        if self.most_descriptors.is_some() {
            setrlimit(Resource::Nofile, Rlimit { current: self.most_descriptors, maximum: self.most_descriptors })?;
        }
        if self.new_users {
            unshare(UnshareFlags::NEWUSER)?;
        }
        // Last, because a change of credentials clears it.
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // By path, which gives the process its name; by descriptor where another user may not walk the path.
        let by_descriptor = format!("/proc/self/fd/{}", file.as_raw_fd());
        let path = if self.uid.is_some() { &by_descriptor } else { program };
        Err(Command::new(path).arg0(program).args(arguments).exec()).with_context(|| format!("`{program}`"))
    }

    fn empty_directories(&self) -> Result<()> {
        unshare(UnshareFlags::NEWNS)?;
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        for path in &self.emptied {
            mount("none", path, "tmpfs", MountFlags::empty(), None)
                .with_context(|| format!("to empty `{}`", path.display()))?;
        }
        Ok(())
    }
}

fn unshare(flags: UnshareFlags) -> Result<()> {
    // SAFETY: nothing of this program relies on the old namespaces, and it has one thread, about to execute another program.
    Ok(unsafe { unshare_unsafe(flags) }?)
}
