//! Commands that trace, whatever becomes of their standard streams: see `tests/output/streams.rs` for the others.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::{
    faults::{Ended, Fault, run},
    runs,
    support::run::trials,
};

/// How to break standard output and standard error, and whether that is a failure of a command that writes to standard output.
const FAULTS: [(Fault, Fault, bool); 9] = [
    (Fault::Full, Fault::None, true),
    (Fault::Closed, Fault::None, true),
    (Fault::Limited, Fault::None, true),
    (Fault::Gone, Fault::None, false),
    (Fault::Slow, Fault::Slow, false),
    (Fault::None, Fault::Full, false),
    (Fault::None, Fault::Stuck, false),
    (Fault::Closed, Fault::Closed, true),
    (Fault::Full, Fault::Full, true),
];

pub(crate) fn trials() -> Vec<Trial> {
    trials!["streams"; trace, leaks, recordings, probes, doctor, runs_keep_their_exit_code, reports_of_runs]
}

fn tcpstate(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcpstate"));
    command.args(arguments).env_remove("RUST_LOG").env_remove("NO_COLOR");
    command
}

fn ended(arguments: &[&str], stdout: Fault, stderr: Fault) -> Result<Ended> {
    let ended = run(tcpstate(arguments), stdout, stderr).with_context(|| format!("{stdout:?}, {stderr:?}"))?;
    ensure!(!ended.stderr.contains("panicked"), "{stdout:?}, {stderr:?}: {}", ended.stderr);
    Ok(ended)
}

/// Of a command that writes to standard output and succeeds.
fn writes(arguments: &[&str]) -> Result<()> {
    for (stdout, stderr, fails) in FAULTS {
        let ended = ended(arguments, stdout, stderr)?;
        let what = format!("{arguments:?}, {stdout:?}, {stderr:?}: {ended:?}");
        ensure!(ended.code == Some(i32::from(fails)), "{what}");
        ensure!(!ended.stdout.is_empty() || !matches!(stdout, Fault::None | Fault::Slow), "{what}");
        if stderr == Fault::None {
            ensure!(ended.stderr.contains("failed to write to standard output: ") == fails, "{what}");
        }
    }
    Ok(())
}

/// Each also with what it says besides.
fn trace() -> Result<()> {
    writes(&["trace", "-o", "json", "--duration", "100ms", "--buffer", "5000"])?;
    writes(&["-vv", "trace", "--duration", "100ms"])
}

fn leaks() -> Result<()> {
    writes(&["leaks", "--once"])?;
    writes(&["-v", "leaks", "--duration", "100ms", "-o", "svg"])
}

fn probes() -> Result<()> {
    writes(&["probes"])
}

fn doctor() -> Result<()> {
    writes(&["doctor"])
}

/// Standard output is not where it goes; what cannot be said on standard error is in the file all the same.
fn recordings() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("a.tcps");
    let path = path.to_str().context("a path in UTF-8")?;
    let record = ["record", "-o", path, "--overwrite", "--duration", "100ms", "--buffer", "5000"];
    for (stdout, stderr, _) in FAULTS {
        let limited = stdout == Fault::Limited;
        let ended = ended(&record, stdout, stderr)?;
        ensure!(ended.code == Some(i32::from(limited)), "{stdout:?}, {stderr:?}: {ended:?}");
        if limited {
            ensure!(ended.stderr.contains("File too large") && !Path::new(path).exists(), "{ended:?}");
            continue;
        }
        let report = tcpstate(&["report", path, "--show", "summary"]).output()?;
        let said = String::from_utf8_lossy(&report.stderr);
        ensure!(report.status.success() && !said.contains("was not ended"), "{stdout:?}, {stderr:?}: {said}");
        fs::remove_file(path)?;
    }
    Ok(())
}

fn runs_keep_their_exit_code() -> Result<()> {
    let leaky = runs::leaky()?;
    let leaky = leaky.to_str().context("a path in UTF-8")?;
    let commands: [(&[&str], i32); 6] = [
        (&["--", "true"], 0),
        (&["--", "sh", "-c", "exit 3"], 3),
        (&["--", leaky, "leak", "1"], 99),
        (&["--", "/no/such/command"], 127),
        (&["--allow", "/nonexistent", "--", "true"], 125),
        (&["--buffer", "5000", "--", "true"], 0),
    ];
    for (arguments, code) in commands {
        for (stdout, stderr) in [
            (Fault::None, Fault::Full),
            (Fault::None, Fault::Closed),
            (Fault::None, Fault::Gone),
            (Fault::Full, Fault::Full),
        ] {
            let ended = ended(&[&["run"], arguments].concat(), stdout, stderr)?;
            ensure!(ended.code == Some(code), "{arguments:?}, {stdout:?}, {stderr:?}: {ended:?}");
        }
    }
    Ok(())
}

/// A report that cannot be written is a failure where there is no other one, and keeps no other report from being written.
fn reports_of_runs() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("report");
    let path = path.to_str().context("a path in UTF-8")?;
    for (script, code) in [("exit 0", 125), ("exit 3", 3)] {
        let arguments = ["run", "--junit", "/dev/full", "--report", path, "--", "sh", "-c", script];
        let ended = ended(&arguments, Fault::None, Fault::None)?;
        ensure!(ended.code == Some(code), "{script}: {ended:?}");
        let expected = "error: failed to write the report `/dev/full`: No space left on device (os error 28)";
        ensure!(ended.stderr.contains(expected), "{script}: {ended:?}");
        // It has the exit code in it, which another one was going to be.
        ensure!(Path::new(path).exists() == (code == 3), "{script}");
    }
    // The one of before stays as it was.
    let before = fs::read(path)?;
    let ended = ended(&["run", "--report", path, "--", "true"], Fault::None, Fault::Limited)?;
    ensure!(ended.code == Some(125) && fs::read(path)? == before, "{ended:?}");
    Ok(())
}
