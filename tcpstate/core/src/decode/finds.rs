//! What the iterators of a snapshot find → [`model::leak`](crate::model::leak).

use std::{collections::BTreeMap, net::IpAddr};

use hashbrown::{HashMap, HashSet, hash_map::Entry};
use tcpstate_common::{
    leak::{FOUND_EOF_READ, FOUND_SINCE, FOUND_UNACCEPTED, FOUND_WANTED, FoundRecord},
    state::TcpState,
};

use super::{
    DecodeError,
    leak::{facts, load, place},
    owner,
};
use crate::model::{
    Endpoint, MonotonicNs, ProcessStart, State,
    leak::{FoundListener, FoundSocket, Holder, SocketFacts},
    scope,
};

/// What the iterators found, one entry for each socket.
#[derive(Debug, Default)]
pub struct Standing {
    /// Sockets in CLOSE_WAIT, and those that have been.
    pub sockets: Vec<FoundSocket>,
    /// Listeners with a backlog; where processes are filtered also those without, and those of others as if they had none.
    pub listeners: Vec<FoundListener>,
    /// When the holders began.
    pub starts: BTreeMap<u32, ProcessStart>,
}

/// Puts together what the iterators find: a record for each descriptor, and one for each socket by itself.
#[derive(Debug, Default)]
pub struct Finds {
    standing: Standing,
    /// Where each socket is among them, by cookie and address.
    index: HashMap<(u64, u64), usize>,
    /// The same of listeners, and whether the filters by process want any of their holders.
    listeners: HashMap<(u64, u64), (usize, bool)>,
    /// Who waits for the other side to close, by the ends of the connection.
    waiting: HashMap<Ends, u32>,
    error: Option<DecodeError>,
}

impl Finds {
    /// Takes one record.
    pub fn add(&mut self, raw: &FoundRecord) {
        if let Err(error) = self.try_add(raw) {
            self.error.get_or_insert(error);
        }
    }

    fn try_add(&mut self, raw: &FoundRecord) -> Result<(), DecodeError> {
        if let Some(start) = ProcessStart::from_ns(raw.holder_start_ns) {
            self.standing.starts.insert(raw.holder_tgid, start);
        }
        if raw.socket.new_state == TcpState::Listen as u8 {
            return self.add_listener(raw);
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

    fn add_listener(&mut self, raw: &FoundRecord) -> Result<(), DecodeError> {
        let listeners = &mut self.standing.listeners;
        let (place, wanted) = match self.listeners.entry((raw.socket.cookie, raw.socket.skaddr)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                listeners.push(FoundListener {
                    facts: facts(&raw.socket)?,
                    owner: owner(&raw.socket.owner, raw.socket.owner_source),
                    holders: Vec::new(),
                    backlog: raw.recv_q,
                    backlog_limit: raw.send_q,
                    dropped: raw.drops,
                });
                new.insert((listeners.len() - 1, false))
            }
        };
        *wanted |= raw.socket.flags & FOUND_WANTED != 0;
        if raw.holder_tgid != 0
            && let Some(listener) = listeners.get_mut(*place)
        {
            listener.holders.push(raw.holder_tgid);
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
        let wanted: HashSet<usize> =
            self.listeners.into_values().filter(|&(_, wanted)| wanted).map(|(place, _)| place).collect();
        for (place, listener) in standing.listeners.iter_mut().enumerate() {
            if !wanted.contains(&place) {
                // What waits there is not wanted, but who may have accepted what came from there.
                listener.backlog = 0;
            }
            listener.holders.sort_unstable();
            listener.holders.dedup();
        }
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

fn socket(raw: &FoundRecord) -> Result<FoundSocket, DecodeError> {
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

/// Network namespace, local and remote end.
type Ends = (u32, (IpAddr, u16), (IpAddr, u16));

/// What tells a socket's peer within its network namespace; addresses of IPv4 may be mapped on one side only. Between namespaces
/// the same addresses may be anybody's.
fn ends(facts: &SocketFacts) -> Ends {
    // The interfaces at the two ends of a link have different numbers.
    let end = |end: Endpoint| (scope::split(end.addr.to_canonical()).0, end.port);
    (facts.netns, end(facts.local), end(facts.remote))
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable as _;
    use tcpstate_common::state::AF_INET;

    use super::*;
    use crate::decode::seeds;

    fn found(cookie: u64, holder: (u32, u32)) -> FoundRecord {
        let mut found = FoundRecord::zeroed();
        found.socket.family = AF_INET;
        found.socket.new_state = TcpState::CloseWait as u8;
        found.socket.cookie = cookie;
        (found.holder_tgid, found.holder_fd) = holder;
        found
    }

    fn standing(records: &[FoundRecord]) -> Standing {
        let mut finds = Finds::default();
        records.iter().for_each(|record| finds.add(record));
        finds.finish().expect("whole records")
    }

    #[test]
    fn descriptors_of_one_socket_come_together() {
        let records = [found(1, (20, 4)), found(2, (0, 0)), found(1, (10, 5)), found(1, (0, 0)), found(1, (10, 5))];
        seeds::assert_seed("found", bytemuck::cast_slice(&records));
        let standing = standing(&records);
        let holders: Vec<_> = standing.sockets.iter().map(|socket| socket.holders.clone()).collect();
        assert_eq!(holders, [vec![Holder { pid: 10, fd: 5 }, Holder { pid: 20, fd: 4 }], vec![]]);
    }

    /// `accept()` between the visit to its process and that to the socket.
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
        let end = |mut found: FoundRecord, state, (local, remote), netns| {
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
}
