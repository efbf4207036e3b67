//! `tcpstate states` against `ss`, `/proc` and what the sockets' processes did.

mod command;
mod limits;
pub(crate) mod report;

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use self::{
    command::{reader_goes_away, refusals, watched},
    limits::{a_full_backlog, descriptors_near_the_limit, ports_towards_one_end},
    report::{look, look_from, run, state_counts},
};
pub(crate) use self::{limits::sysctl, report::ss_counts};
use crate::support::{
    clock,
    launch::{Launch, Netns},
    netns::Namespace,
    pair::{CLIENT_V4, SERVER_V4},
    process::Actor,
    protocol::{Request, Transport},
    run::trials,
    tracer::PATIENCE,
};

pub(crate) fn trials() -> Vec<Trial> {
    trials![
        "states";
        every_state_as_in_ss, mptcp_as_in_ss, whose_sockets_they_are, shared_sockets_count_for_each, without_privileges,
        named_namespaces, ages_contain_the_truth, a_full_backlog, ports_towards_one_end, descriptors_near_the_limit, cgroups,
        watched, refusals, reader_goes_away,
    ]
}

/// Every state that can be held still, in IPv4 and IPv6, and the same numbers as `ss`.
fn every_state_as_in_ss() -> Result<()> {
    let (there, here) = (Namespace::new()?, Namespace::new()?);
    there.join(&here)?;
    there.address("eth0", SERVER_V4.into(), 24)?;
    here.address("eth0", CLIENT_V4.into(), 24)?;
    let (server, client) = (there.actor("ts-server")?, there.actor("ts-client")?);
    for at in [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), (Ipv6Addr::LOCALHOST, 0).into()] {
        let listener = server.listen(at)?;
        let clients = client.connect_many(listener.local, 12)?;
        let servers = server.accept_many(&listener, 8)?;
        // The first eight clients are accepted; two of them stay as they are.
        client.close_many(&clients[..2])?;
        client.shutdown_write(&clients[2])?;
        for closed in &servers[..3] {
            server.await_hangup(closed)?;
        }
        server.close(&servers[3])?;
        client.await_hangup(&clients[3])?;
        client.close(&clients[3])?;
        // Not accepted, and its client has gone.
        client.close(&clients[11])?;
    }
    // What the server answers goes to nobody: a request here, a SYN over there.
    let deaf = server.listen((SERVER_V4, 0))?;
    there.run(&format!("ip neigh replace {CLIENT_V4} lladdr 02:00:00:00:00:99 dev eth0"))?;
    let caller = here.actor("ts-caller")?;
    let call = Request::Connect { from: None, to: deaf.local, transport: Transport::Tcp, count: 1 };
    let _waiting = caller.submit(call)?;
    wait_for("a connection request", || Ok(ss_counts(&there)?.contains_key("SYN_RECV")))?;

    let found = look(&["--netns", &there.path().display().to_string()])?;
    let ss = ss_counts(&there)?;
    ensure!(state_counts(&found["states"]) == ss, "{} here, {ss:?} in ss", found["states"]);
    for state in ["LISTEN", "ESTABLISHED", "CLOSE_WAIT", "FIN_WAIT2", "TIME_WAIT", "SYN_RECV"] {
        ensure!(ss.contains_key(state), "there should be a socket in {state}: {ss:?}");
    }
    let over_there = look(&["--netns", &here.path().display().to_string()])?;
    ensure!(state_counts(&over_there["states"]) == BTreeMap::from([("SYN_SENT".to_owned(), 1)]), "{over_there}");
    for (family, option) in [("-4", "-4"), ("-6", "-6")] {
        let counted = look(&["--netns", &there.path().display().to_string(), option])?;
        let lines = there.run(&format!("ss -tanH {family}"))?.lines().count();
        ensure!(counted["sockets"] == lines, "{family}: {} and {lines}", counted["sockets"]);
    }
    Ok(())
}

/// `ss -t` lists the subflows and not their parent.
fn mptcp_as_in_ss() -> Result<()> {
    let namespace = Namespace::new()?;
    let (server, client) = (namespace.actor("ts-server")?, namespace.actor("ts-client")?);
    let listener = server.listen_with((Ipv4Addr::LOCALHOST, 0), Transport::Mptcp, false)?;
    client.connect_with(Transport::Mptcp, listener.local)?;
    server.accept(&listener)?;
    let found = look(&["--netns", &namespace.path().display().to_string()])?;
    let ss = ss_counts(&namespace)?;
    ensure!(ss.get("ESTABLISHED") == Some(&2), "{ss:?}");
    ensure!(state_counts(&found["states"]) == ss, "{} here, {ss:?} in ss", found["states"]);
    Ok(())
}

fn whose_sockets_they_are() -> Result<()> {
    let namespace = Namespace::new()?;
    let (server, client) = (namespace.actor("ts-server")?, namespace.actor("ts-client")?);
    let listener = server.listen((Ipv4Addr::LOCALHOST, 0))?;
    let clients = client.connect_many(listener.local, 5)?;
    server.accept_many(&listener, 3)?;
    client.close(&clients[0])?;
    let netns = namespace.path().display().to_string();
    let groups = |by: &str| -> Result<Vec<Value>> {
        let found = look(&["--netns", &netns, "--by", by])?;
        ensure!(found["by"] == by && found["shared"] == 0, "{found}");
        found["groups"].as_array().cloned().context("no groups")
    };
    let summary = |by: &str| -> Result<BTreeMap<String, Value>> {
        let groups = groups(by)?.into_iter();
        Ok(groups.map(|group| (group["key"].to_string(), json!(state_counts(&group["states"])))).collect())
    };
    let expect = |by: &str, expected: &[(Value, Value)]| {
        let expected = expected.iter().map(|(key, states)| (key.to_string(), states.clone())).collect();
        let found = summary(by)?;
        ensure!(found == expected, "by {by}: {found:?} instead of {expected:?}");
        Ok(())
    };
    let port = listener.local.port();
    // The other end's acknowledgement of the close may be delayed.
    let deadline = Instant::now() + PATIENCE;
    while !groups("process")?.iter().any(|group| state_counts(&group["states"]).contains_key("FIN_WAIT2")) {
        ensure!(Instant::now() < deadline, "no FIN_WAIT2");
    }
    let process = |actor: &Actor| json!({"what": "process", "pid": actor.pid});
    // Two connections that were not accepted belong to nobody; nor does what the close left in FIN_WAIT2.
    expect(
        "process",
        &[
            (process(&server), json!({"LISTEN": 1, "ESTABLISHED": 2, "CLOSE_WAIT": 1})),
            (process(&client), json!({"ESTABLISHED": 4})),
            (json!({"what": "no_descriptor"}), json!({"ESTABLISHED": 2, "FIN_WAIT2": 1})),
        ],
    )?;
    expect(
        "lport",
        &[
            (json!({"what": "given_port"}), json!({"ESTABLISHED": 4, "FIN_WAIT2": 1})),
            (json!({"what": "port", "port": port}), json!({"LISTEN": 1, "ESTABLISHED": 4, "CLOSE_WAIT": 1})),
        ],
    )?;
    expect(
        "remote",
        &[
            (json!({"what": "remote", "addr": "127.0.0.1"}), json!({"ESTABLISHED": 4, "CLOSE_WAIT": 1})),
            (json!({"what": "remote", "addr": "127.0.0.1", "port": port}), json!({"ESTABLISHED": 4, "FIN_WAIT2": 1})),
            (json!({"what": "no_remote"}), json!({"LISTEN": 1})),
        ],
    )?;
    let all = json!({"LISTEN": 1, "ESTABLISHED": 8, "CLOSE_WAIT": 1, "FIN_WAIT2": 1});
    expect("netns", &[(json!({"what": "netns", "netns": namespace.inode}), all)])?;
    let names: Vec<_> = groups("process")?.iter().map(|group| group["name"].clone()).collect();
    ensure!(names.contains(&json!("ts-server")) && names.contains(&json!("ts-client")), "{names:?}");
    let only = |option: &str, value: String| {
        Ok::<_, anyhow::Error>(look(&["--netns", &netns, option, &value])?["sockets"].clone())
    };
    ensure!(only("--pid", client.pid.to_string())? == 4);
    ensure!(only("--comm", "ts-server".to_owned())? == 4);
    ensure!(only("--lport", port.to_string())? == 6);
    ensure!(only("--rport", port.to_string())? == 5);
    ensure!(only("--state", "fin-wait2".to_owned())? == 1);
    ensure!(only("--raddr", "127.0.0.0/8".to_owned())? == 10);
    ensure!(only("--laddr", "10.0.0.0/8".to_owned())? == 0);
    Ok(())
}

fn shared_sockets_count_for_each() -> Result<()> {
    let namespace = Namespace::new()?;
    let parent = namespace.actor("ts-parent")?;
    parent.listen((Ipv4Addr::LOCALHOST, 0))?;
    let child = parent.fork()?;
    let found = look(&["--netns", &namespace.path().display().to_string(), "--by", "process"])?;
    ensure!(found["sockets"] == 1 && found["shared"] == 1, "{found}");
    let pids: Vec<_> =
        found["groups"].as_array().context("groups")?.iter().map(|group| group["key"]["pid"].clone()).collect();
    ensure!(pids == [parent.pid.min(child.pid), parent.pid.max(child.pid)], "{pids:?}");
    let listener = &found["listeners"][0];
    ensure!(listener["holders"] == 2 && listener["process"]["pid"] == parent.pid.min(child.pid), "{listener}");
    Ok(())
}

/// Any user counts the sockets of the own network namespace, and is told what is missing.
fn without_privileges() -> Result<()> {
    let (namespace, other) = (Namespace::new()?, Namespace::new()?);
    let named = other.named("ts-states-other")?;
    let server = namespace.actor("ts-server")?;
    let listener = server.listen((Ipv4Addr::LOCALHOST, 0))?;
    namespace.actor("ts-client")?.connect(listener.local)?;
    wait_for("the end of the client", || Ok(ss_counts(&namespace)?.contains_key("CLOSE_WAIT")))?;
    let nobody = Launch { uid: Some(65_534), netns: Some(Netns::Existing(namespace.path())), ..Launch::default() };
    let found = look_from(&nobody, &["--by", "process"])?;
    let ss = ss_counts(&namespace)?;
    ensure!(state_counts(&found["states"]) == ss, "{} here, {ss:?} in ss", found["states"]);
    ensure!(found["complete"] == false && found["gaps"]["processes"].as_u64() > Some(0), "{}", found["gaps"]);
    let refused = found["gaps"]["namespaces"].as_array().context("gaps")?;
    let other = refused.iter().find(|gap| gap["name"] == "ts-states-other").context("nothing of the other one")?;
    ensure!(other["reason"].as_str().is_some_and(|why| why.contains("CAP_SYS_ADMIN")), "{other}");
    let keys: Vec<_> =
        found["groups"].as_array().context("groups")?.iter().map(|group| group["key"]["what"].clone()).collect();
    ensure!(keys.contains(&json!("holder_unknown")), "{keys:?}");
    // Asked for that one alone, there is nothing to show.
    let refusal = run(&nobody, &["--netns", "ts-states-other"])?;
    ensure!(refusal.status.code() == Some(1), "{refusal:?}");
    ensure!(String::from_utf8_lossy(&refusal.stderr).contains("CAP_SYS_ADMIN"), "{refusal:?}");
    drop(named);
    Ok(())
}

fn named_namespaces() -> Result<()> {
    let namespace = Namespace::new()?;
    let named = namespace.named("ts-states-named")?;
    let server = namespace.actor("ts-server")?;
    server.listen((Ipv4Addr::LOCALHOST, 0))?;
    let all = look(&["--top", "10000"])?;
    let row = all["namespaces"].as_array().context("namespaces")?.iter().find(|row| row["netns"] == namespace.inode);
    let row = row.context("the namespace is missing")?;
    ensure!(row["names"] == json!(["ts-states-named"]) && row["sockets"] == 1 && row["own"] == false, "{row}");
    ensure!(
        all["listeners"].as_array().is_some_and(|all| all.iter().any(|one| one["netns"] == namespace.inode)),
        "{all}"
    );
    let inode = namespace.inode.to_string();
    for name in ["ts-states-named", &inode] {
        let only = look(&["--netns", name])?;
        ensure!(only["sockets"] == 1 && only["namespaces"].as_array().map(Vec::len) == Some(1), "{name}: {only}");
    }
    // A path alone leads there, too, once the name and every process have gone.
    let kept = fs::File::open(namespace.path())?;
    drop((server, named, namespace));
    let path = format!("/proc/{}/fd/{}", std::process::id(), std::os::fd::AsRawFd::as_raw_fd(&kept));
    wait_for("the end of the processes", || Ok(look(&["--netns", &path])?["sockets"] == 0))
}

fn ages_contain_the_truth() -> Result<()> {
    let namespace = Namespace::new()?;
    let netns = namespace.path().display().to_string();
    let (server, client) = (namespace.actor("ts-server")?, namespace.actor("ts-client")?);
    let listener = server.listen((Ipv4Addr::LOCALHOST, 0))?;
    let clients = client.connect_many(listener.local, 2)?;
    let servers = server.accept_many(&listener, 2)?;
    thread::sleep(Duration::from_millis(300));
    // One connection stays half closed; the other is closed by both, the client first.
    let half = client.shutdown_write(&clients[0])?;
    let first = client.close(&clients[1])?;
    server.await_hangup(&servers[1])?;
    let second = server.close(&servers[1])?;
    ensure!(first.to_ns <= second.from_ns);
    thread::sleep(Duration::from_millis(700));
    let from_ns = clock::monotonic_ns();
    let found = look(&["--netns", &netns])?;
    let to_ns = clock::monotonic_ns();
    let age = |state: &str| -> Result<(u64, Option<u64>)> {
        let row = found["states"].as_array().context("states")?.iter().find(|row| row["state"] == state);
        let row = row.with_context(|| format!("nothing in {state}"))?;
        ensure!(row["oldest"] == row["median"] && row["aged"] == 1 && row["sockets"] == 1, "{row}");
        Ok((row["oldest"]["at_least_ns"].as_u64().context("no age")?, row["oldest"]["at_most_ns"].as_u64()))
    };
    for (state, since) in [("CLOSE_WAIT", half), ("FIN_WAIT2", half), ("TIME_WAIT", second)] {
        let (at_least, at_most) = age(state)?;
        let (youngest, oldest) = (from_ns - since.to_ns, to_ns - since.from_ns);
        ensure!(at_least <= oldest, "{state}: at least {at_least}, but at most {oldest}");
        // Nothing came later, so the lower bound is a good one.
        ensure!(at_least + 50_000_000 > youngest, "{state}: only {at_least} of {youngest}");
        if state == "CLOSE_WAIT" {
            ensure!(at_most.is_some_and(|most| most >= youngest), "{at_most:?} is less than {youngest}");
        } else {
            ensure!(at_most.is_none(), "{state}: {at_most:?}");
        }
    }
    let listen = found["states"].as_array().and_then(|rows| rows.iter().find(|row| row["state"] == "LISTEN"));
    ensure!(listen.is_some_and(|row| row["oldest"].is_null() && row["aged"] == 0), "{listen:?}");
    Ok(())
}

/// Where there is a cgroup2 hierarchy that can be written to, the cgroup is that of the process.
fn cgroups() -> Result<()> {
    let namespace = Namespace::new()?;
    let server = namespace.actor("ts-server")?;
    let listener = server.listen((Ipv4Addr::LOCALHOST, 0))?;
    let found = look(&["--netns", &namespace.path().display().to_string(), "--by", "cgroup"])?;
    let of_process = fs::read_to_string(format!("/proc/{}/cgroup", server.pid))?;
    let path = of_process.lines().find_map(|line| line.strip_prefix("0::")).context("no cgroup v2")?;
    ensure!(found["groups"][0]["name"] == path, "{} instead of {path}", found["groups"]);
    ensure!(found["groups"][0]["key"]["what"] == "cgroup" && found["groups"][0]["sockets"] == 1, "{found}");
    let filtered = look(&["--netns", &namespace.path().display().to_string(), "--cgroup", path])?;
    ensure!(filtered["sockets"] == 1, "{filtered} at {listener:?}");
    Ok(())
}

pub(crate) fn wait_for(what: &str, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
    for _ in 0..100 {
        if done()? {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(50));
    }
    anyhow::bail!("waited in vain for {what}")
}
