//! Every way to close a connection: the exact transitions of both ends, their owner, endpoints, namespace and cookie.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::support::{
    pair::{Pair, Setting},
    run::trial,
    story::Story,
    tracer::Tracer,
};

type Scenario = fn(&Pair) -> Result<()>;

/// Each scenario in each setting.
pub(crate) fn trials() -> Vec<Trial> {
    let scenarios: [(&str, Scenario); 10] = [
        ("client_closes_first", client_closes_first),
        ("server_closes_first", server_closes_first),
        ("both_half_close", both_half_close),
        ("linger_zero_resets", linger_zero_resets),
        ("reset_in_close_wait", reset_in_close_wait),
        ("refused", refused),
        ("listener_closes_with_pending_children", listener_closes_with_pending_children),
        ("close_with_unread_data", close_with_unread_data),
        ("close_with_unread_data_in_close_wait", close_with_unread_data_in_close_wait),
        ("disconnect", disconnect),
    ];
    let in_each_setting = |(name, scenario): (&str, Scenario)| {
        Setting::ALL
            .map(|setting| trial(format!("sequences::{name}::{}", setting.name()), move || scenario(&setting.pair()?)))
    };
    scenarios.into_iter().flat_map(in_each_setting).collect()
}

fn client_closes_first(pair: &Pair) -> Result<()> {
    let tracer = Tracer::unfiltered()?;
    let connection = pair.open()?;
    pair.client.close(&connection.client)?;
    pair.server.await_hangup(&connection.server)?;
    pair.server.close(&connection.server)?;
    pair.server.close(&connection.listener)?;
    tracer.wait_closed(&[connection.client.cookie, connection.server.cookie, connection.listener.cookie])?;
    let trace = tracer.finish()?;
    connection.check_client(pair, &trace, "ESTABLISHED FIN_WAIT1 FIN_WAIT2 CLOSE")?;
    connection.check_server(pair, &trace, "ESTABLISHED CLOSE_WAIT LAST_ACK CLOSE")?;
    pair.check_listener(&connection.listener, &trace)
}

fn server_closes_first(pair: &Pair) -> Result<()> {
    let tracer = Tracer::unfiltered()?;
    let connection = pair.open()?;
    pair.server.close(&connection.server)?;
    pair.client.await_hangup(&connection.client)?;
    pair.client.close(&connection.client)?;
    tracer.wait_closed(&[connection.client.cookie, connection.server.cookie])?;
    let trace = tracer.finish()?;
    connection.check_client(pair, &trace, "ESTABLISHED CLOSE_WAIT LAST_ACK CLOSE")?;
    connection.check_server(pair, &trace, "ESTABLISHED FIN_WAIT1 FIN_WAIT2 CLOSE")
}

/// `shutdown()` at both ends: the sockets reach CLOSE with their descriptors open, and closing these adds nothing.
fn both_half_close(pair: &Pair) -> Result<()> {
    let tracer = Tracer::unfiltered()?;
    let connection = pair.open()?;
    pair.client.shutdown_write(&connection.client)?;
    pair.server.await_hangup(&connection.server)?;
    tracer.wait_entered("FIN_WAIT2", &[connection.client.cookie])?;
    pair.server.shutdown_write(&connection.server)?;
    tracer.wait_closed(&[connection.client.cookie, connection.server.cookie])?;
    pair.client.close(&connection.client)?;
    pair.server.close(&connection.server)?;
    let trace = tracer.finish()?;
    connection.check_client(pair, &trace, "ESTABLISHED FIN_WAIT1 FIN_WAIT2 CLOSE")?;
    connection.check_server(pair, &trace, "ESTABLISHED CLOSE_WAIT LAST_ACK CLOSE")
}

fn linger_zero_resets(pair: &Pair) -> Result<()> {
    let tracer = Tracer::unfiltered()?;
    let connection = pair.open()?;
    pair.client.reset(&connection.client)?;
    pair.server.await_hangup(&connection.server)?;
    pair.server.close(&connection.server)?;
    tracer.wait_closed(&[connection.client.cookie, connection.server.cookie])?;
    let trace = tracer.finish()?;
    connection.check_client(pair, &trace, "ESTABLISHED CLOSE")?;
    connection.check_server(pair, &trace, "ESTABLISHED CLOSE")
}

/// The peer is entirely gone when the server, in `CLOSE_WAIT`, still writes to it.
fn reset_in_close_wait(pair: &Pair) -> Result<()> {
    let tracer = Tracer::unfiltered()?;
    let connection = pair.open()?;
    pair.client.close(&connection.client)?;
    pair.server.await_hangup(&connection.server)?;
    tracer.wait_closed(&[connection.client.cookie])?;
    pair.server.send(&connection.server, 1)?;
    tracer.wait_closed(&[connection.server.cookie])?;
    pair.server.close(&connection.server)?;
    let trace = tracer.finish()?;
    connection.check_client(pair, &trace, "ESTABLISHED FIN_WAIT1 FIN_WAIT2 CLOSE")?;
    connection.check_server(pair, &trace, "ESTABLISHED CLOSE_WAIT CLOSE")
}

fn refused(pair: &Pair) -> Result<()> {
    let listener = pair.listen()?;
    pair.server.close(&listener)?;
    let target = pair.reach(&listener);
    let tracer = Tracer::unfiltered()?;
    // Bound, so that the socket still knows its own end after the failure.
    let mut client = pair.client.connect_failing(Some(pair.client_address()), target, libc::ECONNREFUSED)?;
    pair.client.close(&client)?;
    let own = client.local.into();
    tracer.wait_until("the refusal", |shown| shown.iter().any(|t| t.local == own && t.is("SYN_SENT", "CLOSE")))?;
    let trace = tracer.finish()?;
    // It asked for its cookie when all was over, which is too late where the kernel makes one only then.
    let shown = trace.cookie_between(own, target.into())?;
    ensure!(shown == client.cookie || trace.of(shown).iter().all(|t| t.cookie.is_none()), "cookie {shown:x}");
    client.cookie = shown;
    Story::of(&pair.client, &client)?
        .remote(target)
        .bound_before_connect()
        .owned(pair.client.owner(&client, "connect"), "CLOSE SYN_SENT CLOSE")
        .check(&trace)
}

fn listener_closes_with_pending_children(pair: &Pair) -> Result<()> {
    let tracer = Tracer::unfiltered()?;
    let listener = pair.listen()?;
    let reached_at = pair.reach(&listener);
    let clients = pair.client.connect_many(reached_at, 2)?;
    pair.server.close(&listener)?;
    for client in &clients {
        pair.client.await_hangup(client)?;
    }
    pair.client.close_many(&clients)?;
    let entered_close = |local, remote| {
        move |shown: &[crate::support::event::Transition]| {
            shown.iter().any(|t| t.local == local && t.remote == remote && t.new == "CLOSE")
        }
    };
    for client in &clients {
        tracer.wait_closed(&[client.cookie, listener.cookie])?;
        tracer.wait_until("end of a child", entered_close(reached_at.into(), client.local.into()))?;
    }
    let trace = tracer.finish()?;
    pair.check_listener(&listener, &trace)?;
    for client in &clients {
        Story::of(&pair.client, client)?
            .owned(pair.client.owner(client, "connect"), "CLOSE SYN_SENT ESTABLISHED CLOSE")
            .check(&trace)?;
        let mut child = listener.clone();
        child.cookie = trace.cookie_between(reached_at.into(), client.local.into())?;
        child.local = reached_at;
        Story::of(&pair.server, &child)?
            .remote(client.local)
            .owned(pair.server.owner(&listener, "listen"), "LISTEN SYN_RECV ESTABLISHED CLOSE")
            .check(&trace)?;
    }
    Ok(())
}

fn close_with_unread_data(pair: &Pair) -> Result<()> {
    let tracer = Tracer::unfiltered()?;
    let connection = pair.open()?;
    pair.client.send(&connection.client, 100)?;
    pair.server.await_readable(&connection.server)?;
    pair.server.close(&connection.server)?;
    pair.client.await_hangup(&connection.client)?;
    pair.client.close(&connection.client)?;
    tracer.wait_closed(&[connection.client.cookie, connection.server.cookie])?;
    let trace = tracer.finish()?;
    connection.check_client(pair, &trace, "ESTABLISHED CLOSE")?;
    connection.check_server(pair, &trace, "ESTABLISHED CLOSE")
}

fn close_with_unread_data_in_close_wait(pair: &Pair) -> Result<()> {
    let tracer = Tracer::unfiltered()?;
    let connection = pair.open()?;
    pair.client.send(&connection.client, 100)?;
    pair.client.close(&connection.client)?;
    pair.server.await_hangup(&connection.server)?;
    // The acknowledgement of data and FIN may be delayed, and the reset would overtake it.
    tracer.wait_closed(&[connection.client.cookie])?;
    pair.server.close(&connection.server)?;
    tracer.wait_closed(&[connection.client.cookie, connection.server.cookie])?;
    let trace = tracer.finish()?;
    connection.check_client(pair, &trace, "ESTABLISHED FIN_WAIT1 FIN_WAIT2 CLOSE")?;
    connection.check_server(pair, &trace, "ESTABLISHED CLOSE_WAIT CLOSE")
}

/// `connect(AF_UNSPEC)` takes a connection apart without closing the descriptor.
fn disconnect(pair: &Pair) -> Result<()> {
    let tracer = Tracer::unfiltered()?;
    let connection = pair.open()?;
    pair.client.disconnect(&connection.client)?;
    pair.server.await_hangup(&connection.server)?;
    tracer.wait_closed(&[connection.client.cookie, connection.server.cookie])?;
    let trace = tracer.finish()?;
    connection.check_client(pair, &trace, "ESTABLISHED CLOSE")?;
    connection.check_server(pair, &trace, "ESTABLISHED CLOSE")
}
