//! Size of the ring buffer.

use thiserror::Error;

/// Largest ring buffer that can be asked for, bytes.
pub const MAX_BYTES: u64 = 1 << 30;

/// Size of the ring buffer: a power of two and a multiple of the page size, as `ringbuf_map_alloc()` demands
/// (`kernel/bpf/ringbuf.c`, Linux 6.18).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// Size in bytes.
    pub bytes: u32,
    /// What the user asked for, when that had to be rounded up.
    pub rounded_from: Option<u64>,
}

/// A buffer beyond [`MAX_BYTES`].
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a buffer of `{0}` bytes is too large: ask for at most {MAX_BYTES} (`--buffer 1G`)")]
pub struct BufferTooLarge(pub u64);

impl Buffer {
    /// Rounds a number of bytes up to what the kernel takes. `page_size` is a power of two, bytes.
    ///
    /// # Errors
    ///
    /// When more than [`MAX_BYTES`] would be needed.
    pub fn round_up(requested: u64, page_size: u32) -> Result<Self, BufferTooLarge> {
        if requested > MAX_BYTES {
            return Err(BufferTooLarge(requested));
        }
        let bytes = requested.max(u64::from(page_size)).next_power_of_two();
        let rounded_from = (bytes != requested).then_some(requested);
        u32::try_from(bytes).map(|bytes| Self { bytes, rounded_from }).map_err(|_| BufferTooLarge(requested))
    }
}
