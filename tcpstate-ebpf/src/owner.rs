//! Whose socket it is. `current` is asked only where the kernel runs in the owner's own context.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid,
    generated::{bpf_get_current_comm, bpf_get_current_task, bpf_get_current_task_btf},
};
use tcpstate_common::{
    COMM_LEN,
    config::{MAX_COMMS, filter},
    event::Owner,
    helper,
};

use crate::{
    Opaque,
    kernel::sock::{Probed, Read, Typed, load},
    maps::PIDS,
    rodata::{config, filtering, has, offset},
};

/// Nobody: nothing that ran in the owner's context was seen.
pub(crate) const UNKNOWN: Owner = Owner { tgid: 0, tid: 0, comm: [0; COMM_LEN] };

/// The running task. Only for hooks that run in process context on behalf of the caller.
#[inline(always)]
pub(crate) fn current() -> Owner {
    let pid_tgid = bpf_get_current_pid_tgid();
    let mut comm = MaybeUninit::<[u64; 2]>::uninit();
    // SAFETY: to the verifier the helper fills all of it. An array of zeros before would be a call of `memset()`, which has a
    // frame of its own on the BPF stack.
    let comm = unsafe {
        bpf_get_current_comm(comm.as_mut_ptr().cast(), COMM_LEN as u32);
        comm.assume_init()
    };
    Owner { tgid: (pid_tgid >> 32) as u32, tid: pid_tgid as u32, comm: padded(comm) }
}

/// Writes the running task under the name of its process, which is that of its first thread.
///
/// # Safety
///
/// `to` has to be writable.
#[inline(never)]
pub(crate) unsafe fn write_current_process(to: *mut Owner) {
    let pid_tgid = bpf_get_current_pid_tgid();
    // SAFETY: the caller's promise. The helpers have no precondition; the task is typed where `Typed` reads it.
    unsafe {
        (*to).tgid = (pid_tgid >> 32) as u32;
        (*to).tid = pid_tgid as u32;
        (*to).comm = if has(helper::READ_KERNEL) {
            leader_comm::<Probed>(bpf_get_current_task() as *const Opaque)
        } else {
            leader_comm::<Typed>(bpf_get_current_task_btf() as *const Opaque)
        };
    }
}

/// # Safety
///
/// `task` has to be a `struct task_struct` that `R` can read.
#[inline(always)]
unsafe fn leader_comm<R: Read>(task: *const Opaque) -> [u8; COMM_LEN] {
    // SAFETY: the caller's promise; a name is two words.
    unsafe {
        let leader: *const Opaque = R::load(task, offset!(task_leader));
        padded([R::load(leader, offset!(task_comm)), R::load(leader, offset!(task_comm) + 8)])
    }
}

/// The process of the running task, where no more of it is wanted yet.
#[inline(always)]
pub(crate) fn process() -> u32 {
    (bpf_get_current_pid_tgid() >> 32) as u32
}

/// A task that an iterator or a tracepoint hands over.
///
/// # Safety
///
/// `task` has to be a `struct task_struct` that the verifier knows the type of.
#[inline(always)]
pub(crate) unsafe fn of_task(task: *const Opaque) -> Owner {
    // SAFETY: the caller's promise; a name is two words.
    unsafe {
        let comm: [u64; 2] = [load(task, offset!(task_comm)), load(task, offset!(task_comm) + 8)];
        Owner { tgid: load(task, offset!(task_tgid)), tid: load(task, offset!(task_pid)), comm: padded(comm) }
    }
}

/// A name with nothing but zeros behind its end, so that equal names are equal bytes.
///
/// Not every kernel sees to that: `prctl(PR_SET_NAME)` leaves the rest of a longer name before (`strlcpy()` in
/// `__set_task_comm()`, 5.10), and `bpf_get_current_comm()` what was on the stack (`strscpy()`, 6.1).
#[inline(always)]
fn padded(words: [u64; 2]) -> [u8; COMM_LEN] {
    let [first, second] = words.map(u64::from_le);
    let (first, ended) = up_to_nul(first);
    let second = if ended { 0 } else { up_to_nul(second).0 };
    // SAFETY: bytes either way.
    unsafe { core::mem::transmute::<[u64; 2], [u8; COMM_LEN]>([first.to_le(), second.to_le()]) }
}

/// The bytes before the first NUL, the lowest one, and whether there is one.
#[inline(always)]
fn up_to_nul(word: u64) -> (u64, bool) {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    // The lowest bit that this leaves is the highest one of the first NUL.
    let nuls = word.wrapping_sub(ONES) & !word & ONES << 7;
    (word & nuls.wrapping_sub(1) & !nuls, nuls != 0)
}

/// Whether the filters on owners let this one pass.
#[inline(always)]
pub(crate) fn wanted(owner: &Owner) -> bool {
    (!filtering(filter::PID) || followed(owner.tgid)) && (!filtering(filter::COMM) || named(&owner.comm))
}

/// Whether a process is one of `--pid` or, with `--children`, a descendant.
#[inline(always)]
pub(crate) fn followed(tgid: u32) -> bool {
    PIDS.get_ptr(tgid).is_some()
}

#[inline(always)]
fn named(comm: &[u8; COMM_LEN]) -> bool {
    let halves = |name: &[u8; COMM_LEN]| u128::from_ne_bytes(*name);
    (0..MAX_COMMS).any(|i| (i as u32) < config!(comms_len) && halves(comm) == halves(&config!(comms[i])))
}
