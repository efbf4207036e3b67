//! Frames of programs that are interpreted. The interpreter keeps them in memory of its own, as a list.

/// Programs of which the kernel side knows how their frames are found, at most.
pub const MAX_RECIPES: u32 = 4096;

/// Most frames that are taken; the outermost are left out.
pub const INTERPRETED_FRAMES: usize = 64;

/// Words that are taken of a frame.
pub const FRAME_WORDS: usize = 3;

/// Most bytes of a frame that are read, at once; a power of two.
pub const FRAME_BYTES: usize = 128;

/// Most pointers that are followed to the first frame.
pub const HOPS: usize = 4;

/// Tells a program that a process executes from others, by where the stack of its first thread began (`mm->start_stack`), which each
/// `execve()` chooses at random unless that is turned off, and where its own code ends (`mm->end_code`). Forks are one program.
#[must_use]
#[inline(always)]
pub const fn program(start_stack: u64, end_code: u64) -> u64 {
    start_stack ^ end_code.rotate_left(32)
}

/// How the frames of a thread are found. All of it was read from the process, so it may be anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Recipe {
    /// Where the way begins, from the thread pointer on.
    pub start: u64,
    /// Offsets from there on at which a pointer is followed.
    pub hops: [u32; HOPS],
    /// How many of them count.
    pub hop_count: u32,
    /// Offset in a frame of the address of the one that called it.
    pub next: u32,
    /// Offsets in a frame of the words that are taken.
    pub words: [u32; FRAME_WORDS],
    /// Offset of the last byte of a frame that is read: nothing behind it, where there may be no memory.
    pub last: u32,
}

impl Recipe {
    /// Whether all words of a frame are words of [`FRAME_BYTES`] that are read.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let is_read = |offset: u32| offset.is_multiple_of(8) && u64::from(offset) + 7 <= u64::from(self.last);
        (self.last as usize) < FRAME_BYTES && is_read(self.next) && self.words.iter().all(|&offset| is_read(offset))
    }
}

/// [`InterpretedStack::end`]: nobody has told how frames are found in this program.
pub const NO_RECIPE: u32 = 0;
/// The frames are all that there are; none where the thread runs no program of the interpreter.
pub const COMPLETE: u32 = 1;
/// There are more.
pub const TOO_DEEP: u32 = 2;
/// The next one is not in memory.
pub const NOT_IN_MEMORY: u32 = 3;

/// The frames of a thread: follows a [`StackHeader`](crate::leak::StackHeader).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct InterpretedStack {
    /// How many there are.
    pub len: u32,
    /// How they end.
    pub end: u32,
    /// Innermost first.
    pub frames: [[u64; FRAME_WORDS]; INTERPRETED_FRAMES],
}

/// A process has begun to execute a program: what interprets it has to be found before it does anything with a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Begun {
    /// The process (thread-group id in the initial pid namespace).
    pub tgid: u32,
    /// Its real user, in the initial user namespace.
    pub uid: u32,
}

const _: () = assert!(size_of::<Recipe>() == 48 && size_of::<InterpretedStack>() == 8 + 64 * 24);

#[cfg(feature = "loader")]
// SAFETY: bytemuck has derived the same promise.
unsafe impl aya::Pod for Recipe {}
