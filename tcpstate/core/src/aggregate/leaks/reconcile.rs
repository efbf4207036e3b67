//! Repair: what a snapshot says, and what is newer than it.

use std::{collections::BTreeMap, mem, num::NonZeroU32};

use hashbrown::HashSet;
use tcpstate_common::state::TcpState;

use super::{
    bounds::{MOST_FOLLOWED, MOST_LISTENING},
    entry_time::EntryTime,
    process::Process,
    socket::{FoundAs, Left, LeftBy, Phase, PlaceSlot, Socket},
    table::{GoneSince, Went, WentSince},
    tracker::{Leaks, Past, WatchedProcess},
    trend::Series,
};
use crate::model::{
    MonotonicNs, ProcessId, SocketId, State,
    leak::{FoundListener, FoundSocket, Holder, Snapshot},
};

/// What a snapshot changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Sockets that were not known: of before the trace, or their events were lost.
    pub added: u64,
    /// Sockets that were taken for open and are not.
    pub dropped: u64,
    /// Sockets that were passed over because too many others had gone meanwhile to tell whether these had, too. The next
    /// snapshot has them, if they are still there.
    pub doubtful: u64,
}

impl Leaks {
    /// Repairs what is known with a snapshot. Events that are newer than it win, whether they have been pushed already or
    /// not; older ones that come later still tell what the snapshot does not know: who, where and when.
    pub fn reconcile(&mut self, snapshot: &Snapshot) -> Reconciled {
        let moments @ (taken, _) = (snapshot.taken, snapshot.complete);
        self.generation = self.generation.wrapping_add(1).max(1);
        self.snapshot = Some(moments);
        let gone = self.gone.since(taken);
        let mut holders = Vec::with_capacity(self.holders.len());
        let mut result = Reconciled::default();
        for found in &snapshot.sockets {
            self.reconcile_one(found, moments, &gone, &mut holders, &mut result);
        }
        self.listeners = with_backlog(&snapshot.listeners);
        result.dropped += self.sweep(taken, &mut holders);
        self.holders = holders;
        self.gone.forget_until(taken);
        self.watch(snapshot, taken);
        self.starts.clone_from(&snapshot.starts);
        self.told_early.retain(|_, (_, told)| told.at > taken);
        self.listen_at = listen_at(&snapshot.listeners);
        self.forget_ports();
        for found in &snapshot.listeners {
            self.learn_port((found.facts.netns, found.facts.local.port));
        }
        result
    }

    fn reconcile_one(
        &mut self,
        found: &FoundSocket,
        moments: (MonotonicNs, MonotonicNs),
        gone: &GoneSince,
        holders: &mut Vec<Holder>,
        result: &mut Reconciled,
    ) {
        let state = FoundAs::of(found);
        if state == FoundAs::Gone {
            return;
        }
        let (taken, _) = moments;
        let id = found.facts.id;
        let mut phase = None;
        if let Some(known) = self.sockets.get_mut(id.skaddr) {
            match known.compare(found, state, taken) {
                Comparison::Same => {
                    known.update(found, state, moments);
                    known.listed = self.generation;
                    known.holders = append(holders, &found.holders);
                    return;
                }
                Comparison::Overtaken => return,
                Comparison::Another(went) => phase = went,
            }
            self.retire(id);
            result.dropped += 1;
        }
        match gone.contains(id, found.since) {
            WentSince::No => {}
            WentSince::Yes(Went::Away) => return,
            WentSince::Yes(Went::Out(went)) => phase = Some(went),
            WentSince::Perhaps => {
                result.doubtful += 1;
                return;
            }
        }
        let mut socket = Socket::found(found, moments);
        socket.update(found, state, moments);
        if let Some((_, told)) = self.told_early.remove(&id.skaddr).filter(|(told, _)| told.may_be(id)) {
            socket.learn_told(told);
        }
        socket.phase = phase.unwrap_or(socket.phase);
        socket.listed = self.generation;
        socket.holders = append(holders, &found.holders);
        self.sockets.insert(socket);
        result.added += 1;
    }

    /// Deals with the sockets that the snapshot does not list; returns how many were dropped.
    fn sweep(&mut self, taken: MonotonicNs, holders: &mut Vec<Holder>) -> u64 {
        let mut dropped = 0;
        let mut ended = Vec::new();
        let before = mem::take(&mut self.holders);
        let listeners = mem::take(&mut self.listeners);
        for socket in self.sockets.iter_mut().filter(|socket| socket.listed != self.generation) {
            let newer = match socket.phase {
                Phase::Open => socket.entered.latest > taken.0,
                Phase::Closing(left) | Phase::Ghost(left) => left.at > taken,
            };
            if newer && !socket.missing {
                socket.holders = append(holders, slice(&before, socket.holders));
                continue;
            }
            let has_it = |listener: &FoundListener| listener.takes(socket.netns, socket.local);
            if socket.waits_unlisted() && at_port(&listeners, socket.netns, socket.local.port).iter().any(has_it) {
                (socket.unaccepted, socket.listed, socket.holders) = (true, self.generation, (0, 0));
                continue;
            }
            socket.holders = (0, 0);
            if socket.missing || matches!(socket.phase, Phase::Closing(_)) {
                ended.push(socket.id);
            } else {
                // Its own events may still be on the way: until the next snapshot they can tell how it ended.
                socket.missing = true;
                dropped += 1;
            }
        }
        self.listeners = listeners;
        for id in ended {
            self.retire(id);
        }
        dropped
    }

    fn retire(&mut self, id: SocketId) {
        if let Some(socket) = self.sockets.remove(id.skaddr) {
            self.vanished(&socket);
        }
    }

    /// Keeps the processes that hold sockets now, with their past.
    fn watch(&mut self, snapshot: &Snapshot, taken: MonotonicNs) {
        let mut before = mem::take(&mut self.processes);
        for found in &snapshot.processes {
            let process = ProcessId { pid: found.pid, start: snapshot.starts.get(&found.pid).copied() };
            // Another name is another program.
            let same = before
                .remove(&found.pid)
                .filter(|watched| watched.process.is(process) && watched.found.comm == found.comm);
            let past = same.and_then(|watched| watched.past);
            self.processes.insert(found.pid, WatchedProcess { process, found: found.clone(), past });
        }
        // Who was followed before is followed on.
        let followed = self.processes.values().filter(|watched| watched.past.is_some()).count();
        let mut room = MOST_FOLLOWED.saturating_sub(followed);
        self.unfollowed = 0;
        for watched in self.processes.values_mut() {
            if watched.past.is_none() && room > 0 {
                room -= 1;
                watched.past = Some(Past { descriptors: Series::new(), leaked: Series::new() });
            }
            match &mut watched.past {
                Some(past) => past.descriptors.push(taken, watched.found.descriptors),
                None => self.unfollowed += 1,
            }
        }
    }

    /// Remembers that a port of a network namespace is listened on.
    pub(super) fn learn_port(&mut self, at: (u32, u16)) {
        if self.listening.len() < MOST_LISTENING || self.listening.contains(&at) {
            self.listening.insert(at);
        } else {
            self.ports_not_kept += 1;
        }
    }

    /// Where many ports are remembered, forgets those at which no socket is any more.
    fn forget_ports(&mut self) {
        if self.listening.len() > MOST_LISTENING / 2 {
            let now: HashSet<_> = self.sockets.iter().map(|socket| (socket.netns, socket.local.port)).collect();
            self.listening.retain(|at| now.contains(at));
        }
    }

    /// The listeners with a backlog at a port.
    pub(super) fn listeners_at(&self, netns: u32, port: u16) -> &[FoundListener] {
        at_port(&self.listeners, netns, port)
    }

    /// Every descriptor of a leaking socket that the last snapshot found, in no order.
    #[must_use]
    pub fn descriptors(&self) -> &[Holder] {
        &self.holders
    }

    /// Descriptors of a socket as of the last snapshot.
    pub(super) fn holders(&self, socket: &Socket) -> &[Holder] {
        slice(&self.holders, socket.holders)
    }
}

/// What a snapshot found where we know of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    /// That socket, in this stay in CLOSE_WAIT or after it.
    Same,
    /// What has changed since.
    Overtaken,
    /// Another socket or another stay, and what has become of it since, if that was told of ours for want of cookies.
    Another(Option<Phase>),
}

impl Socket {
    /// Compares what is known of a socket with what a snapshot found at its address.
    fn compare(&self, found: &FoundSocket, state: FoundAs, taken: MonotonicNs) -> Comparison {
        let entered_since = self.entered.is_exact() && self.entered.latest > taken.0;
        let left = match self.phase {
            Phase::Open => None,
            Phase::Closing(left) | Phase::Ghost(left) => Some(left.at),
        };
        let left_since = left.is_some_and(|at| at > taken);
        if !self.is(&found.facts) {
            if entered_since {
                return Comparison::Overtaken;
            }
            let nameless = self.id.cookie.is_none() || found.facts.id.cookie.is_none();
            let may_have_left = left_since && nameless && found.since.is_none_or(|since| left >= Some(since));
            return Comparison::Another(may_have_left.then_some(self.phase));
        }
        match (state, self.phase) {
            (FoundAs::CloseWait, Phase::Open) => {
                let returned =
                    found.since.is_some_and(|since| self.entered.is_exact() && since.0 > self.entered.latest);
                if returned { Comparison::Another(None) } else { Comparison::Same }
            }
            (FoundAs::CloseWait, _) if left_since => Comparison::Overtaken,
            (FoundAs::CloseWait, _) => Comparison::Another(None),
            (_, Phase::Open) if entered_since => Comparison::Overtaken,
            // Comparison shut down in an earlier stay.
            (_, Phase::Closing(left)) if left_since && found.since.is_none_or(|since| since < left.at) => {
                Comparison::Overtaken
            }
            _ => Comparison::Same,
        }
    }

    /// A socket of which only the snapshot knows.
    fn found(found: &FoundSocket, (_, complete): (MonotonicNs, MonotonicNs)) -> Self {
        Self::new(&found.facts, EntryTime::before(complete))
    }

    /// Takes what a snapshot says of it.
    fn update(&mut self, found: &FoundSocket, state: FoundAs, (taken, complete): (MonotonicNs, MonotonicNs)) {
        self.missing = false;
        self.id.cookie = self.id.cookie.or(found.facts.id.cookie);
        match (state, self.phase) {
            (FoundAs::CloseWait, _) => {
                if let Some(since) = found.since.filter(|_| !self.entered.is_exact()) {
                    self.entered = EntryTime::at(since);
                }
            }
            (_, Phase::Open) => {
                let at = found.since.unwrap_or(taken);
                if !self.entered.is_exact() {
                    self.entered.latest = self.entered.latest.min(at.0);
                }
                let by = match found.state {
                    State::Known(TcpState::LastAck) => LeftBy::Program,
                    _ => LeftBy::Unseen,
                };
                self.phase = Phase::Ghost(Left { at, place: PlaceSlot::default(), by });
            }
            (_, Phase::Closing(left) | Phase::Ghost(left)) => self.phase = Phase::Ghost(left),
        }
        if let Some(load) = &found.load {
            self.take_load(load, taken, complete);
        }
        self.eof_read |= found.eof_read;
        self.unaccepted = found.unaccepted;
        self.had_descriptor |= !found.unaccepted;
        self.awaited_by = found.awaited_by.and_then(NonZeroU32::new);
        self.learn_owner_now(found.owner);
        self.learn_opened(found.opened);
    }
}

/// Those with connections that nobody has accepted, by network namespace and port.
fn with_backlog(listeners: &[FoundListener]) -> Vec<FoundListener> {
    let mut listeners: Vec<_> = listeners.iter().filter(|found| found.backlog > 0).cloned().collect();
    listeners.sort_by_key(|found| (found.facts.netns, found.facts.local.port));
    listeners
}

/// Who listens where, if that is one process.
fn listen_at(listeners: &[FoundListener]) -> BTreeMap<(u32, u16), Option<Process>> {
    let mut listen_at = BTreeMap::new();
    for found in listeners {
        let process = found.owner.map(|owner| Process::new(owner.process(), Some(owner.comm)));
        let known = listen_at.entry((found.facts.netns, found.facts.local.port)).or_insert(process);
        *known = known.filter(|known| process.is_some_and(|process| process.id() == known.id()));
    }
    listen_at
}

/// Of listeners by network namespace and port those at one.
fn at_port(listeners: &[FoundListener], netns: u32, port: u16) -> &[FoundListener] {
    let at = |listener: &FoundListener| (listener.facts.netns, listener.facts.local.port);
    let from = listeners.partition_point(|listener| at(listener) < (netns, port));
    let to = listeners.partition_point(|listener| at(listener) <= (netns, port));
    &listeners[from..to]
}

fn append(all: &mut Vec<Holder>, of_one: &[Holder]) -> (u32, u32) {
    let start = all.len();
    all.extend_from_slice(of_one);
    // There are not as many descriptors in any system.
    (u32::try_from(start).unwrap_or(u32::MAX), u32::try_from(of_one.len()).unwrap_or(0))
}

fn slice(all: &[Holder], (start, len): (u32, u32)) -> &[Holder] {
    let start = start as usize;
    all.get(start..start + len as usize).unwrap_or_default()
}
