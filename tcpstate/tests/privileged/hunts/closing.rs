//! Every way to close a socket ends its leak, and only closing does.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use super::scene::Leaky;
use crate::{
    scenarios::leaks::hunt::Hunt,
    support::{clock, run::trials},
};

pub(crate) fn trials() -> Vec<Trial> {
    trials!["hunts::closing"; by_every_call]
}

/// The kernel side knows the end of a socket from `close()` itself, and from nothing but the socket's own end otherwise.
fn by_every_call() -> Result<()> {
    let leaky = Leaky::new()?;
    let port = leaky.port();
    let hunt = super::json(&["--older-than", "1ms", "--lport", &port])?;
    let leaked = leaky.leak(5)?;
    let [by_close, by_range, by_dup2, shut_down, by_exit] = &leaked[..] else { anyhow::bail!("not five") };
    stands(&hunt, (5, 0), 0)?;
    leaky.server.close(&by_close.socket)?;
    stands(&hunt, (4, 0), 1)?;
    leaky.server.close_range(&by_range.socket)?;
    stands(&hunt, (3, 0), 2)?;
    leaky.server.replace(&by_dup2.socket)?;
    stands(&hunt, (2, 0), 3)?;
    leaky.server.shutdown_write(&shut_down.socket)?;
    stands(&hunt, (1, 1), 3)?;
    leaky.server.close(&shut_down.socket)?;
    stands(&hunt, (1, 0), 4)?;
    let listed = leaky.listed()?;
    ensure!(listed.iter().map(|socket| socket.cookie).eq([by_exit.socket.cookie]), "`ss`: {listed:?}");
    leaky.server.exit()?;
    stands(&hunt, (0, 0), 5)?;
    hunt.finish()?;
    Ok(())
}

/// Waits for a report with so many sockets in CLOSE_WAIT and ghost descriptors, and so many closed late until then.
fn stands(hunt: &Hunt, (close_wait, ghosts): (usize, usize), closed_late: usize) -> Result<()> {
    hunt.wait_after(clock::monotonic_ns(), "how it stands", |report| {
        let totals = &report.totals;
        ensure!(report.complete, "something was lost: {:?}", report.losses);
        ensure!(totals.close_wait == close_wait && totals.ghosts == ghosts, "{totals:?}");
        ensure!(totals.closed_late == closed_late, "{totals:?}");
        Ok(())
    })?;
    Ok(())
}
