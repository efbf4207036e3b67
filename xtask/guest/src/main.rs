//! The first process of a guest of `cargo xtask vm`: it makes the usual file systems, loads modules, runs one command, says
//! how that ended, and turns the machine off.
//!
//! The image has the command in [`COMMAND`] and the modules, in their order, in [`MODULES`]. What the command says goes to the
//! second serial port, what this process reports to the third; the first is the kernel's console.

use std::{
    ffi::{CStr, CString},
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::process::{CommandExt, ExitStatusExt},
    panic,
    process::{Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::{
    fs::sync,
    io::Errno,
    mount::{MountFlags, mount},
    process::{WaitOptions, getpid, ioctl_tiocsctty, setsid},
    system::{RebootCommand, finit_module, reboot},
    termios::{OptionalActions, OutputModes, tcgetattr, tcsetattr},
};

/// A line for the shell.
const COMMAND: &str = "/guest/command";
/// Paths of kernel modules, one a line, dependencies first.
const MODULES: &str = "/guest/modules";
/// Exists when somebody sits at the second serial port.
const INTERACTIVE: &str = "/guest/interactive";

/// What is said, and typed.
const TERMINAL: &str = "/dev/ttyS1";
/// What is reported to `cargo xtask vm`.
const REPORT: &str = "/dev/ttyS2";

/// `MODULE_INIT_COMPRESSED_FILE` of `linux/module.h`.
const COMPRESSED: i32 = 4;

fn main() {
    if !getpid().is_init() {
        eprintln!("init: this is the first process of a guest of `cargo xtask vm`, and nothing else");
        std::process::exit(1);
    }
    // The kernel panics, and says so on its console, if its first process ends.
    let ended = panic::catch_unwind(run);
    let report = match ended {
        Ok(Ok(status)) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => format!("error {status}"),
        },
        Ok(Err(error)) => format!("error {error:#}"),
        Err(_) => "error the first process panicked, see the console".to_owned(),
    };
    if let Err(error) = say(&report) {
        eprintln!("init: `{report}` could not be reported: {error:#}");
    }
    sync();
    let error = reboot(RebootCommand::Restart);
    eprintln!("init: the machine does not restart: {error:?}");
    loop {
        thread::sleep(Duration::from_secs(60));
    }
}

fn run() -> Result<ExitStatus> {
    file_systems()?;
    // Terminals change what is written to them unless told not to.
    for path in [TERMINAL, REPORT] {
        plain(path)?;
    }
    let release = rustix::system::uname();
    say(&format!("kernel {}", release.release().to_string_lossy()))?;
    for module in fs::read_to_string(MODULES)?.lines() {
        load(module)?;
    }
    command()
}

fn file_systems() -> Result<()> {
    let mounts: [(&CStr, &str, &CStr); 8] = [
        (c"proc", "/proc", c""),
        (c"sysfs", "/sys", c""),
        (c"devtmpfs", "/dev", c""),
        (c"devpts", "/dev/pts", c"mode=620,ptmxmode=666"),
        (c"tmpfs", "/dev/shm", c"mode=1777"),
        (c"tmpfs", "/run", c"mode=755"),
        (c"cgroup2", "/sys/fs/cgroup", c""),
        (c"securityfs", "/sys/kernel/security", c""),
    ];
    for (kind, path, options) in mounts {
        fs::create_dir_all(path).with_context(|| format!("`{path}`"))?;
        match mount(kind, path, kind, MountFlags::NOSUID, options) {
            // The kernel mounts /dev itself where it is configured to.
            Ok(()) | Err(Errno::BUSY) => {}
            Err(error) => return Err(error).with_context(|| format!("to mount `{path}`")),
        }
    }
    for (link, target) in [("fd", "self/fd"), ("stdin", "self/fd/0"), ("stdout", "self/fd/1"), ("stderr", "self/fd/2")]
    {
        match std::os::unix::fs::symlink(format!("/proc/{target}"), format!("/dev/{link}")) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

fn plain(path: &str) -> Result<()> {
    let terminal = File::open(path).with_context(|| format!("`{path}`"))?;
    let mut settings = tcgetattr(&terminal)?;
    if fs::exists(INTERACTIVE)? {
        return Ok(());
    }
    settings.output_modes -= OutputModes::OPOST;
    settings.local_modes = rustix::termios::LocalModes::empty();
    tcsetattr(&terminal, OptionalActions::Now, &settings).with_context(|| format!("`{path}`"))
}

fn say(line: &str) -> Result<()> {
    let mut report = OpenOptions::new().write(true).open(REPORT).with_context(|| format!("`{REPORT}`"))?;
    Ok(report.write_all(format!("{}\n", line.replace('\n', " ")).as_bytes())?)
}

fn load(path: &str) -> Result<()> {
    let module = File::open(path).with_context(|| format!("`{path}`"))?;
    let flags = if path.ends_with(".ko") { 0 } else { COMPRESSED };
    match finit_module(&module, &CString::default(), flags) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => bail!("to load `{path}`: {error}"),
    }
}

fn command() -> Result<ExitStatus> {
    let line = fs::read_to_string(COMMAND).with_context(|| format!("`{COMMAND}`"))?;
    let interactive = fs::exists(INTERACTIVE)?;
    let terminal = || OpenOptions::new().read(true).write(true).open(TERMINAL);
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", &line])
        .env_clear()
        .envs([("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), ("HOME", "/root")])
        .envs([("TERM", if interactive { "linux" } else { "dumb" }), ("LANG", "C.UTF-8")])
        .current_dir("/root")
        .stdin(if interactive { Stdio::from(terminal()?) } else { Stdio::null() })
        .stdout(terminal()?)
        .stderr(terminal()?);
    // SAFETY: both are system calls, which is all that may be done between fork and exec.
    unsafe {
        shell.pre_exec(move || {
            setsid()?;
            if interactive {
                ioctl_tiocsctty(rustix::stdio::stdin())?;
            }
            Ok(())
        });
    }
    let shell = shell.spawn().context("`/bin/sh`")?;
    let pid = i32::try_from(shell.id())?;
    // Orphans become children of the first process.
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((who, status))) if who.as_raw_nonzero().get() == pid => {
                return Ok(ExitStatus::from_raw(status.as_raw()));
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("to wait for the command"),
        }
    }
}
