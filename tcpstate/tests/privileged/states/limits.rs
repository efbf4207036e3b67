//! What has a limit: backlogs, ports, descriptors.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{
    report::{look, ss_counts},
    wait_for,
};
use crate::support::{
    netns::{Namespace, inside},
    protocol::{Request, Transport},
};

pub(super) fn a_full_backlog() -> Result<()> {
    let namespace = Namespace::new()?;
    let netns = namespace.path().display().to_string();
    sysctl(&namespace, "net/core/somaxconn", "2")?;
    let (server, client) = (namespace.actor("ts-server")?, namespace.actor("ts-client")?);
    let listener = server.listen((Ipv4Addr::LOCALHOST, 0))?;
    let row = |found: &Value| found["listeners"][0].clone();
    let empty = row(&look(&["--netns", &netns])?);
    ensure!(empty["used"] == 0 && empty["limit"] == 2 && empty["near_limit"] == false, "{empty}");
    client.connect_many(listener.local, 3)?;
    // The fourth finds no room and is dropped, again and again.
    let call = Request::Connect { from: None, to: listener.local, transport: Transport::Tcp, count: 1 };
    let _waiting = client.thread(1).submit(call)?;
    let mut full = Value::Null;
    wait_for("a connection to be dropped", || {
        full = look(&["--netns", &netns])?;
        Ok(full["namespaces"][0]["listen_overflows"].as_u64() > Some(0))
    })?;
    ensure!(row(&full)["used"] == 3 && row(&full)["near_limit"] == true, "{full}");
    ensure!(row(&full)["process"] == json!({"pid": server.pid, "comm": "ts-server"}), "{full}");
    let netstat = namespace.run("cat /proc/self/net/netstat")?;
    let mut lines = netstat.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, numbers) = lines.next().zip(lines.next()).context("TcpExt")?;
    let counter =
        |name| names.split(' ').zip(numbers.split(' ')).find(|&(found, _)| found == name).map(|(_, number)| number);
    ensure!(
        counter("ListenOverflows").context("a counter")?.parse::<u64>()?
            >= full["namespaces"][0]["listen_overflows"].as_u64().unwrap_or(0)
    );
    ensure!(
        full["namespaces"][0]["listen_drops"].as_u64() >= full["namespaces"][0]["listen_overflows"].as_u64(),
        "{full}"
    );
    Ok(())
}

/// A range of 20 ports of which one is reserved: 17 of 19 towards one end, one of 19 towards another.
pub(super) fn ports_towards_one_end() -> Result<()> {
    let namespace = Namespace::new()?;
    let netns = namespace.path().display().to_string();
    let (server, client) = (namespace.actor("ts-server")?, namespace.actor("ts-client")?);
    let listeners = [server.listen((Ipv4Addr::LOCALHOST, 0))?, server.listen((Ipv4Addr::LOCALHOST, 0))?];
    sysctl(&namespace, "net/ipv4/ip_local_port_range", "20001 20020")?;
    sysctl(&namespace, "net/ipv4/ip_local_reserved_ports", "20007")?;
    // On loopback TIME_WAIT would be taken again after a second.
    sysctl(&namespace, "net/ipv4/tcp_tw_reuse", "0")?;
    let clients = client.connect_many(listeners[0].local, 17)?;
    let servers = server.accept_many(&listeners[0], 17)?;
    client.connect(listeners[1].local)?;
    // The client closes first, so that it keeps TIME_WAIT.
    client.close_many(&clients[..5])?;
    for closed in &servers[..5] {
        server.await_hangup(closed)?;
    }
    server.close_many(&servers[..5])?;
    wait_for("TIME_WAIT", || Ok(ss_counts(&namespace)?.get("TIME_WAIT") == Some(&5)))?;
    let found = look(&["--netns", &netns])?;
    let row = |used, time_wait, port: u16, near| {
        json!({"netns": namespace.inode, "local_addr": "127.0.0.1", "remote": {"addr": "127.0.0.1", "port": port},
               "ports_used": used, "time_wait": time_wait, "ports": 19, "near_limit": near})
    };
    let [crowded, other] = listeners.map(|listener| listener.local.port());
    ensure!(
        found["destinations"] == json!([row(17, 5, crowded, true), row(1, 0, other, false)]),
        "{}",
        found["destinations"]
    );
    // The truth of it: two more connections there, and the range is used up, however many ports are free elsewhere.
    client.connect_many(SocketAddr::from((Ipv4Addr::LOCALHOST, crowded)), 2)?;
    client.connect_failing(None, SocketAddr::from((Ipv4Addr::LOCALHOST, crowded)), libc::EADDRNOTAVAIL)?;
    client.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, other)))?;
    let used_up = look(&["--netns", &netns])?;
    ensure!(used_up["destinations"][0]["ports_used"] == 19, "{}", used_up["destinations"]);
    Ok(())
}

pub(super) fn descriptors_near_the_limit() -> Result<()> {
    let namespace = Namespace::new()?;
    let server = namespace.actor("ts-server")?;
    server.listen((Ipv4Addr::LOCALHOST, 0))?;
    let open = fs::read_dir(format!("/proc/{}/fd", server.pid))?.count() as u64;
    for (limit, near) in [(open * 2, false), (open, true)] {
        let limited =
            Command::new("prlimit").args([&format!("--pid={}", server.pid), &format!("--nofile={limit}:")]).status()?;
        ensure!(limited.success(), "prlimit: {limited}");
        let found = look(&["--netns", &namespace.path().display().to_string(), "--pid", &server.pid.to_string()])?;
        let expected = json!([{"pid": server.pid, "comm": "ts-server", "descriptors": open, "limit": limit, "near_limit": near, "sockets": 1}]);
        ensure!(found["processes"] == expected, "{} instead of {expected}", found["processes"]);
    }
    Ok(())
}

/// Sets a sysctl of the namespace, which ends with it.
pub(crate) fn sysctl(namespace: &Namespace, name: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/{name}");
    inside(&namespace.path(), || fs::write(&path, value).with_context(|| format!("`{path}`")))
}
