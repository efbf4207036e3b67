//! Idle client connections whose server says goodbye, and clients that leave an answer unread.

use std::{net::Ipv4Addr, thread, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::Trial;

use crate::{
    scenarios::leaks::{
        hunt::Hunt,
        report::{Group, Report},
    },
    support::{process::Actor, protocol::Socket, run::trials},
};

pub(crate) fn trials() -> Vec<Trial> {
    trials!["hunts::farewell"; last_words_of_a_pool, an_answer_and_the_end]
}

const CLIENTS: usize = 6;
const REQUEST: usize = 100;
const ANSWER: usize = 200;
/// `close_notify` of TLS, or the reason of a database.
const LAST_WORDS: usize = 116;
/// The shortest idle time-out that servers have.
const IDLE: Duration = Duration::from_secs(1);

/// A server, and a program with several connections to it that were opened at one place.
struct Pool {
    server: Actor,
    client: Actor,
    listener: Socket,
    /// Both ends of each.
    connections: Vec<(Socket, Socket)>,
}

impl Pool {
    fn new() -> Result<Self> {
        let (server, client) = (Actor::start("ts-server")?, Actor::start("ts-pool")?);
        let listener = server.listen((Ipv4Addr::LOCALHOST, 0))?;
        Ok(Self { server, client, listener, connections: Vec::new() })
    }

    fn hunt(&self) -> Result<Hunt> {
        super::json(&["--older-than", "100ms", "--rport", &self.listener.local.port().to_string()])
    }

    /// A request and its answer on each; the program reads the answers or leaves them.
    fn serve(&mut self, read: bool) -> Result<()> {
        let opened = self.client.connect_many(self.listener.local, CLIENTS)?;
        let accepted = self.server.accept_many(&self.listener, CLIENTS)?;
        for near in opened {
            let far = accepted.iter().find(|far| far.remote == Some(near.local)).context("not accepted")?.clone();
            self.client.send(&near, REQUEST)?;
            self.server.receive(&far, REQUEST)?;
            self.server.send(&far, ANSWER)?;
            if read {
                self.client.receive(&near, ANSWER)?;
            }
            self.connections.push((near, far));
        }
        Ok(())
    }

    /// The server ends all of them, with last words or without: at once, so that no report sees a part of them, which would look like
    /// growth.
    fn end(&self, last_words: usize) -> Result<()> {
        for (_, far) in self.connections.iter().filter(|_| last_words > 0) {
            self.server.send(far, last_words)?;
        }
        self.connections.iter().try_for_each(|(_, far)| self.server.close(far).map(drop))?;
        self.connections.iter().try_for_each(|(near, _)| self.client.await_hangup(near).map(drop))
    }

    /// The one group of a report, once it is known not to grow, with so many bytes and the FIN unread.
    fn settled<'a>(&self, report: &'a Report, bytes: usize) -> Result<&'a Group> {
        let [group] = &report.groups[..] else { bail!("not one group: {:?}", report.groups) };
        let unread = group.recv_q.context("no queue")?;
        ensure!((unread.min, unread.max) == (bytes + 1, bytes + 1), "not {bytes} and the FIN unread: {group:?}");
        ensure!(group.sockets == CLIENTS && group.growth.is_some_and(|growth| growth.flat), "it grows: {group:?}");
        ensure!(group.process.as_ref().is_some_and(|process| process.pid == self.client.pid), "{group:?}");
        Ok(group)
    }
}

fn last_words_of_a_pool() -> Result<()> {
    let mut pool = Pool::new()?;
    let hunt = pool.hunt()?;
    pool.serve(true)?;
    thread::sleep(IDLE);
    pool.end(LAST_WORDS)?;
    let report = hunt.wait_until("a pool", |report| {
        let group = pool.settled(report, LAST_WORDS)?;
        ensure!(group.verdict == "pool" && group.last_words == CLIENTS, "{group:?}");
        Ok(())
    })?;
    let evidence = &report.groups[0].evidence;
    ensure!(evidence.contains("what came unasked with the end (Recv-Q 117)"), "{evidence}");
    hunt.finish()?;
    Ok(())
}

/// As small as last words, but nobody has read it: a leak, however long the server waited before it closed.
fn an_answer_and_the_end() -> Result<()> {
    let mut pool = Pool::new()?;
    let hunt = pool.hunt()?;
    pool.serve(false)?;
    thread::sleep(IDLE);
    pool.end(0)?;
    let report = hunt.wait_until("a leak", |report| pool.settled(report, ANSWER).map(drop))?;
    let group = &report.groups[0];
    ensure!(group.verdict == "eof-unread" && group.last_words == 0, "{group:?}");
    hunt.finish()?;
    Ok(())
}
