//! One guest: its machine, what it says, and how it ends.

use std::{
    fmt, fs,
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use rustix::process::{Signal, set_parent_process_death_signal};

use super::emulator::Emulator;

/// What a guest runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Processor {
    /// Emulated: everywhere.
    Emulated,
    /// The machine's own: fast, where the machine lets us.
    Kvm,
}

/// A machine to start.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) emulator: Emulator,
    pub(crate) processor: Processor,
    pub(crate) kernel: PathBuf,
    pub(crate) image: PathBuf,
    /// What is added to the kernel's command line.
    pub(crate) parameters: String,
    /// Where its console and its report are written.
    pub(crate) directory: PathBuf,
    /// When it is given up.
    pub(crate) limit: Duration,
}

/// How a guest ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The command's exit code.
    Exit(i32),
    /// The command was killed.
    Signal(i32),
    /// The first process says what went wrong.
    Failed(String),
    /// The last words of the kernel.
    Panicked(String),
    /// It was still running after this time.
    Hung(Duration),
    /// The machine ended without a word from the first process.
    Silent,
}

impl End {
    /// Reads what the first process reported, and where it did not, what the kernel wrote to its console.
    fn read(report: &str, console: &str, hung: Option<Duration>) -> Self {
        let number = |text: &str| text.trim().parse().ok();
        let reported = report.lines().find_map(|line| {
            let (word, rest) = line.trim().split_once(' ')?;
            match word {
                "exit" => number(rest).map(Self::Exit),
                "signal" => number(rest).map(Self::Signal),
                "error" => Some(Self::Failed(rest.to_owned())),
                _ => None,
            }
        });
        let panicked = || {
            let (_, words) = console.split_once("Kernel panic - ")?;
            Some(Self::Panicked(words.lines().next().unwrap_or_default().trim().to_owned()))
        };
        // A panic on the way down spoils what was reported before.
        panicked().or(reported).or(hung.map(Self::Hung)).unwrap_or(Self::Silent)
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "killed by signal {signal}"),
            Self::Failed(why) => write!(f, "the guest could not run the command: {why}"),
            Self::Panicked(words) => write!(f, "the kernel panicked: {words}"),
            Self::Hung(limit) => write!(f, "given up after {} s", limit.as_secs()),
            Self::Silent => f.write_str("the guest ended without a word"),
        }
    }
}

impl Machine {
    /// Where the kernel's console is written.
    pub(crate) fn console(&self) -> PathBuf {
        self.directory.join("console.log")
    }

    /// Runs it to its end; `line` gets each line of its command.
    ///
    /// # Errors
    ///
    /// QEMU could not be started, or a file not be written.
    pub(crate) fn run(&self, line: &mut dyn FnMut(&str)) -> anyhow::Result<End> {
        let mut command = self.command(false);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(fs::File::create(self.directory.join("qemu.log"))?);
        // SAFETY: one system call, which is all that may be done between fork and exec.
        unsafe { command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?)) };
        let mut child = command.spawn().context("failed to run `qemu-system-x86_64`")?;
        let output = child.stdout.take().context("a guest without output")?;
        let (sender, lines) = mpsc::channel();
        let reader = thread::spawn(move || {
            for bytes in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                if sender.send(String::from_utf8_lossy(&bytes).trim_end_matches('\r').to_owned()).is_err() {
                    break;
                }
            }
        });
        let deadline = Instant::now() + self.limit;
        let mut hung = None;
        loop {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(text) => line(&text),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    hung = Some(self.limit);
                    child.kill()?;
                    break;
                }
            }
        }
        let status = child.wait()?;
        drop(reader.join());
        if !status.success() && hung.is_none() {
            let said = fs::read_to_string(self.directory.join("qemu.log"))?;
            anyhow::bail!("`qemu-system-x86_64` failed, {status}: {}", said.trim());
        }
        self.end(hung)
    }

    /// Runs it with the user's terminal at its second serial port.
    ///
    /// # Errors
    ///
    /// As [`Machine::run`].
    pub(crate) fn converse(&self) -> anyhow::Result<End> {
        let status = self.command(true).status().context("failed to run `qemu-system-x86_64`")?;
        anyhow::ensure!(status.success(), "`qemu-system-x86_64` failed: {status}");
        self.end(None)
    }

    fn end(&self, hung: Option<Duration>) -> anyhow::Result<End> {
        let read = |path: &Path| -> anyhow::Result<String> {
            let bytes = fs::read(path).with_context(|| format!("`{}`", path.display()))?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        Ok(End::read(&read(&self.report())?, &read(&self.console())?, hung))
    }

    fn report(&self) -> PathBuf {
        self.directory.join("report")
    }

    fn command(&self, interactive: bool) -> Command {
        let mut qemu = self.emulator.command();
        qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-m", "1536", "-smp", "1"]);
        match self.processor {
            // Vector instructions cost more than they save.
            Processor::Emulated => qemu.args(["-accel", "tcg,thread=single,tb-size=512", "-cpu", "Nehalem,+rdrand"]),
            Processor::Kvm => qemu.args(["-accel", "kvm", "-cpu", "host"]),
        };
        if self.processor == Processor::Emulated && !interactive {
            // The guest's clock counts instructions, a nanosecond each, and leaps where there is nothing to do: waiting costs
            // nothing, and a guest on a busy machine misses no deadline. Who types lives in another time.
            qemu.args(["-icount", "shift=0,sleep=off"]);
        }
        // Tests have more patience there.
        let emulated = if self.processor == Processor::Emulated { "tcpstate.emulated" } else { "" };
        let parameters =
            format!("console=ttyS0 panic=-1 mitigations=off norandmaps rdinit=/init {} {emulated}", self.parameters);
        qemu.arg("-kernel").arg(&self.kernel).arg("-initrd").arg(&self.image);
        qemu.args(["-append", parameters.trim()]);
        let file = |id: &str, path: PathBuf| {
            // A comma separates options; two are one comma.
            format!("file,id={id},path={}", path.display().to_string().replace(',', ",,"))
        };
        let terminal = format!("stdio,id=terminal,signal={}", if interactive { "off" } else { "on" });
        for device in [file("console", self.console()), terminal, file("report", self.report())] {
            qemu.args(["-chardev", &device]);
        }
        qemu.args(["-serial", "chardev:console", "-serial", "chardev:terminal", "-serial", "chardev:report"]);
        qemu
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::End;

    #[test]
    fn an_end_is_what_the_first_process_reports() {
        assert_eq!(End::read("kernel 6.1\nexit 0\n", "", None), End::Exit(0));
        assert_eq!(End::read("kernel 6.1\nexit 101\n", "", None), End::Exit(101));
        assert_eq!(End::read("signal 9\n", "", None), End::Signal(9));
        assert_eq!(End::read("error no such file\n", "", None), End::Failed("no such file".to_owned()));
    }

    #[test]
    fn no_report_is_no_success() {
        let panic = "[ 1.0] Kernel panic - not syncing: VFS: no root\n[ 1.1] CPU: 0\n";
        assert_eq!(End::read("", "", None), End::Silent);
        assert_eq!(End::read("kernel 6.1\n", "", None), End::Silent);
        assert_eq!(End::read("", panic, None), End::Panicked("not syncing: VFS: no root".to_owned()));
        assert_eq!(End::read("exit 0\n", panic, None), End::Panicked("not syncing: VFS: no root".to_owned()));
        let limit = Duration::from_secs(60);
        assert_eq!(End::read("kernel 6.1\n", "", Some(limit)), End::Hung(limit));
    }
}
