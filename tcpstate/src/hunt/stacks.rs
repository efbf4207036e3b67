//! Stacks by place: unwound when they come, since their process may end; named when a report wants them.

use std::{
    collections::{BTreeSet, HashMap},
    io, mem,
    time::Instant,
};

use tcpstate_broker::process::descriptors;
use tcpstate_common::leak::StackHeader;
use tcpstate_core::{aggregate::stack_book::StackBook, model::leak::PlaceId};
use tokio::sync::oneshot;

use super::undecided::{Copied, Undecided};
use crate::{
    kernel::{StackRecord, Tracer},
    sandbox::{
        BusyProcess, Came, Interpretable, Named, NamedStack, Sandbox, SleeperStack, Sleeping, TakenCopy, TakenStack,
        Unwound, Wakers,
    },
};

/// Most places that are kept besides those that leak: as many as the kernel side keeps.
const MOST_PLACES: usize = 16_384;
/// Most bytes that they take together.
const MOST_BYTES: usize = 16 << 20;

/// The stacks that were taken, as far as somebody may still ask for them.
#[derive(Debug)]
pub(crate) struct Stacks {
    sandbox: Sandbox,
    known: HashMap<PlaceId, Known>,
    /// Memory of all of `known`, bytes.
    bytes: usize,
    book: StackBook,
    /// Those that nobody may look at yet.
    undecided: Undecided,
    /// Numbers the stacks that come.
    came: u64,
    /// Copies that there was no room for.
    dropped: u64,
    /// Places that the kernel side is to forget, too, so that it copies their stacks when it meets them again.
    forgotten: Vec<PlaceId>,
}

/// What is known of a place.
#[derive(Debug)]
struct Known {
    /// What is common to those that came.
    stack: TakenStack,
    /// The book does not have the stack, or has it as it was before it turned out to vary.
    unnamed: bool,
    /// When a stack came last.
    came: u64,
    /// One in the largest size was asked for at once.
    taken_again: bool,
}

impl Stacks {
    /// None yet, and a thread to unwind and name them.
    ///
    /// # Errors
    ///
    /// The system has no more threads.
    pub(crate) fn start() -> io::Result<Self> {
        Ok(Self {
            sandbox: Sandbox::start()?,
            known: HashMap::new(),
            bytes: 0,
            book: StackBook::default(),
            undecided: Undecided::default(),
            came: 0,
            dropped: 0,
            forgotten: Vec::new(),
        })
    }

    /// Has it found out how frames are found of programs that interpreters run in these processes, now and when one begins.
    pub(crate) fn look_for_interpreters(&mut self, of: Interpretable) {
        self.sandbox.look_for_interpreters(of);
    }

    /// Has the copies unwound that wait, and takes what came of others. Tells the kernel side where their processes have their code.
    pub(crate) fn fetch(&mut self, tracer: &mut Tracer) {
        if let Err(error) = tracer.forget_places(&mem::take(&mut self.forgotten)) {
            // Their stacks are missing until they come by themselves.
            tracing::debug!("{error:#}");
        }
        tracer.stacks(|record| {
            if self.may_take(&record.header) {
                self.hand_over(&record);
            } else {
                self.forgotten.extend(self.undecided.keep(Copied::of(&record)));
            }
        });
        for copied in self.undecided.take() {
            self.hand_over(&copied.record());
        }
        self.look(tracer);
    }

    /// Waits until something is known of an interpreter. Cancellation-safe.
    pub(crate) async fn recipe_came(&self) {
        self.sandbox.recipe_came().await;
    }

    /// Has programs looked into that have begun, and tells the kernel side what came of others.
    pub(crate) fn look(&mut self, tracer: &mut Tracer) {
        tracer.begun(|begun| self.sandbox.begun(begun));
        while let Some(came) = self.sandbox.take() {
            let recipe = match came {
                Came::Recipe(program, recipe) => Some((program, recipe)),
                Came::Stack(unwound) => {
                    let pid = unwound.stack.subject.pid;
                    if let Some(code) = unwound.code
                        && let Err(error) = tracer.enter_code(pid, &code)
                    {
                        // More stacks than needed are copied of it, no more.
                        tracing::debug!("{error:#}");
                    }
                    let recipe = unwound.recipe;
                    let (place, is_cut) = (unwound.place, unwound.is_cut);
                    self.keep(*unwound);
                    if is_cut {
                        self.take_again(tracer, place);
                    }
                    recipe
                }
            };
            if let Some((program, recipe)) = recipe
                && let Err(error) = tracer.enter_recipe(program, &recipe)
            {
                // Functions of Python have no names, no more.
                tracing::debug!("{error:#}");
            }
        }
    }

    /// A record that the filters let through names this place, so that the next [`Self::fetch`] takes its stack, too, if that was taken
    /// before they could tell.
    pub(crate) fn wanted(&mut self, place: PlaceId) {
        if !self.known.contains_key(&place) {
            self.undecided.name(place);
        }
    }

    /// Whether the filters are known to want what the stack was taken for, or have let through what names its place.
    fn may_take(&self, header: &StackHeader) -> bool {
        let place = PlaceId(header.place);
        header.undecided == 0 || self.known.contains_key(&place) || self.undecided.is_named(place)
    }

    fn hand_over(&mut self, record: &StackRecord<'_>) {
        let place = PlaceId(record.header.place);
        let left = self.sandbox.unwind(place, TakenCopy::of_record(record));
        self.dropped += left.len() as u64;
        self.forgotten.extend(left);
    }

    /// Has the stack of a place copied in the largest size from now on, the first time at once: it goes on where its copy ended.
    fn take_again(&mut self, tracer: &mut Tracer, place: PlaceId) {
        if let Err(error) = tracer.enter_deep(place) {
            // It stays as it is.
            tracing::debug!("{error:#}");
        } else if let Some(known) = self.known.get_mut(&place)
            && !known.taken_again
        {
            known.taken_again = true;
            self.forgotten.push(place);
        }
    }

    /// Keeps what came of a copy.
    fn keep(&mut self, Unwound { place, stack, .. }: Unwound) {
        self.came += 1;
        if let Some(known) = self.known.get_mut(&place) {
            self.bytes -= known.stack.size();
            known.meet(&stack, self.came);
            self.bytes += known.stack.size();
        } else {
            self.bytes += stack.size();
            self.known.insert(place, Known { stack, unnamed: true, came: self.came, taken_again: false });
        }
    }

    /// Copies that there was no room for, because others take long to unwind.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether no copy is on its way.
    pub(crate) fn is_idle(&self) -> bool {
        self.sandbox.is_idle()
    }

    /// Forgets the names of all places but these, and the stacks of some when there are too many.
    pub(crate) fn forget_others(&mut self, places: &BTreeSet<PlaceId>) {
        self.book.retain(places);
        if self.known.len() <= MOST_PLACES && self.bytes <= MOST_BYTES {
            return;
        }
        // What has ended opens nothing any more. What it opened may live on elsewhere, so even of that nothing goes for no need.
        let mut lives = HashMap::new();
        let mut others: Vec<_> = self.known.iter().filter(|(place, _)| !places.contains(place)).collect();
        others.sort_by_key(|(_, known)| {
            let pid = known.stack.subject.pid;
            (*lives.entry(pid).or_insert_with(|| descriptors::lives(pid)), known.came)
        });
        let others: Vec<PlaceId> = others.into_iter().map(|(place, _)| *place).collect();
        for place in others {
            if self.known.len() <= MOST_PLACES / 2 && self.bytes <= MOST_BYTES / 2 {
                break;
            }
            if let Some(known) = self.known.remove(&place) {
                self.bytes -= known.stack.size();
            }
            self.forgotten.push(place);
        }
    }

    /// Has the stacks of these places named, as far as time allows; [`Self::insert`] takes them. `None`: all have names.
    pub(crate) fn begin_to_name(
        &mut self,
        places: &BTreeSet<PlaceId>,
        deadline: Instant,
    ) -> Option<(Vec<PlaceId>, Named)> {
        let (places, stacks) = self.due(places);
        (!places.is_empty()).then(|| (places, self.sandbox.name(stacks, deadline)))
    }

    /// Says that somebody waits for the end: what takes long is given up.
    pub(crate) fn hurry(&self) {
        self.sandbox.hurry();
    }

    /// The thread that names stacks did not live to answer.
    pub(crate) fn failed(&mut self) -> ! {
        self.sandbox.failed()
    }

    /// Those of the places whose names are missing or out of date, with their stacks.
    fn due(&mut self, places: &BTreeSet<PlaceId>) -> (Vec<PlaceId>, Vec<TakenStack>) {
        let mut due = (Vec::new(), Vec::new());
        for &place in places {
            let named = self.book.get(place).is_some();
            let Some(known) = self.known.get_mut(&place) else { continue };
            if mem::take(&mut known.unnamed) || !named {
                due.0.push(place);
                due.1.push(known.stack.clone());
            }
        }
        due
    }

    /// Keeps the stacks of places. Those that there was no time for are due again. Returns whether there was time for all.
    pub(crate) fn insert(&mut self, places: Vec<PlaceId>, named: Vec<NamedStack>) -> bool {
        let mut is_whole = true;
        for (place, named) in places.into_iter().zip(named) {
            if !named.is_whole {
                is_whole = false;
                if let Some(known) = self.known.get_mut(&place) {
                    known.unnamed = true;
                }
            }
            self.book.insert(place, named.stack);
        }
        is_whole
    }

    /// The stacks that have names.
    pub(crate) fn book(&self) -> &StackBook {
        &self.book
    }

    /// Has it found out what wakes processes, as far as time allows.
    pub(crate) fn wakers(&mut self, processes: Vec<BusyProcess>, deadline: Instant) -> oneshot::Receiver<Wakers> {
        self.sandbox.wakers(processes, deadline)
    }

    /// Has it found out where threads sleep, as far as time allows.
    pub(crate) fn sleepers(&mut self, threads: Vec<SleeperStack>, deadline: Instant) -> Sleeping {
        self.sandbox.sleepers(threads, deadline)
    }
}

impl Known {
    /// A place is met again now and then, to see whether it is one stack. Where it is not, only what is common is known.
    fn meet(&mut self, stack: &TakenStack, came: u64) {
        self.came = came;
        if self.stack.meet(stack) {
            self.unnamed = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use tcpstate_wire::{Backing, CodeAddress, StackEnd, Subject, UnwoundStack};

    use super::*;

    fn meet(stacks: &mut Stacks, place: u64, pid: u32) {
        let first = CodeAddress { ip: 7, is_return: false, backing: Backing::Unknown };
        let stack = UnwoundStack { frames: vec![first], end: StackEnd::Complete };
        stacks.keep(Unwound {
            place: PlaceId(place),
            stack: TakenStack::of(Subject::numbered(pid), stack),
            is_cut: false,
            code: None,
            recipe: None,
        });
    }

    #[test]
    fn places_of_what_has_ended_go_first_then_those_not_met_for_longest() {
        let mut stacks = Stacks::start().expect("a thread");
        let (own, ended) = (std::process::id(), u32::MAX);
        let most = MOST_PLACES as u64;
        (0..most).for_each(|place| meet(&mut stacks, place, if place % 4 == 0 { own } else { ended }));
        stacks.forget_others(&BTreeSet::new());
        assert_eq!(stacks.known.len(), MOST_PLACES, "nothing is forgotten for no need");

        // A leak of a process that has ended, and one of before that has just come again.
        meet(&mut stacks, most + 1, ended);
        meet(&mut stacks, 0, own);
        stacks.forget_others(&BTreeSet::from([PlaceId(1), PlaceId(2)]));
        assert_eq!(stacks.known.len(), MOST_PLACES / 2);
        assert_eq!(stacks.forgotten.len(), MOST_PLACES / 2 + 1, "the kernel side is told");
        let kept = |place| stacks.known.contains_key(&PlaceId(place));
        assert!(kept(1) && kept(2) && !kept(3) && !stacks.forgotten.contains(&PlaceId(1)));
        assert!((0..most).step_by(4).all(kept), "what lives is kept while there is enough that does not");

        for place in 0..most {
            meet(&mut stacks, 2 * most + place, own);
        }
        stacks.forget_others(&BTreeSet::from([PlaceId(1)]));
        assert!(stacks.known.contains_key(&PlaceId(1)) && !stacks.known.contains_key(&PlaceId(2)));
        assert!(stacks.known.contains_key(&PlaceId(3 * most - 1)) && !stacks.known.contains_key(&PlaceId(0)));
    }
}
