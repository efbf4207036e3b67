//! Each filter shows exactly what a second tracer without filters says that it should.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::support::{
    event::Transition,
    medley::{APART, Medley},
    process::Actor,
    run::trials,
    tracer::{Setup, Trace, Tracer},
};

pub(crate) fn trials() -> Vec<Trial> {
    trials![
        "filters";
        pid, several_pids, comm, netns_by_path, netns_by_inode, netns_by_name, local_port, several_local_ports, remote_port,
        local_address, local_block, remote_address, remote_block, ipv4, ipv6, state, several_states, combined, cgroup,
        children,
    ]
}

fn pid() -> Result<()> {
    let medley = Medley::new()?;
    let pid = medley.servers[0].pid;
    compare(&medley, &["--pid", &pid.to_string()], |t| t.owner_pid() == Some(pid))
}

fn several_pids() -> Result<()> {
    let medley = Medley::new()?;
    let pids = [medley.servers[1].pid, medley.clients[0].pid];
    compare(&medley, &["--pid", &pids[0].to_string(), "--pid", &pids[1].to_string()], |t| {
        t.owner_pid().is_some_and(|pid| pids.contains(&pid))
    })
}

fn comm() -> Result<()> {
    compare(&Medley::new()?, &["--comm", "ts-server-two"], |t| {
        t.owner.as_ref().is_some_and(|owner| owner.comm == "ts-server-two")
    })
}

fn netns_by_path() -> Result<()> {
    let medley = Medley::new()?;
    let path = medley.elsewhere.path();
    compare(&medley, &["--netns", &path.to_string_lossy()], |t| t.netns == medley.elsewhere.inode)
}

fn netns_by_inode() -> Result<()> {
    let medley = Medley::new()?;
    let inode = medley.servers[0].netns()?;
    compare(&medley, &["--netns", &inode.to_string()], |t| t.netns == inode)
}

fn netns_by_name() -> Result<()> {
    let medley = Medley::new()?;
    let name = format!("ts-{}", std::process::id());
    let _named = medley.elsewhere.named(&name)?;
    compare(&medley, &["--netns", &name], |t| t.netns == medley.elsewhere.inode)
}

fn local_port() -> Result<()> {
    let medley = Medley::new()?;
    let port = medley.listeners[0].local.port();
    compare(&medley, &["--lport", &port.to_string()], |t| t.local.port == port)
}

fn several_local_ports() -> Result<()> {
    let medley = Medley::new()?;
    let ports = [medley.listeners[0].local.port(), medley.listeners[3].local.port()];
    compare(&medley, &["--lport", &format!("{},{}", ports[0], ports[1])], |t| ports.contains(&t.local.port))
}

fn remote_port() -> Result<()> {
    let medley = Medley::new()?;
    let port = medley.listeners[1].local.port();
    compare(&medley, &["--rport", &port.to_string()], |t| t.remote.port == port)
}

fn local_address() -> Result<()> {
    compare(&Medley::new()?, &["--laddr", &APART.to_string()], |t| t.local.addr == IpAddr::from(APART))
}

/// An IPv4 block also holds the IPv4 addresses of IPv6 sockets.
fn local_block() -> Result<()> {
    compare(&Medley::new()?, &["--laddr", "127.0.0.0/21"], |t| match t.local.addr.to_canonical() {
        IpAddr::V4(address) => address < Ipv4Addr::new(127, 0, 8, 0),
        IpAddr::V6(_) => false,
    })?;
    compare(&Medley::new()?, &["--laddr", "127.0.7.0/24"], |t| t.local.addr == IpAddr::from(APART))
}

fn remote_address() -> Result<()> {
    compare(&Medley::new()?, &["--raddr", "::1"], |t| t.remote.addr == IpAddr::from(Ipv6Addr::LOCALHOST))
}

fn remote_block() -> Result<()> {
    compare(&Medley::new()?, &["--raddr", "127.0.4.0/22"], |t| t.remote.addr == IpAddr::from(APART))
}

fn ipv4() -> Result<()> {
    compare(&Medley::new()?, &["-4"], |t| t.family == "inet")
}

/// Also those that carry IPv4.
fn ipv6() -> Result<()> {
    compare(&Medley::new()?, &["-6"], |t| t.family == "inet6")
}

fn state() -> Result<()> {
    compare(&Medley::new()?, &["--state", "CLOSE_WAIT"], |t| t.old == "CLOSE_WAIT" || t.new == "CLOSE_WAIT")
}

fn several_states() -> Result<()> {
    let either = |state: &str| matches!(state, "SYN_SENT" | "LAST_ACK");
    compare(&Medley::new()?, &["--state", "syn-sent,last-ack"], |t| either(&t.old) || either(&t.new))
}

fn combined() -> Result<()> {
    let medley = Medley::new()?;
    let pid = medley.servers[1].pid;
    compare(&medley, &["--pid", &pid.to_string(), "-4", "--state", "close-wait", "--raddr", "127.0.0.0/8"], |t| {
        t.owner_pid() == Some(pid)
            && t.family == "inet"
            && (t.old == "CLOSE_WAIT" || t.new == "CLOSE_WAIT")
            && t.remote.addr.to_canonical().is_loopback()
    })
}

/// A cgroup's filter takes the cgroups below it along.
fn cgroup() -> Result<()> {
    let outer = Cgroup::new(&cgroup2_mount()?.join(format!("ts-{}", std::process::id())))?;
    let inner = Cgroup::new(&outer.0.join("inner"))?;
    let medley = Medley::new()?;
    // A listener's children are of its cgroup, so these have to move before they listen.
    let (server, client) = (Actor::start("ts-grouped")?, Actor::start("ts-in-group")?);
    outer.take(&server)?;
    inner.take(&client)?;
    let ids = [fs::metadata(&outer.0)?.ino(), fs::metadata(&inner.0)?.ino()];
    let [all, filtered] = two_tracers(&["--cgroup", &outer.0.to_string_lossy()])?;
    let listener = server.listen((Ipv4Addr::LOCALHOST, 0))?;
    let socket = client.connect(listener.local)?;
    let accepted = server.accept(&listener)?;
    server.close(&accepted)?;
    client.await_hangup(&socket)?;
    client.close(&socket)?;
    server.close(&listener)?;
    let mut cookies = medley.play()?;
    cookies.extend([listener.cookie, socket.cookie, accepted.cookie]);
    let (all, filtered) = finish(all, filtered, &cookies)?;
    for (cookie, id) in [(accepted.cookie, ids[0]), (listener.cookie, ids[0]), (socket.cookie, ids[1])] {
        ensure!(all.of(cookie).iter().all(|t| t.cgroup == Some(id)), "cgroup of {cookie:x} is not {id}");
    }
    check(&all, &filtered, &cookies, |t| t.cgroup.is_some_and(|id| ids.contains(&id)))
}

/// `--children` follows forks, and forks of forks; without it only the process itself is shown.
fn children() -> Result<()> {
    let (server, parent, stranger) =
        (Actor::start("ts-server")?, Actor::start("ts-parent")?, Actor::start("ts-stranger")?);
    let listener = server.listen((Ipv4Addr::LOCALHOST, 0))?;
    let pid = parent.pid.to_string();
    let [all, filtered] = two_tracers(&["--pid", &pid, "--children"])?;
    let only_parent = Tracer::start(["--pid", &pid])?;
    let child = parent.fork()?;
    let grandchild = child.fork()?;
    let family = [parent.pid, child.pid, grandchild.pid];
    let mut cookies = Vec::new();
    for actor in [&stranger, &parent, &child, &grandchild] {
        let socket = actor.connect(listener.local)?;
        actor.reset(&socket)?;
        cookies.push(socket.cookie);
    }
    let (all, filtered) = finish(all, filtered, &cookies)?;
    let only_parent = only_parent.finish()?;
    check(&all, &filtered, &cookies, |t| t.owner_pid().is_some_and(|pid| family.contains(&pid)))?;
    check(&all, &only_parent, &cookies, |t| t.owner_pid() == Some(parent.pid))
}

/// Plays the medley for a tracer with a filter and one without.
fn compare(medley: &Medley, filter: &[&str], wanted: impl Fn(&Transition) -> bool) -> Result<()> {
    let [all, filtered] = two_tracers(filter)?;
    let cookies = medley.play()?;
    let (all, filtered) = finish(all, filtered, &cookies)?;
    check(&all, &filtered, &cookies, wanted)
}

fn two_tracers(filter: &[&str]) -> Result<[Tracer; 2]> {
    let tracers = Setup::start_all([Setup::default(), Setup::new(filter)])?;
    tracers.try_into().ok().context("two were asked for")
}

fn finish(all: Tracer, filtered: Tracer, cookies: &[u64]) -> Result<(Trace, Trace)> {
    all.wait_closed(cookies)?;
    Ok((all.finish()?, filtered.finish()?))
}

/// What the filter showed is what it should have, of our sockets exactly, of others' at least nothing wrong.
fn check(all: &Trace, filtered: &Trace, cookies: &[u64], wanted: impl Fn(&Transition) -> bool) -> Result<()> {
    let mut counts = [0_u64; 2];
    for &cookie in cookies {
        let (shown, hidden): (Vec<_>, Vec<_>) = all.of(cookie).into_iter().partition(|t| wanted(t));
        let found: Vec<_> = filtered.of(cookie).into_iter().map(essence).collect();
        let expected: Vec<_> = shown.iter().copied().map(essence).collect();
        ensure!(found == expected, "socket {cookie:x}: expected {expected:#?}\nshown {found:#?}");
        counts[0] += shown.len() as u64;
        counts[1] += hidden.len() as u64;
    }
    ensure!(counts.iter().all(|&count| count > 0), "the filter had no choice to make: {counts:?}");
    let wrong = filtered.transitions.iter().find(|t| !wanted(t));
    ensure!(wrong.is_none(), "shown but not wanted: {wrong:?}");
    ensure!(filtered.summary.filtered >= counts[1], "{} hidden, but {:?}", counts[1], filtered.summary);
    Ok(())
}

/// A transition without what two tracers measure each for itself.
fn essence(transition: &Transition) -> Transition {
    Transition {
        time: None,
        mono_ns: 0,
        in_old_ns: transition.in_old_ns.map(|_| 0),
        in_old_at_least_ns: transition.in_old_at_least_ns.map(|_| 0),
        ..transition.clone()
    }
}

fn cgroup2_mount() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let cgroup2 = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let path = fields.next()?;
        (fields.next()? == "cgroup2").then(|| PathBuf::from(path))
    });
    cgroup2.context("no cgroup2 is mounted here")
}

/// A cgroup of the test's own, removed when nobody is left in it.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new(path: &Path) -> Result<Self> {
        fs::create_dir(path).with_context(|| format!("`{}`", path.display()))?;
        Ok(Self(path.to_owned()))
    }

    fn take(&self, actor: &Actor) -> Result<()> {
        fs::write(self.0.join("cgroup.procs"), actor.pid.to_string())
            .with_context(|| format!("to move {} into `{}`", actor.pid, self.0.display()))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Variables are dropped in reverse order, so the processes are gone; they may still be on their way out.
        for _ in 0..200 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        eprintln!("`{}` could not be removed", self.0.display());
    }
}
