//! Memory of a process, read no more often than was agreed.

use crate::supplier::{self, Supplier};

/// Memory of the process that the task at hand is about.
pub(super) struct Memory<'a> {
    supplier: &'a mut dyn Supplier,
    /// How often it may still be read.
    left: usize,
}

impl<'a> Memory<'a> {
    /// To be read at most `reads` times.
    pub(super) fn new(supplier: &'a mut dyn Supplier, reads: usize) -> Self {
        Self { supplier, left: reads }
    }

    /// At most `length` bytes: fewer where it ends sooner, none once it was read too often.
    pub(super) fn read(&mut self, address: u64, length: u32) -> Vec<u8> {
        let Some(left) = self.left.checked_sub(1) else { return Vec::new() };
        self.left = left;
        let mut bytes = supplier::memory(self.supplier, address, length);
        bytes.truncate(length as usize);
        bytes
    }

    /// The word at an address.
    pub(super) fn word(&mut self, address: u64) -> Option<u64> {
        word(&self.read(address, size_of::<u64>() as u32), 0)
    }

    /// A text at an address that ends with a 0 within `length` bytes.
    pub(super) fn text(&mut self, address: u64, length: u32) -> Option<Vec<u8>> {
        let mut text = self.read(address, length);
        text.truncate(text.iter().position(|&byte| byte == 0)?);
        Some(text)
    }
}

/// The word at an offset.
pub(super) fn word(bytes: &[u8], offset: u32) -> Option<u64> {
    let bytes = bytes.get(offset as usize..)?.first_chunk()?;
    Some(u64::from_le_bytes(*bytes))
}

/// The half word at an offset.
pub(super) fn half(bytes: &[u8], offset: u32) -> Option<u32> {
    let bytes = bytes.get(offset as usize..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}
