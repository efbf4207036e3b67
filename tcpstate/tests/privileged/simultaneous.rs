//! Simultaneous close: both FINs are on the wire before either arrives, so both ends go through CLOSING.

use std::net::{IpAddr, SocketAddr};

use anyhow::Result;
use libtest_mimic::Trial;

use crate::support::{
    netns::Namespace,
    pair::{CLIENT_V4, CLIENT_V6, Pair, SERVER_V4, SERVER_V6},
    run::trials,
    tracer::Tracer,
    wire::{DEVICE, Wire},
};

pub(crate) fn trials() -> Vec<Trial> {
    trials!["simultaneous"; ipv4, ipv6, v4_mapped]
}

fn ipv4() -> Result<()> {
    close_at_once(SERVER_V4.into(), CLIENT_V4.into(), SERVER_V4.into())
}

fn ipv6() -> Result<()> {
    close_at_once(SERVER_V6.into(), CLIENT_V6.into(), SERVER_V6.into())
}

fn v4_mapped() -> Result<()> {
    close_at_once(SERVER_V4.into(), CLIENT_V4.into(), SERVER_V4.to_ipv6_mapped().into())
}

fn close_at_once(server: IpAddr, client: IpAddr, reached_at: IpAddr) -> Result<()> {
    let (there, here) = (Namespace::new()?, Namespace::new()?);
    let wire = Wire::between(&there, &here)?;
    let prefix = if server.is_ipv4() { 24 } else { 64 };
    there.address(DEVICE, server, prefix)?;
    here.address(DEVICE, client, prefix)?;
    let at = SocketAddr::new(reached_at, 0);
    let pair = Pair::new(there.actor("ts-server")?, here.actor("ts-client")?, at, at)?;

    let tracer = Tracer::unfiltered()?;
    let connection = pair.open()?;
    wire.hold();
    pair.client.close(&connection.client)?;
    pair.server.close(&connection.server)?;
    wire.release();
    tracer.wait_closed(&[connection.client.cookie, connection.server.cookie])?;
    let trace = tracer.finish()?;
    wire.end()?;
    connection.check_client(&pair, &trace, "ESTABLISHED FIN_WAIT1 CLOSING CLOSE")?;
    connection.check_server(&pair, &trace, "ESTABLISHED FIN_WAIT1 CLOSING CLOSE")
}
