//! What holds of a confined process.

/// What holds of a process that has confined itself. What is not here is no matter of the kernel: it holds, or the process has an error
/// instead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Confined {
    /// The kernel kills the process for every system call that it does not need.
    pub seccomp: bool,
    /// The kernel refuses it every file that was not handed to it (Landlock, Linux 5.13).
    pub landlock: bool,
    /// It runs as a user whom nobody else is.
    pub stranger: bool,
    /// Its root directory is empty.
    pub rootless: bool,
}

impl Confined {
    /// One bit for each, for a channel.
    #[must_use]
    pub fn to_bits(self) -> u8 {
        let Self { seccomp, landlock, stranger, rootless } = self;
        [seccomp, landlock, stranger, rootless].into_iter().rev().fold(0, |bits, holds| bits << 1 | u8::from(holds))
    }

    /// What [`Self::to_bits()`] made.
    #[must_use]
    pub fn from_bits(bits: u8) -> Self {
        let holds = |bit: u8| bits >> bit & 1 == 1;
        Self { seccomp: holds(0), landlock: holds(1), stranger: holds(2), rootless: holds(3) }
    }
}

#[cfg(test)]
mod tests {
    use super::Confined;

    #[test]
    fn bits_there_and_back() {
        for bits in 0..16 {
            assert_eq!(Confined::from_bits(bits).to_bits(), bits);
        }
        assert_eq!(Confined { landlock: true, ..Confined::default() }.to_bits(), 2);
    }
}
