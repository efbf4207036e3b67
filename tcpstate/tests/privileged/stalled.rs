//! A reader of the output that has stopped reading keeps no command from ending.

use std::{
    fs,
    process::Stdio,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rustix::{
    fs::{OFlags, fcntl_setfl},
    pipe::{PipeFlags, pipe_with},
    process::{Pid, Signal, kill_process},
};

use crate::support::{launch::Launch, run::trials};

pub(crate) fn trials() -> Vec<Trial> {
    trials!["stalled"; terminated_while_nobody_reads]
}

/// One signal ends what writes into a pipe that is full and stays so, and what is missing is said; on standard error, unless that
/// is the same pipe.
fn terminated_while_nobody_reads() -> Result<()> {
    for (arguments, errors_too) in [
        (&["trace"][..], false),
        (&["leaks"], false),
        (&["leaks", "--once"], false),
        (&["states", "--watch", "100ms"], false),
        (&["states", "--watch", "100ms"], true),
    ] {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        while rustix::io::write(&writer, &[0; 4096]).is_ok() {}
        fcntl_setfl(&writer, OFlags::empty())?;
        let mut command = Launch::default().command(env!("CARGO_BIN_EXE_tcpstate"))?;
        let errors = if errors_too { Stdio::from(writer.try_clone()?) } else { Stdio::piped() };
        let started = command.args(arguments).stdout(writer).stderr(errors).spawn()?;
        drop(command);
        let pid = Pid::from_raw(started.id().cast_signed()).context("no pid")?;
        let status = format!("/proc/{}/status", started.id());
        wait(arguments, || {
            let status = fs::read_to_string(&status)?;
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:\t")).context("no SigCgt")?;
            Ok(u64::from_str_radix(caught, 16)? & 1 << (libc::SIGTERM - 1) != 0)
        })?;
        // Until it is at it.
        sleep(Duration::from_millis(500));
        kill_process(pid, Signal::TERM)?;
        let stat = format!("/proc/{}/stat", started.id());
        let ended = wait(arguments, || Ok(fs::read_to_string(&stat)?.contains(") Z ")));
        if ended.is_err() {
            kill_process(pid, Signal::KILL)?;
        }
        let output = started.wait_with_output()?;
        ended.with_context(|| format!("{output:?}"))?;
        drop(reader);
        ensure!(output.status.code() == Some(1), "{arguments:?}: {output:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(errors_too || said.contains("the end of the output is missing"), "{arguments:?}: {said}");
    }
    Ok(())
}

fn wait(arguments: &[&str], mut done: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(15);
    while !done()? {
        ensure!(Instant::now() < deadline, "{arguments:?} goes on");
        sleep(Duration::from_millis(10));
    }
    Ok(())
}
