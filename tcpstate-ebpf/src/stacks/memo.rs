//! Where to look at a stack that was met before.

use aya_ebpf::{
    macros::map,
    maps::{Array, PerCpuArray},
};

/// Memos of one CPU.
pub(super) const MEMOS_LEN: u32 = 256;

/// Most return addresses that a memo has room for.
pub(super) const MEMO_WORDS: usize = 32;

/// User space counts up when it changes what it has told of code, or has a place forgotten: memos are void then.
#[map]
static EPOCH: Array<u64> = Array::with_max_entries(1, 0);

#[map]
static MEMOS: PerCpuArray<Memo> = PerCpuArray::with_max_entries(MEMOS_LEN, 0);

/// Where the words were that told a place from others.
///
/// To look at those alone is enough where that leads to a place that is known: the first return address lies where the instruction
/// says, and each one says where the next one lies, so equal ones make equal chains. A frame of variable size may lie between them; the
/// next copy shows.
#[repr(C)]
pub(super) struct Memo {
    /// The seed of the stacks that it is about.
    pub(super) key: u64,
    /// It holds until user space begins another one.
    pub(super) epoch: u64,
    /// 0 while not known, and when there were too many.
    pub(super) len: u64,
    /// The position of the last one.
    pub(super) last: u64,
    /// The place that was met here last, if it is known.
    place: u64,
    /// How often that may be met again before the map of places is asked.
    pub(super) left: u64,
    pub(super) positions: [u8; MEMO_WORDS],
}

/// One of this CPU's memos. A task that preempts this one may change it; what is none of this stack leads to no known place.
#[inline(always)]
pub(super) fn memo(index: u32) -> Option<*mut Memo> {
    MEMOS.get_ptr_mut(index)
}

/// What user space has told since when memos hold.
#[inline(always)]
pub(super) fn epoch() -> u64 {
    // SAFETY: a value in a map.
    EPOCH.get_ptr(0).map_or(0, |epoch| unsafe { epoch.read_volatile() })
}

/// Whether a place was met here of late, so that it need not be looked for.
#[inline(always)]
pub(super) fn is_familiar(index: u32, place: u64) -> bool {
    let Some(memo) = memo(index) else { return false };
    // SAFETY: a value in a map; a lost decrement only moves the next copy.
    unsafe {
        let familiar = (*memo).place == place && (*memo).left != 0;
        if familiar {
            (*memo).left -= 1;
        }
        familiar
    }
}

/// A place is known: it may be met so many times before it is looked for again.
#[inline(always)]
pub(super) fn make_familiar(index: u32, place: u64, times: u64) {
    if let Some(memo) = memo(index) {
        // SAFETY: as above.
        unsafe {
            (*memo).place = place;
            (*memo).left = times;
        }
    }
}
