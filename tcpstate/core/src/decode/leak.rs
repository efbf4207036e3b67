//! Records of leak hunting → [`model::leak`](crate::model::leak).

use std::{net::IpAddr, num::NonZeroU64};

use hashbrown::{HashMap, hash_map::Entry};
use tcpstate_common::{
    event::{self, owner_source},
    leak::{
        self, Entered, FOUND_EOF_READ, FOUND_SINCE, FOUND_UNACCEPTED, Found, KIND_ACCEPTED, KIND_CLOSED, KIND_CLOSING,
        KIND_DESTROYED, KIND_ENTERED, KIND_EOF_READ, KIND_LEFT, SocketEvent,
    },
    state::{IPPROTO_MPTCP, TcpState},
};

use super::{DecodeError, endpoint, family, owner, protocol, read, socket_id};
use crate::model::{
    Comm, Endpoint, MonotonicNs, State,
    event::Event,
    leak::{Actor, Closing, FoundListener, FoundSocket, Holder, LeakEvent, PlaceId, SocketFacts, SocketLoad},
};

/// Frequencies of the timer tick that kernels are built with (`CONFIG_HZ`).
const TICK_FREQUENCIES: [u64; 4] = [100, 250, 300, 1000];

/// Decodes one event.
///
/// # Errors
///
/// When the record is none that leak hunting writes.
pub fn event(record: &[u8]) -> Result<LeakEvent, DecodeError> {
    let kind = record.first_chunk().copied().map(u32::from_ne_bytes);
    if kind == Some(KIND_ENTERED) {
        let raw: Entered = read(record)?;
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
            let raw: Entered = read(record)?;
            Ok(Event::Entered { transition: super::to_transition(&raw.transition)?, opened: place(raw.place) })
        }
        _ => event(record).map(Event::Beside),
    }
}

/// What the iterators found, one entry for each socket.
#[derive(Debug, Default)]
pub struct Standing {
    /// Sockets in CLOSE_WAIT, and those that have been.
    pub sockets: Vec<FoundSocket>,
    /// Listeners with a backlog.
    pub listeners: Vec<FoundListener>,
}

/// Puts together what the iterators find: a record for each descriptor, and one for each socket by itself.
#[derive(Debug, Default)]
pub struct Finds {
    standing: Standing,
    /// Where each socket is among them, by cookie and address.
    index: HashMap<(u64, u64), usize>,
    /// Who waits for the other side to close, by the ends of the connection.
    waiting: HashMap<Ends, u32>,
    error: Option<DecodeError>,
}

impl Finds {
    /// Takes one record.
    pub fn add(&mut self, raw: &Found) {
        if let Err(error) = self.try_add(raw) {
            self.error.get_or_insert(error);
        }
    }

    fn try_add(&mut self, raw: &Found) -> Result<(), DecodeError> {
        if raw.socket.new_state == TcpState::Listen as u8 {
            self.standing.listeners.push(FoundListener {
                facts: facts(&raw.socket)?,
                owner: owner(&raw.socket.owner, raw.socket.owner_source),
                backlog: raw.recv_q,
                backlog_limit: raw.send_q,
                dropped: raw.drops,
            });
            return Ok(());
        }
        if raw.socket.new_state == TcpState::FinWait2 as u8 {
            self.waiting.insert(ends(&facts(&raw.socket)?), raw.holder_tgid);
            return Ok(());
        }
        let sockets = &mut self.standing.sockets;
        let place = match self.index.entry((raw.socket.cookie, raw.socket.skaddr)) {
            Entry::Occupied(known) => {
                // It may have been accepted meanwhile.
                sockets[*known.get()].unaccepted &= raw.socket.flags & FOUND_UNACCEPTED != 0;
                *known.get()
            }
            Entry::Vacant(new) => {
                sockets.push(socket(raw)?);
                *new.insert(sockets.len() - 1)
            }
        };
        if raw.holder_tgid != 0
            && let Some(socket) = sockets.get_mut(place)
        {
            socket.holders.push(Holder { pid: raw.holder_tgid, fd: raw.holder_fd });
        }
        Ok(())
    }

    /// Whether there is a socket that belongs to a program, and no descriptor of it: it is in flight, or a process that has been
    /// visited got it since.
    #[must_use]
    pub fn lacks_descriptors(&self) -> bool {
        let in_close_wait = State::Known(TcpState::CloseWait);
        let lacks = |socket: &FoundSocket| !socket.unaccepted && socket.holders.is_empty();
        self.standing.sockets.iter().any(|socket| socket.state == in_close_wait && lacks(socket))
    }

    /// All of it, sockets by cookie and address.
    ///
    /// # Errors
    ///
    /// When a record was none that the iterators write.
    pub fn finish(self) -> Result<Standing, DecodeError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        drop(self.index);
        let mut standing = self.standing;
        standing.sockets.sort_unstable_by_key(|socket| (socket.facts.id.cookie, socket.facts.id.skaddr));
        for socket in &mut standing.sockets {
            socket.holders.sort_unstable();
            socket.holders.dedup();
            if !self.waiting.is_empty() {
                let (netns, local, remote) = ends(&socket.facts);
                socket.awaited_by = self.waiting.get(&(netns, remote, local)).copied();
            }
        }
        Ok(standing)
    }
}

fn closing(raw: &leak::Closing) -> Result<Closing, DecodeError> {
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

fn socket(raw: &Found) -> Result<FoundSocket, DecodeError> {
    let has = |flag| raw.socket.flags & flag != 0;
    Ok(FoundSocket {
        facts: facts(&raw.socket)?,
        state: State::from(raw.socket.new_state),
        owner: owner(&raw.socket.owner, raw.socket.owner_source),
        opened: place(raw.place),
        since: has(FOUND_SINCE).then_some(MonotonicNs(raw.socket.in_old_ns)),
        eof_read: has(FOUND_EOF_READ),
        unaccepted: has(FOUND_UNACCEPTED),
        load: load(raw),
        holders: Vec::new(),
        awaited_by: None,
    })
}

/// `None` of the parent of Multipath TCP subflows: queues and times are those of the subflows.
fn load(raw: &Found) -> Option<SocketLoad> {
    if raw.socket.protocol == IPPROTO_MPTCP {
        return None;
    }
    let frequency = tick_frequency(raw.jiffies, raw.socket.ts_ns);
    let milliseconds = |jiffies: u32| u32::try_from(u64::from(jiffies) * 1000 / frequency).unwrap_or(u32::MAX);
    Some(SocketLoad {
        recv_q: raw.recv_q,
        send_q: raw.send_q,
        last_data_recv_ms: milliseconds(raw.since_data_recv),
        last_ack_recv_ms: milliseconds(raw.since_ack_recv),
        last_data_sent_ms: milliseconds(raw.since_data_sent),
    })
}

/// Network namespace, local and remote end.
type Ends = (u32, (IpAddr, u16), (IpAddr, u16));

/// What tells a socket's peer within its network namespace; addresses of IPv4 may be mapped on one side only. Between namespaces
/// the same addresses may be anybody's.
fn ends(facts: &SocketFacts) -> Ends {
    let end = |end: Endpoint| (end.addr.to_canonical(), end.port);
    (facts.netns, end(facts.local), end(facts.remote))
}

/// Timer ticks a second, from one reading of both clocks: `jiffies` starts at `2³² - 300 × HZ` (`INITIAL_JIFFIES`,
/// include/linux/jiffies.h) when `CLOCK_MONOTONIC` starts at 0.
fn tick_frequency(jiffies: u64, monotonic_ns: u64) -> u64 {
    let error = |frequency: u64| {
        let ticked = u128::from(monotonic_ns) * u128::from(frequency) / 1_000_000_000;
        let expected = (1u128 << 32) + ticked - u128::from(300 * frequency);
        expected.abs_diff(u128::from(jiffies))
    };
    TICK_FREQUENCIES.into_iter().min_by_key(|&frequency| error(frequency)).unwrap_or(TICK_FREQUENCIES[0])
}

fn facts(raw: &event::Transition) -> Result<SocketFacts, DecodeError> {
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

fn place(raw: u64) -> Option<PlaceId> {
    (raw != 0).then_some(PlaceId(raw))
}

fn actor(raw: &event::Owner) -> Option<Actor> {
    (raw.tgid != 0).then_some(Actor { pid: raw.tgid, tid: raw.tid, comm: Comm(raw.comm) })
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable as _;
    use tcpstate_common::state::AF_INET;

    use super::*;

    fn left(kind: u32, tgid: u32) -> SocketEvent {
        let actor = event::Owner { tgid, tid: tgid, ..event::Owner::default() };
        SocketEvent { kind, new_state: 9, pad: [0; 3], ts_ns: 5, cookie: 7, skaddr: 9, actor, place: 11 }
    }

    fn found(cookie: u64, holder: (u32, u32)) -> Found {
        let mut found = Found::zeroed();
        found.socket.family = AF_INET;
        found.socket.new_state = TcpState::CloseWait as u8;
        found.socket.cookie = cookie;
        (found.holder_tgid, found.holder_fd) = holder;
        found
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

    fn standing(records: &[Found]) -> Standing {
        let mut finds = Finds::default();
        records.iter().for_each(|record| finds.add(record));
        finds.finish().expect("whole records")
    }

    #[test]
    fn descriptors_of_one_socket_come_together() {
        let records = [found(1, (20, 4)), found(2, (0, 0)), found(1, (10, 5)), found(1, (0, 0)), found(1, (10, 5))];
        let standing = standing(&records);
        let holders: Vec<_> = standing.sockets.iter().map(|socket| socket.holders.clone()).collect();
        assert_eq!(holders, [vec![Holder { pid: 10, fd: 5 }, Holder { pid: 20, fd: 4 }], vec![]]);
    }

    /// `accept()` between the look at its process and that at the socket.
    #[test]
    fn a_socket_without_descriptors_is_looked_for_again() {
        let mut finds = Finds::default();
        let mut unaccepted = found(1, (0, 0));
        unaccepted.socket.flags = FOUND_UNACCEPTED;
        finds.add(&unaccepted);
        assert!(!finds.lacks_descriptors(), "it has none yet");
        finds.add(&found(2, (0, 0)));
        assert!(finds.lacks_descriptors());
        finds.add(&found(2, (10, 5)));
        assert!(!finds.lacks_descriptors());
        finds.add(&found(1, (10, 6)));
        let sockets = finds.finish().expect("whole records").sockets;
        assert!(sockets.iter().all(|socket| !socket.unaccepted && socket.holders.len() == 1), "{sockets:?}");
    }

    #[test]
    fn a_peer_that_waits_is_known_by_the_ends() {
        let end = |mut found: Found, state, (local, remote), netns| {
            found.socket.new_state = state;
            (found.socket.local_port, found.socket.remote_port, found.socket.netns) = (local, remote, netns);
            found
        };
        let (close_wait, fin_wait2) = (TcpState::CloseWait as u8, TcpState::FinWait2 as u8);
        let records = [
            end(found(1, (10, 5)), close_wait, (80, 4000), 1),
            end(found(2, (10, 6)), close_wait, (80, 4001), 1),
            end(found(3, (10, 7)), close_wait, (80, 4002), 1),
            end(found(4, (20, 3)), fin_wait2, (4000, 80), 1),
            end(found(5, (20, 4)), fin_wait2, (4001, 80), 2),
            end(found(6, (20, 5)), fin_wait2, (80, 4002), 1),
        ];
        let standing = standing(&records);
        let awaited: Vec<_> = standing.sockets.iter().map(|socket| socket.awaited_by).collect();
        assert_eq!(awaited, [Some(20), None, None]);
    }

    #[test]
    fn tick_frequency_from_uptime() {
        for frequency in TICK_FREQUENCIES {
            for seconds in [0, 1, 250, 310, 86_400, 40_000_000] {
                let jiffies = (1u64 << 32) - 300 * frequency + seconds * frequency;
                assert_eq!(tick_frequency(jiffies, seconds * 1_000_000_000 + 3_000_000), frequency, "{seconds} s");
            }
        }
    }
}
