//! How long sockets stay in each state.

mod open;

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use self::open::OpenStays;
use crate::model::{Dwell, MonotonicNs, State, Transition};

/// Significant decimal digits of the quantiles.
const DIGITS: u8 = 3;
/// Quantiles above this are given as this: about 13 days, nanoseconds. The maximum is kept exactly beside the histogram.
const HIGHEST_NS: u64 = 1 << 50;

/// Time spent in each state: from the transitions out of it, and of those into it that were followed by none.
#[derive(Clone, Debug, Default)]
pub struct DwellTable {
    states: BTreeMap<State, StateDwell>,
    open: OpenStays,
}

/// What the table says of one state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DwellRow {
    /// The state.
    pub state: State,
    /// Stays of which both ends were seen.
    pub count: u64,
    /// Their distribution; `None` when there were none.
    pub exact: Option<Quantiles>,
    /// Stays that had begun before the tracer came. They are not in the distribution.
    pub at_least: u64,
    /// The longest lower bound of these, nanoseconds; 0 when there were none.
    pub at_least_max_ns: u64,
    /// Stays of which the start was seen, and no end. They are not in the distribution either.
    pub open: u64,
    /// The longest of these until now, nanoseconds; 0 when there were none.
    pub open_max_ns: u64,
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
    /// One for transitions of which only those out of these states, and into them, are told: a mask of
    /// [`TcpState::bit`](tcpstate_common::state::TcpState::bit).
    #[must_use]
    pub fn of_states(states: u32) -> Self {
        Self { open: OpenStays::of_states(states), ..Self::default() }
    }

    /// Takes a transition into account. Allocates only when its old state is seen for the first time, and when more sockets are
    /// open than ever before.
    pub fn record(&mut self, transition: &Transition) {
        self.open.record(transition);
        match transition.in_old {
            Dwell::Exact(ns) => self.state(transition.old).record(ns),
            Dwell::AtLeast(ns) => self.state(transition.old).record_at_least(ns),
            Dwell::Unknown => {}
        }
    }

    /// The states that sockets were in, as of a moment, in the kernel's order; those of unknown number last.
    #[must_use]
    pub fn rows(&self, now: MonotonicNs) -> Vec<DwellRow> {
        let mut rows: BTreeMap<State, DwellRow> =
            self.states.iter().map(|(&state, dwell)| (state, dwell.row(state))).collect();
        for (state, since) in self.open.stays() {
            let row = rows.entry(state).or_insert(DwellRow::empty(state));
            row.open += 1;
            row.open_max_ns = row.open_max_ns.max(now.0.saturating_sub(since.0));
        }
        rows.into_values().collect()
    }

    /// Stays without an end that found no room: in no row.
    #[must_use]
    pub fn not_kept(&self) -> u64 {
        self.open.not_kept()
    }

    fn state(&mut self, state: State) -> &mut StateDwell {
        self.states.entry(state).or_insert_with(StateDwell::new)
    }
}

impl DwellRow {
    fn empty(state: State) -> Self {
        Self { state, count: 0, exact: None, at_least: 0, at_least_max_ns: 0, open: 0, open_max_ns: 0 }
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
        DwellRow { count: self.exact.len(), exact, at_least, at_least_max_ns, ..DwellRow::empty(state) }
    }
}

#[cfg(test)]
pub(in crate::aggregate::dwell) mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use proptest::{collection::vec, prelude::*};
    use tcpstate_common::state::TcpState;

    use super::{DwellRow, DwellTable, HIGHEST_NS, Quantiles};
    use crate::model::{Dwell, Endpoint, Family, MonotonicNs, Protocol, SocketId, State, Transition};

    /// A transition of a socket without an id, at the beginning of time.
    pub(super) fn transition(old: State, new: State, in_old: Dwell) -> Transition {
        let nowhere = Endpoint { addr: IpAddr::V4(Ipv4Addr::UNSPECIFIED), port: 0 };
        Transition {
            at: MonotonicNs(0),
            socket: SocketId { cookie: None, skaddr: 0 },
            id: None,
            old,
            new,
            in_old,
            owner: None,
            family: Family::Inet,
            protocol: Protocol::Tcp,
            local: nowhere,
            remote: nowhere,
            netns: 0,
            cgroup: None,
            uid: 0,
        }
    }

    fn left(old: State, in_old: Dwell) -> Transition {
        transition(old, State::Known(TcpState::Close), in_old)
    }

    fn rows(dwells: impl IntoIterator<Item = (State, Dwell)>) -> Vec<DwellRow> {
        let mut table = DwellTable::default();
        dwells.into_iter().for_each(|(old, dwell)| table.record(&left(old, dwell)));
        table.rows(MonotonicNs(0))
    }

    const CLOSE_WAIT: State = State::Known(TcpState::CloseWait);

    #[test]
    fn lower_bounds_are_in_no_quantile() {
        let row =
            rows([Dwell::Exact(7), Dwell::AtLeast(1_000), Dwell::AtLeast(2_000)].map(|dwell| (CLOSE_WAIT, dwell)));
        let exact = Some(Quantiles { p50_ns: 7, p90_ns: 7, p99_ns: 7, max_ns: 7 });
        let expected = DwellRow { count: 1, exact, at_least: 2, at_least_max_ns: 2_000, ..DwellRow::empty(CLOSE_WAIT) };
        assert_eq!(row, [expected]);
    }

    #[test]
    fn a_state_without_exact_times_has_no_quantiles() {
        let row = rows([(CLOSE_WAIT, Dwell::AtLeast(5))]);
        assert_eq!(row, [DwellRow { at_least: 1, at_least_max_ns: 5, ..DwellRow::empty(CLOSE_WAIT) }]);
        assert_eq!(rows([(CLOSE_WAIT, Dwell::Unknown)]), []);
    }

    #[test]
    fn states_come_in_the_kernels_order() {
        let states = [State::Unknown(200), CLOSE_WAIT, State::Known(TcpState::Established), State::Unknown(0)];
        let order: Vec<State> =
            rows(states.map(|state| (state, Dwell::Exact(1)))).iter().map(|row| row.state).collect();
        assert_eq!(order, [State::Known(TcpState::Established), CLOSE_WAIT, State::Unknown(0), State::Unknown(200)]);
    }

    #[test]
    fn times_beyond_the_histogram_are_capped_and_the_maximum_is_exact() {
        let row = rows([(CLOSE_WAIT, Dwell::Exact(u64::MAX))]);
        let Some(Quantiles { p50_ns, max_ns, .. }) = row[0].exact else { panic!("no quantiles: {row:?}") };
        assert_eq!(max_ns, u64::MAX);
        assert!((HIGHEST_NS..HIGHEST_NS + HIGHEST_NS / 500).contains(&p50_ns), "{p50_ns}");
    }

    #[test]
    fn nothing_is_allocated_after_the_first_of_a_state() {
        let mut table = DwellTable::default();
        table.record(&left(CLOSE_WAIT, Dwell::Exact(1)));
        let info = allocation_counter::measure(|| {
            (0..64).for_each(|shift| table.record(&left(CLOSE_WAIT, Dwell::Exact(u64::MAX >> shift))));
            table.record(&left(CLOSE_WAIT, Dwell::AtLeast(1)));
        });
        assert_eq!(info.count_total, 0);
    }

    #[test]
    fn a_state_takes_less_than_half_a_megabyte() {
        let info = allocation_counter::measure(|| drop(rows([(CLOSE_WAIT, Dwell::Exact(u64::MAX))])));
        assert!(info.bytes_max < 512 << 10, "{} bytes", info.bytes_max);
    }

    proptest! {
        /// A sorted list is what a histogram stands for.
        #[test]
        fn quantiles_are_right_to_three_digits(mut times in vec(prop_oneof![0..HIGHEST_NS, 0..100_000_u64], 1..300)) {
            let rows = rows(times.iter().map(|&ns| (CLOSE_WAIT, Dwell::Exact(ns))));
            times.sort_unstable();
            let Some(exact) = rows[0].exact else { panic!("no quantiles") };
            prop_assert_eq!(rows[0].count, times.len() as u64);
            prop_assert_eq!(Some(&exact.max_ns), times.last());
            for (percent, shown) in [(50, exact.p50_ns), (90, exact.p90_ns), (99, exact.p99_ns)] {
                let truth = times[(times.len() * percent).div_ceil(100) - 1];
                prop_assert!(shown <= exact.max_ns, "p{percent} is {shown}, beyond the maximum");
                prop_assert!(shown.abs_diff(truth) <= truth / 1_000, "p{percent} is {shown}, not {truth}");
            }
        }
    }
}
