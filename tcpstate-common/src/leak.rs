//! Records of leak hunting: events about sockets in CLOSE_WAIT, stacks, and what the iterators write.

use core::mem::size_of;

use crate::{
    config::STACK_PIECE,
    event::{TaskRecord, TransitionRecord},
};

/// [`TransitionRecord::kind`] of an [`EnteredRecord`].
pub const KIND_ENTERED: u32 = 2;
/// [`SocketEvent::kind`]: the socket left CLOSE_WAIT.
pub const KIND_LEFT: u32 = 3;
/// [`SocketEvent::kind`]: a receive returned 0 for the first time.
pub const KIND_EOF_READ: u32 = 4;
/// [`SocketEvent::kind`]: `accept()` returned a socket that was in CLOSE_WAIT.
pub const KIND_ACCEPTED: u32 = 5;
/// [`SocketEvent::kind`]: the socket is gone.
pub const KIND_DESTROYED: u32 = 6;
/// `kind` of a [`ClosingRecord`], in its [`FoundRecord::socket`].
pub const KIND_CLOSING: u32 = 7;
/// [`SocketEvent::kind`]: `close()` took the socket from CLOSE_WAIT to LAST_ACK. It has no descriptor any more, and nothing else
/// comes about it: one record in the place of a [`KIND_LEFT`] and a [`KIND_DESTROYED`], for who wants neither transitions nor who
/// closes.
pub const KIND_CLOSED: u32 = 8;

/// A socket entered CLOSE_WAIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct EnteredRecord {
    /// The transition, with [`KIND_ENTERED`].
    pub transition: TransitionRecord,
    /// Where the socket was opened; 0 when not known.
    pub place: u64,
}

/// Anything else that happens to a socket that has been in CLOSE_WAIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct SocketEvent {
    /// `KIND_*`.
    pub kind: u32,
    /// With [`KIND_LEFT`] the state after.
    pub new_state: u8,
    /// Explicit padding.
    pub pad: [u8; 3],
    /// `CLOCK_MONOTONIC`, nanoseconds.
    pub ts_ns: u64,
    /// `SO_COOKIE`.
    pub cookie: u64,
    /// Address of the `struct sock`.
    pub skaddr: u64,
    /// Who did it; all zero where that is not known.
    pub actor: TaskRecord,
    /// Where; 0 when not known.
    pub place: u64,
}

/// What precedes the kernel stack and the bytes of the user stack in the ring buffer of stacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct StackHeader {
    /// Identity of the place: of the process, the instruction and the return addresses above it.
    pub place: u64,
    /// Process.
    pub tgid: u32,
    /// Bytes that were copied, from [`StackHeader::start`] on; fewer than asked for when the stack ends before.
    pub copied: u32,
    /// User registers.
    pub registers: Registers,
    /// Pieces of [`STACK_PIECE`] bytes that are zeros because they were not in memory: the lowest bit stands for the first one.
    pub missing: u64,
    /// Where the stack of the process's first thread began; 0 when not known. Tells one program of a process from the next.
    pub start_stack: u64,
    /// Tells its program from others ([`program()`](crate::interpreted::program)).
    pub program: u64,
    /// Not 0: it was not known yet whether the filters want the socket. As long as no record names the place, they may not.
    pub undecided: u32,
    /// Real user of the process, in the initial user namespace.
    pub uid: u32,
    /// Most bytes that were to be copied.
    pub limit: u32,
    /// Explicit padding.
    pub pad: u32,
}

impl StackHeader {
    /// Where the copy begins: `registers.sp` and what lies before it in the same piece, so that no piece spans two pages.
    #[must_use]
    pub const fn start(registers: &Registers) -> u64 {
        registers.sp & !(STACK_PIECE as u64 - 1)
    }
}

/// User registers that unwinding begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Registers {
    /// Instruction pointer.
    pub ip: u64,
    /// Stack pointer.
    pub sp: u64,
    /// Frame pointer.
    pub bp: u64,
}

impl Registers {
    /// Those of a thread that has none to show.
    pub const NONE: Self = Self { ip: 0, sp: 0, bp: 0 };
}

/// Most frames of a kernel stack that are taken; the outermost are left out.
pub const KERNEL_FRAMES: usize = 32;

/// A kernel stack: follows a [`StackHeader`] and a [`Thread`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct KernelStack {
    /// Bytes of `frames` that count, what `bpf_get_task_stack()` returned: 0 when not asked for, negative when it failed.
    pub len: i64,
    /// Innermost first.
    pub frames: [u64; KERNEL_FRAMES],
}

/// How many ranges of code a process has at most here: neighbouring mappings are merged until they fit.
pub const CODE_RANGES: usize = 4;

/// Processes of which the kernel side knows where their code is, at most.
pub const MAX_CODE: u32 = 4096;

/// Processes whose threads are asked for at a time, at most.
pub const MAX_TARGETS: u32 = 4096;

/// Where a process has code: a return address lies in one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct CodeRanges {
    /// Start and length of each; unused ones have length 0.
    pub ranges: [[u64; 2]; CODE_RANGES],
}

/// Flag of [`FoundRecord::socket`]: nobody has accepted the socket.
pub const FOUND_UNACCEPTED: u8 = 1 << 0;
/// Flag of [`FoundRecord::socket`]: a receive was seen to return 0.
pub const FOUND_EOF_READ: u8 = 1 << 1;
/// Flag of [`FoundRecord::socket`]: when it entered its state was seen.
pub const FOUND_SINCE: u8 = 1 << 2;
/// `flags` of a listener in a [`FoundRecord`]: the filters by process want its owner or this holder of it.
pub const FOUND_WANTED: u8 = 1 << 3;

/// A socket, or one of its descriptors, as an iterator found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct FoundRecord {
    /// The socket. `old_state` and `new_state` are its state, `in_old_ns` when it entered it, `flags` are `FOUND_*`.
    pub socket: TransitionRecord,
    /// Where it was opened; 0 when not known.
    pub place: u64,
    /// The process that holds it; 0 for none.
    pub holder_tgid: u32,
    /// Its descriptor.
    pub holder_fd: u32,
    /// When it began, as in [`TaskRecord::start_ns`].
    pub holder_start_ns: u64,
    /// Bytes received and not read; the FIN counts as one. Of a listener: connections that wait.
    pub recv_q: u32,
    /// Bytes not acknowledged. Of a listener: most connections that may wait.
    pub send_q: u32,
    /// Milliseconds since data was received, by jiffies; `u32::MAX` where that is too small.
    pub since_data_recv: u32,
    /// The same since an acknowledgement was received.
    pub since_ack_recv: u32,
    /// The same since data was sent.
    pub since_data_sent: u32,
    /// Of a listener: connection requests it has dropped since it was made (`sk_drops`).
    pub drops: u32,
    /// Bytes received since the connection was made, read or not; the FIN counts as one. Of Multipath TCP 0 where the kernel does not
    /// tell its queues.
    pub bytes_received: u64,
    /// Bytes of data sent since then, those sent again included.
    pub bytes_sent: u64,
}

/// A task ends the stay of a socket in CLOSE_WAIT, or the life of a socket that has been in it: by closing it, by shutting it down
/// or by exiting. Comes before the event of its leaving or of its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct ClosingRecord {
    /// The socket as it was until then, with [`KIND_CLOSING`]; `new_state` is the state it enters.
    pub found: FoundRecord,
    /// The task.
    pub by: TaskRecord,
    /// Where; 0 when not known, or when it exits.
    pub place: u64,
    /// 1 when the task is exiting: nothing but that closes the socket.
    pub exiting: u32,
    /// Explicit padding.
    pub pad: u32,
}

/// [`Thread::state`]: it has a CPU or waits for one. It has no registers, system call or kernel stack.
pub const THREAD_RUNNING: u32 = 0;
/// [`Thread::state`]: it sleeps.
pub const THREAD_ASLEEP: u32 = 1;
/// [`Thread::state`]: a signal such as `SIGSTOP` has stopped it.
pub const THREAD_STOPPED: u32 = 2;
/// [`Thread::state`]: a debugger has stopped it.
pub const THREAD_TRACED: u32 = 3;
/// [`Thread::state`]: its cgroup is frozen.
pub const THREAD_FROZEN: u32 = 4;

/// A thread, as an iterator found it; its kernel stack follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Thread {
    /// Who it is.
    pub task: TaskRecord,
    /// User registers.
    pub registers: Registers,
    /// Number of the system call it is in; negative when in none.
    pub syscall: i64,
    /// First argument of it.
    pub argument: u64,
    /// When it began, nanoseconds: with its id it is the thread and no later one.
    pub start_ns: u64,
    /// Time that it has had a CPU for, nanoseconds; up to one tick less while it runs.
    pub cpu_ns: u64,
    /// Its thread pointer; 0 when not known.
    pub thread_pointer: u64,
    /// `THREAD_*`.
    pub state: u32,
    /// Explicit padding.
    pub pad: u32,
}

const _: () = assert!(size_of::<EnteredRecord>() == 144);
const _: () = assert!(size_of::<SocketEvent>() == 72);
const _: () = assert!(size_of::<StackHeader>() == 80);
const _: () = assert!(size_of::<KernelStack>() == 264);
const _: () = assert!(size_of::<CodeRanges>() == 64);
const _: () = assert!(size_of::<FoundRecord>() == 200);
const _: () = assert!(size_of::<ClosingRecord>() == 248);
const _: () = assert!(size_of::<Thread>() == 104);

#[cfg(feature = "loader")]
// SAFETY: bytemuck has derived the same promise.
unsafe impl aya::Pod for CodeRanges {}
