//! Stacks by place: unwound when they come, since their process may end; named when a report wants them.

use std::{
    collections::{BTreeSet, HashMap},
    io,
};

use tcpstate_common::leak::{CodeRanges, KernelStack, MAX_CODE, StackHeader};
use tokio::sync::oneshot;

use super::naming::{Namer, Unnamed};

use crate::{
    kernel::Tracer,
    model::leak::PlaceId,
    process::descriptors,
    report::stack::{Stack, StackBook},
    unwind::{self, Address, Place, RawStack, Registers, Unwinder},
};

/// Every stack that was taken.
#[derive(Debug)]
pub(crate) struct Stacks {
    unwinder: Unwinder,
    namer: Namer,
    /// Kernel stacks of places, where they are wanted: of the first time that each was met.
    kernel: HashMap<PlaceId, Vec<u64>>,
    unwound: HashMap<PlaceId, unwind::Stack>,
    book: StackBook,
    /// Code of processes, as the kernel side knows it.
    code: HashMap<u32, CodeRanges>,
    /// Places where more than one stack was seen.
    varying: BTreeSet<PlaceId>,
    /// Places whose stack the book does not have, or has as it was before it turned out to vary.
    unnamed: BTreeSet<PlaceId>,
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
            namer: Namer::start()?,
            kernel: HashMap::new(),
            unwound: HashMap::new(),
            book: StackBook::default(),
            code: HashMap::new(),
            varying: BTreeSet::new(),
            unnamed: BTreeSet::new(),
        })
    }

    /// Takes the stacks that wait, of each of which at most `limit` bytes were copied, and tells the kernel side where their
    /// processes have their code.
    pub(crate) fn fetch(&mut self, tracer: &mut Tracer, limit: usize) {
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
        let place = PlaceId(header.place);
        let kernel = addresses(kernel);
        if !kernel.is_empty() {
            self.kernel.entry(place).or_insert_with(|| kernel.to_vec());
        }
        let stack = self.unwinder.unwind(&RawStack {
            pid: header.tgid,
            registers: registers(header.registers),
            stack: bytes,
            truncated_copy: bytes.len() >= limit,
        });
        // A place is met again now and then, to see whether it is one stack. Where it is not, only what is common is known.
        match self.unwound.get_mut(&place) {
            Some(known) => {
                if !same_files_code(known, &stack) {
                    let common = known.frames.iter().zip(&stack.frames).take_while(|(known, met)| known == met).count();
                    known.frames.truncate(common.max(1));
                    self.varying.insert(place);
                    self.unnamed.insert(place);
                }
            }
            None => {
                self.unwound.insert(place, stack);
                self.unnamed.insert(place);
            }
        }
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

    /// Forgets the names of all places but these.
    pub(crate) fn forget_others(&mut self, places: &BTreeSet<PlaceId>) {
        self.book.retain(places);
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
    fn due(&mut self, places: &BTreeSet<PlaceId>) -> (Vec<PlaceId>, Vec<Unnamed>) {
        let mut due = (Vec::new(), Vec::new());
        for &place in places {
            let is_due = self.unnamed.remove(&place) || self.book.get(place).is_none();
            if let (true, Some(stack)) = (is_due, self.unwound.get(&place)) {
                due.0.push(place);
                due.1.push(Unnamed {
                    stack: stack.clone(),
                    kernel: self.kernel.get(&place).cloned().unwrap_or_default(),
                    varying: self.varying.contains(&place),
                    asleep: false,
                });
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
    pub(crate) fn of_thread(&mut self, raw: &RawStack<'_>, kernel: &KernelStack) -> Unnamed {
        Unnamed { stack: self.unwinder.unwind(raw), kernel: addresses(kernel).to_vec(), varying: false, asleep: true }
    }

    /// Names such stacks, and waits for that.
    pub(crate) fn name_threads(&mut self, stacks: Vec<Unnamed>) -> Vec<Stack> {
        if stacks.is_empty() { Vec::new() } else { self.namer.name(stacks) }
    }

    /// Has such stacks named while the caller does something else.
    pub(crate) fn begin_to_name_threads(&mut self, stacks: Vec<Unnamed>) -> Named {
        self.namer.begin(stacks)
    }

    /// What to tell the kernel side, which forgets processes in favour of others. Read anew when a process runs code elsewhere:
    /// after `execve()` or `dlopen()`.
    fn code_of(&mut self, header: &StackHeader) -> Option<CodeRanges> {
        let inside = |range: &[u64; 2]| header.registers.ip.wrapping_sub(range[0]) < range[1];
        if let Some(code) = self.code.get(&header.tgid).filter(|code| code.ranges.iter().any(inside)) {
            return Some(*code);
        }
        let code = descriptors::code(header.tgid)?;
        // Processes end without a word.
        if self.code.len() >= MAX_CODE as usize {
            self.code.clear();
        }
        self.code.insert(header.tgid, code);
        Some(code)
    }
}

/// Whether two stacks lead through the same code of files. Code that is made at run time moves while the same functions run.
fn same_files_code(one: &unwind::Stack, other: &unwind::Stack) -> bool {
    let of_files = |address: &&Address| address.place != Place::Jit;
    one.frames.iter().filter(of_files).eq(other.frames.iter().filter(of_files))
}

/// Registers as the kernel side writes them.
pub(crate) fn registers(raw: tcpstate_common::leak::Registers) -> Registers {
    Registers { ip: raw.ip, sp: raw.sp, fp: raw.bp }
}

/// The part of a kernel stack that was filled.
fn addresses(kernel: &KernelStack) -> &[u64] {
    let frames = usize::try_from(kernel.len).unwrap_or(0) / size_of::<u64>();
    kernel.frames.get(..frames).unwrap_or(&kernel.frames)
}
