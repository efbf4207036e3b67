//! Whether a scenario is as it is said to be, by `ss` and `/proc`: the tracer has no part in it.

use std::{
    collections::HashSet,
    io::Read,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::{
    expected::{Expected, Verdict},
    proc,
    running::{Ends, Running, Scene},
};
use crate::support::ss::{self, Listed};

/// How long the sockets of a round may take to get where they stay.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long they have to stay there.
const HOLD: Duration = Duration::from_millis(50);

const TICK: Duration = Duration::from_millis(10);

/// Waits until the facts are as expected and hold, then returns the sockets, in `CLOSE_WAIT` and others.
pub(crate) fn settle(running: &mut Running, expected: &Expected) -> Result<Vec<Listed>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        running.scene.program.check_alive()?;
        match check(running, expected) {
            Ok(_) => break,
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => thread::sleep(TICK),
        }
    }
    thread::sleep(HOLD);
    check(running, expected).context("it did not hold")
}

/// Whether the facts are still as expected.
pub(crate) fn check_again(running: &mut Running, expected: &Expected) -> Result<()> {
    running.scene.program.check_alive()?;
    check(running, expected)?;
    Ok(())
}

fn check(running: &Running, expected: &Expected) -> Result<Vec<Listed>> {
    let (scene, rounds) = (&running.scene, running.rounds);
    let listed = ss::inside(&scene.netns(), &scene.ends.filter())?;
    let close_wait: Vec<&Listed> = listed.iter().filter(|socket| socket.state == "CLOSE_WAIT").collect();
    let count = expected.in_close_wait(rounds);
    ensure!(close_wait.len() == count, "{} in CLOSE_WAIT instead of {count}", close_wait.len());
    let received: Vec<usize> = close_wait.iter().map(|socket| socket.recv_queue).collect();
    ensure!(expected.recv_queue.fits(&received, rounds), "Recv-Q: {received:?}, not {:?}", expected.recv_queue);
    let sent: Vec<usize> = close_wait.iter().map(|socket| socket.send_queue).collect();
    ensure!(expected.send_queue.fits(&sent, rounds), "Send-Q: {sent:?}, not {:?}", expected.send_queue);
    check_holders(&close_wait, scene, expected)?;
    for verdict in expected.verdicts {
        check_verdict(*verdict, running, expected, &listed).with_context(|| format!("{verdict:?}"))?;
    }
    if let Some(asleep) = &expected.asleep {
        let counts = scene.openers.iter().map(|&pid| proc::threads_in(pid, asleep.syscall));
        let threads: usize = counts.sum::<Result<_>>()?;
        ensure!(threads >= asleep.threads, "{threads} threads in system call {}", asleep.syscall);
    }
    Ok(listed)
}

/// Every socket has one descriptor, of a process that is said to hold it; or none at all.
fn check_holders(close_wait: &[&Listed], scene: &Scene, expected: &Expected) -> Result<()> {
    for socket in close_wait {
        if expected.may_be(Verdict::NeverAccepted) {
            ensure!(socket.inode == 0 && socket.holders.is_empty(), "somebody holds {socket:?}");
        } else {
            let [holder] = &socket.holders[..] else { anyhow::bail!("not one descriptor of {socket:?}") };
            ensure!(scene.holders.contains(&holder.pid), "not one of {:?} holds {socket:?}", scene.holders);
        }
    }
    Ok(())
}

/// What of a verdict can be seen from outside, beyond queues and holders.
fn check_verdict(verdict: Verdict, running: &Running, expected: &Expected, listed: &[Listed]) -> Result<()> {
    let scene = &running.scene;
    match verdict {
        Verdict::NeverAccepted => {
            let backlog: usize =
                listed.iter().filter(|socket| socket.state == "LISTEN").map(|socket| socket.recv_queue).sum();
            ensure!(backlog == expected.leaked_after(running.rounds), "the backlog is {backlog}");
        }
        Verdict::HeldElsewhere => {
            let both: Vec<_> = scene.openers.iter().filter(|pid| scene.holders.contains(pid)).collect();
            ensure!(both.is_empty(), "{both:?} opened and hold");
        }
        Verdict::GhostFd { .. } => {
            let ghosts = ghosts(scene, listed)?;
            let count = expected.leaked_after(running.rounds);
            ensure!(ghosts == count, "{ghosts} descriptors of no listed socket instead of {count}");
        }
        Verdict::Sending => {
            half_closed_peers(scene, expected.in_use * running.rounds)?;
            for mut peer in &scene.peers {
                ensure!(peer.read(&mut [0; 4096])? > 0, "nothing is sent to {:?}", peer.local_addr());
            }
        }
        Verdict::Awaited => half_closed_peers(scene, expected.in_use * running.rounds)?,
        Verdict::BlockedInSend => half_closed_peers(scene, expected.leaked_after(running.rounds))?,
        Verdict::EofUnread | Verdict::EofRead | Verdict::FinConsumed | Verdict::Pool => {}
    }
    Ok(())
}

/// Descriptors of sockets that `ss` does not list: in these programs every socket is one of TCP.
fn ghosts(scene: &Scene, listed: &[Listed]) -> Result<usize> {
    let listed: HashSet<u64> = listed.iter().map(|socket| socket.inode).collect();
    let mut count = 0;
    for &pid in &scene.holders {
        count += proc::socket_inodes(pid)?.iter().filter(|inode| !listed.contains(inode)).count();
    }
    Ok(count)
}

/// So many peers have ended their own direction and wait, with a descriptor, for what is still to come.
fn half_closed_peers(scene: &Scene, count: usize) -> Result<()> {
    let peers = ss::inside(&scene.netns(), &scene.ends.filter_of_peers())?;
    let waiting = peers.iter().filter(|peer| peer.state == "FIN_WAIT2" && !peer.holders.is_empty()).count();
    ensure!(waiting == count, "{waiting} peers in FIN_WAIT2 instead of {count}");
    Ok(())
}

impl Ends {
    fn filter(self) -> String {
        match self {
            Self::Local(address) => format!("src = {address}"),
            Self::Remote(address) => format!("dst = {address}"),
        }
    }

    fn filter_of_peers(self) -> String {
        match self {
            Self::Local(address) => format!("dst = {address}"),
            Self::Remote(address) => format!("src = {address}"),
        }
    }
}
