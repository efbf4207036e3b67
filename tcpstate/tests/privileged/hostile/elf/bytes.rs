//! Numbers in the shapes of ELF and DWARF, little-endian.

/// Bytes in the making.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bytes(Vec<u8>);

impl Bytes {
    pub(crate) fn u8(&mut self, value: u8) -> &mut Self {
        self.raw(&[value])
    }

    pub(crate) fn u16(&mut self, value: u16) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    pub(crate) fn u32(&mut self, value: u32) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    pub(crate) fn u64(&mut self, value: u64) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// With the zero that ends it.
    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.raw(text.as_bytes()).u8(0)
    }

    /// LEB128, unsigned.
    pub(crate) fn leb(&mut self, mut value: u64) -> &mut Self {
        while value > 0x7f {
            self.0.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.u8(value.to_le_bytes()[0])
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn repeat(&mut self, bytes: &[u8], times: usize) -> &mut Self {
        self.raw(&bytes.repeat(times))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn done(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

/// What follows a length of 32 bits.
pub(crate) fn sized(content: &[u8]) -> Vec<u8> {
    let mut bytes = Bytes::default();
    bytes.u32(u32::try_from(content.len()).unwrap_or(u32::MAX)).raw(content);
    bytes.done()
}
