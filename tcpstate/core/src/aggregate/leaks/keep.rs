//! Which sockets are kept beyond their end, and whether that was a leak.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use super::{
    entry_time::EntryTime,
    fate::Fate,
    kept::{Ended, Kept},
    socket::{Left, LeftBy, Phase, PlaceSlot, Socket},
    table::Went,
    tracker::Leaks,
    types::Observed,
};
use crate::{
    aggregate::verdict::Holding,
    model::{
        MonotonicNs, OwnerSource, ProcessId,
        leak::{Actor, Closing, PlaceId},
    },
};

impl Leaks {
    /// From now on keeps sockets beyond their end that leaked: [`Leaks::outcome`] has them. A socket that was in CLOSE_WAIT for
    /// longer than `max_dwell` leaked even if its program closed it.
    #[must_use]
    pub fn keeping(mut self, max_dwell: Option<Duration>) -> Self {
        self.kept =
            Some(Kept { max_dwell, sockets: Vec::new(), not_kept: 0, closers: HashMap::new(), unsettled: Vec::new() });
        self
    }

    /// A thread closes a socket, or shuts it down, or exits.
    pub(super) fn closing(&mut self, closing: &Closing) {
        if closing.exiting {
            self.exited(closing);
            return;
        }
        let Closing { at, ref facts, place, load, .. } = *closing;
        if let (Some(socket), Some(load)) = (self.find(facts.id, at).filter(|_| closing.in_close_wait), load) {
            socket.take_load(&load, at, at);
        }
        if let (Some(kept), Some(place)) = (&mut self.kept, place) {
            kept.closers.insert(facts.id.skaddr, (at, place));
        }
    }

    /// The exit of a process closes a socket.
    fn exited(&mut self, exited: &Closing) {
        let Closing { at, ref facts, by, .. } = *exited;
        let known = self.find(facts.id, at).is_some();
        let known = known.then(|| self.sockets.remove(facts.id.skaddr)).flatten();
        // What else is told of it, and what a snapshot says that is under way, is no news.
        self.gone.remember(facts.id, at, Went::Away);
        let Some(kept) = &mut self.kept else { return };
        kept.closers.remove(&facts.id.skaddr);
        let entered = exited.since.map_or(EntryTime::before(at), EntryTime::at);
        let mut socket = known.unwrap_or_else(|| Socket::new(facts, entered));
        if let Some(since) = exited.since {
            socket.entered = EntryTime::at(since);
        }
        socket.learn_owner(exited.owner);
        socket.learn_opened(exited.opened);
        socket.eof_read |= exited.eof_read;
        if let Some(load) = exited.load {
            socket.take_load(&load, at, at);
        }
        socket.had_descriptor = true;
        socket.phase = match (exited.in_close_wait, socket.phase) {
            (true, _) => Phase::Open,
            (false, Phase::Closing(left) | Phase::Ghost(left)) => Phase::Ghost(left),
            (false, Phase::Open) => Phase::Ghost(Left { at, place: PlaceSlot::default(), by: LeftBy::Unseen }),
        };
        if !self.is_leaked(at.0.saturating_sub(socket.entered.latest)) {
            return;
        }
        let opener = opener(&socket, by);
        let told = socket.told.is_some_and(|told| told.by.process().is(by.process()));
        let holding = if opener.is_some() { Holding::Others { told } } else { Holding::Owner };
        let observed = Observed { now: at, asleep_in_send: None, fold: &|place| place };
        let verdict = self.verdict(&socket, holding, Some(by.process()), &observed);
        if verdict.is_leak() {
            // Who held it is known, but not by which descriptor.
            socket.listed = 0;
            let (process, comm) = (Some(by.process()), Some(by.comm));
            self.keep(Ended { socket, at, fate: Fate::Exited, verdict, process, opener, comm });
        }
    }

    /// Keeps a socket that was closed, if that was too late or may have been at the exit.
    pub(super) fn keep_closed(&mut self, socket: &Socket, at: MonotonicNs, age_ns: u64) {
        let Some(kept) = &mut self.kept else { return };
        let max_dwell = kept.max_dwell;
        let closer = kept.closers.remove(&socket.id.skaddr).filter(|&(at, _)| at.0 >= socket.entered.earliest);
        let is_late = max_dwell.is_some_and(|most| u128::from(age_ns) > most.as_nanos());
        if !is_late && (closer.is_none() || !self.is_leaked(age_ns)) {
            return;
        }
        let holders = self.holders(socket);
        let holding = self.holding(socket, holders);
        let (process, opener) = self.whose(socket, holders, holding);
        let observed = Observed { now: at, asleep_in_send: None, fold: &|place| place };
        let verdict = self.verdict(socket, holding, process, &observed);
        if !verdict.is_leak() {
            return;
        }
        let comm = socket.owner.map(|owner| owner.comm);
        let comm = process.and_then(|process| self.process(process, comm).comm).or(comm);
        let mut socket = socket.clone();
        socket.listed = 0;
        socket.had_descriptor |= closer.is_some();
        let place = closer.map(|(_, place)| place);
        socket.phase = match socket.phase {
            Phase::Ghost(left) => Phase::Ghost(Left { place: place.into(), ..left }),
            Phase::Open => Phase::Closing(Left { at, place: place.into(), by: LeftBy::Program }),
            Phase::Closing(left) => Phase::Closing(Left { place: place.into(), ..left }),
        };
        let fate = if is_late { Fate::ClosedLate } else { Fate::CleanedUp };
        let ended = Ended { socket, at, fate, verdict, process, opener, comm };
        match (&mut self.kept, place) {
            (Some(kept), Some(place)) => kept.unsettled.push((place, ended)),
            (Some(kept), None) => kept.keep(ended),
            (None, _) => {}
        }
    }

    /// Where sockets were closed of which it has to be found out whether that was at the exit of their process.
    #[must_use]
    pub fn unsettled(&self) -> BTreeSet<PlaceId> {
        self.kept.iter().flat_map(|kept| &kept.unsettled).map(|&(place, _)| place).collect()
    }

    /// How many such sockets there are.
    #[must_use]
    pub fn unsettled_count(&self) -> usize {
        self.kept.as_ref().map_or(0, |kept| kept.unsettled.len())
    }

    /// Takes the answer to [`Leaks::unsettled`].
    pub fn settle(&mut self, at_exit: impl Fn(PlaceId) -> bool) {
        let Some(kept) = &mut self.kept else { return };
        for (place, mut ended) in std::mem::take(&mut kept.unsettled) {
            if at_exit(place) {
                ended.fate = Fate::CleanedUp;
            } else if ended.fate == Fate::CleanedUp {
                // Closed in time.
                continue;
            }
            kept.keep(ended);
        }
    }

    fn keep(&mut self, ended: Ended) {
        if let Some(kept) = &mut self.kept {
            kept.keep(ended);
        }
    }

    /// Whether it was in CLOSE_WAIT for long enough, if it was not closed.
    pub(super) fn is_leaked(&self, age_ns: u64) -> bool {
        let age = Duration::from_nanos(age_ns);
        let max_dwell = self.kept.as_ref().and_then(|kept| kept.max_dwell);
        age >= self.options.older_than || max_dwell.is_some_and(|most| age > most)
    }
}

/// Who opened a socket, if that is another process than the one whose exit closes it.
fn opener(socket: &Socket, by: Actor) -> Option<ProcessId> {
    let owner = socket.owner.filter(|owner| owner.source != OwnerSource::Listen)?;
    (!owner.process().is(by.process())).then_some(owner.process())
}
