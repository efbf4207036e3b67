//! Child processes: steps with a heading, a time and a limit; programs that need root.

use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    io::{self, BufRead as _, BufReader, IsTerminal as _, Write as _},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};

/// How many of the last lines of a failed step are shown.
const TAIL: usize = 40;

/// Whether this process is root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// `program`, to be run as root: as it is when we are root, else through sudo.
pub(crate) fn as_root(program: &OsStr) -> Command {
    if is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.arg("--").arg(program);
    command
}

/// Makes sure that commands of [`as_root`] can become root. sudo asks for a password now, if it needs one, before any
/// output could hide the question.
///
/// # Errors
///
/// We are not root, and sudo is not installed or refuses: the error says what to run as root.
pub(crate) fn authorize(commands: &[Command]) -> anyhow::Result<()> {
    if is_root() {
        return Ok(());
    }
    let shown = commands.iter().map(display);
    let wanted: Vec<_> = shown.map(|line| line.strip_prefix("sudo -- ").map_or(line.clone(), str::to_owned)).collect();
    let wanted = wanted.join(" && ");
    let sudo = which::which("sudo").ok().with_context(|| {
        format!("this needs root, and `sudo` is not installed: run `{wanted}` as root, then this again")
    })?;
    let status = Command::new(sudo).arg("--validate").status().context("failed to run `sudo --validate`")?;
    ensure!(status.success(), "sudo refuses: run `{wanted}` as root, then this again");
    Ok(())
}

/// `command` as one would type it.
pub(crate) fn display(command: &Command) -> String {
    let quote = |word: &OsStr| {
        let word = word.to_string_lossy().into_owned();
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=+,@%".contains(c);
        if !word.is_empty() && word.chars().all(plain) { word } else { format!("'{}'", word.replace('\'', r"'\''")) }
    };
    let program = Path::new(command.get_program());
    let environment = command.get_envs().filter_map(|(name, value)| {
        let mut word = OsString::from(name);
        word.push("=");
        word.push(value?);
        Some(quote(&word))
    });
    let mut words: Vec<String> = environment.collect();
    words.push(quote(program.file_name().unwrap_or(program.as_os_str())));
    words.extend(command.get_args().map(quote));
    words.join(" ")
}

/// Runs `command` under a heading, with its output on ours.
///
/// # Errors
///
/// It could not be started or failed.
pub(crate) fn show(title: &str, mut command: Command) -> anyhow::Result<()> {
    heading(title, &command);
    let status = command.status().with_context(|| format!("failed to run `{}`", display(&command)))?;
    ensure!(status.success(), "`{}` failed: {status}", display(&command));
    Ok(())
}

/// Runs `command` quietly (on a terminal its newest line is shown), under a heading and with the time it took. The last
/// lines of a failed command are shown. After `limit` it is killed.
///
/// # Errors
///
/// It could not be started, failed, or did not finish within `limit`.
pub(crate) fn step(title: &str, mut command: Command, limit: Option<Duration>) -> anyhow::Result<()> {
    heading(title, &command);
    let shown = display(&command);
    let (reader, writer) = io::pipe().context("failed to make a pipe")?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let start = Instant::now();
    let child = command.spawn().with_context(|| format!("failed to run `{shown}`"))?;
    // The command holds the pipe's writing end: end-of-file comes only when it is gone.
    drop(command);
    let (status, tail) = follow(child, reader, start, limit)?;
    let seconds = start.elapsed().as_secs_f64();
    match status {
        Some(status) if status.success() => {
            eprintln!("    done in {seconds:.1} s");
            return Ok(());
        }
        Some(status) => eprintln!("    failed after {seconds:.1} s: {status}"),
        None => eprintln!("    given up after {seconds:.1} s without an answer"),
    }
    for line in tail {
        eprintln!("    | {line}");
    }
    bail!("`{shown}` failed")
}

/// Reads the output of `child` until it ends. No status when the limit was reached and the child killed.
fn follow(
    mut child: Child,
    output: impl io::Read + Send + 'static,
    start: Instant,
    limit: Option<Duration>,
) -> anyhow::Result<(Option<ExitStatus>, VecDeque<String>)> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    let terminal = io::stderr().is_terminal();
    let mut tail = VecDeque::with_capacity(TAIL);
    let status = loop {
        match lines.recv_timeout(Duration::from_millis(200)) {
            Ok(line) => {
                if tail.len() == TAIL {
                    tail.pop_front();
                }
                tail.push_back(line);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break Some(child.wait()?),
        }
        if terminal {
            let newest: String = tail.back().into_iter().flat_map(|line| line.chars()).take(100).collect();
            eprint!("\r\x1b[K    {:3} s  {newest}", start.elapsed().as_secs());
            io::stderr().flush()?;
        }
        if limit.is_some_and(|limit| start.elapsed() > limit) {
            child.kill()?;
            child.wait()?;
            break None;
        }
    };
    if terminal {
        eprint!("\r\x1b[K");
    }
    Ok((status, tail))
}

fn heading(title: &str, command: &Command) {
    eprintln!("==> {title}\n    $ {}", display(command));
}

#[cfg(test)]
mod tests {
    use std::{
        process::Command,
        time::{Duration, Instant},
    };

    use super::{display, step};

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn shows_a_command_as_one_would_type_it() {
        let mut command = Command::new("/usr/bin/cargo");
        command.env("A", "b c").args(["install", "--root=/x", "it's", ""]);
        assert_eq!(display(&command), r"'A=b c' cargo install --root=/x 'it'\''s' ''");
    }

    #[test]
    fn a_step_that_fails_is_an_error() {
        assert!(step("succeed", shell("echo out; echo err >&2"), None).is_ok());
        let error = step("fail", shell("exit 3"), None).expect_err("exit 3 is a failure");
        assert_eq!(error.to_string(), "`sh -c 'exit 3'` failed");
        assert!(step("miss", Command::new("/nonexistent"), None).is_err());
    }

    #[test]
    fn a_step_that_says_nothing_is_given_up() {
        let start = Instant::now();
        assert!(step("hang", shell("exec sleep 60"), Some(Duration::from_millis(300))).is_err());
        assert!(start.elapsed() < Duration::from_secs(30));
    }
}
