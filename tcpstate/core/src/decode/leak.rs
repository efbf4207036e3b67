//! Events of leak hunting → [`model::leak`](crate::model::leak).

use std::num::NonZeroU64;

use tcpstate_common::{
    event::{self, owner_source},
    leak::{
        self, EnteredRecord, FOUND_EOF_READ, FOUND_SINCE, FoundRecord, KIND_ACCEPTED, KIND_CLOSED, KIND_CLOSING,
        KIND_DESTROYED, KIND_ENTERED, KIND_EOF_READ, KIND_LEFT, SocketEvent,
    },
    state::{IPPROTO_MPTCP, TcpState},
};

use super::{DecodeError, endpoint, family, owner, protocol, read, socket_id};
use crate::model::{
    Comm, MonotonicNs, ProcessStart, State,
    event::Event,
    leak::{Actor, Closing, LeakEvent, PlaceId, SocketFacts, SocketLoad, Traffic},
};

/// Decodes one event.
///
/// # Errors
///
/// When the record is none that leak hunting writes.
pub fn event(record: &[u8]) -> Result<LeakEvent, DecodeError> {
    let kind = record.first_chunk().copied().map(u32::from_ne_bytes);
    if kind == Some(KIND_ENTERED) {
        let raw: EnteredRecord = read(record)?;
        return Ok(LeakEvent::Entered {
            at: MonotonicNs(raw.transition.ts_ns),
            facts: facts(&raw.transition)?,
            owner: owner(&raw.transition.owner, raw.transition.owner_source),
            opened: place(raw.place),
        });
    }
    if kind == Some(KIND_CLOSING) {
        return closing(&read(record)?).map(LeakEvent::Closing);
    }
    let raw: SocketEvent = read(record)?;
    let at = MonotonicNs(raw.ts_ns);
    let socket = socket_id(raw.cookie, raw.skaddr);
    Ok(match raw.kind {
        KIND_LEFT => LeakEvent::Left {
            at,
            socket,
            new: State::from(raw.new_state),
            closed: actor(&raw.actor).map(|actor| (actor, place(raw.place))),
        },
        KIND_CLOSED => LeakEvent::Closed { at, socket, by: actor(&raw.actor).map(|actor| (actor, place(raw.place))) },
        KIND_EOF_READ => match actor(&raw.actor) {
            Some(by) => LeakEvent::EofRead { at, socket, by, place: place(raw.place) },
            None => return Err(DecodeError::Kind(raw.kind)),
        },
        KIND_ACCEPTED => match owner(&raw.actor, owner_source::ACCEPT) {
            Some(owner) => LeakEvent::Accepted { at, socket, owner, opened: place(raw.place) },
            None => return Err(DecodeError::Kind(raw.kind)),
        },
        KIND_DESTROYED => LeakEvent::Destroyed { at, socket },
        other => return Err(DecodeError::Kind(other)),
    })
}

/// Decodes one record of a trace that takes transitions and leaks at once.
///
/// # Errors
///
/// When the record is none that the programs write.
pub fn any(record: &[u8]) -> Result<Event, DecodeError> {
    let kind = record.first_chunk().copied().map(u32::from_ne_bytes);
    match kind {
        Some(event::KIND_TRANSITION) => super::transition(record).map(Event::Transition),
        Some(KIND_ENTERED) => {
            let raw: EnteredRecord = read(record)?;
            Ok(Event::Entered { transition: super::to_transition(&raw.transition)?, opened: place(raw.place) })
        }
        _ => event(record).map(Event::Beside),
    }
}

fn closing(raw: &leak::ClosingRecord) -> Result<Closing, DecodeError> {
    let socket = &raw.found.socket;
    let has = |flag| socket.flags & flag != 0;
    Ok(Closing {
        at: MonotonicNs(socket.ts_ns),
        facts: facts(socket)?,
        by: actor(&raw.by).ok_or(DecodeError::Kind(KIND_CLOSING))?,
        place: place(raw.place),
        exiting: raw.exiting != 0,
        owner: owner(&socket.owner, socket.owner_source),
        opened: place(raw.found.place),
        in_close_wait: socket.old_state == TcpState::CloseWait as u8,
        since: has(FOUND_SINCE).then_some(MonotonicNs(socket.in_old_ns)),
        eof_read: has(FOUND_EOF_READ),
        load: load(&raw.found),
    })
}

/// `None` of the parent of Multipath TCP subflows where the kernel keeps queues and times of the subflows alone.
pub(super) fn load(raw: &FoundRecord) -> Option<SocketLoad> {
    if raw.socket.protocol == IPPROTO_MPTCP && raw.bytes_received == 0 {
        return None;
    }
    Some(SocketLoad {
        recv_q: raw.recv_q,
        send_q: raw.send_q,
        last_data_recv_ms: raw.since_data_recv,
        last_ack_recv_ms: raw.since_ack_recv,
        last_data_sent_ms: raw.since_data_sent,
        traffic: Some(Traffic { received: raw.bytes_received, sent: raw.bytes_sent }),
    })
}

pub(super) fn facts(raw: &event::TransitionRecord) -> Result<SocketFacts, DecodeError> {
    let family = family(raw.family)?;
    Ok(SocketFacts {
        id: socket_id(raw.cookie, raw.skaddr),
        family,
        protocol: protocol(raw.protocol),
        local: endpoint(family, raw.local_addr, raw.local_port),
        remote: endpoint(family, raw.remote_addr, raw.remote_port),
        netns: raw.netns,
        cgroup: NonZeroU64::new(raw.cgroup_id),
        uid: raw.uid,
    })
}

pub(super) fn place(raw: u64) -> Option<PlaceId> {
    (raw != 0).then_some(PlaceId(raw))
}

fn actor(raw: &event::TaskRecord) -> Option<Actor> {
    let start = ProcessStart::from_ns(raw.start_ns);
    (raw.tgid != 0).then_some(Actor { pid: raw.tgid, tid: raw.tid, comm: Comm(raw.comm), start })
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable as _;
    use tcpstate_common::state::AF_INET;

    use super::*;
    use crate::decode::seeds::assert_seed;

    fn left(kind: u32, tgid: u32) -> SocketEvent {
        let actor = event::TaskRecord { tgid, tid: tgid, ..event::TaskRecord::default() };
        SocketEvent { kind, new_state: 9, pad: [0; 3], ts_ns: 5, cookie: 7, skaddr: 9, actor, place: 11 }
    }

    #[test]
    fn events_by_kind() {
        let closed = event(bytemuck::bytes_of(&left(KIND_LEFT, 42))).expect("a whole record");
        let LeakEvent::Left { new, closed: Some((by, Some(PlaceId(11)))), .. } = closed else {
            panic!("{closed:?}");
        };
        assert_eq!((new, by.pid), (State::Known(TcpState::LastAck), 42));
        let reset = event(bytemuck::bytes_of(&left(KIND_LEFT, 0))).expect("a whole record");
        assert!(matches!(reset, LeakEvent::Left { closed: None, .. }), "{reset:?}");
        assert_eq!(event(bytemuck::bytes_of(&left(99, 1))), Err(DecodeError::Kind(99)));
        assert!(matches!(event(&[]), Err(DecodeError::Length { got: 0, .. })));
    }

    #[test]
    fn seeds_of_events() {
        let kinds = [KIND_LEFT, KIND_CLOSED, KIND_EOF_READ, KIND_ACCEPTED, KIND_DESTROYED];
        for (kind, name) in kinds.into_iter().zip(["left", "closed", "eof-read", "accepted", "destroyed"]) {
            let record = left(kind, 42);
            let bytes = bytemuck::bytes_of(&record);
            event(bytes).expect("a whole record");
            assert_seed(name, bytes);
        }
        let mut entered = EnteredRecord::zeroed();
        (entered.transition.kind, entered.transition.family, entered.place) = (KIND_ENTERED, AF_INET, 11);
        let mut closing = leak::ClosingRecord::zeroed();
        (closing.found.socket.kind, closing.found.socket.family) = (KIND_CLOSING, AF_INET);
        closing.by.tgid = 42;
        for (bytes, name) in [(bytemuck::bytes_of(&entered), "entered"), (bytemuck::bytes_of(&closing), "closing")] {
            any(bytes).expect("a whole record");
            assert_seed(name, bytes);
        }
    }
}
