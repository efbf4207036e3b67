//! Sockets kept beyond their end: those that nothing but the exit of a process closed, and those that were closed too late.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use super::{
    Leaks, Observed,
    classify::Sighting,
    group::Sum,
    infer::Company,
    origin::{Opening, Origin, Side},
    socket::{EntryTime, Left, LeftBy, Phase, PlaceSlot, Socket},
    types::{Age, Group, Process},
};
use crate::{
    aggregate::verdict::{Holding, Verdict},
    model::{
        Comm, Endpoint, MonotonicNs, OwnerSource,
        leak::{Actor, Closing, PlaceId},
    },
};

/// Sockets kept; about 20 MiB of them.
const MOST: usize = 1 << 16;

/// What became of leaked sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fate {
    /// Nothing but the exit of the last process that held them closed them.
    Exited,
    /// The process closed them as it cleaned up at its exit.
    CleanedUp,
    /// They were still there at the end.
    Open,
    /// The program closed them, but they had been in CLOSE_WAIT for longer than it may last.
    ClosedLate,
}

impl Fate {
    /// The name that reports use, such as `closed-by-exit`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exited => "closed-by-exit",
            Self::CleanedUp => "closed-at-exit",
            Self::Open => "open-at-end",
            Self::ClosedLate => "closed-late",
        }
    }
}

/// A leaked socket, as rules look at it.
#[derive(Clone, Debug)]
pub struct Suspect {
    /// Why it was in CLOSE_WAIT.
    pub verdict: Verdict,
    /// The other end.
    pub remote: Endpoint,
    /// The places that its group shows: where it was opened, where its program was told of the end, where it was shut down or
    /// closed.
    pub places: Vec<PlaceId>,
}

/// Leaked sockets of one kind.
#[derive(Clone, Debug, PartialEq)]
pub struct LeakFinding {
    /// What became of them.
    pub fate: Fate,
    /// Number of the rule that lets them pass.
    pub rule: Option<usize>,
    /// How many processes they belong to, the one that the group names included.
    pub processes: u64,
    /// The sockets. Those of several processes of one name are together.
    pub group: Group,
}

/// Everything that leaked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// By socket-seconds, those that no rule lets pass first.
    pub findings: Vec<LeakFinding>,
    /// Leaked sockets that there was no room to keep: in no group, and no rule has looked at them.
    pub not_kept: u64,
}

/// Where sockets are kept.
#[derive(Debug)]
pub(super) struct Kept {
    max_dwell: Option<Duration>,
    sockets: Vec<Ended>,
    not_kept: u64,
    /// Where sockets that are still there, or whose end is not told yet, are being closed or have been shut down.
    closers: HashMap<u64, (MonotonicNs, PlaceId)>,
    /// Closed sockets of which it has to be found out whether that was at the exit; the place says where.
    unsettled: Vec<(PlaceId, Ended)>,
}

/// A socket as it was at its end.
#[derive(Debug)]
struct Ended {
    socket: Socket,
    at: MonotonicNs,
    fate: Fate,
    verdict: Verdict,
    pid: Option<u32>,
    opener: Option<u32>,
    comm: Option<Comm>,
}

impl Kept {
    pub(super) fn places(&self) -> impl Iterator<Item = PlaceId> {
        self.sockets.iter().flat_map(|ended| ended.socket.places())
    }

    fn keep(&mut self, ended: Ended) {
        if self.sockets.len() < MOST {
            self.sockets.push(ended);
        } else {
            self.not_kept += 1;
        }
    }
}

/// What makes sockets one finding. Processes of one name count as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct FindingKey {
    fate: Fate,
    rule: Option<usize>,
    verdict: Verdict,
    comm: Option<Comm>,
    passed_on: bool,
    netns: u32,
    side: Side,
    opening: Opening,
}

/// What adds up to a finding.
#[derive(Debug)]
struct Share<'a> {
    origin: Origin,
    comm: Option<Comm>,
    processes: BTreeSet<Option<u32>>,
    sum: Sum<'a>,
}

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
            socket.look(&load, at, at);
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
        self.gone.remember(facts.id, at, super::table::Went::Away);
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
            socket.look(&load, at, at);
        }
        socket.phase = match (exited.in_close_wait, socket.phase) {
            (true, _) => Phase::Open,
            (false, Phase::Closing(left) | Phase::Ghost(left)) => Phase::Ghost(left),
            (false, Phase::Open) => Phase::Ghost(Left { at, place: PlaceSlot::default(), by: LeftBy::Unseen }),
        };
        if !self.is_leaked(at.0.saturating_sub(socket.entered.latest)) {
            return;
        }
        let opener = opener(&socket, by);
        let told = socket.told.is_some_and(|told| told.by.pid == by.pid);
        let holding = if opener.is_some() { Holding::Others { told } } else { Holding::Owner };
        let observed = Observed { now: at, asleep_in_send: None, fold: &|place| place };
        let verdict = self.verdict(&socket, holding, Some(by.pid), &observed);
        if verdict.is_leak() {
            // Who held it is known, but not by which descriptor.
            socket.listed = 0;
            let (pid, comm) = (Some(by.pid), Some(by.comm));
            self.keep(Ended { socket, at, fate: Fate::Exited, verdict, pid, opener, comm });
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
        let (pid, opener) = self.whose(socket, holders, holding);
        let observed = Observed { now: at, asleep_in_send: None, fold: &|place| place };
        let verdict = self.verdict(socket, holding, pid, &observed);
        if !verdict.is_leak() {
            return;
        }
        let comm = socket.owner.map(|owner| owner.comm);
        let comm = pid.and_then(|pid| self.process(pid, comm).comm).or(comm);
        let mut socket = socket.clone();
        socket.listed = 0;
        let place = closer.map(|(_, place)| place);
        socket.phase = match socket.phase {
            Phase::Ghost(left) => Phase::Ghost(Left { place: place.into(), ..left }),
            Phase::Open => Phase::Closing(Left { at, place: place.into(), by: LeftBy::Program }),
            Phase::Closing(left) => Phase::Closing(Left { place: place.into(), ..left }),
        };
        let fate = if is_late { Fate::ClosedLate } else { Fate::CleanedUp };
        let ended = Ended { socket, at, fate, verdict, pid, opener, comm };
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
    fn is_leaked(&self, age_ns: u64) -> bool {
        let age = Duration::from_nanos(age_ns);
        let max_dwell = self.kept.as_ref().and_then(|kept| kept.max_dwell);
        age >= self.options.older_than || max_dwell.is_some_and(|most| age > most)
    }

    /// Everything that leaked: what was kept, and what stands now. `rule` says which rule lets a socket pass.
    #[must_use]
    pub fn outcome(&self, observed: &Observed<'_>, rule: &dyn Fn(&Suspect) -> Option<usize>) -> Outcome {
        let Some(kept) = &self.kept else { return Outcome::default() };
        let mut shares: HashMap<FindingKey, Share<'_>> = HashMap::new();
        for ended in &kept.sockets {
            let Ended { socket, at, fate, verdict, pid, opener, comm } = ended;
            let age = Age::of(socket.entered, *at);
            let sighting = Sighting { socket, holders: &[], age, verdict: *verdict, pid: *pid, opener: *opener };
            self.share(&mut shares, sighting, (*fate, *comm, *at), observed, rule);
        }
        for socket in self.sockets.iter() {
            let sighting = self
                .sight(socket, observed)
                .filter(|sighting| sighting.verdict.is_leak() && self.is_leaked(sighting.age.at_least_ns));
            if let Some(sighting) = sighting {
                let comm = socket.owner.map(|owner| owner.comm);
                let comm = sighting.pid.and_then(|pid| self.process(pid, comm).comm);
                self.share(&mut shares, sighting, (Fate::Open, comm, observed.now), observed, rule);
            }
        }
        let mut findings: Vec<_> = shares.into_iter().map(|(key, share)| self.finding(key, share, observed)).collect();
        findings.sort_by_key(|finding| {
            let Group { socket_ns, origin, verdict, .. } = finding.group;
            (finding.rule.is_some(), finding.fate, std::cmp::Reverse(socket_ns), origin, verdict)
        });
        Outcome { findings, not_kept: kept.not_kept }
    }

    fn share<'a>(
        &'a self,
        shares: &mut HashMap<FindingKey, Share<'a>>,
        sighting: Sighting<'a>,
        (fate, comm, at): (Fate, Option<Comm>, MonotonicNs),
        observed: &Observed<'_>,
        rule: &dyn Fn(&Suspect) -> Option<usize>,
    ) {
        let Sighting { socket, verdict, .. } = sighting;
        let suspect = Suspect { verdict, remote: socket.remote, places: socket.places().collect() };
        let origin = super::survey::folded(self.origin(&sighting, &Company::default()), observed);
        let Origin { pid, opener, netns, side, opening } = origin;
        let rule = rule(&suspect);
        let key = FindingKey { fate, rule, verdict, comm, passed_on: opener.is_some(), netns, side, opening };
        let share = shares.entry(key).or_insert_with(|| Share {
            origin,
            comm,
            processes: BTreeSet::new(),
            sum: Sum::default(),
        });
        share.processes.insert(pid);
        share.sum.add(&sighting, side, self, at);
    }

    fn finding(&self, key: FindingKey, share: Share<'_>, observed: &Observed<'_>) -> LeakFinding {
        let FindingKey { fate, rule, verdict, .. } = key;
        let Share { origin, comm, processes, sum } = share;
        let mut group = self.group((origin, verdict), sum, None, 0, observed);
        group.fate = Some(fate);
        group.process = origin.pid.map(|pid| Process { pid, comm });
        if fate != Fate::Open {
            // What was seen of them at their end; how long ago that was does not matter.
            group.asleep_in_send = None;
            group.backlogs.clear();
        }
        LeakFinding { fate, rule, processes: processes.len() as u64, group }
    }
}

/// Who opened a socket, if that is another process than the one whose exit closes it.
fn opener(socket: &Socket, by: Actor) -> Option<u32> {
    let owner = socket.owner.filter(|owner| owner.source != OwnerSource::Listen)?;
    (owner.pid != by.pid).then_some(owner.pid)
}

/// Sums of findings, for those who only count.
impl Outcome {
    /// Leaked sockets that no rule lets pass.
    #[must_use]
    pub fn leaked(&self) -> u64 {
        let leaked = self.findings.iter().filter(|finding| finding.rule.is_none());
        leaked.map(|finding| finding.group.sockets).sum::<u64>() + self.not_kept
    }

    /// Leaked sockets by the rule that lets them pass.
    #[must_use]
    pub fn allowed(&self) -> BTreeMap<usize, u64> {
        let mut allowed = BTreeMap::new();
        for finding in &self.findings {
            if let Some(rule) = finding.rule {
                *allowed.entry(rule).or_default() += finding.group.sockets;
            }
        }
        allowed
    }
}
