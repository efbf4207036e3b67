//! Stacks as the tracer has them.

use tcpstate_common::{
    config::{MAX_STACK, STACK_PIECE},
    interpreted::{COMPLETE, InterpretedStack, NO_RECIPE, Recipe, TOO_DEEP},
    leak::{CodeRanges, KernelStack, StackHeader},
};
use tcpstate_core::model::leak::PlaceId;
use tcpstate_wire::{
    Backing, CodeAddress, FrameWords, InterpretedFrame, ListEnd, StackCopy, StackEnd, Subject, Truncation, UnwoundStack,
};

use crate::kernel::StackRecord;

/// A copy of a stack, on its way to be unwound.
#[derive(Clone, Debug)]
pub(crate) struct TakenCopy {
    /// Its process (thread-group id in the initial pid namespace).
    pub(crate) subject: Subject,
    /// Its real user.
    pub(crate) user: u32,
    /// Whether more would not be copied.
    pub(crate) is_largest: bool,
    /// Tells its program from others ([`program()`](tcpstate_common::interpreted::program)).
    pub(crate) program: u64,
    /// Registers and bytes.
    pub(crate) copy: StackCopy,
    /// Frames in an interpreter, innermost first, and how they end.
    pub(crate) interpreted: (Vec<FrameWords>, ListEnd),
    /// Addresses in the kernel, innermost first; none where they are not wanted.
    pub(crate) kernel: Vec<u64>,
}

impl TakenCopy {
    /// That of a record of the kernel side.
    pub(crate) fn of_record(record: &StackRecord<'_>) -> Self {
        let StackRecord { header, interpreted, kernel, bytes } = record;
        let before = header.registers.sp - StackHeader::start(&header.registers);
        let from_sp = bytes.get(before as usize..).unwrap_or_default();
        Self {
            subject: Subject {
                start_stack: Some(header.start_stack).filter(|&start| start != 0),
                ..Subject::numbered(header.tgid)
            },
            user: header.uid,
            is_largest: header.limit >= MAX_STACK,
            program: header.program,
            interpreted: list(interpreted),
            copy: StackCopy {
                registers: header.registers,
                bytes: from_sp.to_vec(),
                missing: missing(header),
                may_go_on: bytes.len() >= header.limit as usize,
            },
            kernel: addresses(kernel).to_vec(),
        }
    }
}

/// The frames that the kernel side took of a list.
fn list(InterpretedStack { len, end, frames }: &InterpretedStack) -> (Vec<FrameWords>, ListEnd) {
    let end = match *end {
        NO_RECIPE | COMPLETE => ListEnd::Complete,
        TOO_DEEP => ListEnd::TooDeep,
        _ => ListEnd::NotInMemory,
    };
    (frames.iter().take(*len as usize).copied().collect(), end)
}

/// Addresses of a stack that were not in memory when it was copied.
fn missing(header: &StackHeader) -> Vec<std::ops::Range<u64>> {
    let start = StackHeader::start(&header.registers);
    let pieces = (0..u64::from(u64::BITS)).filter(|piece| header.missing >> piece & 1 != 0);
    let piece = u64::from(STACK_PIECE);
    // Whoever made the system call chose the stack pointer.
    let begin = |index: u64| start.saturating_add(index * piece);
    pieces.map(|index| begin(index)..begin(index + 1)).collect()
}

/// The part of a kernel stack that was filled.
pub(crate) fn addresses(kernel: &KernelStack) -> &[u64] {
    let frames = usize::try_from(kernel.len).unwrap_or(0) / size_of::<u64>();
    kernel.frames.get(..frames).unwrap_or(&kernel.frames)
}

/// A stack that was unwound: all that naming it takes, also when the process has ended since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TakenStack {
    /// Its process (thread-group id in the initial pid namespace), as far as it was known when the stack was unwound.
    pub(crate) subject: Subject,
    /// Its addresses.
    pub(crate) stack: UnwoundStack,
    /// Whether other stacks were met that go on otherwise: `stack` is what is common, see [`Self::meet`].
    pub(crate) varying: bool,
    /// Whether a copy ended earlier that came first: who called its functions further out need not be who it is here.
    pub(crate) was_cut: bool,
    /// Frames of the programs that an interpreter runs, which belong between these.
    pub(crate) interpreted: Interpreted,
    /// Addresses in the kernel, innermost first; none where they are not wanted.
    pub(crate) kernel: Vec<u64>,
    /// Whether the thread sleeps. Else a hook met it, and the tracing itself is on its kernel stack.
    pub(crate) asleep: bool,
}

/// Frames of programs that an interpreter runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Interpreted {
    /// Innermost first.
    pub(crate) frames: Vec<InterpretedFrame>,
    /// Whether these are all.
    pub(crate) end: ListEnd,
}

impl TakenStack {
    /// One that was met by a hook, and nothing but this is known of it.
    #[cfg(test)]
    pub(crate) fn of(subject: Subject, stack: UnwoundStack) -> Self {
        let (interpreted, kernel) = (Interpreted::default(), Vec::new());
        Self { subject, stack, varying: false, was_cut: false, interpreted, kernel, asleep: false }
    }

    /// Takes in another stack that was met at the same place. Where the two differ, only what is common is kept. Returns whether this one
    /// is another now.
    ///
    /// Code that is made at run time moves while the same functions run, so that alone is no difference.
    pub(crate) fn meet(&mut self, other: &Self) -> bool {
        if self.kernel.is_empty() {
            self.kernel.clone_from(&other.kernel);
        }
        // Nobody could name them at first.
        let learns = self.interpreted.frames.is_empty() && !other.interpreted.frames.is_empty();
        if learns {
            self.interpreted.clone_from(&other.interpreted);
        }
        if fixed(&self.stack).eq(fixed(&other.stack)) || is_cut(&other.stack) && goes_on(&self.stack, &other.stack) {
            return learns;
        }
        if is_cut(&self.stack) && !self.varying && goes_on(&other.stack, &self.stack) {
            self.stack.clone_from(&other.stack);
            self.was_cut = true;
            return true;
        }
        let frames = &mut self.stack.frames;
        let common = frames.iter().zip(&other.stack.frames).take_while(|(own, others)| own == others).count();
        frames.truncate(common.max(1));
        self.varying = true;
        true
    }

    /// Memory that it takes, bytes.
    pub(crate) fn size(&self) -> usize {
        let interpreted: usize = self.interpreted.frames.iter().map(size).sum();
        let frames = self.stack.frames.capacity() * size_of::<CodeAddress>();
        size_of::<Self>() + frames + interpreted + self.kernel.capacity() * size_of::<u64>()
    }
}

/// Memory that a frame takes, bytes.
fn size(frame: &InterpretedFrame) -> usize {
    let name = frame.function.as_ref().map_or(0, |function| function.name.len());
    let source = frame.function.as_ref().and_then(|function| function.source.as_ref());
    size_of::<InterpretedFrame>() + name + source.map_or(0, |source| source.file.as_os_str().len())
}

/// Whether it goes on where its copy ended.
pub(super) fn is_cut(stack: &UnwoundStack) -> bool {
    matches!(stack.end, StackEnd::Truncated(Truncation::CopyEnded(_)))
}

/// Whether a stack is another one that goes on, as far as their code does not move.
fn goes_on(stack: &UnwoundStack, other: &UnwoundStack) -> bool {
    let mut longer = fixed(stack);
    fixed(other).all(|frame| longer.next() == Some(frame))
}

/// Its addresses but those of code that may move.
fn fixed(stack: &UnwoundStack) -> impl Iterator<Item = &CodeAddress> {
    stack.frames.iter().filter(|address| address.backing != Backing::Jit)
}

/// What comes back from the thread.
#[derive(Debug)]
pub(crate) enum Came {
    /// A stack.
    Stack(Box<Unwound>),
    /// How frames are found of a program that an interpreter runs.
    Recipe(u64, Recipe),
}

/// What came of a copy that was taken at a place.
#[derive(Debug)]
pub(crate) struct Unwound {
    /// The place.
    pub(crate) place: PlaceId,
    /// The stack.
    pub(crate) stack: TakenStack,
    /// It goes on where its copy ended, and more can be copied.
    pub(crate) is_cut: bool,
    /// Where the process has its code, for the kernel side, where that is known.
    pub(crate) code: Option<CodeRanges>,
    /// How frames are found of the program, for the kernel side, if an interpreter was found in it now.
    pub(crate) recipe: Option<(u64, Recipe)>,
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable as _;
    use tcpstate_wire::ModuleId;

    use super::*;

    #[test]
    fn a_record_begins_before_the_stack_pointer() {
        let mut header = StackHeader::zeroed();
        (header.tgid, header.registers.sp, header.missing) = (7, 3 * u64::from(STACK_PIECE) + 24, 0b101);
        let mut kernel = KernelStack::zeroed();
        (kernel.len, kernel.frames[0], kernel.frames[1]) = (8, 71, 72);
        let bytes: Vec<u8> = (0..32).collect();
        let interpreted = InterpretedStack::zeroed();
        let of = |bytes, limit| {
            let header = StackHeader { limit, ..header };
            TakenCopy::of_record(&StackRecord { header, interpreted, kernel, bytes })
        };
        let taken = of(&bytes, 32);
        assert_eq!((taken.subject, &*taken.copy.bytes), (Subject::numbered(7), &bytes[24..]));
        assert!(taken.copy.may_go_on && taken.kernel == [71]);
        let piece = u64::from(STACK_PIECE);
        assert_eq!(taken.copy.missing, [3 * piece..4 * piece, 5 * piece..6 * piece]);
        assert!(!of(&bytes, 33).copy.may_go_on);
        assert!(of(&bytes[..24], 33).copy.bytes.is_empty());
    }

    #[test]
    fn whatever_the_kernel_says_of_its_stack() {
        let mut kernel = KernelStack::zeroed();
        for (len, frames) in [(0, 0), (-14, 0), (i64::MIN, 0), (16, 2), (i64::MAX, kernel.frames.len())] {
            kernel.len = len;
            assert_eq!(addresses(&kernel).len(), frames, "{len}");
        }
    }

    #[test]
    fn at_the_end_of_all_addresses() {
        let mut header = StackHeader::zeroed();
        (header.registers.sp, header.missing) = (u64::MAX, u64::MAX);
        let (interpreted, kernel) = (InterpretedStack::zeroed(), KernelStack::zeroed());
        let taken = TakenCopy::of_record(&StackRecord { header, interpreted, kernel, bytes: &[] });
        assert!(taken.copy.missing.iter().all(|missing| missing.start <= missing.end));
    }

    fn stack(frames: &[(u64, Backing)]) -> TakenStack {
        let address = |&(ip, backing): &(u64, Backing)| CodeAddress { ip, is_return: true, backing };
        let stack = UnwoundStack { frames: frames.iter().map(address).collect(), end: StackEnd::Complete };
        TakenStack::of(Subject::numbered(7), stack)
    }

    fn file(offset: u64) -> (u64, Backing) {
        (0x1000 + offset, Backing::Unreadable { module: ModuleId(1), offset })
    }

    #[test]
    fn only_what_is_common_is_kept() {
        let mut known = stack(&[file(1), file(2), file(3)]);
        assert!(!known.meet(&stack(&[file(1), file(2), file(3)])) && !known.varying);
        assert!(known.meet(&stack(&[file(1), file(2), file(4), file(5)])) && known.varying);
        assert_eq!(known.stack.frames, stack(&[file(1), file(2)]).stack.frames);
        assert!(known.meet(&stack(&[file(9)])));
        assert_eq!(known.stack.frames, stack(&[file(1)]).stack.frames, "never empty");
    }

    #[test]
    fn a_copy_that_ends_early_is_no_other_stack() {
        let cut = |frames: &[_]| {
            let mut stack = stack(frames);
            stack.stack.end = StackEnd::Truncated(Truncation::CopyEnded(16_384));
            stack
        };
        let whole = stack(&[file(1), file(2), file(3)]);
        let mut known = cut(&[file(1), file(2)]);
        assert!(known.meet(&whole) && !known.varying);
        assert_eq!(known.stack, whole.stack);
        assert!(!known.meet(&cut(&[file(1)])) && known.stack == whole.stack);
        assert!(known.meet(&cut(&[file(1), file(4)])) && known.varying);
    }

    #[test]
    fn frames_of_an_interpreter_are_learned_later() {
        let mut known = stack(&[file(1)]);
        let mut named = known.clone();
        named.interpreted.frames = vec![InterpretedFrame { code: 16, at: 0, function: None, is_entry: true }];
        assert!(known.meet(&named) && !known.varying, "its names are out of date");
        assert_eq!(known.interpreted, named.interpreted);
        assert!(!known.meet(&stack(&[file(1)])) && known.interpreted == named.interpreted);
    }

    #[test]
    fn code_made_at_run_time_may_move() {
        let mut known = stack(&[file(1), (0x7000, Backing::Jit), file(2)]);
        assert!(!known.meet(&stack(&[file(1), (0x8000, Backing::Jit), (0x9000, Backing::Jit), file(2)])));
        assert_eq!(known.stack.frames[1].ip, 0x7000, "the first one stays");
    }

    #[test]
    fn the_kernel_s_part_is_that_of_the_first_that_has_one() {
        let with = |kernel: &[u64]| TakenStack { kernel: kernel.to_vec(), ..stack(&[file(1)]) };
        let mut known = with(&[]);
        for kernel in [&[7][..], &[8]] {
            assert!(!known.meet(&with(kernel)));
        }
        assert_eq!(known.kernel, [7]);
    }
}
