//! What the processor decides, apart from how stacks are unwound. This is x86-64; another one takes a file like it and the choice
//! between them.

/// Members of `struct pt_regs` (`arch/x86/include/asm/ptrace.h`), the registers with which a task entered the kernel. Where a
/// kernel has other ones, there are no stacks.
pub mod pt_regs {
    /// Instruction pointer.
    pub const IP: &str = "ip";
    /// Stack pointer.
    pub const SP: &str = "sp";
    /// Frame pointer.
    pub const BP: &str = "bp";
    /// What tells the mode that the processor was in ([`Mode`](super::Mode)).
    pub const MODE: &str = "cs";
    /// Number of the system call.
    pub const SYSCALL: &str = "orig_ax";
    /// First argument of the system call.
    pub const ARGUMENT_1: &str = "di";
    /// Third argument of the system call.
    pub const ARGUMENT_3: &str = "dx";
    /// Fifth argument of the system call.
    pub const ARGUMENT_5: &str = "r8";
    /// The last member that is there however the kernel was entered.
    pub const LAST: &str = "ss";
}

/// Member of `task_struct` that holds the thread pointer (`struct thread_struct`, `arch/x86/include/asm/processor.h`): the base of `fs`.
pub const THREAD_POINTER: &str = "thread.fsbase";

/// The code segment.
pub type Mode = u16;

/// `__USER_CS` (`arch/x86/include/asm/segment.h`).
const USER_CS: Mode = 0x33;

/// Whether a task entered the kernel from user mode (`user_mode()`, `arch/x86/include/asm/ptrace.h`).
#[must_use]
#[inline(always)]
pub const fn is_user(mode: Mode) -> bool {
    mode & 3 == 3
}

/// Whether it entered from code of 64 bits, whose system calls bear the numbers of [`syscall`].
#[must_use]
#[inline(always)]
pub const fn is_native(mode: Mode) -> bool {
    mode == USER_CS
}

/// Bytes of a kernel stack (`THREAD_SIZE`, `arch/x86/include/asm/page_64_types.h`, without KASAN). At its top lies the `struct pt_regs`
/// (`task_pt_regs()`, `arch/x86/include/asm/processor.h`); asked for where no helper tells, before 5.15.
pub const KERNEL_STACK: u64 = 16 << 10;

/// Numbers of system calls (`arch/x86/entry/syscalls/syscall_64.tbl`).
pub mod syscall {
    macro_rules! numbers {
        ($($name:ident = $number:literal,)+) => {
            $(#[doc = concat!("`", stringify!($name), "`, in lower case.")] pub const $name: i64 = $number;)+
        };
    }

    numbers! {
        READ = 0,
        WRITE = 1,
        CLOSE = 3,
        POLL = 7,
        PREAD64 = 17,
        PWRITE64 = 18,
        READV = 19,
        WRITEV = 20,
        SELECT = 23,
        PAUSE = 34,
        NANOSLEEP = 35,
        SENDFILE = 40,
        CONNECT = 42,
        ACCEPT = 43,
        SENDTO = 44,
        RECVFROM = 45,
        SENDMSG = 46,
        RECVMSG = 47,
        SHUTDOWN = 48,
        WAIT4 = 61,
        RT_SIGTIMEDWAIT = 128,
        FUTEX = 202,
        IO_SUBMIT = 209,
        CLOCK_NANOSLEEP = 230,
        EPOLL_WAIT = 232,
        PSELECT6 = 270,
        PPOLL = 271,
        SPLICE = 275,
        TEE = 276,
        EPOLL_PWAIT = 281,
        ACCEPT4 = 288,
        PREADV = 295,
        PWRITEV = 296,
        RECVMMSG = 299,
        SENDMMSG = 307,
        PREADV2 = 327,
        PWRITEV2 = 328,
        IO_URING_ENTER = 426,
        EPOLL_PWAIT2 = 441,
    }
}
