//! A process started with something taken away: capabilities, a user id, its network namespace, a part of its file system.
//!
//! The test binary is executed again, changes itself in one thread, and then becomes the program asked for; its pid stays.

use std::{
    env,
    ffi::CString,
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
        CapabilitySet, CapabilitySets, LinkNameSpaceType, UnshareFlags, configure_capability_in_ambient_set,
        move_into_link_name_space, remove_capability_from_bounding_set, set_capabilities, set_keep_capabilities,
        set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid, unshare_unsafe,
    },
};
use serde::{Deserialize, Serialize};

/// What is different for the process.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Launch {
    /// Capabilities removed from the bounding set before the program is executed.
    pub(crate) without_capabilities: Vec<Capability>,
    /// All that it may have at most, as bits.
    #[serde(default)]
    pub(crate) only_capabilities: Option<u64>,
    /// Whether what it executes gains nothing.
    #[serde(default)]
    pub(crate) no_new_privileges: bool,
    /// User and group id; root where absent.
    pub(crate) uid: Option<u32>,
    /// Capabilities of who is not root, which the program has, too.
    #[serde(default)]
    pub(crate) ambient: Vec<Capability>,
    /// Network namespace; the test's own where absent.
    pub(crate) netns: Option<Netns>,
    /// Mount namespace, by a path such as `/proc/PID/ns/mnt`.
    #[serde(default)]
    pub(crate) mounts: Option<PathBuf>,
    /// Directories that are empty for this process alone.
    pub(crate) emptied: Vec<PathBuf>,
    /// Directories that are another user's alone, for this process alone.
    #[serde(default)]
    pub(crate) closed: Vec<PathBuf>,
    /// Options of a `/proc` of its own, which may be none.
    #[serde(default)]
    pub(crate) proc: Option<String>,
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
    CheckpointRestore,
    DacOverride,
    DacReadSearch,
    Perfmon,
    SetUid,
    SysAdmin,
    SysChroot,
    SysPtrace,
}

impl From<Capability> for CapabilitySet {
    fn from(capability: Capability) -> Self {
        match capability {
            Capability::Bpf => Self::BPF,
            Capability::CheckpointRestore => Self::CHECKPOINT_RESTORE,
            Capability::DacOverride => Self::DAC_OVERRIDE,
            Capability::DacReadSearch => Self::DAC_READ_SEARCH,
            Capability::Perfmon => Self::PERFMON,
            Capability::SetUid => Self::SETUID,
            Capability::SysAdmin => Self::SYS_ADMIN,
            Capability::SysChroot => Self::SYS_CHROOT,
            Capability::SysPtrace => Self::SYS_PTRACE,
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
        if let Some(path) = &self.mounts {
            let mounts = File::open(path).with_context(|| format!("`{}`", path.display()))?;
            move_into_link_name_space(mounts.as_fd(), Some(LinkNameSpaceType::Mount))?;
        }
        if !self.emptied.is_empty() || !self.closed.is_empty() || self.proc.is_some() {
            self.change_file_systems()?;
        }
        for &capability in &self.without_capabilities {
            remove_capability_from_bounding_set(CapabilitySet::from(capability))?;
        }
        if let Some(kept) = self.only_capabilities {
            let mut others = CapabilitySet::all().iter_names().filter(|(_, one)| one.bits() & kept == 0);
            others.try_for_each(|(_, one)| remove_capability_from_bounding_set(one))?;
        }
        if let Some(id) = self.uid {
            set_thread_groups(&[])?;
            let gid = Gid::from_raw(id);
            set_thread_res_gid(gid, gid, gid)?;
            let uid = Uid::from_raw(id);
            set_keep_capabilities(true)?;
            set_thread_res_uid(uid, uid, uid)?;
            let kept = self.ambient.iter().map(|&one| CapabilitySet::from(one)).collect();
            set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable: kept })?;
            for &capability in &self.ambient {
                configure_capability_in_ambient_set(CapabilitySet::from(capability), true)?;
            }
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
        if self.no_new_privileges {
            set_no_new_privs(true)?;
        }
        // Last, because a change of credentials clears it.
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // By path, which gives the process its name; by descriptor where another user may not walk the path.
        let by_descriptor = format!("/proc/self/fd/{}", file.as_raw_fd());
        let path = if self.uid.is_some() { &by_descriptor } else { program };
        Err(Command::new(path).arg0(program).args(arguments).exec()).with_context(|| format!("`{program}`"))
    }

    fn change_file_systems(&self) -> Result<()> {
        unshare(UnshareFlags::NEWNS)?;
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        for path in &self.emptied {
            mount("none", path, "tmpfs", MountFlags::empty(), None)
                .with_context(|| format!("to empty `{}`", path.display()))?;
        }
        for path in &self.closed {
            mount("none", path, "tmpfs", MountFlags::empty(), Some(c"mode=0700,uid=65534"))
                .with_context(|| format!("to close `{}`", path.display()))?;
        }
        if let Some(options) = &self.proc {
            mount("proc", "/proc", "proc", MountFlags::empty(), Some(&*CString::new(options.as_str())?))
                .with_context(|| format!("to mount `/proc` with `{options}`"))?;
        }
        Ok(())
    }
}

fn unshare(flags: UnshareFlags) -> Result<()> {
    // SAFETY: nothing of this program relies on the old namespaces, and it has one thread, about to execute another program.
    Ok(unsafe { unshare_unsafe(flags) }?)
}
