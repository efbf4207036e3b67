//! What the kernel side keeps of a live socket.

use core::{
    mem::size_of,
    sync::atomic::{Ordering, compiler_fence},
};

use aya_ebpf::{
    bindings::{BPF_ANY, BPF_NOEXIST},
    helpers::generated::bpf_get_smp_processor_id,
    macros::map,
    maps::{HashMap, PerCpuArray},
};
use tcpstate_common::{
    config::filter as set,
    event::{TaskRecord, owner_source},
};

use crate::{
    atomic,
    counters::count,
    kernel::{read::Read, sock::Sock, state::CLOSE_WAIT},
    rodata::filtering,
    stories::owner::KnownOwner,
};

/// The story of each live socket, by the address of its `struct sock`.
///
/// Preallocated: allocation in softirq context is neither cheap nor, before 6.1, safe. `BPF_MAP_TYPE_SK_STORAGE` costs more
/// per transition and does not exist on 5.10. The loader sets the size from the number of sockets it finds.
#[map]
static SOCKETS: HashMap<u64, Story> = HashMap::with_max_entries(65_536, 0);

/// How many stories have begun on this CPU: what their ids are made of.
#[map]
static STORIES: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// [`Story::flags`]: the socket was in its state before the tracer came; `since_ns` is when it was found.
pub(crate) const SINCE_BEFORE: u8 = 1 << 0;

/// [`Story::marks`]: user space has been told that the socket is in CLOSE_WAIT, and has yet to hear of its end.
pub(crate) const TRACKED: u8 = 1 << 0;
/// [`Story::marks`]: a receive has returned 0.
pub(crate) const EOF_READ: u8 = 1 << 1;
/// [`Story::marks`]: user space has been told that the exit of a process closes the socket.
pub(crate) const EXITED: u8 = 1 << 2;
/// [`Story::marks`]: the socket has made a transition that no program was run for.
pub(super) const SKIPPED: u8 = 1 << 3;

/// What `BPF_NOEXIST` returns where there is something.
const EEXIST: i32 = -17;

/// The story of a live socket. Network namespace and cgroup are not in it: the socket itself has them at every event.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Story {
    /// Tells the story from every other one of this trace; 0 when it could not be told.
    pub(crate) id: u64,
    /// `SO_COOKIE`; 0 while not known. Tells the socket from a later one at the same address.
    pub(crate) cookie: u64,
    /// When the current state was entered.
    pub(crate) since_ns: u64,
    /// Who opened the socket.
    pub(crate) owner: TaskRecord,
    /// Where in the owner's code; 0 when not known.
    pub(crate) place: u64,
    /// Last local port seen; `skc_num` is gone at the final CLOSE.
    pub(crate) local_port: u16,
    /// The current state.
    pub(crate) state: u8,
    /// One of [`owner_source`].
    pub(crate) source: u8,
    /// See [`SINCE_BEFORE`].
    pub(crate) flags: u8,
    /// [`TRACKED`], [`EOF_READ`], [`EXITED`], [`SKIPPED`].
    pub(crate) marks: u8,
    /// Not 0: a task that the filters want has been found to hold it, so it is wanted whoever opened it. A byte of its own, written by
    /// whoever finds that.
    pub(crate) held: u8,
    /// Explicit padding.
    pub(crate) pad: u8,
}

const _: () = assert!(size_of::<Story>() == 72);

impl Story {
    /// The story of this socket. What lies at its address may be that of a former one, whose end was not seen: a story with another
    /// cookie, or with one where the socket has none yet, is none. Before a kernel gives cookies by itself (5.12) those that have
    /// none look alike.
    #[inline(always)]
    pub(crate) fn of<R: Read>(sk: Sock<R>) -> Option<*mut Self> {
        let story = Self::at(sk.address())?;
        // SAFETY: a value in the map.
        let cookie = unsafe { (&raw const (*story).cookie).read_volatile() };
        (cookie == 0 || cookie == sk.cookie_so_far()).then_some(story)
    }

    /// The story at this address, whichever socket it tells of.
    #[inline(always)]
    pub(crate) fn at(key: u64) -> Option<*mut Self> {
        SOCKETS.get_ptr_mut(key)
    }

    #[inline(always)]
    pub(crate) fn new(known: &KnownOwner, cookie: u64, since_ns: u64, state: u8, local_port: u16) -> Self {
        Self {
            id: next_id(),
            cookie,
            since_ns,
            owner: known.owner,
            place: known.place,
            local_port,
            state,
            source: known.source,
            flags: 0,
            marks: 0,
            held: 0,
            pad: 0,
        }
    }

    /// Starts a story, in place of the one that is there if any, which is shown to `in_place_of` before. Returns its id; 0 when there
    /// is no room.
    #[inline(always)]
    pub(crate) fn begin(&self, key: u64, in_place_of: impl FnOnce(*mut Self)) -> u64 {
        let mut inserted = SOCKETS.insert(key, self, u64::from(BPF_NOEXIST));
        if inserted == Err(EEXIST) {
            if let Some(former) = Self::at(key) {
                in_place_of(former);
            }
            inserted = SOCKETS.insert(key, self, u64::from(BPF_ANY));
        }
        if inserted.is_err() {
            count!(map_full);
            return 0;
        }
        self.id
    }

    /// Starts the story of a socket unless it has one: what an event wrote wins over what a snapshot found.
    ///
    /// Returns whether it is the first.
    #[inline(always)]
    pub(crate) fn begin_if_absent<R: Read>(self, sk: Sock<R>) -> bool {
        let key = sk.address();
        if Self::at(key).is_some() && Self::of(sk).is_none() {
            Self::end(key);
        }
        match SOCKETS.insert(key, self, u64::from(BPF_NOEXIST)) {
            Ok(()) => true,
            Err(EEXIST) => false,
            Err(_) => {
                count!(map_full);
                false
            }
        }
    }

    /// Ends the story of the socket at this address.
    #[inline(always)]
    pub(crate) fn end(key: u64) {
        let _ = SOCKETS.remove(key);
    }

    /// The marks of a story that has come to `state`, if the filters want it.
    #[inline(always)]
    pub(super) fn marks_in(state: u8) -> u8 {
        if filtering(set::LEAKS) && state == CLOSE_WAIT { TRACKED } else { 0 }
    }

    /// Sets a mark of the story of the socket at this address.
    #[inline(always)]
    pub(crate) fn mark(key: u64, mark: u8) {
        if let Some(story) = Self::at(key) {
            // SAFETY: a value in the map; marks are set under the socket's lock.
            unsafe { (*story).marks |= mark }
        }
    }

    /// Takes a mark away.
    #[inline(always)]
    pub(crate) fn unmark(key: u64, mark: u8) {
        if let Some(story) = Self::at(key) {
            // SAFETY: as above.
            unsafe { (*story).marks &= !mark }
        }
    }

    /// Reads the owner while another CPU may be in [`Story::set_owner`], which takes a few stores: an owner that is being changed
    /// is read again, and one that still is, is an unknown one.
    ///
    /// # Safety
    ///
    /// `story` has to be a value in the map.
    #[inline(always)]
    pub(crate) unsafe fn known_owner(story: *const Self, known: &mut KnownOwner) {
        const READS: u32 = 4;
        for _ in 0..READS {
            // SAFETY: the caller's promise.
            unsafe {
                let before = (&raw const (*story).source).read_volatile();
                // Fences rather than volatile copies: those go byte by byte, each through a word of the BPF stack.
                compiler_fence(Ordering::SeqCst);
                known.owner = (*story).owner;
                known.place = (*story).place;
                compiler_fence(Ordering::SeqCst);
                known.source = (&raw const (*story).source).read_volatile();
                if known.source == before && before != owner_source::UNKNOWN {
                    return;
                }
            }
        }
        *known = KnownOwner::UNKNOWN;
    }

    /// Changes the owner. The source is unknown meanwhile, so that no reader pairs halves of two owners.
    ///
    /// # Safety
    ///
    /// `story` has to be a value in the map.
    #[inline(always)]
    pub(crate) unsafe fn set_owner(story: *mut Self, known: &KnownOwner) {
        // SAFETY: the caller's promise.
        unsafe {
            (&raw mut (*story).source).write_volatile(owner_source::UNKNOWN);
            compiler_fence(Ordering::SeqCst);
            (*story).owner = known.owner;
            (*story).place = known.place;
            compiler_fence(Ordering::SeqCst);
            (&raw mut (*story).source).write_volatile(known.source);
        }
    }
}

/// A number that no other story of this trace has: the CPU's number below how many stories have begun on it.
///
/// Another program may interrupt this one, and old kernels cannot add and fetch in one step. A sum that is one more than what
/// was there before is ours alone.
#[inline(always)]
fn next_id() -> u64 {
    /// Bits of the CPU's number (`CONFIG_NR_CPUS` is at most 8192). With it, 2⁴⁰ stories fit into what JSON takes for a number.
    const CPU_BITS: u32 = 13;
    // SAFETY: the helper has no precondition.
    let processor = unsafe { bpf_get_smp_processor_id() };
    let Some(begun) = STORIES.get_ptr_mut(0) else { return 0 };
    for _ in 0..4 {
        // SAFETY: this CPU's own value.
        let (before, after) = unsafe {
            let before = begun.read_volatile();
            atomic::add(begun, 1);
            (before, begun.read_volatile())
        };
        if after == before + 1 {
            return after << CPU_BITS | u64::from(processor);
        }
    }
    0
}
