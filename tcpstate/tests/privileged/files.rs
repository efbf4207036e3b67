//! Files that root makes where another user has put something at their names.

use std::{
    fs,
    io::Read as _,
    os::unix::{
        fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, lchown, symlink},
        net::UnixListener,
    },
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::support::run::trials;

pub(crate) fn trials() -> Vec<Trial> {
    trials![
        "files";
        recordings, overwritten, reports, rotated, unfinished, masks, streams, pages,
    ]
}

/// The other user.
const NOBODY: u32 = 65_534;
const SECRET: &str = "precious";
/// For a tracer to start, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// A directory that everybody may write to, and one that only root may enter.
struct Scene {
    directory: TempDir,
    names: Vec<String>,
}

/// What another user has put at a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trap {
    /// To a file of root.
    Link,
    /// To a name in a directory of root.
    Dangling,
    /// Another name of a file of root.
    HardLink,
    Directory,
    Pipe,
    Socket,
    /// A file that everybody may read and write.
    File,
    /// A link to a directory of root on the way.
    Way,
}

impl Trap {
    const ALL: [Self; 8] =
        [Self::Link, Self::Dangling, Self::HardLink, Self::Directory, Self::Pipe, Self::Socket, Self::File, Self::Way];

    /// What is said of it; `None` where another file can take its place.
    fn refusal(self) -> Option<&'static str> {
        match self {
            Self::Link | Self::Dangling => {
                Some("is a symbolic link and is not followed: remove it, or name its target")
            }
            Self::Directory => Some("is a directory: name a file in it"),
            Self::Pipe => Some("is a pipe of another user (uid 65534) and is not written to"),
            Self::Socket => Some("is a socket, which is not written to"),
            Self::Way => Some("is a symbolic link of another user (uid 65534) and is not followed"),
            Self::HardLink | Self::File => None,
        }
    }
}

impl Scene {
    fn new() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let scene = Self { directory, names: Vec::new() };
        fs::set_permissions(scene.directory.path(), fs::Permissions::from_mode(0o755))?;
        for (name, mode) in [("sticky", 0o1777), ("private", 0o700)] {
            fs::create_dir(scene.at(name))?;
            fs::set_permissions(scene.at(name), fs::Permissions::from_mode(mode))?;
        }
        fs::write(scene.at("private/secret"), SECRET)?;
        fs::set_permissions(scene.at("private/secret"), fs::Permissions::from_mode(0o600))?;
        Ok(scene)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Has another user put something at this name in the directory of everybody; returns the path to give.
    fn set(&mut self, trap: Trap, name: &str) -> Result<PathBuf> {
        self.names.push(name.to_owned());
        let path = self.at("sticky").join(name);
        match trap {
            Trap::Link => symlink(self.at("private/secret"), &path)?,
            Trap::Dangling => symlink(self.at("private/new"), &path)?,
            // Root's, as the file is.
            Trap::HardLink => {
                fs::hard_link(self.at("private/secret"), &path)?;
                return Ok(path);
            }
            Trap::Directory => fs::create_dir(&path)?,
            Trap::Pipe => ensure!(Command::new("mkfifo").arg(&path).status()?.success(), "mkfifo"),
            Trap::Socket => drop(UnixListener::bind(&path)?),
            Trap::File => {
                fs::write(&path, "theirs")?;
                fs::set_permissions(&path, fs::Permissions::from_mode(0o666))?;
            }
            Trap::Way => symlink(self.at("private"), &path)?,
        }
        lchown(&path, Some(NOBODY), Some(NOBODY))?;
        Ok(if trap == Trap::Way { path.join("new") } else { path })
    }

    /// Whether root's files are as they were, and there is nothing beside what was named.
    fn check(&self) -> Result<()> {
        let secret = self.at("private/secret");
        ensure!(fs::read_to_string(&secret)? == SECRET, "root's file was written to");
        let metadata = fs::metadata(&secret)?;
        ensure!(metadata.mode() & 0o7777 == 0o600 && metadata.uid() == 0, "root's file was changed: {metadata:?}");
        let entries = fs::read_dir(self.at("private"))?.count();
        ensure!(entries == 1, "something was made in root's directory");
        for entry in fs::read_dir(self.at("sticky"))? {
            let name = entry?.file_name().into_string().ok().context("UTF-8")?;
            ensure!(self.names.contains(&name), "`{name}` is left");
        }
        Ok(())
    }
}

/// A regular file of root with this mode.
#[track_caller]
fn check_new(path: &Path, mode: u32) -> Result<()> {
    let found = fs::symlink_metadata(path).with_context(|| format!("{}", path.display()))?;
    let is = (found.is_file(), found.uid(), found.gid(), found.mode() & 0o7777, found.nlink());
    ensure!(is == (true, 0, 0, mode, 1), "{}: {is:?}, mode {:o}", path.display(), found.mode());
    Ok(())
}

fn tcpstate(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcpstate"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it to its end, which comes.
fn ended(mut command: Command) -> Result<(Option<i32>, String)> {
    let mut child = command.spawn()?;
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait()?.is_none() {
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            anyhow::bail!("it hangs");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let Output { status, stderr, .. } = child.wait_with_output()?;
    Ok((status.code(), String::from_utf8_lossy(&stderr).into_owned()))
}

fn record(path: &Path, options: &[&str]) -> Result<(Option<i32>, String)> {
    let mut command = tcpstate(&["record", "--duration", "100ms", "--no-states", "-o"]);
    command.arg(path).args(options);
    ended(command)
}

fn is_recording(path: &Path) -> Result<()> {
    let (code, stderr) = ended({
        let mut command = tcpstate(&["report", "--show", "summary"]);
        command.arg(path);
        command
    })?;
    ensure!(code == Some(0) && !stderr.contains("was not ended"), "{}: {stderr}", path.display());
    Ok(())
}

/// Nothing that is there is taken.
fn recordings() -> Result<()> {
    let mut scene = Scene::new()?;
    for trap in Trap::ALL {
        let path = scene.set(trap, &format!("{trap:?}"))?;
        let (code, stderr) = record(&path, &[])?;
        let words = trap.refusal().unwrap_or("is there already: give another name, or `--overwrite`");
        ensure!(code == Some(1) && stderr.contains(words), "{trap:?}: {code:?}: {stderr}");
        scene.check().with_context(|| format!("{trap:?}"))?;
    }
    Ok(())
}

/// Only files are replaced, by new ones.
fn overwritten() -> Result<()> {
    let mut scene = Scene::new()?;
    for trap in Trap::ALL {
        let path = scene.set(trap, &format!("{trap:?}"))?;
        let mut open = (trap == Trap::File).then(|| fs::File::open(&path)).transpose()?;
        let (code, stderr) = record(&path, &["--overwrite"])?;
        match trap.refusal() {
            Some(words) => ensure!(code == Some(1) && stderr.contains(words), "{trap:?}: {code:?}: {stderr}"),
            None => {
                ensure!(code == Some(0), "{trap:?}: {code:?}: {stderr}");
                check_new(&path, 0o600)?;
                is_recording(&path)?;
            }
        }
        if let Some(open) = &mut open {
            let mut text = String::new();
            open.read_to_string(&mut text)?;
            ensure!(text == "theirs", "who had the file open reads the recording");
        }
        scene.check().with_context(|| format!("{trap:?}"))?;
    }
    Ok(())
}

fn reports() -> Result<()> {
    let mut scene = Scene::new()?;
    for option in ["--junit", "--report"] {
        for trap in Trap::ALL {
            let path = scene.set(trap, &format!("{trap:?}{option}"))?;
            let mut command = tcpstate(&["run", option]);
            command.arg(&path).args(["--", "true"]);
            let (code, stderr) = ended(command)?;
            match trap.refusal() {
                Some(words) => ensure!(code == Some(125) && stderr.contains(words), "{trap:?}: {code:?}: {stderr}"),
                None => {
                    ensure!(code == Some(0), "{trap:?}: {code:?}: {stderr}");
                    check_new(&path, 0o644)?;
                    ensure!(fs::metadata(&path)?.len() > 100, "it says nothing");
                }
            }
            scene.check().with_context(|| format!("{option} {trap:?}"))?;
        }
    }
    // What is put there while the command runs is replaced, and not written to.
    let path = scene.at("sticky/late");
    scene.names.push("late".to_owned());
    let mut command = tcpstate(&["run", "--report"]);
    command.arg(&path).args(["--", "ln", "-s"]).arg(scene.at("private/secret")).arg(&path);
    let (code, stderr) = ended(command)?;
    ensure!(code == Some(0), "{code:?}: {stderr}");
    check_new(&path, 0o644)?;
    scene.check()
}

/// The names of files that are full are taken, too.
fn rotated() -> Result<()> {
    for trap in Trap::ALL {
        let mut scene = Scene::new()?;
        let path = scene.at("sticky/a");
        scene.set(trap, "a.1")?;
        let options: &[&str] = &["--max-size", "1", "--max-files", "2"];
        let (code, stderr) = record(&path, options)?;
        ensure!(code == Some(1), "{trap:?}: {code:?}: {stderr}");
        let words = match trap {
            Trap::Way => "is a symbolic link and is not followed",
            trap => trap.refusal().unwrap_or("is there already"),
        };
        ensure!(stderr.contains(words) && stderr.contains("a.1`"), "{trap:?}: {stderr}");
        scene.check().with_context(|| format!("{trap:?}"))?;
    }
    // One that comes later is passed over.
    let mut scene = Scene::new()?;
    let path = scene.at("sticky/a");
    let mut command = tcpstate(&["record", "--no-states", "--max-size", "1", "--max-files", "3", "-o"]);
    let recorder = command.arg(&path).spawn()?;
    let deadline = Instant::now() + PATIENCE;
    while !path.exists() {
        ensure!(Instant::now() < deadline, "nothing is recorded");
    }
    scene.set(Trap::Link, "a.2")?;
    scene.set(Trap::File, "a.3")?;
    while !scene.at("sticky/a.4").exists() {
        ensure!(Instant::now() < deadline, "there is no third file: {:?}", fs::read_dir(scene.at("sticky"))?);
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_secs(2));
    kill_process(Pid::from_raw(recorder.id().cast_signed()).context("a pid")?, Signal::INT)?;
    let ended = recorder.wait_with_output()?;
    ensure!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    scene.names.extend(["a", "a.1", "a.4"].map(str::to_owned));
    scene.check()?;
    ensure!(fs::read_to_string(scene.at("sticky/a.3"))? == "theirs", "another user's file was replaced");
    for name in ["a", "a.1", "a.4"] {
        let path = scene.at("sticky").join(name);
        check_new(&path, 0o600)?;
        is_recording(&path)?;
    }
    Ok(())
}

/// Until a file is of use the one of before is there, and then nothing beside it, however the maker ends.
fn unfinished() -> Result<()> {
    let mut scene = Scene::new()?;
    let path = scene.at("sticky/report");
    scene.names.push("report".to_owned());
    fs::write(&path, "of before")?;
    for signal in [Signal::KILL, Signal::INT, Signal::TERM] {
        let mut command = tcpstate(&["run", "--report"]);
        let run = command.arg(&path).args(["--", "sleep", "60"]).spawn()?;
        let tracer = Pid::from_raw(run.id().cast_signed()).context("a pid")?;
        let deadline = Instant::now() + PATIENCE;
        let command = loop {
            if let Some(command) = child_that_is(run.id(), "sleep") {
                break command;
            }
            ensure!(Instant::now() < deadline, "the command does not start");
            std::thread::sleep(Duration::from_millis(5));
        };
        ensure!(fs::read_to_string(&path)? == "of before", "{signal:?}: it is gone before there is another");
        scene.check()?;
        kill_process(tracer, signal)?;
        if signal == Signal::KILL {
            // It lives on, with what it writes to.
            kill_process(command, signal)?;
        }
        run.wait_with_output()?;
        scene.check().with_context(|| format!("{signal:?}"))?;
        let is_of_before = fs::read_to_string(&path)? == "of before";
        // Other signals end the command, of which there is a report then.
        ensure!(is_of_before == (signal == Signal::KILL), "{signal:?}: {is_of_before}");
        fs::write(&path, "of before")?;
    }
    full_disk(&scene)
}

/// The child of this process that runs the program of this name.
fn child_that_is(pid: u32, program: &str) -> Option<Pid> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let children = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let child = children
        .flat_map(|pids| pids.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .find(|child| fs::read_to_string(format!("/proc/{child}/comm")).is_ok_and(|comm| comm.trim() == program))?;
    Pid::from_raw(child.parse().ok()?)
}

/// On a file system that has room for its names only.
fn full_disk(scene: &Scene) -> Result<()> {
    let at = scene.at("full");
    fs::create_dir(&at)?;
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=8k", "tmpfs"]).arg(&at).status()?;
    ensure!(mounted.success(), "mount");
    let result = (|| {
        for name in ["old", "other"] {
            fs::write(at.join(name), SECRET)?;
        }
        let mut run = tcpstate(&["run", "--report"]);
        run.arg(at.join("old")).args(["--", "true"]);
        let (code, stderr) = ended(run)?;
        ensure!(code == Some(125) && stderr.contains("No space left"), "{code:?}: {stderr}");
        let (code, stderr) = record(&at.join("old"), &["--overwrite"])?;
        ensure!(code == Some(1) && stderr.contains("No space left"), "{code:?}: {stderr}");
        ensure!(fs::read_to_string(at.join("old"))? == SECRET, "the file of before is gone");
        ensure!(fs::read_dir(&at)?.count() == 2, "something is left");
        Ok(())
    })();
    let unmounted = Command::new("umount").arg("-l").arg(&at).status()?;
    ensure!(unmounted.success(), "umount");
    result
}

/// A recording is its owner's, whatever the umask; a report is everybody's to read where the umask lets it.
fn masks() -> Result<()> {
    for (umask, readable) in [("000", 0o644), ("022", 0o644), ("027", 0o640), ("777", 0)] {
        let mut scene = Scene::new()?;
        scene.names.extend(["a", "j", "r"].map(str::to_owned));
        let at = |name: &str| scene.at("sticky").join(name);
        let script = "umask $1; \"$2\" record --duration 100ms --no-states -o \"$3/a\" && \
                      exec \"$2\" run --junit \"$3/j\" --report \"$3/r\" -- true";
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "sh", umask, env!("CARGO_BIN_EXE_tcpstate")]).arg(scene.at("sticky"));
        let (code, stderr) = ended({
            shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            shell
        })?;
        ensure!(code == Some(0), "{umask}: {stderr}");
        for (name, mode) in [("a", 0o600), ("j", readable), ("r", readable)] {
            check_new(&at(name), mode).with_context(|| format!("umask {umask}"))?;
        }
        scene.check()?;
    }
    Ok(())
}

/// What is given as a descriptor is written to, and so are a pipe of one's own and a device.
fn streams() -> Result<()> {
    let scene = Scene::new()?;
    let record = "record --overwrite --duration 100ms --no-states";
    for (script, what) in [
        ("$T $RECORD -o /dev/stdout | cat > out", "a pipe"),
        ("$T $RECORD -o /dev/stdout > out", "a file"),
        ("$T $RECORD -o /dev/fd/7 7> out", "a descriptor"),
        ("$T $RECORD -o >(cat > out); while ! [ -s out ]; do sleep 0.1; done; sleep 0.3", "a process"),
        ("mkfifo fifo; $T $RECORD -o fifo & cat fifo > out; wait", "a pipe with a name"),
    ] {
        let mut bash = Command::new("bash");
        bash.args(["-c", script]).env("T", env!("CARGO_BIN_EXE_tcpstate")).env("RECORD", record);
        bash.current_dir(scene.at("private")).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let (code, stderr) = ended(bash)?;
        ensure!(code == Some(0), "{what}: {code:?}: {stderr}");
        is_recording(&scene.at("private/out")).with_context(|| what.to_owned())?;
        fs::remove_file(scene.at("private/out"))?;
    }
    ensure!(fs::symlink_metadata(scene.at("private/fifo"))?.file_type().is_fifo(), "the pipe is gone");
    for (script, what) in [
        ("$T run --report /dev/stdout -- true > out", "a file"),
        ("$T run --report /dev/fd/7 -- true 7> out", "a descriptor"),
        ("$T run --report >(cat > out) -- true; while ! [ -s out ]; do sleep 0.1; done", "a process"),
    ] {
        let mut bash = Command::new("bash");
        bash.args(["-c", script]).env("T", env!("CARGO_BIN_EXE_tcpstate"));
        bash.current_dir(scene.at("private")).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let (code, stderr) = ended(bash)?;
        ensure!(code == Some(0), "{what}: {code:?}: {stderr}");
        let report: serde_json::Value = serde_json::from_str(&fs::read_to_string(scene.at("private/out"))?)?;
        ensure!(report["exit_code"] == 0, "{what}: {report}");
        fs::remove_file(scene.at("private/out"))?;
    }
    Ok(())
}

/// Manual pages are files like others.
fn pages() -> Result<()> {
    let mut scene = Scene::new()?;
    scene.set(Trap::Link, "tcpstate-run.1")?;
    scene.names.push("tcpstate.1".to_owned());
    let mut command = tcpstate(&["man", "--dir"]);
    command.arg(scene.at("sticky"));
    let (code, stderr) = ended(command)?;
    ensure!(code == Some(1) && stderr.contains("is a symbolic link and is not followed"), "{code:?}: {stderr}");
    let pages = fs::read_dir(scene.at("sticky"))?.flatten().map(|entry| entry.file_name().into_string());
    scene.names.extend(pages.flatten().filter(|name| name.starts_with("tcpstate-")));
    scene.check()
}
