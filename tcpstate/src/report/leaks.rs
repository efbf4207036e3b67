//! A report of leaks: everything that its renderers need, names included.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tcpstate_core::{
    aggregate::{
        event_loop::{self, EventLoop},
        leaks::{ClosedLate, Group, Opening, Origin, Process, Side, Survey},
        stack_book::StackBook,
        verdict::Verdict,
    },
    model::{
        ProcessId,
        activity::Activity,
        leak::{LeakLosses, PlaceId},
        stack::{Sleepers, Stack},
    },
};

/// How the report stands to the hunt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outlook {
    /// The hunt goes on.
    #[default]
    GoesOn,
    /// It has ended: nothing comes later.
    Ended,
    /// There was none, only a snapshot in passing (`--once`): what comes about only over time was not seen.
    InPassing,
}

/// Places of one process at which threads are shown to sleep, those with the most threads.
const MOST_ASLEEP: usize = 32;
/// Processes that may accept whose threads are shown: many workers do the same.
const MOST_ACCEPTING: usize = 64;

/// How things stand, with stacks, sleeping threads and what is missing.
#[derive(Clone, Debug, PartialEq)]
pub struct LeakReport {
    /// The sockets.
    pub survey: Survey,
    /// The stacks of the places in it.
    pub stacks: BTreeMap<PlaceId, Arc<Stack>>,
    /// Where the threads of processes sleep, most threads first.
    pub sleepers: BTreeMap<ProcessId, Vec<Sleepers>>,
    /// What the threads of processes do while they do not sleep.
    pub activities: BTreeMap<ProcessId, Activity>,
    /// What could not be kept or taken, from the start on.
    pub losses: LeakLosses,
    /// Whether events have been lost since the last snapshot was begun.
    pub unrepaired: bool,
    /// What this kernel does not let be seen.
    pub unseen: Vec<&'static str>,
    /// How many groups are shown at most.
    pub top: usize,
    /// Whether more will be seen.
    pub outlook: Outlook,
    /// Threads asleep that are left out because their process has too many others at other places.
    pub other_sleepers: u64,
    /// Stacks for whose names there was no room.
    pub refused_stacks: u64,
}

/// What is known beside the sockets.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// See [`LeakReport::sleepers`].
    pub sleepers: BTreeMap<ProcessId, Vec<Sleepers>>,
    /// See [`LeakReport::activities`].
    pub activities: BTreeMap<ProcessId, Activity>,
    /// See [`LeakReport::losses`].
    pub losses: LeakLosses,
    /// See [`LeakReport::unrepaired`].
    pub unrepaired: bool,
    /// See [`LeakReport::unseen`].
    pub unseen: Vec<&'static str>,
    /// See [`LeakReport::top`].
    pub top: usize,
    /// See [`LeakReport::outlook`].
    pub outlook: Outlook,
}

impl LeakReport {
    /// Puts a report together.
    #[must_use]
    pub fn new(survey: Survey, stacks: &StackBook, surroundings: Surroundings) -> Self {
        let places = survey.groups.iter().chain(&survey.sending).flat_map(group_places);
        let places = places.chain(survey.closed_late.iter().flat_map(closed_places));
        let refused_stacks = stacks.refused();
        let stacks = places.filter_map(|place| Some((place, Arc::clone(stacks.get(place)?)))).collect();
        let Surroundings { mut sleepers, activities, losses, unrepaired, unseen, top, outlook } = surroundings;
        let other_sleepers = sleepers.values_mut().map(leave_out).sum();
        Self {
            survey,
            stacks,
            sleepers,
            activities,
            losses,
            unrepaired,
            unseen,
            top,
            outlook,
            other_sleepers,
            refused_stacks,
        }
    }

    /// Stacks that have no names because there are too many places, or because their names take too much room.
    #[must_use]
    pub fn nameless(&self) -> u64 {
        self.survey.surplus.places + self.refused_stacks
    }

    /// The groups that are shown.
    #[must_use]
    pub fn shown(&self) -> &[Group] {
        &self.survey.groups[..self.top.min(self.survey.groups.len())]
    }

    /// The groups that are not.
    #[must_use]
    pub fn left_out(&self) -> &[Group] {
        &self.survey.groups[self.top.min(self.survey.groups.len())..]
    }

    /// The half-closes that are shown.
    #[must_use]
    pub fn sending(&self) -> &[Group] {
        &self.survey.sending[..self.top.min(self.survey.sending.len())]
    }

    /// The late closes that are shown.
    #[must_use]
    pub fn closed_late(&self) -> &[ClosedLate] {
        &self.survey.closed_late[..self.top.min(self.survey.closed_late.len())]
    }

    /// The stack of a place.
    #[must_use]
    pub fn stack(&self, place: PlaceId) -> Option<&Stack> {
        self.stacks.get(&place).map(Arc::as_ref)
    }

    /// The event loop that receives for its program at a place, if it is one that is known.
    #[must_use]
    pub fn event_loop(&self, place: PlaceId) -> Option<&'static EventLoop> {
        event_loop::receiving(self.stack(place)?)
    }

    /// Where the threads of a group's process sleep; none where that does not explain its sockets.
    pub fn sleepers<'a>(&'a self, group: &Group) -> impl Iterator<Item = &'a Sleepers> + use<'a> {
        explaining(group).into_iter().filter_map(|process| process.find(&self.sleepers)).flatten()
    }

    /// Whether threads of a group's process sleep at places that are left out.
    #[must_use]
    pub fn leaves_out_sleepers(&self, group: &Group) -> bool {
        let is_full =
            |sleepers: &Vec<Sleepers>| sleepers.iter().filter(|one| !one.stack.is_unread()).count() >= MOST_ASLEEP;
        let mut of_group = explaining(group).into_iter().filter_map(|process| process.find(&self.sleepers));
        self.other_sleepers > 0 && of_group.any(is_full)
    }

    /// Whether the ghost descriptors of sockets that have left CLOSE_WAIT since a beginning are known. A descriptor whose socket had
    /// left before is not told from one that was never connected.
    #[must_use]
    pub fn knows_ghosts(&self) -> bool {
        self.outlook != Outlook::InPassing
    }

    /// What the threads of a group's process do, where that explains its sockets: of those that need no explanation only a thread that
    /// does little else than run.
    pub fn activities(&self, group: &Group) -> impl Iterator<Item = (u32, &Activity)> {
        let explained = group.verdict.wants_threads();
        let processes =
            if explained { explaining(group) } else { group.process.map(|process| process.id()).into_iter().collect() };
        let of = |process: ProcessId| Some((process.pid, process.find(&self.activities)?));
        let is_busy = |activity: &Activity| activity.busiest.is_some_and(|busiest| busiest.is_busy());
        let leaks = group.verdict.is_leak() && !group.verdict.is_guess();
        processes.into_iter().filter_map(of).filter(move |(_, activity)| leaks && (explained || is_busy(activity)))
    }

    /// Another process than theirs that listens where sockets came in, so that it may have accepted them; `None` where that is not
    /// known, or would explain nothing.
    #[must_use]
    pub fn listens(&self, origin: &Origin) -> Option<Process> {
        let (Opening::LeftOut, Side::Accepted(port)) = (origin.opening, origin.side) else { return None };
        let process = *self.survey.left_out.get(&(origin.netns, port))?;
        (origin.process != Some(process.id())).then_some(process)
    }

    /// Whether something that would belong here may be missing.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.losses.events == 0 && self.losses.map_full == 0
    }
}

/// Leaves out those at places beyond the bound, and says how many threads these are. Those at no known place are only a number.
fn leave_out(sleepers: &mut Vec<Sleepers>) -> u64 {
    let mut places = 0;
    let is_left_out = |sleepers: &mut Sleepers| {
        places += usize::from(!sleepers.stack.is_unread());
        places > MOST_ASLEEP && !sleepers.stack.is_unread()
    };
    sleepers.extract_if(.., is_left_out).map(|sleepers| sleepers.threads).sum()
}

/// The processes of which a report wants to show where their threads sleep, in the order of their groups.
#[must_use]
pub fn processes_asleep(survey: &Survey, top: usize) -> Vec<ProcessId> {
    let mut pids = Vec::new();
    for pid in survey.groups.iter().take(top).flat_map(explaining) {
        if !pids.contains(&pid) {
            pids.push(pid);
        }
    }
    pids
}

/// The processes whose threads explain a group: its own, or all that may accept.
fn explaining(group: &Group) -> Vec<ProcessId> {
    if !group.verdict.wants_threads() {
        return Vec::new();
    }
    let own = group.process.map(|process| process.id());
    if group.verdict != Verdict::NeverAccepted {
        return own.into_iter().collect();
    }
    let mut processes: Vec<_> = may_accept(group).map(|process| process.id()).collect();
    if processes.is_empty() {
        processes.extend(own);
    }
    processes.truncate(MOST_ACCEPTING);
    processes
}

/// Every process that holds a listener of a group, once each.
pub(super) fn may_accept(group: &Group) -> impl Iterator<Item = Process> {
    let mut seen = BTreeSet::new();
    let holders = group.backlogs.iter().flat_map(|backlog| &backlog.holders).copied();
    holders.filter(move |process| seen.insert(process.id()))
}

fn group_places(group: &Group) -> Vec<PlaceId> {
    let told = group.told.top.iter().filter_map(|(teller, _)| teller.place);
    let shut_down = group.shut_down.top.iter().map(|&(place, _)| place);
    opening_place(group.origin.opening).chain(told).chain(shut_down).collect()
}

fn closed_places(closed: &ClosedLate) -> Vec<PlaceId> {
    let tallied = [&closed.told, &closed.closed].into_iter().flat_map(|tallied| &tallied.top).map(|&(place, _)| place);
    opening_place(closed.origin.opening).chain(tallied).collect()
}

fn opening_place(opening: Opening) -> impl Iterator<Item = PlaceId> {
    opening.place().into_iter()
}

/// How a verdict is shown: guesses are marked.
#[must_use]
pub(super) fn verdict_name(verdict: Verdict) -> String {
    if verdict.is_guess() { format!("{} (a guess)", verdict.name()) } else { verdict.name().to_owned() }
}
