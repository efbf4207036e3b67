//! Frames of programs that are interpreted, where user space has told how they are found.
//!
//! They tell places apart where the native stack does not: a function of Python that calls another one has no frame there.

use aya_ebpf::{
    helpers::generated::bpf_probe_read_user,
    macros::map,
    maps::{Array, LruHashMap, PerCpuArray, RingBuf},
};
use tcpstate_common::interpreted::{
    Begun, COMPLETE, FRAME_BYTES, FRAME_WORDS, INTERPRETED_FRAMES, InterpretedStack, MAX_RECIPES, NO_RECIPE,
    NOT_IN_MEMORY, Recipe, TOO_DEEP,
};

use crate::{kernel::current, stacks::place::mix};

/// By program. User space enters one when it has found an interpreter in it. Programs end without a word; what makes room is the one that
/// has not been asked for longest.
#[map]
static RECIPES: LruHashMap<u64, Recipe> = LruHashMap::with_max_entries(MAX_RECIPES, 0);

/// Not 0: there are recipes. Costs less to ask where there are none.
#[map]
static HAS_RECIPES: Array<u32> = Array::with_max_entries(1, 0);

/// Programs that have just begun: few at a time, and user space is woken for each.
#[map]
static BEGUN: RingBuf = RingBuf::with_byte_size(64 << 10, 0);

/// Tells user space that the running task has begun to execute a program. Where there is no room it finds out by the first stack.
#[inline(always)]
pub(crate) fn begun() {
    if let Some(mut entry) = BEGUN.reserve::<Begun>(0) {
        entry.write(Begun { tgid: current::tgid(), uid: current::uid() });
        entry.submit(0);
    }
}

/// Of the running task's frames, where its program has a recipe; else 0.
///
/// A global function, as the verifier calls it ([`capture`](super::capture)).
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn interpreted_place() -> u64 {
    let Some(recipe) = recipe() else { return 0 };
    let mut hash = 0;
    walk(recipe, |_, [code, at, _]| hash = mix(mix(hash, code), at));
    hash
}

#[inline(always)]
fn are_any() -> bool {
    // SAFETY: a value in a map.
    HAS_RECIPES.get_ptr(0).is_some_and(|any| unsafe { any.read_volatile() } != 0)
}

/// The same as [`interpreted_place`] where that may be something.
#[inline(always)]
pub(super) fn place() -> u64 {
    if are_any() { interpreted_place() } else { 0 }
}

/// Writes the running task's frames.
///
/// # Safety
///
/// `to` has to be writable.
#[inline(always)]
pub(super) unsafe fn write(to: *mut InterpretedStack) {
    // SAFETY: the caller's promise.
    unsafe {
        (*to).len = 0;
        (*to).end = NO_RECIPE;
        if are_any()
            && let Some(recipe) = recipe()
        {
            let mut len = 0;
            let end = walk(recipe, |index, words| {
                (&raw mut (*to).frames[index]).write_volatile(words);
                len = index as u32 + 1;
            });
            (*to).len = len;
            (*to).end = end;
        }
    }
}

#[inline(always)]
fn recipe() -> Option<*const Recipe> {
    RECIPES.get_ptr(current::program())
}

/// Goes through the frames, innermost first; returns how they end.
#[inline(always)]
fn walk(recipe: *const Recipe, mut take: impl FnMut(usize, [u64; FRAME_WORDS])) -> u32 {
    let thread_pointer = current::thread_pointer();
    if thread_pointer == 0 {
        return NO_RECIPE;
    }
    // SAFETY: a value in a map.
    let Recipe { start, hops, hop_count, next, words, .. } = unsafe { &*recipe };
    let mut at = thread_pointer.wrapping_add(*start);
    for (hop, offset) in hops.iter().enumerate() {
        if hop as u32 >= *hop_count {
            break;
        }
        match word(at, *offset) {
            Some(0) => return COMPLETE,
            Some(pointer) => at = pointer,
            None => return NOT_IN_MEMORY,
        }
    }
    let Some(frame) = FRAME.get_ptr_mut(0) else { return NO_RECIPE };
    // SAFETY: as above.
    let last = unsafe { (*recipe).last };
    for index in 0..INTERPRETED_FRAMES {
        // SAFETY: this CPU's own value.
        let is_there = unsafe { read_frame(frame, at, last) };
        if !is_there {
            return NOT_IN_MEMORY;
        }
        // SAFETY: it was read.
        let (taken, following) = unsafe { (words.map(|offset| frame_word(frame, offset)), frame_word(frame, *next)) };
        // SAFETY: as above.
        if unsafe { (&raw const (*frame).task).read_volatile() } != current::id() {
            return NOT_IN_MEMORY;
        }
        take(index, taken);
        match following {
            0 => return COMPLETE,
            next => at = next,
        }
    }
    TOO_DEEP
}

/// A frame as it was read: too large for the BPF stack, where besides no verifier before Linux 5.12 lets a word be chosen.
#[repr(C)]
struct Frame {
    /// Who reads: a task that preempts it may read here, too.
    task: u64,
    words: [u64; FRAME_BYTES / size_of::<u64>()],
}

#[map]
static FRAME: PerCpuArray<Frame> = PerCpuArray::with_max_entries(1, 0);

/// Reads a frame of the process's memory up to the byte at `last`, all at once: each call of the helper costs as much as 128 bytes do.
///
/// # Safety
///
/// `frame` has to be writable.
#[inline(always)]
unsafe fn read_frame(frame: *mut Frame, at: u64, last: u32) -> bool {
    // In a form that the verifier sees the bounds of.
    let bytes = (last & (FRAME_BYTES as u32 - 1)) + 1;
    // SAFETY: the caller's promise; the helper fails on a bad address.
    unsafe {
        (&raw mut (*frame).task).write_volatile(current::id());
        bpf_probe_read_user((&raw mut (*frame).words).cast(), bytes, at as *const _) == 0
    }
}

/// A word of a frame.
///
/// # Safety
///
/// `frame` has to be readable.
#[inline(always)]
unsafe fn frame_word(frame: *const Frame, offset: u32) -> u64 {
    let index = offset as usize / size_of::<u64>() % (FRAME_BYTES / size_of::<u64>());
    // SAFETY: the caller's promise, and it lies within.
    unsafe { (&raw const (*frame).words).cast::<u64>().add(index).read_volatile() }
}

/// A word of the process's memory.
#[inline(always)]
fn word(at: u64, offset: u32) -> Option<u64> {
    let mut word = 0u64;
    let from = at.wrapping_add(u64::from(offset));
    // SAFETY: the helper fails on a bad address.
    let failed = unsafe { bpf_probe_read_user((&raw mut word).cast(), size_of::<u64>() as u32, from as *const _) };
    (failed == 0).then_some(word)
}
