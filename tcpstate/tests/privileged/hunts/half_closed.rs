//! Half-closes: what was sent on them, and what was not.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::Trial;

use crate::{
    scenarios::leaks::report::Report,
    support::{process::Actor, run::trials},
};

pub(crate) fn trials() -> Vec<Trial> {
    trials!["hunts::half_closed"; nothing_sent]
}

/// "Data sent last" is said only where data was sent: until then the kernel's clock is that of the connection.
fn nothing_sent() -> Result<()> {
    let (server, client) = (Actor::start("ts-server")?, Actor::start("ts-client")?);
    let listener = server.listen((Ipv4Addr::LOCALHOST, 0))?;
    let hunt = super::json(&["--older-than", "100ms", "--lport", &listener.local.port().to_string()])?;
    let near = client.connect(listener.local)?;
    let far = server.accept(&listener)?;
    client.send(&near, 10)?;
    client.shutdown_write(&near)?;
    server.await_hangup(&far)?;
    server.receive(&far, 10)?;
    server.receive(&far, 0)?;
    let waits = format!("waits in FIN_WAIT2: ts-client[{}]; ", client.pid);
    let says = |nothing_sent: usize, what: &str| {
        let says = format!("{waits}{what}");
        let check = |report: &Report| {
            ensure!(report.groups.is_empty(), "a leak: {:?}", report.groups);
            let [group] = &report.sending[..] else { bail!("not one half-close: {:?}", report.sending) };
            ensure!(group.nothing_sent == nothing_sent && group.evidence.contains(&says), "not `{says}`: {group:?}");
            Ok(())
        };
        hunt.wait_until(what, check).map(drop).context("as the hunt sees it")
    };
    says(1, "nothing was ever sent")?;
    server.send(&far, 20)?;
    client.receive(&near, 20)?;
    says(0, "data sent last ")?;
    hunt.finish()?;
    Ok(())
}
