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

/// The buffer fills to this part before its reader is woken ahead of its tick.
const WAKEUP_PART: u32 = 4;

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

    /// Bytes that wait when the reader is woken: [`Config::wakeup_bytes`](tcpstate_common::config::Config::wakeup_bytes).
    #[must_use]
    pub fn watermark(self) -> u32 {
        self.bytes / WAKEUP_PART
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Buffer, BufferTooLarge, MAX_BYTES};

    #[test]
    fn rounding_is_recorded() {
        assert_eq!(Buffer::round_up(8 << 20, 4_096), Ok(Buffer { bytes: 8 << 20, rounded_from: None }));
        assert_eq!(Buffer::round_up(5_000, 4_096), Ok(Buffer { bytes: 8_192, rounded_from: Some(5_000) }));
        assert_eq!(Buffer::round_up(0, 4_096), Ok(Buffer { bytes: 4_096, rounded_from: Some(0) }));
        assert_eq!(Buffer::round_up(4_096, 65_536), Ok(Buffer { bytes: 65_536, rounded_from: Some(4_096) }));
        assert_eq!(Buffer::round_up(MAX_BYTES, 4_096), Ok(Buffer { bytes: 1 << 30, rounded_from: None }));
    }

    #[test]
    fn too_much_is_refused() {
        for bytes in [MAX_BYTES + 1, u64::MAX] {
            assert_eq!(Buffer::round_up(bytes, 4_096), Err(BufferTooLarge(bytes)));
        }
        let message = BufferTooLarge(2 << 30).to_string();
        assert_eq!(message, "a buffer of `2147483648` bytes is too large: ask for at most 1073741824 (`--buffer 1G`)");
    }

    proptest! {
        #[test]
        fn the_kernel_takes_what_is_rounded(requested in 0..=MAX_BYTES, page in prop::sample::select(&[4_096, 16_384, 65_536][..])) {
            let buffer = Buffer::round_up(requested, page).map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert!(buffer.bytes.is_power_of_two() && buffer.bytes % page == 0);
            prop_assert!(u64::from(buffer.bytes) >= requested);
            prop_assert!(buffer.bytes == page || u64::from(buffer.bytes / 2) < requested, "larger than needed");
            prop_assert_eq!(buffer.rounded_from, (u64::from(buffer.bytes) != requested).then_some(requested));
        }
    }
}
