//! Per-CPU counters: nothing is lost silently.

/// What the BPF programs did on one CPU. User space adds up all CPUs.
///
/// `submitted + dropped` is the number of transitions that passed the filters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Counters {
    /// Transitions put into the ring buffer.
    pub submitted: u64,
    /// Transitions that passed the filters and found the ring buffer full. User space adds those that found no program free to
    /// run.
    pub dropped: u64,
    /// Transitions that a filter rejected.
    pub filtered: u64,
    /// Sockets whose story could not be kept because the map of sockets was full.
    pub map_full: u64,
    /// Transitions with a state number outside those known here (they are delivered all the same).
    pub unknown_state: u64,
    /// Stacks not copied because of the rate limit.
    pub stacks_skipped: u64,
    /// Stacks that found their buffer, or the map of places, full.
    pub stacks_dropped: u64,
    /// Of `dropped`, what leak hunting sends beside transitions.
    pub dropped_beside: u64,
    /// Transitions that no program was run for, as far as what came after shows it: at least so many. Those that found no program
    /// free to run are among them.
    pub unseen: u64,
    /// Sockets that `unseen` is about.
    pub unseen_sockets: u64,
}

impl Counters {
    /// Adds what another CPU counted.
    pub fn add(&mut self, other: &Self) {
        self.submitted += other.submitted;
        self.dropped += other.dropped;
        self.filtered += other.filtered;
        self.map_full += other.map_full;
        self.unknown_state += other.unknown_state;
        self.stacks_skipped += other.stacks_skipped;
        self.stacks_dropped += other.stacks_dropped;
        self.dropped_beside += other.dropped_beside;
        self.unseen += other.unseen;
        self.unseen_sockets += other.unseen_sockets;
    }

    /// Transitions that passed the filters, delivered or not.
    #[must_use]
    pub const fn transitions(&self) -> u64 {
        self.submitted + self.dropped
    }
}

#[cfg(feature = "loader")]
// SAFETY: bytemuck has derived the same promise.
unsafe impl aya::Pod for Counters {}
