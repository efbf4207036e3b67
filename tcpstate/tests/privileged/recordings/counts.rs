//! Looks at all sockets that `tcpstate record` takes, against `tcpstate states` of the same sockets.

use std::{net::Ipv4Addr, path::Path, thread::sleep, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{Recorder, lines, report};
use crate::{
    states::report::look,
    support::{netns::Namespace, process::Actor},
};

/// A look without what passes with time, and without whose namespace it is.
fn timeless(mut value: Value) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for field in ["time", "mono_ns", "oldest", "median", "own"] {
                    fields.remove(field);
                }
                fields.values_mut().for_each(strip);
            }
            Value::Array(values) => values.iter_mut().for_each(strip),
            _ => {}
        }
    }
    strip(&mut value);
    value
}

fn counts(path: &Path, arguments: &str) -> Result<Vec<Value>> {
    let report = report(path, &format!("--show states -o json {arguments}"))?;
    ensure!(report.code == Some(0), "{arguments}: {}", report.stderr);
    lines(&report.stdout, "states")
}

fn last(path: &Path, arguments: &str) -> Result<Value> {
    let mut counts = counts(path, arguments)?;
    ensure!(counts.len() == 1, "{} reports", counts.len());
    counts.pop().context("one")
}

/// What was counted while recording is what `states` counts at the same time, by whatever and with whatever filter.
pub(super) fn counts_of_states() -> Result<()> {
    let namespace = Namespace::new()?;
    let name = format!("ts-counts-{}", std::process::id());
    let _named = namespace.named(&name)?;
    let (server, client) = (namespace.actor("ts-server")?, namespace.actor("ts-client")?);
    let listener = server.listen((Ipv4Addr::LOCALHOST, 0))?;
    let clients = client.connect_many(listener.local, 9)?;
    let servers = server.accept_many(&listener, 7)?;
    client.close_many(&clients[..3])?;
    for closed in &servers[..3] {
        server.await_hangup(closed)?;
    }
    server.close(&servers[3])?;
    client.await_hangup(&clients[3])?;
    client.close(&clients[3])?;

    let mut recorder = Recorder::start(&["--states-interval", "200ms"])?;
    sleep(Duration::from_millis(900));
    let inode = server.netns()?.to_string();
    let filters = [
        String::new(),
        "--by process".to_owned(),
        "--by lport".to_owned(),
        "--by remote".to_owned(),
        "--by netns".to_owned(),
        "--by cgroup".to_owned(),
        format!("--pid {}", server.pid),
        "--comm ts-client".to_owned(),
        "--state close-wait,time-wait".to_owned(),
        format!("--lport {}", listener.local.port()),
    ];
    let filters = filters.map(|filter| format!("--netns {inode} {filter}"));
    let live = filters.iter().map(|filter| look(&filter.split_whitespace().collect::<Vec<_>>()));
    let live = live.collect::<Result<Vec<_>>>()?;
    recorder.finish()?;
    for (filter, live) in filters.iter().zip(live) {
        let sockets = live["sockets"].as_u64().context("a number")?;
        let recorded = timeless(last(&recorder.path, filter)?);
        ensure!(sockets > 0, "{filter}: nothing is counted");
        ensure!(recorded == timeless(live.clone()), "{filter}: recorded {recorded:#}\nlive {live:#}");
    }
    let by_name = last(&recorder.path, &format!("--netns {name}"))?;
    ensure!(by_name["sockets"] == 18 && by_name["namespaces"][0]["names"][0] == name.as_str(), "{by_name:#}");
    // The first and the last at least, each of them with the change, which is none.
    let each = counts(&recorder.path, &format!("--netns {inode} --from +1us"))?;
    ensure!(each.len() >= 2, "{} looks", each.len());
    ensure!(each[1..].iter().all(|look| look["change"] == 0), "{each:#?}");
    Ok(())
}

/// What the filters of `record` reject is not in the file.
pub(super) fn counts_of_few() -> Result<()> {
    let (server, client) = (Actor::start("ts-server")?, Actor::start("ts-client")?);
    let listener = server.listen((Ipv4Addr::LOCALHOST, 0))?;
    client.connect_many(listener.local, 3)?;
    server.accept_many(&listener, 2)?;
    let pid = client.pid.to_string();
    let mut recorder = Recorder::start(&["--pid", &pid, "--children"])?;
    let child = client.fork()?;
    child.connect(listener.local)?;
    recorder.finish()?;
    let both = format!("{pid},{}", child.pid);
    let recorded = timeless(last(&recorder.path, "--by process")?);
    let mut live = timeless(look(&["--pid", &both, "--by", "process"])?);
    ensure!(recorded["sockets"] == 4 && recorded["groups"].as_array().map(Vec::len) == Some(2), "{recorded:#}");
    // Processes of all namespaces may be near their limit.
    live["namespaces"] = recorded["namespaces"].clone();
    ensure!(recorded == live, "recorded {recorded:#}\nlive {live:#}");

    let mut without = Recorder::start(&["--no-states"])?;
    without.finish()?;
    let refused = report(&without.path, "--show states")?;
    ensure!(refused.code == Some(1) && refused.stderr.contains("has no counts of sockets"), "{}", refused.stderr);
    Ok(())
}
