//! Link-local addresses: the same one on two links, which only the link tells apart.

use std::{
    net::{Ipv6Addr, SocketAddrV6},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::{
    hunts,
    states::report::look_from,
    support::{
        launch::Launch,
        netns::Namespace,
        process::Actor,
        protocol::Socket,
        run::trials,
        tracer::{Setup, Tracer},
    },
};

/// Of the server, on both links.
const SERVER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
/// Of both clients.
const CLIENT: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);

pub(crate) fn trials() -> Vec<Trial> {
    trials!["links"; tell_the_same_address_apart]
}

/// A server on two links, and a client on each.
struct Links {
    there: Namespace,
    server: Actor,
    _clients: [Namespace; 2],
    /// The link of the server's end, and its socket in CLOSE_WAIT.
    leaked: Vec<(u32, Socket)>,
}

impl Links {
    fn new() -> Result<Self> {
        let (there, clients) = (Namespace::new()?, [Namespace::new()?, Namespace::new()?]);
        for (link, client) in ["ts-one", "ts-two"].into_iter().zip(&clients) {
            there.join_by(link, client)?;
            there.address(link, SERVER.into(), 64)?;
            client.address("eth0", CLIENT.into(), 64)?;
        }
        let server = there.actor("ts-server")?;
        Ok(Self { there, server, _clients: clients, leaked: Vec::new() })
    }

    fn index(namespace: &Namespace, link: &str) -> Result<u32> {
        let shown = namespace.run(&format!("ip -o link show {link}"))?;
        Ok(shown.split(':').next().context("no number")?.trim().parse()?)
    }

    /// One connection over each link, left by its client.
    fn leak(&mut self) -> Result<()> {
        let listener = self.server.listen((Ipv6Addr::UNSPECIFIED, 0))?;
        for (link, namespace) in ["ts-one", "ts-two"].into_iter().zip(&self._clients) {
            let client = namespace.actor("ts-client")?;
            let own = Self::index(namespace, "eth0")?;
            // The kernel has given the link an address of its own besides, and would choose either.
            let from = SocketAddrV6::new(CLIENT, 0, 0, own);
            let to = SocketAddrV6::new(SERVER, listener.local.port(), 0, own);
            let peer = client.connect_from(from.into(), to.into())?;
            let socket = self.server.accept(&listener)?;
            client.close(&peer)?;
            self.server.await_hangup(&socket)?;
            self.leaked.push((Self::index(&self.there, link)?, socket));
        }
        Ok(())
    }
}

fn tell_the_same_address_apart() -> Result<()> {
    let mut links = Links::new()?;
    let netns = links.there.inode.to_string();
    let tracer = Setup::new(["--netns", &netns]).start()?;
    let text = Setup::new(["--netns", &netns]).text().spawn()?;
    text.transcript.wait_until("the titles", |said| !said.stdout().is_empty())?;
    let hunt = hunts::json(&["--older-than", "1ms", "--netns", &netns])?;
    links.leak()?;
    let [(one, first), (two, second)] = &links.leaked[..] else { anyhow::bail!("not two") };
    ensure!(one != two && first.local.ip() == second.local.ip(), "not as it was meant to be: {:?}", links.leaked);

    tracer.wait_entered("CLOSE_WAIT", &[first.cookie, second.cookie])?;
    let lines = tracer.transcript.stdout();
    for (link, socket) in &links.leaked {
        let entered = line(&lines, socket.cookie)?;
        for (end, addr) in [("local", "fe80::1"), ("remote", "fe80::2")] {
            ensure!(entered[end]["addr"] == addr && entered[end]["scope"] == json!(link), "{end} of {entered}");
        }
    }
    let words = [one, two].map(|link| format!("[fe80::2%{link}]:"));
    text.transcript.wait_until("both in text", |said| {
        let said = String::from_utf8_lossy(said.stdout()).into_owned();
        words.iter().all(|words| said.contains(words.as_str()))
    })?;
    hunt.wait_until("both links", |report| {
        let [group] = &report.groups[..] else { anyhow::bail!("not one group: {:?}", report.groups) };
        let mut scopes: Vec<_> =
            group.peers.iter().map(|peer| (peer.addr.to_string(), peer.scope, peer.sockets)).collect();
        scopes.sort_unstable();
        let expected = [(CLIENT.to_string(), Some(*one), 1), (CLIENT.to_string(), Some(*two), 1)];
        ensure!(scopes == expected, "{scopes:?}");
        Ok(())
    })?;
    text.interrupt()?;
    tracer.finish()?;
    hunt.finish()?;
    filters(&links, &netns)
}

/// What `-o json` says of a socket that has entered CLOSE_WAIT.
fn line(lines: &str, cookie: u64) -> Result<Value> {
    let of_socket = |value: &Value| value["cookie"] == cookie && value["new"] == "CLOSE_WAIT";
    let mut values = lines.lines().filter_map(|line| serde_json::from_str(line).ok());
    values.find(of_socket).context("no line")
}

/// By name where names are known, by number elsewhere, and of both without a link.
fn filters(links: &Links, netns: &str) -> Result<()> {
    let here = Launch { netns: Some(crate::support::launch::Netns::Existing(links.there.path())), ..Launch::default() };
    let [(one, first), (_, second)] = &links.leaked[..] else { anyhow::bail!("not two") };
    let sockets = |launch: &Launch, filter: &[&str]| -> Result<u64> {
        let arguments = [&["--state", "close-wait"][..], filter].concat();
        look_from(launch, &arguments)?["sockets"].as_u64().context("sockets")
    };
    let number = format!("fe80::2%{one}");
    let elsewhere = Launch::default();
    for (launch, filter, expected) in [
        (&elsewhere, &["--netns", netns, "--raddr", "fe80::2"][..], 2),
        (&elsewhere, &["--netns", netns, "--raddr", "fe80::/64"], 2),
        (&elsewhere, &["--netns", netns, "--raddr", &number], 1),
        (&elsewhere, &["--netns", netns, "--laddr", "fe80::2%1"], 0),
        (&here, &["--netns", netns, "--raddr", &number], 1),
        (&here, &["--raddr", "fe80::2%ts-one"], 1),
        (&here, &["--laddr", "fe80::1%ts-two"], 1),
    ] {
        let found = sockets(launch, filter)?;
        ensure!(found == expected, "{found} sockets with {filter:?}");
    }
    // The kernel side tells them apart by the same filters.
    let setups = [&["--raddr", "fe80::2%ts-one"][..], &["--raddr", "fe80::2"], &["--laddr", "fe80::/64"]];
    let tracers: Vec<Tracer> = Setup::start_all(setups.map(|filter| Setup::new(filter).launch(here.clone())))?;
    for socket in [first, second] {
        links.server.close(socket)?;
    }
    for (tracer, expected) in
        tracers.into_iter().zip([&[first.cookie][..], &[first.cookie, second.cookie], &[first.cookie, second.cookie]])
    {
        tracer.wait_entered("LAST_ACK", expected)?;
        std::thread::sleep(Duration::from_millis(100));
        let trace = tracer.finish()?;
        let shown = trace.transitions.iter().filter(|t| t.is("CLOSE_WAIT", "LAST_ACK")).filter_map(|t| t.cookie);
        let mut shown: Vec<_> = shown.collect();
        shown.sort_unstable();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        ensure!(shown == expected, "{shown:x?} instead of {expected:x?}");
    }
    Ok(())
}
