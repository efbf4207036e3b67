//! A look at how things stand, as the aggregator takes it.

use std::collections::BTreeSet;

use anyhow::Result;
use tcpstate_core::{
    decode::leak::Finds,
    model::leak::{FoundProcess, Snapshot},
};
use tcpstate_stacks::process::descriptors;

use crate::{kernel::Tracer, session::Clock};

/// Takes a snapshot of leaking sockets, their holders, and what these may have.
pub(crate) fn look(tracer: &mut Tracer, clock: &Clock) -> Result<Snapshot> {
    let taken = clock.now();
    let mut finds = Finds::default();
    tracer.found(|found| finds.add(found))?;
    if finds.lacks_descriptors() {
        tracer.found_descriptors(|found| finds.add(found))?;
    }
    let standing = finds.finish()?;
    let complete = clock.now();
    let holders = standing.sockets.iter().flat_map(|socket| &socket.holders);
    let listening = standing.listeners.iter().filter_map(|listener| listener.owner).map(|owner| owner.pid);
    let waiting = standing.sockets.iter().filter_map(|socket| socket.awaited_by);
    let pids: BTreeSet<u32> = holders.map(|holder| holder.pid).chain(listening).chain(waiting).collect();
    Ok(Snapshot {
        taken,
        complete,
        sockets: standing.sockets,
        listeners: standing.listeners,
        processes: pids.into_iter().filter_map(found_process).collect(),
    })
}

/// A process that has gone meanwhile holds nothing any more.
fn found_process(pid: u32) -> Option<FoundProcess> {
    Some(FoundProcess {
        pid,
        comm: descriptors::comm(pid)?,
        descriptors: descriptors::open(pid)?,
        descriptor_limit: descriptors::limit(pid),
    })
}
