//! Every map.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, ProgramArray, RingBuf},
};
use tcpstate_common::{
    config::{MAX_PIDS, follow_count},
    counters::Counters,
    leak::{CodeRanges, Found, KernelStack, MAX_CODE, MAX_TARGETS},
};

use crate::{
    hooks::nested::Taken,
    stacks::capture::Budget,
    stacks::place::{MEMOS_LEN, Memo, PLACE_WORDS},
    stories::listener::{Listener, ListenerKey},
    stories::story::Story,
};

/// Records for user space. The loader sets the size.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(8 << 20, 0);

/// The story of each live socket, by the address of its `struct sock`.
///
/// Preallocated: allocation in softirq context is neither cheap nor, before 6.1, safe. `BPF_MAP_TYPE_SK_STORAGE` costs more
/// per transition and does not exist on 5.10. The loader sets the size from the number of sockets it finds.
#[map]
pub(crate) static SOCKETS: HashMap<u64, Story> = HashMap::with_max_entries(65_536, 0);

/// How many stories have begun on this CPU: what their ids are made of.
#[map]
pub(crate) static STORIES: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Who listens where: a passive connection's only owner until somebody accepts it.
#[map]
pub(crate) static LISTENERS: HashMap<ListenerKey, Listener> = HashMap::with_max_entries(16_384, 0);

/// Processes that `--pid` and `--children` follow, by thread-group id.
#[map]
pub(crate) static PIDS: HashMap<u32, u32> = HashMap::with_max_entries(MAX_PIDS, 0);

/// How many processes in [`PIDS`] a followed process forked, as [`follow_count`] says: the sum over the CPUs, wrapping.
#[map]
pub(crate) static FOLLOW_COUNTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(follow_count::LEN, 0);

/// 0 until the snapshot is in, and again once the programs are to be detached: then transitions update the stories, and nothing is
/// sent.
#[map]
pub(crate) static ARMED: Array<u32> = Array::with_max_entries(1, 0);

/// What was delivered and what was not.
#[map]
pub(crate) static COUNTERS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(1, 0);

/// Stacks for user space, apart from the events, which they would crowd out. The loader sets the size.
#[map]
pub(crate) static STACKS: RingBuf = RingBuf::with_byte_size(4096, 0);

/// How often each place was met: what is not here has its stack copied. Room for a new one is made by the one that was not met
/// for longest: if it is met again, its stack is copied once more.
#[map]
pub(crate) static PLACES: LruHashMap<u64, u64> = LruHashMap::with_max_entries(16_384, 0);

/// Where the code of a process lies, by thread-group id; user space enters a process when it gets a stack of it. Processes
/// end without a word; what makes room is the one that has not opened or read anything for longest.
#[map]
pub(crate) static CODE: LruHashMap<u32, CodeRanges> = LruHashMap::with_max_entries(MAX_CODE, 0);

/// The part of a user stack that tells places apart.
#[map]
pub(crate) static SCRATCH: PerCpuArray<[u64; PLACE_WORDS]> = PerCpuArray::with_max_entries(1, 0);

/// User space counts up when it changes [`CODE`] or takes something out of [`PLACES`]: what this side has in mind is void then.
#[map]
pub(crate) static EPOCH: Array<u64> = Array::with_max_entries(1, 0);

/// Where to look at a stack that was met before.
#[map]
pub(crate) static MEMOS: PerCpuArray<Memo> = PerCpuArray::with_max_entries(MEMOS_LEN, 0);

/// Where the process has code whose stack is being looked at.
#[map]
pub(crate) static RANGES: PerCpuArray<CodeRanges> = PerCpuArray::with_max_entries(1, 0);

/// How many stacks this CPU has copied of late.
#[map]
pub(crate) static BUDGET: PerCpuArray<Budget> = PerCpuArray::with_max_entries(1, 0);

/// Processes whose threads user space asks for.
#[map]
pub(crate) static TARGETS: HashMap<u32, u32> = HashMap::with_max_entries(MAX_TARGETS, 0);

/// A kernel stack that an iterator is about to write.
#[map]
pub(crate) static KERNEL: PerCpuArray<KernelStack> = PerCpuArray::with_max_entries(1, 0);

/// What an iterator is about to write: too large for the BPF stack.
#[map]
pub(crate) static FOUND: PerCpuArray<Found> = PerCpuArray::with_max_entries(1, 0);

/// Which transition the programs for transitions are at; see [`crate::nesting`].
#[map]
pub(crate) static TAKEN: PerCpuArray<Taken> = PerCpuArray::with_max_entries(1, 0);

/// Transitions that interrupted that program and were taken by the other one.
#[map]
pub(crate) static NESTED: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// The program for transitions.
#[map]
pub(crate) static TRANSITIONS: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// Adds one to a counter of this CPU.
macro_rules! count {
    ($counter:ident) => {
        if let Some(counters) = $crate::maps::COUNTERS.get_ptr_mut(0) {
            // SAFETY: this CPU's own value. Atomic all the same: a softirq may count in the middle of it.
            unsafe { $crate::atomic::add(&raw mut (*counters).$counter, 1) }
        }
    };
}
pub(crate) use count;
