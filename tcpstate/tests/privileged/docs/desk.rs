//! Where commands are run: a shell in a directory of its own, and a program that leaks.

use std::{
    env,
    fs::{self, File, Permissions},
    os::unix::{fs::PermissionsExt as _, fs::symlink, process::CommandExt as _},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use crate::{
    scenarios::{
        compile, named,
        running::{Ends, Running},
    },
    support::netns::{Named, Namespace},
};

/// For anything that a command does by itself.
const PATIENCE: Duration = Duration::from_secs(40);
/// From the last hook to the end of the snapshot.
const BEFORE_LEAK: Duration = Duration::from_millis(300);
/// After so long the program leaks again, and somebody who watches it presses Ctrl-C.
const BETWEEN_LEAKS: Duration = Duration::from_millis(700);
const BEFORE_CTRL_C: Duration = Duration::from_millis(1000);

/// The scenario that leaks: a gateway.
const SCENARIO: &str = "relay";
/// Names of documents for what is the reader's own.
const NAMESPACE: &str = "blue";
const CGROUP: &str = "system.slice/nginx.service";
/// Times of day in and at the end of a recording, and one that is counted from its start.
const FROM: &str = "03:10";
const TO: &str = "03:15";
const AFTER: &str = "+15s";

pub(super) struct Desk {
    directory: TempDir,
    running: Running,
    namespace: Named,
    /// Keeps the namespace.
    _elsewhere: Namespace,
    /// When the last command that went on for a while began and ended, as times of day.
    watched: Option<[String; 2]>,
}

/// What came of a command line.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) code: Option<i32>,
    pub(super) stderr: String,
    /// On standard output, or to the file that it was sent to.
    pub(super) written: String,
}

impl Desk {
    pub(super) fn new() -> Result<Self> {
        let elsewhere = Namespace::new()?;
        let namespace = elsewhere.named("ts-docs-blue")?;
        let mut running = (named(SCENARIO)?.start)()?;
        running.leak()?;
        let desk = Self { directory: tempfile::tempdir()?, running, namespace, _elsewhere: elsewhere, watched: None };
        fs::create_dir(desk.path("bin"))?;
        symlink(env!("CARGO_BIN_EXE_tcpstate"), desk.path("bin/tcpstate"))?;
        desk.script("bin/sudo", "exec \"$@\"")?;
        let tests = compile::source("run/test_client.py");
        let pytest = "LEAK=1 exec /usr/bin/python3 -B -m pytest -p no:cacheprovider";
        desk.script("bin/pytest", &format!("{pytest} \"$@\" '{}'", tests.display()))?;
        Ok(desk)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) -> Result<()> {
        fs::write(self.path(name), text).with_context(|| format!("`{name}`"))
    }

    /// A program of these lines.
    pub(super) fn script(&self, name: &str, lines: &str) -> Result<()> {
        self.write(name, &format!("#!/bin/sh\n{lines}\n"))?;
        Ok(fs::set_permissions(self.path(name), Permissions::from_mode(0o755))?)
    }

    /// The name of what leaks.
    pub(super) fn program(&self) -> &'static str {
        SCENARIO
    }

    /// What starts another one of it.
    pub(super) fn gateway(&self) -> Result<[String; 3]> {
        let program = fs::read_link(format!("/proc/{}/exe", self.running.scene.program.pid))?;
        let Ends::Remote(upstream) = self.running.scene.ends else { bail!("`{SCENARIO}` connects to nobody") };
        Ok([program.display().to_string(), "127.0.0.1".to_owned(), upstream.port().to_string()])
    }

    /// A command line with what there is here in place of what a document makes up.
    pub(super) fn fitted(&self, line: &str) -> Result<String> {
        let pid = self.running.scene.program.pid.to_string();
        let [from, to] = self.watched.as_ref().map_or([FROM, TO], |[from, to]| [from, to]);
        let mut words = Vec::new();
        let mut before = "";
        for word in line.split(' ') {
            let is_path = word.strip_prefix("/proc/").and_then(|path| path.split_once('/'));
            words.push(match word {
                NAMESPACE => self.namespace.name().to_owned(),
                CGROUP => cgroup(&pid)?,
                FROM => from.to_owned(),
                TO => to.to_owned(),
                AFTER => "+1s".to_owned(),
                _ if before == "--pid" => pid.clone(),
                _ => is_path.map_or_else(|| word.to_owned(), |(_, rest)| format!("/proc/{pid}/{rest}")),
            });
            before = word;
        }
        Ok(words.join(" "))
    }

    /// Runs a command line to its end.
    pub(super) fn run(&self, line: &str) -> Result<Ended> {
        Line::start(self, line)?.end()
    }

    /// The same for one that shows what happens until it is interrupted, or for longer than a test has time. One that traces has
    /// something to show: the program leaks once it is attached.
    pub(super) fn run_for_a_while(&mut self, line: &str, traces: bool) -> Result<Ended> {
        let mut running = Line::start(self, line)?;
        if traces {
            running.wait_attached()?;
        }
        thread::sleep(BEFORE_LEAK);
        let from = time_of_day();
        self.running.leak()?;
        thread::sleep(BETWEEN_LEAKS);
        self.running.leak()?;
        thread::sleep(BEFORE_CTRL_C);
        self.watched = Some([from, time_of_day()]);
        running.interrupt()?;
        running.end()
    }
}

/// A command line that has been started; all of it is killed when this is dropped.
struct Line {
    shell: Child,
    /// Where it writes.
    output: TempDir,
    /// What it sends standard output to.
    file: Option<PathBuf>,
}

impl Line {
    fn start(desk: &Desk, line: &str) -> Result<Self> {
        let output = tempfile::tempdir()?;
        let mut paths = vec![desk.path("bin")];
        paths.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
        let create = |name| File::create(output.path().join(name));
        let mut shell = Command::new("sh");
        // Ctrl-C is for what the shell runs; the shell waits for it as one does that somebody types to.
        shell.arg("-c").arg(format!("trap : INT\n{line}")).current_dir(desk.directory.path()).process_group(0);
        shell.env("PATH", env::join_paths(paths)?).env_remove("NO_COLOR");
        shell.stdin(Stdio::null()).stdout(create("stdout")?).stderr(create("stderr")?);
        let file = line.split_once(" > ").map(|(_, file)| desk.path(file.trim()));
        let file = file.or_else(|| Some(desk.path(line.split_once("record -o ")?.1.split(' ').next()?)));
        Ok(Self { shell: shell.spawn().context("sh")?, output, file })
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let group = Pid::from_raw(self.shell.id().cast_signed()).context("pid of the shell")?;
        Ok(kill_process_group(group, signal)?)
    }

    /// Waits until something of it is attached, or all has ended.
    fn wait_attached(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.shell.try_wait()?.is_none() && !is_attached(self.shell.id()) {
            ensure!(Instant::now() < deadline, "it did not attach in {PATIENCE:?}");
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Ctrl-C, unless it has ended.
    fn interrupt(&mut self) -> Result<()> {
        if self.shell.try_wait()?.is_none() { self.signal(Signal::INT) } else { Ok(()) }
    }

    fn end(mut self) -> Result<Ended> {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.shell.try_wait()? {
                break status;
            }
            ensure!(Instant::now() < deadline, "it did not end in {PATIENCE:?}");
            thread::sleep(Duration::from_millis(5));
        };
        let text = |name| -> Result<String> { Ok(fs::read_to_string(self.output.path().join(name))?) };
        let (stdout, stderr) = (text("stdout")?, text("stderr")?);
        let file =
            self.file.as_ref().map_or_else(|| Ok(Vec::new()), fs::read).context("the file that it was to write")?;
        Ok(Ended { code: status.code(), written: format!("{stdout}{}", String::from_utf8_lossy(&file)), stderr })
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // Where all has ended there is nobody to kill, which is fine.
        drop(self.signal(Signal::KILL));
        drop(self.shell.wait());
    }
}

/// The path of a process's cgroup, as the kernel tells it.
fn cgroup(pid: &str) -> Result<String> {
    let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let path = cgroups.lines().find_map(|line| line.strip_prefix("0::"));
    path.map(str::to_owned).context("no cgroup v2")
}

/// Whether a process of this group has a descriptor of a BPF link (`bpf_link_show_fdinfo()`, `kernel/bpf/syscall.c`) and has given up what
/// attaching took, so that no hook is missing.
fn is_attached(group: u32) -> bool {
    let numbers = list("/proc").filter(|name| name.parse::<u32>().is_ok());
    let mut members = numbers.filter(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(2)?.parse().ok()) == Some(group)
    });
    members.any(|pid| {
        let says = |path: String, line: &str| fs::read_to_string(path).is_ok_and(|text| text.contains(line));
        let infos = format!("/proc/{pid}/fdinfo");
        says(format!("/proc/{pid}/status"), "\nSeccomp:\t2\n")
            && list(&infos).any(|fd| says(format!("{infos}/{fd}"), "link_type:"))
    })
}

/// The names in a directory; none of one that is gone.
fn list(directory: &str) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned())
}

fn time_of_day() -> String {
    jiff::Zoned::now().strftime("%H:%M:%S%.3f").to_string()
}
