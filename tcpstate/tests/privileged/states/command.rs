//! The command as its user meets it.

use std::{net::Ipv4Addr, process::Stdio};

use anyhow::{Context, Result, ensure};

use super::report::{self, run};
use crate::support::{launch::Launch, netns::Namespace};

pub(super) fn watched() -> Result<()> {
    let namespace = Namespace::new()?;
    let server = namespace.actor("ts-server")?;
    let mut command = Launch::default().command(env!("CARGO_BIN_EXE_tcpstate"))?;
    let netns = namespace.path().display().to_string();
    command.args([
        "states",
        "-o",
        "json",
        "--netns",
        &netns,
        "--by",
        "process",
        "--watch",
        "500ms",
        "--duration",
        "60s",
        "--count",
        "8",
    ]);
    let mut watching = command.stdout(Stdio::piped()).spawn()?;
    let mut lines = report::lines(watching.stdout.take().context("stdout")?);
    let first = lines.next().context("no first report")??;
    ensure!(first["sockets"] == 0 && first["change"].is_null(), "{first}");
    server.listen((Ipv4Addr::LOCALHOST, 0))?;
    let mut changes = Vec::new();
    for line in lines {
        let report = line?;
        changes.push(report["change"].as_i64().context("no change")?);
        if report["change"] == 1 {
            ensure!(report["states"][0]["change"] == 1 && report["groups"][0]["change"] == 1, "{report}");
        }
    }
    ensure!(watching.wait()?.success());
    ensure!(changes.len() == 7 && changes.iter().filter(|&&change| change == 1).count() == 1, "{changes:?}");
    ensure!(changes.iter().all(|&change| change == 0 || change == 1), "{changes:?}");
    Ok(())
}

pub(super) fn refusals() -> Result<()> {
    for (arguments, code, words) in [
        (&["--netns", "no-such-namespace"][..], 1, "ip netns"),
        (&["--netns", "4294967295"], 1, "give its path"),
        (&["--netns", "/dev/null"], 1, "is no network namespace"),
        (&["--pid", "4194304"], 1, "no process `4194304`"),
        (&["--cgroup", "/no/such/cgroup"], 1, "no cgroup"),
        (&["--watch", "1ms"], 2, "at least 100ms"),
    ] {
        let output = run(&Launch::default(), arguments)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(code) && output.stdout.is_empty(), "{arguments:?}: {output:?}");
        ensure!(
            said.starts_with("error: ") && said.contains(words) && said.lines().count() == 1,
            "{arguments:?}: {said}"
        );
    }
    Ok(())
}

pub(super) fn reader_goes_away() -> Result<()> {
    let mut command = Launch::default().command(env!("CARGO_BIN_EXE_tcpstate"))?;
    let mut watching = command
        .args(["states", "--watch", "100ms", "--duration", "8s"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    drop(watching.stdout.take());
    let ended = watching.wait_with_output()?;
    ensure!(ended.status.success() && ended.stderr.is_empty(), "{ended:?}");
    Ok(())
}
