//! `tcpstate doctor` against `/proc/sys`, `ss` and sockets that really leak.

use std::{fs, net::Ipv4Addr, process::Output};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::{
    states::{ss_counts, sysctl, wait_for},
    support::{
        launch::{Launch, Netns},
        netns::{Namespace, inside},
        run::trials,
    },
};

pub(crate) fn trials() -> Vec<Trial> {
    trials![
        "doctor";
        values_are_those_of_the_kernel, leaks_are_found, settings_of_another_namespace, nobody_gets_a_report, hooks_as_in_probes,
        no_such_namespace,
    ]
}

fn values_are_those_of_the_kernel() -> Result<()> {
    let report = report(&Launch::default(), &[])?;
    for row in report["settings"].as_array().context("settings")? {
        let name = row["name"].as_str().context("no name")?;
        let read = fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))).ok();
        let read = read.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
        ensure!(
            row["value"].as_str() == read.as_deref() && row["exists"] == read.is_some(),
            "{row} instead of {read:?}"
        );
    }
    let recycle = setting(&report, "net.ipv4.tcp_tw_recycle")?;
    ensure!(recycle["exists"] == false && recycle["help"] == "absent", "{recycle}");
    ensure!(recycle["why"].as_str().is_some_and(|why| why.contains("4.12")), "{recycle}");
    ensure!(report["machine"]["uid"] == 0 && report["machine"]["btf"] == true, "{}", report["machine"]);
    Ok(())
}

/// Seven sockets that a server does not close, and two that it never accepted.
fn leaks_are_found() -> Result<()> {
    let namespace = Namespace::new()?;
    let (server, client) = (namespace.actor("ts-leaker")?, namespace.actor("ts-client")?);
    let listener = server.listen((Ipv4Addr::LOCALHOST, 0))?;
    let clients = client.connect_many(listener.local, 9)?;
    let servers = server.accept_many(&listener, 7)?;
    client.close_many(&clients)?;
    for socket in &servers {
        server.await_hangup(socket)?;
    }
    wait_for("CLOSE_WAIT", || Ok(ss_counts(&namespace)?.get("CLOSE_WAIT") == Some(&9)))?;
    // Without `--netns` the sockets of every namespace count.
    for arguments in [vec!["--netns".to_owned(), namespace.path().display().to_string()], Vec::new()] {
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let report = report(&Launch::default(), &arguments)?;
        let leaked = |pid: Option<u32>| {
            let findings = report["findings"].as_array().into_iter().flatten();
            let mut found =
                findings.filter(|finding| finding["kind"] == "close_wait" && finding["pid"] == Value::from(pid));
            found.next().cloned().with_context(|| format!("no finding of {pid:?} in {}", report["findings"]))
        };
        let found = leaked(Some(server.pid))?;
        ensure!(found["sockets"] == 7, "{found}");
        ensure!(
            found["message"].as_str().is_some_and(|text| text.contains(&format!("ts-leaker[{}]", server.pid))),
            "{found}"
        );
        ensure!(
            found["advice"].as_str().is_some_and(|text| text.contains(&format!("tcpstate leaks --pid {}", server.pid))),
            "{found}"
        );
        ensure!(leaked(None)?["sockets"].as_u64() >= Some(2), "{}", report["findings"]);
    }
    // Closed, they are no finding any more.
    server.close_many(&servers)?;
    let report = report(&Launch::default(), &["--netns", &namespace.path().display().to_string()])?;
    ensure!(
        report["findings"].as_array().is_some_and(|all| all.iter().all(|one| one["pid"] != server.pid)),
        "{report}"
    );
    Ok(())
}

fn settings_of_another_namespace() -> Result<()> {
    let namespace = Namespace::new()?;
    sysctl(&namespace, "net/ipv4/tcp_fin_timeout", "17")?;
    let own = setting(&report(&Launch::default(), &[])?, "net.ipv4.tcp_fin_timeout")?;
    ensure!(own["value"] != "17", "{own}");
    for name in [namespace.path().display().to_string(), namespace.inode.to_string()] {
        let report = report(&Launch::default(), &["--netns", &name])?;
        ensure!(report["netns"] == namespace.inode && report["own_netns"] == false, "{report}");
        ensure!(setting(&report, "net.ipv4.tcp_fin_timeout")?["value"] == "17", "{report}");
        let finding = report["findings"].as_array().into_iter().flatten().find(|one| one["kind"] == "setting");
        ensure!(finding.is_some_and(|one| one["setting"] == "net.ipv4.tcp_fin_timeout"), "{}", report["findings"]);
        let shown = inside(&namespace.path(), || Ok(fs::exists("/proc/sys/net/core/netdev_max_backlog")?))?;
        ensure!(setting(&report, "net.core.netdev_max_backlog")?["exists"] == shown, "{report}");
    }
    Ok(())
}

fn nobody_gets_a_report() -> Result<()> {
    let namespace = Namespace::new()?;
    let server = namespace.actor("ts-leaker")?;
    let listener = server.listen((Ipv4Addr::LOCALHOST, 0))?;
    namespace.actor("ts-client")?.connect(listener.local)?;
    wait_for("the end of the client", || Ok(ss_counts(&namespace)?.contains_key("CLOSE_WAIT")))?;
    let nobody = Launch { uid: Some(65_534), netns: Some(Netns::Existing(namespace.path())), ..Launch::default() };
    let output = run(&nobody, &["-o", "json"])?;
    let stderr = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(1), "{}: {stderr}", output.status);
    ensure!(stderr.starts_with("error: tcpstate cannot trace here: missing capability `CAP_BPF`"), "{stderr}");
    let report: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(report["usable"] == false && report["complete"] == false && report["machine"]["uid"] == 65_534, "{report}");
    let kinds: Vec<_> =
        report["findings"].as_array().into_iter().flatten().filter_map(|finding| finding["kind"].as_str()).collect();
    ensure!(kinds == ["cannot_trace", "close_wait", "gaps"], "{kinds:?}");
    ensure!(setting(&report, "net.ipv4.tcp_fin_timeout")?["value"] == "60", "{report}");
    Ok(())
}

fn hooks_as_in_probes() -> Result<()> {
    let mut command = Launch::default().command(env!("CARGO_BIN_EXE_tcpstate"))?;
    let probes: Value = serde_json::from_slice(&command.args(["probes", "-o", "json"]).output()?.stdout)?;
    let report = report(&Launch::default(), &[])?;
    ensure!(report["roles"] == probes["roles"] && report["usable"] == probes["usable"], "{report}");
    ensure!(
        report["machine"]["lockdown"] == probes["lockdown"] && report["machine"]["kernel"] == probes["kernel"],
        "{report}"
    );
    Ok(())
}

fn no_such_namespace() -> Result<()> {
    let output = run(&Launch::default(), &["--netns", "no-such-name"])?;
    let stderr = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(1) && output.stdout.is_empty(), "{stderr}");
    ensure!(stderr.contains("no network namespace `no-such-name`"), "{stderr}");
    Ok(())
}

fn setting(report: &Value, name: &str) -> Result<Value> {
    let mut rows = report["settings"].as_array().into_iter().flatten();
    rows.find(|row| row["name"] == name).cloned().with_context(|| format!("`{name}` is not there"))
}

/// The report of a run that has to succeed.
fn report(launch: &Launch, arguments: &[&str]) -> Result<Value> {
    let output = run(launch, &[&["-o", "json"], arguments].concat())?;
    ensure!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn run(launch: &Launch, arguments: &[&str]) -> Result<Output> {
    let mut command = launch.command(env!("CARGO_BIN_EXE_tcpstate"))?;
    command.arg("doctor").args(arguments).output().context("tcpstate doctor")
}
