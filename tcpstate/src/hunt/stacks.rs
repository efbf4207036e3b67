//! Stacks by place: unwound when they come, since their process may end; named when a report wants them.

use std::{
    collections::{BTreeSet, HashMap},
    io, mem,
};

use tcpstate_common::leak::{CodeRanges, KernelStack, MAX_CODE, StackHeader};
use tcpstate_core::{
    aggregate::stack_book::StackBook,
    model::{leak::PlaceId, stack::Stack},
};
use tcpstate_stacks::{
    StackCopy, Unwinder, UnwoundStack,
    process::{code, descriptors},
};
use tokio::sync::oneshot;

use super::naming::NamingThread;
use crate::kernel::Tracer;

/// Most places that are kept besides those that leak: as many as the kernel side keeps.
const MOST_PLACES: usize = 16_384;

/// The stacks that were taken, as far as somebody may still ask for them.
#[derive(Debug)]
pub(crate) struct Stacks {
    unwinder: Unwinder,
    namer: NamingThread,
    known: HashMap<PlaceId, Known>,
    book: StackBook,
    /// Code of processes, as the kernel side knows it.
    code: HashMap<u32, CodeRanges>,
    /// Numbers the stacks that come.
    came: u64,
    /// Places that the kernel side is to forget, too, so that it copies their stacks when it meets them again.
    forgotten: Vec<PlaceId>,
}

/// What is known of a place.
#[derive(Debug)]
struct Known {
    /// What is common to those that came.
    stack: UnwoundStack,
    /// The book does not have the stack, or has it as it was before it turned out to vary.
    unnamed: bool,
    /// When a stack came last.
    came: u64,
}

/// Named stacks that are on their way.
pub(crate) type Named = oneshot::Receiver<Vec<Stack>>;

impl Stacks {
    /// None yet, and a thread to name them.
    ///
    /// # Errors
    ///
    /// The system has no more threads.
    pub(crate) fn start() -> io::Result<Self> {
        Ok(Self {
            unwinder: Unwinder::default(),
            namer: NamingThread::start()?,
            known: HashMap::new(),
            book: StackBook::default(),
            code: HashMap::new(),
            came: 0,
            forgotten: Vec::new(),
        })
    }

    /// Takes the stacks that wait, of each of which at most `limit` bytes were copied, and tells the kernel side where their
    /// processes have their code.
    pub(crate) fn fetch(&mut self, tracer: &mut Tracer, limit: usize) {
        if let Err(error) = tracer.forget_places(&mem::take(&mut self.forgotten)) {
            // Their stacks are missing until they come by themselves.
            tracing::debug!("{error:#}");
        }
        let mut code = Vec::new();
        tracer.stacks(|header, kernel, bytes| {
            let ranges = self.take(header, kernel, bytes, limit);
            code.extend(ranges.map(|ranges| (header.tgid, ranges)));
        });
        for (pid, ranges) in code {
            if let Err(error) = tracer.enter_code(pid, &ranges) {
                // More stacks than needed are copied of it, no more.
                tracing::debug!("{error:#}");
            }
        }
    }

    /// Takes a stack from the kernel, of which at most `limit` bytes were copied. Returns where its process has its code, if
    /// the kernel side has to be told.
    fn take(&mut self, header: &StackHeader, kernel: &KernelStack, bytes: &[u8], limit: usize) -> Option<CodeRanges> {
        let stack = self.unwinder.unwind(&StackCopy::of_record(header, kernel, bytes, limit));
        self.came += 1;
        let came = self.came;
        let met = self.known.entry(PlaceId(header.place)).and_modify(|known| known.meet(&stack, came));
        met.or_insert_with(|| Known { stack, unnamed: true, came });
        self.code_of(header)
    }

    /// Names the stacks of these places, and forgets the names of others.
    pub(crate) fn name(&mut self, places: &BTreeSet<PlaceId>) {
        let (due, stacks) = self.due(places);
        if !due.is_empty() {
            let named = self.namer.name(stacks);
            self.insert(due, named);
        }
        self.forget_others(places);
    }

    /// Forgets the names of all places but these, and the stacks of some when there are too many.
    pub(crate) fn forget_others(&mut self, places: &BTreeSet<PlaceId>) {
        self.book.retain(places);
        if self.known.len() <= MOST_PLACES {
            return;
        }
        // What has ended opens nothing any more. What it opened may live on elsewhere, so even of that nothing goes for no need.
        let mut lives = HashMap::new();
        let mut others: Vec<_> = self.known.iter().filter(|(place, _)| !places.contains(place)).collect();
        others.sort_by_key(|(_, known)| {
            let pid = known.stack.pid();
            (*lives.entry(pid).or_insert_with(|| descriptors::lives(pid)), known.came)
        });
        let excess = self.known.len().saturating_sub(MOST_PLACES / 2);
        let dropped: Vec<PlaceId> = others.into_iter().take(excess).map(|(place, _)| *place).collect();
        for place in &dropped {
            self.known.remove(place);
        }
        self.forgotten.extend(dropped);
    }

    /// Has the stacks of these places named while the caller does something else; [`Self::insert`] takes them. `None`: all have
    /// names.
    pub(crate) fn begin_to_name(&mut self, places: &BTreeSet<PlaceId>) -> Option<(Vec<PlaceId>, Named)> {
        let (places, stacks) = self.due(places);
        (!places.is_empty()).then(|| (places, self.namer.begin(stacks)))
    }

    /// The thread that names stacks did not live to answer.
    pub(crate) fn failed(&mut self) -> ! {
        self.namer.failed()
    }

    /// Those of the places whose names are missing or out of date, with their stacks.
    fn due(&mut self, places: &BTreeSet<PlaceId>) -> (Vec<PlaceId>, Vec<UnwoundStack>) {
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

    /// Keeps the stacks of places.
    pub(crate) fn insert(&mut self, places: Vec<PlaceId>, named: Vec<Stack>) {
        for (place, stack) in places.into_iter().zip(named) {
            self.book.insert(place, stack);
        }
    }

    /// The stacks that have names.
    pub(crate) fn book(&self) -> &StackBook {
        &self.book
    }

    /// Unwinds a stack that belongs to no place: that of a sleeping thread.
    pub(crate) fn unwind(&mut self, copy: &StackCopy<'_>) -> UnwoundStack {
        self.unwinder.unwind(copy)
    }

    /// Has such stacks named while the caller does something else.
    pub(crate) fn begin_to_name_threads(&mut self, stacks: Vec<UnwoundStack>) -> Named {
        self.namer.begin(stacks)
    }

    /// What to tell the kernel side, which forgets processes in favour of others. Read anew when a process runs code elsewhere:
    /// after `execve()` or `dlopen()`.
    fn code_of(&mut self, header: &StackHeader) -> Option<CodeRanges> {
        let inside = |range: &[u64; 2]| header.registers.ip.wrapping_sub(range[0]) < range[1];
        if let Some(code) = self.code.get(&header.tgid).filter(|code| code.ranges.iter().any(inside)) {
            return Some(*code);
        }
        let code = code::of(header.tgid)?;
        // Processes end without a word.
        if self.code.len() >= MAX_CODE as usize {
            self.code.clear();
        }
        self.code.insert(header.tgid, code);
        Some(code)
    }
}

impl Known {
    /// A place is met again now and then, to see whether it is one stack. Where it is not, only what is common is known.
    fn meet(&mut self, stack: &UnwoundStack, came: u64) {
        self.came = came;
        if self.stack.meet(stack) {
            self.unnamed = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable as _;

    use super::*;

    fn meet(stacks: &mut Stacks, place: u64, tgid: u32) {
        let header = StackHeader { place, tgid, ..StackHeader::zeroed() };
        let _ = stacks.take(&header, &KernelStack::zeroed(), &[], 0);
    }

    #[test]
    fn a_kernel_stack_that_comes_later_is_kept() {
        let mut stacks = Stacks::start().expect("a thread");
        meet(&mut stacks, 1, u32::MAX);
        let mut kernel = KernelStack::zeroed();
        for address in [7, 8] {
            (kernel.len, kernel.frames[0]) = (8, address);
            let header = StackHeader { place: 1, tgid: u32::MAX, ..StackHeader::zeroed() };
            let _ = stacks.take(&header, &kernel, &[], 0);
        }
        assert_eq!(stacks.known[&PlaceId(1)].stack.kernel, [7]);
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
