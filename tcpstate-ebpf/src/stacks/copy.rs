//! Copies of user stacks: registers and the top of the stack, unwound in user space.

use aya_ebpf::{
    helpers::generated::bpf_probe_read_user,
    macros::map,
    maps::{LruHashMap, PerCpuArray, RingBuf},
};
use tcpstate_common::{
    config::{MAX_STACK, STACK_PIECE},
    interpreted::InterpretedStack,
    leak::{KernelStack, StackHeader},
};

use crate::{
    clock::now_ns,
    counters::count,
    kernel::{current, registers::UserRegisters},
    rodata::config,
    stacks::{interpreted, place::PAGE},
};

/// What precedes the bytes of a user stack.
const HEAD: usize = KERNEL + size_of::<KernelStack>();
/// What precedes the kernel stack.
const KERNEL: usize = size_of::<StackHeader>() + size_of::<InterpretedStack>();

/// A piece lies in one page, and the bits of a word are enough for all of them.
const _: () = assert!(PAGE.is_multiple_of(STACK_PIECE as u64) && MAX_STACK / STACK_PIECE <= u64::BITS);

/// How many stacks of the usual size take as long to copy as one of the largest.
const DEEP_ONES: u64 = 4;
/// Time in which the number of copies is bounded, nanoseconds.
const WINDOW_NS: u64 = 100_000_000;

/// Stacks for user space, apart from the events, which they would crowd out. The loader sets the size.
#[map]
static STACKS: RingBuf = RingBuf::with_byte_size(4096, 0);

/// Places whose stacks go on where their copies ended: copied in the largest size. User space enters them.
#[map]
static DEEP: LruHashMap<u64, u32> = LruHashMap::with_max_entries(4096, 0);

/// How many stacks this CPU has copied of late.
#[map]
static BUDGET: PerCpuArray<Budget> = PerCpuArray::with_max_entries(1, 0);

/// Copies of one CPU.
#[repr(C)]
struct Budget {
    window: u64,
    taken: u64,
}

/// Copies the stack of the running task into the ring buffer. Returns whether it is there.
///
/// It reads the registers once more: the BPF stack has no room to keep them.
#[inline(always)]
pub(super) fn copy(place: u64, undecided: u64) -> bool {
    let deep = DEEP.get_ptr(place).is_some();
    if !within_budget(deep) {
        count!(stacks_skipped);
        return false;
    }
    let Some(UserRegisters { registers, .. }) = current::registers() else { return false };
    let tgid = current::tgid();
    let stack_bytes = if deep { MAX_STACK } else { config!(stack_bytes) } as usize;
    // The verifier wants to know the size.
    let reserved = if deep {
        STACKS.reserve_bytes(HEAD + MAX_STACK as usize, 0)
    } else {
        STACKS.reserve_bytes(HEAD + config!(stack_bytes) as usize, 0)
    };
    let Some(mut entry) = reserved else {
        count!(stacks_dropped);
        return false;
    };
    let start = entry.as_mut_ptr();
    // Kept in the record: the BPF stack has no room for it.
    let header: *mut StackHeader = start.cast();
    // SAFETY: the entry begins with room for it; ring-buffer entries are aligned to 8 bytes.
    unsafe {
        (*header).place = place;
        (*header).tgid = tgid;
        (*header).copied = 0;
        (*header).registers = registers;
        // Volatile, or zeros in a row would be a call of `memset()`, which has a frame of its own on the BPF stack.
        (&raw mut (*header).missing).write_volatile(0);
        (*header).start_stack = current::start_of_stack();
        (*header).program = current::program();
        (*header).undecided = undecided as u32;
        (*header).uid = current::uid();
        (*header).limit = stack_bytes as u32;
        (*header).pad = 0;
    }
    for piece in 0..MAX_STACK / STACK_PIECE {
        let at = piece * STACK_PIECE;
        if at as usize >= stack_bytes {
            break;
        }
        // SAFETY: the piece lies within the entry, whose size is a multiple of it behind the head; the helper fails on a
        // bad user address, and leaves zeros.
        let there = unsafe {
            let to = start.add(HEAD + at as usize).cast();
            let from = StackHeader::start(&(*header).registers) + u64::from(at);
            bpf_probe_read_user(to, STACK_PIECE, from as *const _) == 0
        };
        // The stack has ended, or goes on behind a page that was never written to, as a large buffer has many.
        // SAFETY: as above.
        unsafe {
            if there {
                (*header).copied = at + STACK_PIECE;
            } else {
                (*header).missing |= 1 << piece;
            }
        }
    }
    // SAFETY: as above.
    unsafe {
        interpreted::write(start.add(size_of::<StackHeader>()).cast());
        current::write_kernel_stack(start.add(KERNEL).cast());
    }
    entry.submit(0);
    true
}

/// Whether this CPU may copy another stack now; a deep one counts as several.
#[inline(always)]
fn within_budget(deep: bool) -> bool {
    let Some(budget) = BUDGET.get_ptr_mut(0) else { return false };
    // SAFETY: this CPU's own value.
    unsafe {
        let window = now_ns() / WINDOW_NS;
        if (*budget).window != window {
            (*budget).window = window;
            (*budget).taken = 0;
        }
        (*budget).taken += if deep { DEEP_ONES } else { 1 };
        (*budget).taken <= u64::from(config!(stacks_per_window))
    }
}
