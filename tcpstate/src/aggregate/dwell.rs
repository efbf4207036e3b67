//! How long sockets stay in each state.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::model::{Dwell, State, Transition};

/// Significant decimal digits of the quantiles.
const DIGITS: u8 = 3;
/// Quantiles above this are given as this: about 13 days, nanoseconds. The maximum is kept exactly beside the histogram.
const HIGHEST_NS: u64 = 1 << 50;

/// Time spent in each state, from the transitions out of it.
#[derive(Clone, Debug, Default)]
pub struct DwellTable {
    states: BTreeMap<State, StateDwell>,
}

/// What the table says of one state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DwellRow {
    /// The state that was left.
    pub state: State,
    /// Stays of which both ends were seen.
    pub count: u64,
    /// Their distribution; `None` when there were none.
    pub exact: Option<Quantiles>,
    /// Stays that had begun before the tracer came. They are not in the distribution.
    pub at_least: u64,
    /// The longest lower bound of these, nanoseconds; 0 when there were none.
    pub at_least_max_ns: u64,
}

/// Distribution of exact times, nanoseconds, to three significant digits; the maximum is exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantiles {
    /// Median.
    pub p50_ns: u64,
    /// 90 of 100 were no longer than this.
    pub p90_ns: u64,
    /// 99 of 100 were no longer than this.
    pub p99_ns: u64,
    /// The longest.
    pub max_ns: u64,
}

impl DwellTable {
    /// Takes a transition into account. Allocates only when its old state is seen for the first time.
    pub fn record(&mut self, transition: &Transition) {
        match transition.in_old {
            Dwell::Exact(ns) => self.state(transition.old).record(ns),
            Dwell::AtLeast(ns) => self.state(transition.old).record_at_least(ns),
            Dwell::Unknown => {}
        }
    }

    /// The states that were left, in the kernel's order; those of unknown number last.
    pub fn rows(&self) -> impl Iterator<Item = DwellRow> {
        self.states.iter().map(|(&state, dwell)| dwell.row(state))
    }

    fn state(&mut self, state: State) -> &mut StateDwell {
        self.states.entry(state).or_insert_with(StateDwell::new)
    }
}

#[derive(Clone, Debug)]
struct StateDwell {
    /// 328 KiB of counters, of which only the touched pages take memory.
    exact: Histogram<u64>,
    max_ns: u64,
    at_least: u64,
    at_least_max_ns: u64,
}

impl StateDwell {
    fn new() -> Self {
        let exact =
            Histogram::new_with_bounds(1, HIGHEST_NS, DIGITS).expect("constant bounds within the crate's limits");
        Self { exact, max_ns: 0, at_least: 0, at_least_max_ns: 0 }
    }

    fn record(&mut self, ns: u64) {
        self.exact.saturating_record(ns);
        self.max_ns = self.max_ns.max(ns);
    }

    fn record_at_least(&mut self, ns: u64) {
        self.at_least += 1;
        self.at_least_max_ns = self.at_least_max_ns.max(ns);
    }

    fn row(&self, state: State) -> DwellRow {
        // The crate names a bucket by its upper end, which may lie beyond the longest time.
        let quantile = |q| self.exact.value_at_quantile(q).min(self.max_ns);
        let exact = (!self.exact.is_empty()).then(|| Quantiles {
            p50_ns: quantile(0.5),
            p90_ns: quantile(0.9),
            p99_ns: quantile(0.99),
            max_ns: self.max_ns,
        });
        let Self { at_least, at_least_max_ns, .. } = *self;
        DwellRow { state, count: self.exact.len(), exact, at_least, at_least_max_ns }
    }
}
