//! The command is left alone: its exit code, signals, input and output are its own.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};

use super::command::{Run, leaky, run};
use crate::support::{
    launch::{Capability, Launch},
    run::trial,
};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("runs::passing::exit_codes", exit_codes),
        trial("runs::passing::input_and_output", input_and_output),
        trial("runs::passing::signals", signals),
        trial("runs::passing::limits", limits),
        trial("runs::passing::children_ignored", children_ignored),
        trial("runs::passing::nested_pids", nested_pids),
        trial("runs::passing::without_privilege", without_privilege),
    ]
}

fn exit_codes() -> Result<()> {
    for (script, code) in [("exit 0", 0), ("exit 3", 3), ("exit 255", 255), ("kill -9 $$", 137), ("kill -TERM $$", 143)]
    {
        run(&[], &["sh", "-c", script])?.check(code, 0).context(script)?;
    }
    // That it failed says more than that it leaked.
    let script = format!("{} leak 1; exit 3", leaky()?.display());
    run(&[], &["sh", "-c", &script])?.check(3, 1)?;
    let directory = tempfile::tempdir()?;
    let orphaned = directory.path().join("orphaned");
    fs::write(&orphaned, "#!/no/such/interpreter\n")?;
    fs::set_permissions(&orphaned, fs::Permissions::from_mode(0o755))?;
    let orphaned = orphaned.to_str().context("a path in UTF-8")?;
    for (command, code, words) in [
        ("/no/such/command", 127, "neither a file nor in PATH"),
        (orphaned, 127, "not the interpreter"),
        ("/etc/passwd", 126, "not executable"),
        ("/etc", 126, "a directory"),
    ] {
        let ended = run(&[], &[command])?;
        ensure!(ended.code == Some(code) && ended.stderr.contains(words), "{command}: {ended:?}");
        ensure!(ended.files == 0, "reports of nothing: {ended:?}");
    }
    let unwritable = run(&["--report", "/no/such/directory/report"], &["echo", "ran"]);
    // Given twice, which clap refuses.
    ensure!(unwritable?.code == Some(125), "two reports");
    Ok(())
}

fn input_and_output() -> Result<()> {
    let command = ["sh", "-c", "cat; echo to stderr >&2"];
    let ended = Run::start(&Launch::default(), &[], &command, &[], "from stdin\n")?.end()?;
    ended.check(0, 0)?;
    ensure!(ended.stdout == "from stdin\n", "{:?}", ended.stdout);
    ensure!(ended.stderr.starts_with("to stderr\ntcpstate: no socket leaked in "), "{:?}", ended.stderr);
    Ok(())
}

fn signals() -> Result<()> {
    let command = [leaky()?.into_os_string(), "term".into()];
    let mut run = Run::start(&Launch::default(), &[], &command, &[], "")?;
    run.wait_for("ready")?;
    let tracer = Pid::from_raw(run.pid().cast_signed()).context("no pid")?;
    kill_process(tracer, Signal::TERM)?;
    run.end()?.check(3, 1)
}

/// The limits and the signals of the command are those that tcpstate was given, not those it gives itself. Of the signals the last
/// two are the C library's own.
fn limits() -> Result<()> {
    let masks = r"s/^Sig(Blk|Ign):.{9}(.{8})$/\1 \2/p";
    let command = ["sed", "-nE", "-e", masks, "-e", "/^Max open/p", "/proc/self/status", "/proc/self/limits"];
    let ended = run(&[], &command)?;
    let plain = std::process::Command::new(command[0]).args(&command[1..]).output()?;
    let plain = String::from_utf8_lossy(&plain.stdout).into_owned();
    ensure!(plain.lines().count() == 3, "{plain:?}");
    ensure!(ended.stdout == plain, "{:?} instead of {plain:?}", ended.stdout);
    Ok(())
}

/// Who ignores the ends of children has what it starts ignore them, too. The command still does, but its own end is told.
fn children_ignored() -> Result<()> {
    let sed = ["sed", "-n", "s/^SigIgn:.//p", "/proc/self/status"];
    let ignored = |words: &[&str]| -> Result<std::process::Output> {
        let mut command = std::process::Command::new(words[0]);
        command.args(&words[1..]);
        // SAFETY: only a system call is made between fork and exec, which sets no handler.
        unsafe {
            command.pre_exec(|| {
                libc::signal(libc::SIGCHLD, libc::SIG_IGN);
                Ok(())
            });
        }
        Ok(command.output()?)
    };
    let (plain, ended) =
        (ignored(&sed)?, ignored(&[&[env!("CARGO_BIN_EXE_tcpstate"), "run", "--"], &sed[..]].concat())?);
    ensure!(ended.status.success(), "{ended:?}");
    let mask = u64::from_str_radix(String::from_utf8_lossy(&plain.stdout).trim(), 16)?;
    ensure!(mask & 1 << (libc::SIGCHLD - 1) != 0, "{plain:?}");
    ensure!(ended.stdout == plain.stdout, "{ended:?} instead of {plain:?}");
    Ok(())
}

/// The ids of processes are not the kernel's there, of which `run` needs one as `--pid` does: nobody has given that.
fn nested_pids() -> Result<()> {
    let run = |options: &[&str]| {
        let mut command = std::process::Command::new("unshare");
        command.args(["--pid", "--fork", "--mount-proc", env!("CARGO_BIN_EXE_tcpstate"), "run"]).args(options);
        command.args(["--", "sh", "-c", "echo ran; exit 7"]).output()
    };
    let refused = run(&[])?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(refused.status.code() == Some(125) && refused.stdout.is_empty(), "{refused:?}");
    ensure!(said.starts_with("error: this is a nested pid namespace") && !said.contains("`--pid`"), "{said}");
    ensure!(said.contains("`--best-effort`"), "{said}");
    let unchecked = run(&["--best-effort"])?;
    ensure!(unchecked.status.code() == Some(7) && unchecked.stdout == b"ran\n", "{unchecked:?}");
    Ok(())
}

fn without_privilege() -> Result<()> {
    let launch = Launch {
        without_capabilities: vec![Capability::Bpf, Capability::Perfmon, Capability::SysAdmin],
        ..Launch::default()
    };
    let directory = tempfile::tempdir()?;
    let made = directory.path().join("made");
    let script = format!("echo made > {}; exit 7", made.display());
    let command = ["sh", "-c", &script];
    let refused = Run::start(&launch, &[], &command, &[], "")?.end()?;
    ensure!(refused.code == Some(125), "{refused:?}");
    ensure!(refused.stderr.contains("CAP_BPF") && refused.stderr.contains("--best-effort"), "{}", refused.stderr);
    ensure!(!made.exists(), "the command ran all the same");
    let unchecked = Run::start(&launch, &["--best-effort"], &command, &[], "")?.end()?;
    ensure!(unchecked.code == Some(7) && fs::read_to_string(&made)? == "made\n", "{unchecked:?}");
    ensure!(unchecked.stderr.contains("nothing is checked") && unchecked.files == 0, "{unchecked:?}");
    Ok(())
}
