//! Stacks by place: unwound when they come, since their process may end; named when a report wants them.

use std::collections::{BTreeSet, HashMap};

use tcpstate_common::leak::{CodeRanges, KernelStack, StackHeader};

use crate::{
    kernel::Tracer,
    model::leak::PlaceId,
    process::descriptors,
    report::stack::{Frame, Source, Stack, StackBook},
    symbolize::{self, KernelSymbols, Symbolizer, hint, is_interpreter},
    unwind::{self, Address, End, Place, RawStack, Registers, Unwinder},
};

/// Every stack that was taken.
#[derive(Debug, Default)]
pub(crate) struct Stacks {
    unwinder: Unwinder,
    symbolizer: Symbolizer,
    kernel_symbols: KernelSymbols,
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

impl Stacks {
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
        self.code_unless_known(header)
    }

    /// Names the stacks of these places.
    pub(crate) fn name(&mut self, places: &BTreeSet<PlaceId>) {
        for &place in places {
            let due = self.unnamed.remove(&place) || self.book.get(place).is_none();
            if let (true, Some(stack)) = (due, self.unwound.get(&place)) {
                let kernel = self.kernel.get(&place).map(Vec::as_slice).unwrap_or_default();
                let mut named = named(&mut self.symbolizer, stack, self.kernel_symbols.names(kernel));
                if self.varying.contains(&place) {
                    named.truncated = Some("callers further out vary".to_owned());
                }
                self.book.insert(place, named);
            }
        }
        self.book.retain(places);
    }

    /// The stacks that have names.
    pub(crate) fn book(&self) -> &StackBook {
        &self.book
    }

    /// Unwinds and names a stack that belongs to no place: that of a sleeping thread.
    pub(crate) fn of_thread(&mut self, raw: &RawStack<'_>, kernel: &KernelStack) -> Stack {
        let stack = self.unwinder.unwind(raw);
        named(&mut self.symbolizer, &stack, self.kernel_symbols.names(addresses(kernel)))
    }

    /// A process is told of once, and again when it runs code elsewhere: after `execve()` or `dlopen()`.
    fn code_unless_known(&mut self, header: &StackHeader) -> Option<CodeRanges> {
        let inside = |range: &[u64; 2]| header.registers.ip.wrapping_sub(range[0]) < range[1];
        if self.code.get(&header.tgid).is_some_and(|code| code.ranges.iter().any(inside)) {
            return None;
        }
        let code = descriptors::code(header.tgid)?;
        (self.code.insert(header.tgid, code) != Some(code)).then_some(code)
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

fn named(symbolizer: &mut Symbolizer, stack: &unwind::Stack, kernel: Vec<String>) -> Stack {
    let truncated = match &stack.end {
        End::Complete => None,
        End::Truncated(reason) => Some(reason.to_string()),
    };
    let mut frames: Vec<Frame> = symbolizer.symbolize(stack).iter().flat_map(frames).collect();
    if frames.iter().any(|frame| frame.module.is_none() && frame.function.is_some()) {
        for frame in &mut frames {
            frame.runtime = frame.module.as_deref().is_some_and(is_interpreter);
        }
    }
    Stack { frames, kernel, truncated, hint: hint(stack) }
}

/// Functions that were inlined are frames of their own.
fn frames(frame: &symbolize::Frame) -> Vec<Frame> {
    let address = if frame.module.is_some() { frame.offset } else { frame.ip };
    let nameless = Frame {
        function: None,
        source: None,
        module: frame.module.clone(),
        offset: address,
        inlined: false,
        runtime: false,
    };
    if frame.functions.is_empty() {
        return vec![nameless];
    }
    let named = frame.functions.iter().map(|function| Frame {
        function: Some(function.name.clone()),
        source: function.location.as_ref().map(|location| Source { file: location.file.clone(), line: location.line }),
        inlined: function.inlined,
        ..nameless.clone()
    });
    named.collect()
}
