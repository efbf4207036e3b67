//! What the filters leave out is not looked into: while a process of another user leaks, connects, accepts, is told and closes, the system
//! calls of the tracer and of all that it starts are written down by `strace`.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::support::{
    cgroup::{Cgroup, cgroup2_mount},
    launch::Launch,
    netns::{Namespace, inside},
    process::Actor,
    run::trials,
};

pub(crate) fn trials() -> Vec<Trial> {
    trials!["hunts::kept_away"; pid, children, comm, netns, local_port, remote_port, local_address, remote_address,
        family, cgroup, chosen_later, recording, running]
}

/// Nobody's, in the range of `lo`.
const APART: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 77, 1));
const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// `nobody`.
const NOBODY: u32 = 65534;
/// A debug build under `strace` needs its time.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is asked of every process, to find network namespaces and children: which namespaces it is in, whether its first thread lives, and
/// who its parent is.
const OF_EVERYBODY: [&str; 6] = ["ns/net", "ns/mnt", "ns/user", "exe", "task", "stat"];

fn pid() -> Result<()> {
    let wanted = Actor::start("ts-kept")?;
    kept_away(&wanted, APART, &|_| vec!["--pid".to_owned(), wanted.pid.to_string()])
}

fn children() -> Result<()> {
    let parent = Actor::start("ts-kept")?;
    kept_away(&parent.fork()?, APART, &|_| vec!["--children".to_owned(), "--pid".to_owned(), parent.pid.to_string()])
}

fn comm() -> Result<()> {
    kept_away(&Actor::start("ts-kept")?, APART, &|_| vec!["--comm".to_owned(), "ts-kept".to_owned()])
}

fn netns() -> Result<()> {
    let elsewhere = Namespace::new()?;
    kept_away(&elsewhere.actor("ts-kept")?, LOCALHOST, &|_| {
        vec!["--netns".to_owned(), elsewhere.path().display().to_string()]
    })
}

/// Of whoever connects the port is chosen after the stack was taken.
fn local_port() -> Result<()> {
    kept_away(&Actor::start("ts-kept")?, APART, &|port| vec!["--lport".to_owned(), port.to_string()])
}

fn remote_port() -> Result<()> {
    kept_away(&Actor::start("ts-kept")?, APART, &|port| vec!["--rport".to_owned(), port.to_string()])
}

fn local_address() -> Result<()> {
    kept_away(&Actor::start("ts-kept")?, APART, &|_| vec!["--laddr".to_owned(), APART.to_string()])
}

fn remote_address() -> Result<()> {
    kept_away(&Actor::start("ts-kept")?, APART, &|_| vec!["--raddr".to_owned(), APART.to_string()])
}

fn family() -> Result<()> {
    kept_away(&Actor::start("ts-kept")?, Ipv6Addr::LOCALHOST.into(), &|_| vec!["-6".to_owned()])
}

fn cgroup() -> Result<()> {
    let cgroup = Cgroup::new(&cgroup2_mount()?.join(format!("ts-{}", std::process::id())))?;
    let wanted = Actor::start("ts-kept")?;
    cgroup.take(&wanted)?;
    kept_away(&wanted, APART, &|_| vec!["--cgroup".to_owned(), cgroup.0.display().to_string()])
}

/// Whom the kernel gives a port that the filter wants has the stack of its `connect()` all the same, which was taken before.
fn chosen_later() -> Result<()> {
    let elsewhere = Namespace::new()?;
    inside(&elsewhere.path(), || Ok(fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40007")?))?;
    let ports = (40000..40008).map(|port| port.to_string()).collect::<Vec<_>>().join(",");
    let netns = elsewhere.path().display().to_string();
    let hunt = super::json(&["--older-than", "1ms", "--netns", &netns, "--lport", &ports])?;
    let leaker = Leaker::start_at(&elsewhere.actor("ts-kept")?, (LOCALHOST, 50000))?;
    leaker.leak()?;
    hunt.wait_until("the socket that was connected, and where", |report| {
        let [group] = &report.groups[..] else { bail!("not one group: {:?}", report.groups) };
        let stack = group.opened.stack.as_ref().context("no stack")?;
        let mut names = stack.frames.iter().filter_map(|frame| frame.function.as_deref());
        ensure!(names.any(|name| name.contains("Sockets::connect")), "{stack:?}");
        Ok(())
    })?;
    hunt.finish().map(drop)
}

/// The same of `leaks` for a filter that wants one process, which listens at this address and at the port that the filter is given.
fn kept_away(wanted: &Actor, at: IpAddr, filter: &dyn Fn(u16) -> Vec<String>) -> Result<()> {
    let foreign = Leaker::start(&Actor::of_user("ts-foreign", NOBODY)?, LOCALHOST)?;
    let wanted = Leaker::start(wanted, at)?;
    foreign.leak()?;
    let leaks = ["leaks", "-v", "-o", "json", "--interval", "300ms", "--older-than", "50ms"];
    let arguments = leaks.iter().map(|&argument| argument.to_owned()).chain(filter(wanted.port));
    let tracer = Audited::start(&arguments.collect::<Vec<_>>())?;
    let gone = Leaker::start(&Actor::of_user("ts-foreign", NOBODY)?, LOCALHOST)?;
    gone.leak()?;
    gone.actor.exit()?;
    foreign.leak()?;
    wanted.leak()?;
    tracer.wait_for("stdout", &format!("\"pid\":{}", wanted.actor.pid))?;
    // What the foreign ones do had its time, too.
    thread::sleep(Duration::from_millis(600));
    tracer.interrupt()?;
    let calls = tracer.end()?;
    check_foreign(&calls, &[&foreign, &gone])?;
    check_wanted(&calls, &wanted)?;
    ensure!(!calls.stdout.contains("ts-foreign"), "sockets that the filters leave out: {}", calls.stdout);
    Ok(())
}

fn recording() -> Result<()> {
    let foreign = Leaker::start(&Actor::of_user("ts-foreign", NOBODY)?, LOCALHOST)?;
    let wanted = Leaker::start(&Actor::start("ts-kept")?, APART)?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("recording").display().to_string();
    let record = ["record", "-v", "--output", &file, "--comm", "ts-kept", "--interval", "300ms", "--no-states"];
    let tracer = Audited::start(&record.map(str::to_owned))?;
    foreign.leak()?;
    wanted.leak()?;
    thread::sleep(Duration::from_secs(1));
    tracer.interrupt()?;
    let calls = tracer.end()?;
    check_foreign(&calls, &[&foreign])?;
    check_wanted(&calls, &wanted)
}

fn running() -> Result<()> {
    let foreign = Leaker::start(&Actor::of_user("ts-foreign", NOBODY)?, LOCALHOST)?;
    foreign.leak()?;
    let run = ["run", "-v", "--", "sleep", "2"];
    let tracer = Audited::start(&run.map(str::to_owned))?;
    foreign.leak()?;
    check_foreign(&tracer.end()?, &[&foreign])
}

/// No file of these processes was opened or looked at, and none of their memory, but what is asked of everybody.
fn check_foreign(calls: &Calls, foreign: &[&Leaker]) -> Result<()> {
    for leaker in foreign {
        let pid = leaker.actor.pid;
        let harmless = |call: &&str| {
            let names = |file: &&str| ['"', '>'].iter().any(|end| call.contains(&format!("/proc/{pid}/{file}{end}")));
            OF_EVERYBODY.iter().any(names)
        };
        let looked_into: Vec<&str> = calls.of(pid).filter(|call| !harmless(call)).take(10).collect();
        ensure!(
            looked_into.is_empty(),
            "process {pid}, which the filters leave out, was looked into: {looked_into:#?}"
        );
    }
    Ok(())
}

/// That one is looked into, so that it is seen here when one is.
fn check_wanted(calls: &Calls, wanted: &Leaker) -> Result<()> {
    let seen = calls.of(wanted.actor.pid).any(|call| call.contains("/maps\""));
    ensure!(seen, "the process that the filters want was not looked into, either");
    Ok(())
}

/// A process that leaves sockets in CLOSE_WAIT at both ends of connections of its own.
struct Leaker {
    actor: Actor,
    listener: crate::support::protocol::Socket,
    port: u16,
}

impl Leaker {
    fn start(actor: &Actor, at: IpAddr) -> Result<Self> {
        Self::start_at(actor, (at, 0))
    }

    fn start_at(actor: &Actor, at: (IpAddr, u16)) -> Result<Self> {
        let listener = actor.listen(at)?;
        Ok(Self { actor: actor.clone(), port: listener.local.port(), listener })
    }

    /// Accepted and told, accepted and unread, connected and told, closed late.
    fn leak(&self) -> Result<()> {
        let Self { actor, listener, .. } = self;
        for (closes_first, told, late) in [(0, true, false), (0, false, false), (1, true, false), (0, true, true)] {
            let client = actor.connect(listener.local)?;
            let ends = [client, actor.accept(listener)?];
            let [first, other] = if closes_first == 0 { [&ends[0], &ends[1]] } else { [&ends[1], &ends[0]] };
            actor.close(first)?;
            actor.await_hangup(other)?;
            if told {
                actor.receive(other, 0)?;
            }
            if late {
                thread::sleep(Duration::from_millis(100));
                actor.close(other)?;
            }
        }
        Ok(())
    }
}

/// A tracer whose system calls are written down.
struct Audited {
    strace: Child,
    directory: TempDir,
}

/// What was written down, and what the tracer said.
struct Calls {
    calls: String,
    stdout: String,
}

impl Audited {
    /// Attached when it returns.
    fn start(arguments: &[String]) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let file = |name: &str| fs::File::create(directory.path().join(name));
        let strace = Path::new("/usr/bin/strace");
        ensure!(strace.exists(), "`strace` is not installed");
        let mut command: Command = Launch::default().command(strace)?;
        command.args(["-f", "-y", "-s", "4096", "-e", "trace=%file,process_vm_readv,pidfd_open,kcmp", "-o"]);
        command.arg(directory.path().join("calls")).arg(env!("CARGO_BIN_EXE_tcpstate")).args(arguments);
        command.env_remove("RUST_LOG").stdin(Stdio::null()).stdout(file("stdout")?).stderr(file("stderr")?);
        let audited = Self { strace: command.spawn().context("`strace`")?, directory };
        // What `-v` says last before anything is taken.
        audited.wait_for("stderr", "sockets of before the start")?;
        Ok(audited)
    }

    fn wait_for(&self, file: &str, words: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !self.read(file)?.contains(words) {
            ensure!(Instant::now() < deadline, "no `{words}`: {}{}", self.read("stdout")?, self.read("stderr")?);
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Ctrl-C for the tracer, which made the first call.
    fn interrupt(&self) -> Result<()> {
        let calls = self.read("calls")?;
        let pid = calls.split_once(' ').and_then(|(pid, _)| pid.parse().ok()).and_then(Pid::from_raw);
        Ok(kill_process(pid.context("no call was written down")?, Signal::INT)?)
    }

    fn read(&self, name: &str) -> Result<String> {
        let path: PathBuf = self.directory.path().join(name);
        Ok(String::from_utf8_lossy(&fs::read(&path).with_context(|| format!("`{}`", path.display()))?).into_owned())
    }

    fn end(mut self) -> Result<Calls> {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.strace.try_wait()? {
                break status;
            }
            if Instant::now() > deadline {
                bail!("the tracer did not end: {}", self.read("stderr")?);
            }
            thread::sleep(Duration::from_millis(20));
        };
        ensure!(status.success(), "the tracer ended with {status}: {}", self.read("stderr")?);
        Ok(Calls { calls: self.read("calls")?, stdout: self.read("stdout")? })
    }
}

impl Drop for Audited {
    fn drop(&mut self) {
        // Of one that has ended already both say so, which is fine.
        drop(self.strace.kill());
        drop(self.strace.wait());
    }
}

impl Calls {
    /// Those that name a process.
    fn of(&self, pid: u32) -> impl Iterator<Item = &str> {
        let (path, number) = (format!("/proc/{pid}/"), format!("({pid}, "));
        let whole = format!("/proc/{pid}\"");
        self.calls.lines().filter(move |call| {
            call.contains(&path)
                || call.contains(&whole)
                || call.split_once(' ').is_some_and(|(_, call)| call.contains(&number))
        })
    }
}
