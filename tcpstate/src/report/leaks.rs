//! A report of leaks: everything that its renderers need, names included.

use std::{collections::BTreeMap, sync::Arc};

use tcpstate_core::{
    aggregate::{
        leaks::{ClosedLate, Group, Opening, Survey},
        stack_book::StackBook,
        verdict::Verdict,
    },
    model::{
        leak::{LeakLosses, PlaceId},
        stack::{Sleepers, Stack},
    },
};

/// How things stand, with stacks, sleeping threads and what is missing.
#[derive(Clone, Debug, PartialEq)]
pub struct LeakReport {
    /// The sockets.
    pub survey: Survey,
    /// The stacks of the places in it.
    pub stacks: BTreeMap<PlaceId, Arc<Stack>>,
    /// Where the threads of processes sleep, most threads first.
    pub sleepers: BTreeMap<u32, Vec<Sleepers>>,
    /// What could not be kept or taken, from the start on.
    pub losses: LeakLosses,
    /// Whether events have been lost since the last snapshot was begun.
    pub unrepaired: bool,
    /// What this kernel does not let be seen.
    pub unseen: Vec<&'static str>,
    /// How many groups are shown at most.
    pub top: usize,
}

/// What is known beside the sockets.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// See [`LeakReport::sleepers`].
    pub sleepers: BTreeMap<u32, Vec<Sleepers>>,
    /// See [`LeakReport::losses`].
    pub losses: LeakLosses,
    /// See [`LeakReport::unrepaired`].
    pub unrepaired: bool,
    /// See [`LeakReport::unseen`].
    pub unseen: Vec<&'static str>,
    /// See [`LeakReport::top`].
    pub top: usize,
}

impl LeakReport {
    /// Puts a report together.
    #[must_use]
    pub fn new(survey: Survey, stacks: &StackBook, surroundings: Surroundings) -> Self {
        let places = survey.groups.iter().chain(&survey.sending).flat_map(group_places);
        let places = places.chain(survey.closed_late.iter().flat_map(closed_places));
        let stacks = places.filter_map(|place| Some((place, Arc::clone(stacks.get(place)?)))).collect();
        let Surroundings { sleepers, losses, unrepaired, unseen, top } = surroundings;
        Self { survey, stacks, sleepers, losses, unrepaired, unseen, top }
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

    /// Where the threads of a group's process sleep; none where that does not explain its sockets.
    pub fn sleepers<'a>(&'a self, group: &Group) -> impl Iterator<Item = &'a Sleepers> + use<'a> {
        explaining(group).into_iter().filter_map(|pid| self.sleepers.get(&pid)).flatten()
    }

    /// Whether something that would belong here may be missing.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.losses.events == 0 && self.losses.map_full == 0
    }
}

/// The processes of which a report wants to show where their threads sleep, in the order of their groups.
#[must_use]
pub fn processes_asleep(survey: &Survey, top: usize) -> Vec<u32> {
    let mut pids = Vec::new();
    for pid in survey.groups.iter().take(top).flat_map(explaining) {
        if !pids.contains(&pid) {
            pids.push(pid);
        }
    }
    pids
}

/// The processes whose threads explain a group: its own, or where it is not known in whose backlog the sockets are, all that
/// listen.
fn explaining(group: &Group) -> Vec<u32> {
    if !group.verdict.wants_threads() {
        return Vec::new();
    }
    match group.process {
        Some(process) => vec![process.pid],
        None => group.backlogs.iter().filter_map(|backlog| backlog.process).map(|process| process.pid).collect(),
    }
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
