//! How much may be done for one name.

/// Steps that the name of one address may take: entries and attributes of debug info, instructions of line tables, ranges. That is
/// some tenths of a second. An index of all units of a browser takes a fifth of it.
const MAX_STEPS: u64 = 1 << 26;

/// Why debug info says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// It contradicts itself.
    #[error("malformed debug info: {0}")]
    Malformed(#[from] gimli::Error),
    /// It takes too many steps to read, or too much memory to keep.
    #[error("debug info that takes too long to read, or too much memory")]
    TooMuch,
}

/// What is left of the steps for one name.
#[derive(Debug)]
pub(super) struct Work {
    left: u64,
    was_too_much: bool,
}

impl Default for Work {
    fn default() -> Self {
        Self::new(MAX_STEPS)
    }
}

impl Work {
    /// So many steps.
    pub(super) fn new(steps: u64) -> Self {
        Self { left: steps, was_too_much: false }
    }

    /// Takes that many steps.
    ///
    /// # Errors
    ///
    /// [`Failure::TooMuch`] when there are not so many left; and from then on always.
    #[inline]
    pub(super) fn spend(&mut self, steps: usize) -> Result<(), Failure> {
        match self.left.checked_sub(steps as u64) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                self.left = 0;
                Err(self.give_up())
            }
        }
    }

    /// Remembers that something was too much to read or to keep.
    #[cold]
    pub(super) fn give_up(&mut self) -> Failure {
        self.was_too_much = true;
        Failure::TooMuch
    }

    /// Whether anything was.
    pub(super) fn was_too_much(&self) -> bool {
        self.was_too_much
    }
}
