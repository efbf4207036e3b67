//! When a socket entered CLOSE_WAIT, and what its timers say of that.

use crate::model::{Age, MonotonicNs, leak::SocketLoad};

/// Coarseness of the kernel's `tcpi_last_*`: one jiffy of `HZ=100`, the longest in use.
const JIFFY_NS: u64 = 10_000_000;
const NS_PER_MS: u64 = 1_000_000;

/// When a socket entered CLOSE_WAIT: between two moments, which are the same when the entry was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EntryTime {
    /// Nanoseconds; 0 when nothing is known.
    pub(super) earliest: u64,
    pub(super) latest: u64,
}

impl EntryTime {
    pub(super) const fn at(moment: MonotonicNs) -> Self {
        Self { earliest: moment.0, latest: moment.0 }
    }

    pub(super) const fn before(moment: MonotonicNs) -> Self {
        Self { earliest: 0, latest: moment.0 }
    }

    pub(super) const fn is_exact(self) -> bool {
        self.earliest == self.latest
    }

    /// The FIN came after the last data and not after the last acknowledgement. They were read somewhere between `taken`
    /// and `complete`.
    pub(super) fn narrow(&mut self, load: &SocketLoad, taken: MonotonicNs, complete: MonotonicNs) {
        if self.is_exact() {
            return;
        }
        let ns = |ms: u32| u64::from(ms) * NS_PER_MS;
        let earliest = match load.last_data_recv_ms {
            // Longer ago than can be told.
            u32::MAX => 0,
            ms => taken.0.saturating_sub(ns(ms)).saturating_sub(JIFFY_NS),
        };
        let latest = complete.0.saturating_sub(ns(load.last_ack_recv_ms)).saturating_add(JIFFY_NS);
        // A keepalive or a probe makes an acknowledgement young, it never makes one old: the oldest seen is the best.
        self.latest = self.latest.min(latest);
        self.earliest = self.earliest.max(earliest).min(self.latest);
    }

    /// How long ago that was.
    pub(super) fn age(self, now: MonotonicNs) -> Age {
        let since = |moment: u64| now.0.saturating_sub(moment);
        Age { at_least_ns: since(self.latest), at_most_ns: (self.earliest > 0).then(|| since(self.earliest)) }
    }
}
