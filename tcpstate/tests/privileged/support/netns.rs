//! Network namespaces that end with the test, however it ends: each lives as long as a process of the test's own in it.

use std::{
    fs::File,
    net::IpAddr,
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use anyhow::{Context, Result, anyhow, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{
    launch::{Launch, Netns},
    process::Actor,
};

/// A network namespace with `lo` up.
pub(crate) struct Namespace {
    holder: Actor,
    /// Inode number, as the tracer shows it.
    pub(crate) inode: u64,
}

impl Namespace {
    pub(crate) fn new() -> Result<Self> {
        let holder = Actor::launch("ts-netns", &Launch { netns: Some(Netns::New), ..Launch::default() })?;
        let inode = holder.netns()?;
        Ok(Self { holder, inode })
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.holder.netns_path()
    }

    /// How to start a process in it.
    pub(crate) fn launch(&self) -> Launch {
        Launch { netns: Some(Netns::Existing(self.path())), ..Launch::default() }
    }

    pub(crate) fn actor(&self, comm: &str) -> Result<Actor> {
        Actor::launch(comm, &self.launch())
    }

    /// Runs a command in it; its standard output.
    pub(crate) fn run(&self, command: &str) -> Result<String> {
        let mut nsenter = Command::new("nsenter");
        nsenter.arg(format!("--net={}", self.path().display())).args(command.split_whitespace());
        run(nsenter)
    }

    /// Gives an interface an address that is usable at once, and takes the interface up.
    pub(crate) fn address(&self, interface: &str, address: IpAddr, prefix: u8) -> Result<()> {
        let nodad = if address.is_ipv6() { "nodad" } else { "" };
        self.run(&format!("ip address add {address}/{prefix} dev {interface} {nodad}"))?;
        self.run(&format!("ip link set {interface} up"))?;
        Ok(())
    }

    /// Joins two namespaces by a veth pair, `eth0` at both ends.
    pub(crate) fn join(&self, other: &Self) -> Result<()> {
        self.join_by("eth0", other)
    }

    /// The same by an interface of another name here.
    pub(crate) fn join_by(&self, name: &str, other: &Self) -> Result<()> {
        let (here, there) = (self.holder.pid, other.holder.pid);
        self.run(&format!("ip link add {name} netns {here} type veth peer name eth0 netns {there}"))?;
        Ok(())
    }

    /// Gives the namespace a name below `/run/netns` for as long as the result lives.
    pub(crate) fn named(&self, name: &str) -> Result<Named> {
        let mut attach = Command::new("ip");
        attach.args(["netns", "attach", name, &self.holder.pid.to_string()]);
        run(attach)?;
        Ok(Named(name.to_owned()))
    }
}

/// A name of a namespace.
pub(crate) struct Named(String);

impl Named {
    pub(crate) fn name(&self) -> &str {
        &self.0
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        if let Err(error) = Command::new("ip").args(["netns", "delete", &self.0]).status() {
            eprintln!("`ip netns delete {}`: {error}", self.0);
        }
    }
}

/// Does something in the network namespace at `path`, in a thread that goes there for it.
pub(crate) fn inside<T: Send>(path: &Path, action: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let netns = File::open(path).with_context(|| format!("`{}`", path.display()))?;
    thread::scope(|scope| {
        let visitor = scope.spawn(|| {
            move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))?;
            action()
        });
        visitor.join().map_err(|_| anyhow!("a thread in another network namespace panicked"))?
    })
}

fn run(mut command: Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}: {stderr}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}
