//! `tcpstate record` on real sockets, against `tcpstate trace` and `tcpstate leaks` at the same time.

mod counts;

use std::{
    collections::HashMap,
    fs,
    io::Read as _,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use self::counts::{counts_of_few, counts_of_states};
use crate::support::{
    event::Transition,
    launch::Launch,
    medley::{APART, Medley},
    process::Actor,
    run::trials,
    tracer::{PATIENCE, Setup},
};

pub(crate) fn trials() -> Vec<Trial> {
    trials![
        "recordings";
        filters_of_trace, leaks, held, counts_of_states, counts_of_few, killed, disk_full, no_room_at_all, rotated, not_overwritten,
    ]
}

/// A running `tcpstate record`; killed when dropped.
pub(crate) struct Recorder {
    child: Child,
    path: PathBuf,
    _directory: Option<TempDir>,
}

impl Recorder {
    pub(crate) fn start(arguments: &[&str]) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("test.tcps");
        let mut recorder = Self::start_at(&path, arguments)?;
        recorder._directory = Some(directory);
        Ok(recorder)
    }

    /// Started, and everything attached: the first look is written after that.
    fn start_at(path: &Path, arguments: &[&str]) -> Result<Self> {
        let child = Command::new(env!("CARGO_BIN_EXE_tcpstate"))
            .args(["record", "--interval", "500ms", "--buffer", "128M", "-o"])
            .arg(path)
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut recorder = Self { child, path: path.to_owned(), _directory: None };
        let deadline = Instant::now() + 3 * PATIENCE;
        // Header, start and counts take less than the look that follows.
        while fs::metadata(path).map_or(0, |file| file.len()) < 400 {
            ensure!(recorder.child.try_wait()?.is_none(), "the recorder ended: {}", recorder.stderr()?);
            ensure!(Instant::now() < deadline, "nothing is recorded");
            sleep(Duration::from_millis(10));
        }
        Ok(recorder)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(Pid::from_raw(self.child.id().cast_signed()).context("a pid")?, signal)?)
    }

    fn stderr(&mut self) -> Result<String> {
        let mut text = String::new();
        self.child.stderr.take().context("stderr")?.read_to_string(&mut text)?;
        Ok(text)
    }

    /// Waits for the end; the exit code and what it said.
    fn end(&mut self) -> Result<(Option<i32>, String)> {
        let deadline = Instant::now() + 3 * PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok((status.code(), self.stderr()?));
            }
            if Instant::now() > deadline {
                bail!("the recorder did not end");
            }
            sleep(Duration::from_millis(5));
        }
    }

    /// Ctrl-C. Nothing may be lost.
    pub(crate) fn finish(&mut self) -> Result<()> {
        let stderr = self.finish_under_load()?;
        ensure!(stderr.contains(" 0 lost"), "{stderr}");
        Ok(())
    }

    /// The same where more happens than every machine can follow; returns what it says.
    pub(crate) fn finish_under_load(&mut self) -> Result<String> {
        self.signal(Signal::INT)?;
        let (code, stderr) = self.end()?;
        ensure!(code == Some(0), "{code:?}: {stderr}");
        Ok(stderr)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // Of one that has ended already both say so, which is fine.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

struct Report {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// How leaks stood at the end of a recording, as JSON.
pub(crate) fn reported(recorder: &Recorder, arguments: &str) -> Result<String> {
    let report = report(&recorder.path, arguments)?;
    ensure!(report.code == Some(0), "{}", report.stderr);
    Ok(report.stdout)
}

/// `tcpstate report` as a user without any rights, on a machine without BTF.
fn report(path: &Path, arguments: &str) -> Result<Report> {
    let readable = tempfile::tempdir()?;
    let copy = readable.path().join("copy.tcps");
    fs::copy(path, &copy)?;
    for (path, mode) in [(readable.path(), 0o755), (&copy, 0o644)] {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode))?;
    }
    let launch = Launch { uid: Some(65_534), emptied: vec!["/sys/kernel/btf".into()], ..Launch::default() };
    let mut command = launch.command(Path::new(env!("CARGO_BIN_EXE_tcpstate")))?;
    let output = command.arg("report").arg(&copy).args(arguments.split_whitespace()).output()?;
    let text = |bytes| String::from_utf8(bytes).context("UTF-8");
    Ok(Report { code: output.status.code(), stdout: text(output.stdout)?, stderr: text(output.stderr)? })
}

fn lines(text: &str, kind: &str) -> Result<Vec<Value>> {
    let values = text.lines().map(serde_json::from_str::<Value>).collect::<Result<Vec<_>, _>>()?;
    Ok(values.into_iter().filter(|value| value["kind"] == kind).collect())
}

fn transitions(path: &Path, arguments: &str) -> Result<Vec<Transition>> {
    let report = report(path, &format!("--show trace -o json {arguments}"))?;
    ensure!(report.code == Some(0), "{arguments}: {}", report.stderr);
    let lines = lines(&report.stdout, "transition")?;
    let mut transitions =
        lines.into_iter().map(|line| Ok(serde_json::from_value(line)?)).collect::<Result<Vec<_>>>()?;
    name_by_id(&mut transitions);
    Ok(transitions)
}

/// Gives those that came before the cookie of their socket this cookie, as is done with what a tracer says.
fn name_by_id(transitions: &mut [Transition]) {
    let known: HashMap<u64, u64> = transitions.iter().filter_map(|shown| Some((shown.id?, shown.cookie?))).collect();
    for shown in transitions {
        shown.cookie = shown.cookie.or_else(|| known.get(&shown.id?).copied());
    }
}

/// What two tracers see alike.
fn essence(transitions: &[Transition], cookies: &[u64]) -> Vec<String> {
    let ours = transitions.iter().filter(|t| cookies.iter().any(|&cookie| t.shows(cookie)));
    let mut essence: Vec<_> = ours
        .map(|t| {
            format!(
                "{:?} {} {} {:?} {} {} {:?} {}",
                t.cookie, t.old, t.new, t.owner, t.local, t.remote, t.cgroup, t.uid
            )
        })
        .collect();
    // Of two sockets that change at the same time either may come first.
    essence.sort_unstable();
    essence
}

/// Recorded without filters and reported with one is traced with that one.
fn filters_of_trace() -> Result<()> {
    let medley = Medley::new()?;
    let name = format!("ts-record-{}", std::process::id());
    let _named = medley.elsewhere.named(&name)?;
    let [one, two] = [&medley.servers[0], &medley.servers[1]];
    let filters = [
        format!("--pid {}", one.pid),
        format!("--pid {} --children", std::process::id()),
        "--comm ts-server-two --comm ts-client-one".to_owned(),
        format!("--lport {}", medley.listeners[0].local.port()),
        format!("--rport {}", medley.listeners[1].local.port()),
        format!("--laddr {APART}"),
        format!("--raddr {APART}/32"),
        "--raddr ::1".to_owned(),
        "-4".to_owned(),
        "-6".to_owned(),
        format!("--netns {name}"),
        format!("--netns {}", one.netns()?),
        "--state close-wait".to_owned(),
        format!("--pid {} -4 --state last-ack,listen", two.pid),
    ];
    // Few at a time: each loads its programs.
    filters.chunks(5).try_for_each(|filters| compare(&medley, filters))
}

fn compare(medley: &Medley, filters: &[String]) -> Result<()> {
    let mut recorder = Recorder::start(&[])?;
    let tracers = Setup::start_all(filters.iter().map(|filter| Setup::new(filter.split(' '))))?;
    let cookies = medley.play()?;
    sleep(Duration::from_millis(300));
    for tracer in &tracers {
        tracer.signal(Signal::INT)?;
    }
    recorder.finish()?;
    let all = essence(&transitions(&recorder.path, "")?, &cookies);
    for (filter, tracer) in filters.iter().zip(tracers) {
        let live = essence(&tracer.trace()?.transitions, &cookies);
        let recorded = essence(&transitions(&recorder.path, filter)?, &cookies);
        ensure!(live == recorded, "{filter}: traced {live:#?}\nrecorded {recorded:#?}");
        ensure!(!live.is_empty(), "{filter}: nothing is shown");
        ensure!(live.len() < all.len() || filter.contains("--children"), "{filter} had no choice to make");
    }
    Ok(())
}

/// As many leaks as there are, from the code that leaks them, at the time asked for.
fn leaks() -> Result<()> {
    let (server, client) = (Actor::start("ts-server")?, Actor::start("ts-client")?);
    let mut recorder = Recorder::start(&[])?;
    let listener = server.listen((Ipv4Addr::LOCALHOST, 0))?;
    for _ in 0..7 {
        let socket = client.connect(listener.local)?;
        let accepted = server.accept(&listener)?;
        client.close(&socket)?;
        server.await_hangup(&accepted)?;
    }
    sleep(Duration::from_millis(2500));
    recorder.finish()?;
    let groups = |arguments: &str| -> Result<Vec<Value>> {
        let report = report(&recorder.path, &format!("-o json {arguments}"))?;
        ensure!(report.code == Some(0), "{}", report.stderr);
        let reports = lines(&report.stdout, "leaks")?;
        ensure!(reports.len() == 1 && reports[0]["complete"] == true, "{reports:?}");
        Ok(reports[0]["groups"].as_array().context("groups")?.clone())
    };
    let mine = groups(&format!("--pid {}", server.pid))?;
    ensure!(mine.len() == 1 && mine[0]["sockets"] == 7 && mine[0]["process"]["pid"] == server.pid, "{mine:#?}");
    ensure!(mine[0]["opened"].to_string().contains("accept"), "no stack: {}", mine[0]["opened"]);
    ensure!(groups(&format!("--pid {}", client.pid))?.is_empty(), "the client leaks nothing");
    let early = report(&recorder.path, "--to +1us")?;
    ensure!(early.code == Some(1) && early.stderr.contains("looked at first"), "{}", early.stderr);
    ensure!(groups(&format!("--pid {} --older-than 1h", server.pid))?.is_empty(), "nothing is so old");
    let text = report(&recorder.path, &format!("--pid {}", server.pid))?;
    ensure!(text.stdout.contains("7 sockets eof-unread"), "{}", text.stdout);
    Ok(())
}

/// Recorded of a process that only holds them: accepted by another one, and passed on.
fn held() -> Result<()> {
    let (primary, worker) = (Actor::start("ts-primary")?, Actor::start("ts-worker")?);
    let client = Actor::start("ts-client")?;
    let mut recorder = Recorder::start(&["--pid", &worker.pid.to_string()])?;
    let listener = primary.listen((Ipv4Addr::LOCALHOST, 0))?;
    for _ in 0..3 {
        let socket = client.connect(listener.local)?;
        let held = primary.hand_over(&primary.accept(&listener)?, &worker)?;
        client.close(&socket)?;
        worker.await_hangup(&held)?;
        worker.receive(&held, 0)?;
    }
    sleep(Duration::from_millis(2500));
    recorder.finish()?;
    let shown = report(&recorder.path, "-o json")?;
    ensure!(shown.code == Some(0), "{}", shown.stderr);
    let reports = lines(&shown.stdout, "leaks")?;
    let [group] = &reports[0]["groups"].as_array().context("groups")?[..] else { bail!("not one group: {reports:?}") };
    ensure!(group["verdict"] == "eof-read" && group["sockets"] == 3, "{group:#?}");
    ensure!(group["process"]["pid"] == worker.pid && group["told"][0]["by"]["comm"] == "ts-worker", "{group:#?}");
    ensure!(group["opened"]["left_out"]["listener"]["pid"] == primary.pid, "{group:#?}");
    let text = report(&recorder.path, "")?.stdout;
    ensure!(text.contains(&format!("`--pid {}`", primary.pid)) && !text.contains("will show where"), "{text}");
    Ok(())
}

/// What was recorded until a second before is there.
fn killed() -> Result<()> {
    let medley = Medley::new()?;
    let mut recorder = Recorder::start(&[])?;
    let cookies = medley.play()?;
    sleep(Duration::from_millis(2500));
    recorder.signal(Signal::KILL)?;
    recorder.end()?;
    let shown = transitions(&recorder.path, "")?;
    for cookie in &cookies {
        ensure!(shown.iter().any(|t| t.shows(*cookie) && t.new == "CLOSE"), "the end of {cookie:x} is missing");
    }
    let report = report(&recorder.path, "--show trace")?;
    let said = ["was not ended", "is cut off"].iter().any(|words| report.stderr.contains(words));
    ensure!(said, "{}", report.stderr);
    Ok(())
}

/// A file system that is as small as that, unmounted when dropped.
struct Small(TempDir);

impl Small {
    fn new(size: &str) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let options = format!("size={size}");
        let status =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(directory.path()).status()?;
        ensure!(status.success(), "mount: {status}");
        Ok(Self(directory))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Lazily: whatever still has the file open keeps nobody else from removing the directory.
        drop(Command::new("umount").arg("-l").arg(self.0.path()).status());
    }
}

/// A full disk ends the recording with an error that says what is kept, and that is whole.
fn disk_full() -> Result<()> {
    let small = Small::new("20k")?;
    let path = small.0.path().join("full.tcps");
    let (server, client) = (Actor::start("ts-server")?, Actor::start("ts-client")?);
    let mut recorder = Recorder::start_at(&path, &["--pid", &server.pid.to_string()])?;
    let listener = server.listen((Ipv4Addr::LOCALHOST, 0))?;
    let deadline = Instant::now() + 3 * PATIENCE;
    while recorder.child.try_wait()?.is_none() {
        ensure!(Instant::now() < deadline, "20 KiB are not filled");
        let socket = client.connect(listener.local)?;
        let accepted = server.accept(&listener)?;
        client.close(&socket)?;
        server.close(&accepted)?;
        // So that a second's events fit in.
        sleep(Duration::from_millis(2));
    }
    let (code, stderr) = recorder.end()?;
    ensure!(code == Some(1), "{code:?}: {stderr}");
    ensure!(stderr.contains("No space left") && stderr.contains("tcpstate report"), "{stderr}");
    let report = report(&path, &format!("--show trace --pid {} -o json", server.pid))?;
    ensure!(report.code == Some(0) && report.stderr.contains("was not ended"), "{}", report.stderr);
    ensure!(lines(&report.stdout, "transition")?.len() > 10, "{}", report.stdout);
    Ok(())
}

/// A recording of which nothing was written is in nobody's way.
fn no_room_at_all() -> Result<()> {
    let small = Small::new("4k")?;
    fs::write(small.0.path().join("other"), [0; 4096])?;
    let path = small.0.path().join("full.tcps");
    let ended = Command::new(env!("CARGO_BIN_EXE_tcpstate")).args(["record", "-o"]).arg(&path).output()?;
    let stderr = String::from_utf8_lossy(&ended.stderr);
    ensure!(ended.status.code() == Some(1) && stderr.contains("No space left"), "{}: {stderr}", ended.status);
    ensure!(!path.exists(), "an empty file is left");
    Ok(())
}

/// Every file stands for itself: a leak of before is in the last one, with its age and the code that opened it.
fn rotated() -> Result<()> {
    let (server, client) = (Actor::start("ts-server")?, Actor::start("ts-client")?);
    let pid = server.pid.to_string();
    let mut recorder = Recorder::start(&["--max-size", "8K", "--max-files", "3", "--pid", &pid])?;
    let listener = server.listen((Ipv4Addr::LOCALHOST, 0))?;
    let leaked = client.connect(listener.local)?;
    let accepted = server.accept(&listener)?;
    client.close(&leaked)?;
    server.await_hangup(&accepted)?;
    let path = recorder.path.clone();
    let numbered = |number: u32| PathBuf::from(format!("{}.{number}", path.display()));
    let deadline = Instant::now() + 2 * PATIENCE;
    while !numbered(2).exists() {
        ensure!(Instant::now() < deadline, "there is no third file");
        for _ in 0..100 {
            let socket = client.connect(listener.local)?;
            let accepted = server.accept(&listener)?;
            client.close(&socket)?;
            server.close(&accepted)?;
        }
    }
    sleep(Duration::from_millis(1500));
    recorder.finish()?;
    ensure!(!numbered(3).exists(), "a fourth file was kept");
    for path in [recorder.path.clone(), numbered(1), numbered(2)] {
        let report = report(&path, &format!("-o json --pid {}", server.pid))?;
        ensure!(
            report.code == Some(0) && !report.stderr.contains("not ended"),
            "{}: {}",
            path.display(),
            report.stderr
        );
    }
    let report = report(&recorder.path, &format!("-o json --pid {}", server.pid))?;
    let groups = &lines(&report.stdout, "leaks")?[0]["groups"];
    ensure!(groups[0]["sockets"] == 1 && groups[0]["opened"].to_string().contains("accept"), "{groups:#}");
    Ok(())
}

fn not_overwritten() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("there.tcps");
    fs::write(&path, "precious")?;
    let record = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tcpstate"));
        command.args(["record", "--duration", "200ms", "-o"]).arg(&path).args(arguments).output()
    };
    let refused = record(&[])?;
    let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(refused.status.code() == Some(1) && stderr.contains("--overwrite"), "{stderr}");
    ensure!(fs::read(&path)? == b"precious", "the file was changed");
    // Nor where nothing can be traced.
    let launch = Launch { emptied: vec!["/sys/kernel/btf".into()], ..Launch::default() };
    let mut command = launch.command(env!("CARGO_BIN_EXE_tcpstate"))?;
    let failed = command.args(["record", "--overwrite", "-o"]).arg(&path).output()?;
    ensure!(!failed.status.success() && fs::read(&path)? == b"precious", "{failed:?}");
    ensure!(record(&["--overwrite"])?.status.success(), "it may be overwritten");
    ensure!(transitions(&path, "").is_ok(), "it cannot be read");
    Ok(())
}
