//! How much memory a recording may take, so that few bytes cannot take much.
//!
//! A frame is compressed, and what it decodes to is larger again: a byte may be a string without text, of 24 bytes in memory. So what
//! is decoded is charged before it is taken, with the room that vectors keep. What real recordings take, in bytes for each byte of the
//! file: events 30 to 45, snapshots 8 to 16, censuses 20 to 40, stacks up to 170; as a whole up to 72, one of ever new stacks included.
//! The largest frames of those took 7 MiB.

/// What any recording may take, bytes.
const BASE: u64 = 16 << 20;
/// How many more each byte of the file may take. What is let go of again is not given back: so time is bounded, too.
const RATIO: u64 = 256;
/// What one frame may take, bytes.
const MOST_OF_A_FRAME: u64 = 64 << 20;

/// What may still be taken, bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    left: u64,
    left_of_frame: u64,
    exceeded: bool,
}

/// It takes more than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exceeded;

impl Budget {
    /// What a file has before anything of it is read.
    pub(crate) const fn new() -> Self {
        Self { left: BASE, left_of_frame: 0, exceeded: false }
    }

    /// What one payload of so many bytes has by itself.
    pub(crate) fn of_payload(bytes: usize) -> Self {
        let mut budget = Self::new();
        budget.begin_frame(bytes);
        budget
    }

    /// A frame of so many bytes of the file begins.
    pub(crate) fn begin_frame(&mut self, bytes: usize) {
        self.left = self.left.saturating_add(RATIO.saturating_mul(bytes as u64));
        self.left_of_frame = MOST_OF_A_FRAME;
    }

    /// Takes so many bytes.
    pub(crate) fn charge(&mut self, bytes: usize) -> Result<(), Exceeded> {
        let bytes = bytes as u64;
        if bytes > self.left.min(self.left_of_frame) {
            self.exceeded = true;
            return Err(Exceeded);
        }
        self.left -= bytes;
        self.left_of_frame -= bytes;
        Ok(())
    }

    /// Takes the room of so many.
    pub(crate) fn charge_for<T>(&mut self, count: usize) -> Result<(), Exceeded> {
        self.charge(count.saturating_mul(size_of::<T>()))
    }

    /// Whether more was wanted than there was.
    pub(crate) fn is_exceeded(&self) -> bool {
        self.exceeded
    }
}
