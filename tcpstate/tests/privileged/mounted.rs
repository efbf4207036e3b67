//! A network namespace that nothing but a mount keeps, as container runtimes make them: what is in it is found all the same.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rustix::mount::{UnmountFlags, mount_bind, unmount};
use serde_json::json;

use crate::{
    hunts,
    states::{report::look, wait_for},
    support::{
        launch::Launch,
        netns::{Namespace, inside},
        process::Actor,
        run::trials,
        ss,
    },
};

pub(crate) fn trials() -> Vec<Trial> {
    trials!["mounted"; in_any_mount_namespace, behind_a_silent_file_system]
}

/// A file that a network namespace is mounted on for as long as this lives.
struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        if let Err(error) = unmount(self.0, UnmountFlags::DETACH) {
            eprintln!("`{}`: {error}", self.0.display());
        }
    }
}

/// First in the mount namespace of the tracer, then only in that of another process.
fn in_any_mount_namespace() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("a net");
    drop(File::create(&path)?);
    let namespace = Namespace::new()?;
    let inode = namespace.inode;
    mount_bind(namespace.path(), &path)?;
    let mounted = Mounted(&path);
    // A connection that nobody accepts has no descriptor: it is found in its namespace or not at all.
    let listener = inside(&path, || Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?))?;
    let address = listener.local_addr()?;
    let client = inside(&path, || Ok(TcpStream::connect(address)?))?;
    drop(client);
    let holder = namespace.path();
    drop(namespace);
    wait_for("the end of its processes", || Ok(!holder.exists()))?;
    check(&path, inode, address.port())?;

    let empty = tempfile::tempdir()?;
    let keeper = Actor::launch("ts-keeper", &Launch { emptied: vec![empty.path().into()], ..Launch::default() })?;
    drop(mounted);
    let there = Path::new("/proc").join(keeper.pid.to_string()).join("root").join(path.strip_prefix("/")?);
    check(&there, inode, address.port())
}

/// A file system that does not answer, on the way to a mount in another mount namespace, keeps nobody waiting.
fn behind_a_silent_file_system() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios/python/silent_mount.py");
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "/usr/bin/python3"]).arg(script).arg(directory.path());
    let mut server = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("`unshare`")?;
    let mut said = String::new();
    BufReader::new(server.stdout.take().context("its output")?).read_line(&mut said)?;
    ensure!(said == "READY\n", "the file system says {said:?}");
    let began = Instant::now();
    let hunt = hunts::spawn(&["--once", "-o", "json"])?.end()?;
    ensure!(hunt.status.success(), "{}", hunt.stderr);
    look(&["--top", "1"])?;
    ensure!(began.elapsed() < Duration::from_secs(20), "it took {:?}", began.elapsed());
    // It was silent all the time.
    ensure!(server.try_wait()?.is_none(), "the file system has ended");
    drop(server.stdin.take());
    server.wait()?;
    Ok(())
}

/// `ss`, `states` and `leaks` agree.
fn check(path: &Path, inode: u64, port: u16) -> Result<()> {
    let listed = ss::inside(path, &format!("sport = :{port}"))?;
    let mut states: Vec<_> = listed.iter().map(|socket| socket.state).collect();
    states.sort_unstable();
    ensure!(states == ["CLOSE_WAIT", "LISTEN"], "{states:?}");
    let all = look(&["--top", "10000"])?;
    let row = all["namespaces"].as_array().context("namespaces")?.iter().find(|row| row["netns"] == inode);
    row.with_context(|| format!("namespace {inode} is missing"))?;
    let counted = look(&["--netns", &inode.to_string(), "--lport", &port.to_string()])?;
    ensure!(counted["sockets"] == json!(listed.len()), "{counted}");
    let hunt = hunts::json(&["--older-than", "1ms", "--netns", &inode.to_string()])?;
    hunt.wait_until("the connection that waits", |report| {
        let [group] = &report.groups[..] else { anyhow::bail!("not one group: {:?}", report.groups) };
        ensure!(group.verdict == "never-accepted" && group.sockets == 1, "{group:?}");
        ensure!(report.totals.close_wait == 1, "{:?}", report.totals);
        Ok(())
    })?;
    hunt.finish()?;
    Ok(())
}
