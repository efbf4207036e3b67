//! Counts over time: how fast they grow, and when they reach a limit.

use crate::model::MonotonicNs;

/// Samples kept; when they are full, every second one goes and the next ones are taken half as often.
const SAMPLES: usize = 64;
/// The samples are at most this far apart, so that 64 of them span about 17 minutes: growth is about now.
const LONGEST_STEP_NS: u64 = 16_000_000_000;
const FIRST_STEP_NS: u64 = 250_000_000;
/// Nothing is said before this many samples over this time.
const ENOUGH_SAMPLES: usize = 4;
const ENOUGH_NS: u64 = 5_000_000_000;
const NS_PER_MINUTE: f64 = 60e9;
/// A limit further away than this is not worth a forecast.
const FAR_NS: f64 = 7.0 * 86_400e9;

/// Growth of a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Growth {
    /// By how much in a minute: the median of the slopes between all pairs of samples (Theil–Sen).
    pub per_minute: f64,
    /// Over which time it was observed, nanoseconds.
    pub window_ns: u64,
    /// The last number less the first.
    pub change: i64,
    /// Whether it was never higher than at the beginning of the window.
    pub flat: bool,
}

impl Growth {
    /// Rates nearer to 0 than this are none, in a minute.
    const LEAST: f64 = 0.05;

    /// Whether there is a rate worth saying. Numbers may change without one: by a leap, say.
    #[must_use]
    pub fn has_rate(&self) -> bool {
        self.per_minute.abs() >= Self::LEAST
    }

    /// Whether the number grows.
    #[must_use]
    pub fn is_up(&self) -> bool {
        if self.has_rate() { self.per_minute > 0.0 } else { self.change > 0 }
    }
}

/// When a limit will be reached if the growth goes on, in nanoseconds from the last sample: the ends of the 95 % confidence interval of
/// the slope (least squares).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// Not before this.
    pub soonest_ns: u64,
    /// Not after this.
    pub latest_ns: u64,
}

/// A number at moments that ascend.
#[derive(Clone, Debug)]
pub(super) struct Series {
    samples: Vec<(u64, u64)>,
    step_ns: u64,
}

impl Series {
    pub(super) fn new() -> Self {
        Self { samples: Vec::new(), step_ns: FIRST_STEP_NS }
    }

    /// Takes a sample, unless it comes too soon after the last; one of the same moment takes its place.
    pub(super) fn push(&mut self, at: MonotonicNs, value: u64) {
        if let Some(last) = self.samples.last_mut().filter(|last| last.0 == at.0) {
            last.1 = value;
            return;
        }
        if self.samples.last().is_some_and(|&(last, _)| at.0 < last.saturating_add(self.step_ns)) {
            return;
        }
        if self.samples.len() == SAMPLES {
            if self.step_ns < LONGEST_STEP_NS {
                self.step_ns *= 2;
                let mut odd = false;
                self.samples.retain(|_| {
                    odd = !odd;
                    odd
                });
            } else {
                self.samples.remove(0);
            }
        }
        self.samples.push((at.0, value));
    }

    /// Whether it has been 0 for as long as it is remembered.
    pub(super) fn is_empty(&self) -> bool {
        self.samples.iter().all(|&(_, value)| value == 0)
    }

    /// When it was not 0 last, as far as it is remembered.
    pub(super) fn last_seen(&self) -> MonotonicNs {
        MonotonicNs(self.samples.iter().rev().find(|&&(_, value)| value > 0).map_or(0, |&(at, _)| at))
    }

    /// Whether the number was never higher than at first; `None` when it has not been observed for long enough.
    pub(super) fn is_flat(&self) -> Option<bool> {
        self.window()?;
        let (_, first) = *self.samples.first()?;
        Some(self.samples.iter().all(|&(_, value)| value <= first))
    }

    /// `None` when it has not been observed for long enough.
    pub(super) fn growth(&self) -> Option<Growth> {
        let window_ns = self.window()?;
        let mut slopes = Vec::with_capacity(SAMPLES * SAMPLES / 2);
        for (index, &(from, before)) in self.samples.iter().enumerate() {
            let later = &self.samples[index + 1..];
            slopes.extend(later.iter().map(|&(to, after)| (after as f64 - before as f64) / (to - from) as f64));
        }
        let (first, last) = (self.samples.first()?.1, self.samples.last()?.1);
        let flat = self.is_flat()?;
        let change = last.saturating_sub(first).try_into().unwrap_or(i64::MAX)
            - first.saturating_sub(last).try_into().unwrap_or(i64::MAX);
        Some(Growth { per_minute: median(&mut slopes)? * NS_PER_MINUTE, window_ns, change, flat })
    }

    /// Growth of the sum of several numbers, at the moments of the first. Before a number was looked at first, it is taken for
    /// what it was then: sockets that are found to be relatives of others were there before.
    pub(super) fn growth_of_sum(series: &[&Self]) -> Option<Growth> {
        match series {
            [] => None,
            [one] => one.growth(),
            [first, others @ ..] => {
                let of_others = |at| others.iter().map(|other| other.value_at(at)).fold(0, u64::saturating_add);
                let samples =
                    first.samples.iter().map(|&(at, value)| (at, value.saturating_add(of_others(at)))).collect();
                Self { samples, step_ns: first.step_ns }.growth()
            }
        }
    }

    /// The last number known at a moment; before the first sample that of the first.
    fn value_at(&self, at: u64) -> u64 {
        let later = self.samples.partition_point(|&(taken, _)| taken <= at);
        self.samples.get(later.saturating_sub(1)).map_or(0, |&(_, value)| value)
    }

    /// `None` when there is no trend that could be told from chance, when it has ended, or when it leads nowhere soon.
    pub(super) fn forecast(&self, limit: u64) -> Option<Forecast> {
        let growth = self.growth()?;
        if !(growth.has_rate() && growth.is_up() && self.goes_on()) {
            return None;
        }
        let &(origin, _) = self.samples.first()?;
        let &(_, now) = self.samples.last()?;
        let n = self.samples.len() as f64;
        let points = || self.samples.iter().map(|&(at, value)| ((at - origin) as f64, value as f64));
        let (mean_t, mean_v) = (points().map(|(t, _)| t).sum::<f64>() / n, points().map(|(_, v)| v).sum::<f64>() / n);
        let spread = points().map(|(t, _)| (t - mean_t).powi(2)).sum::<f64>();
        let slope = points().map(|(t, v)| (t - mean_t) * (v - mean_v)).sum::<f64>() / spread;
        let residual = points().map(|(t, v)| (v - mean_v - slope * (t - mean_t)).powi(2)).sum::<f64>();
        // Whole numbers scatter around any line by a twelfth, however straight they look.
        let variance = (residual / (n - 2.0)).max(1.0 / 12.0);
        let margin = student_t(self.samples.len() - 2) * (variance / spread).sqrt();
        let left = limit.saturating_sub(now) as f64;
        let (soonest, latest) = (left / (slope + margin), left / (slope - margin));
        (slope > margin && latest <= FAR_NS)
            .then_some(Forecast { soonest_ns: soonest as u64, latest_ns: latest as u64 })
    }

    /// Whether it has grown in the second half of its samples, too.
    fn goes_on(&self) -> bool {
        let middle = self.samples.get(self.samples.len() / 2).map(|&(_, value)| value);
        self.samples.last().map(|&(_, value)| value) > middle
    }

    /// How long it has been observed, if that is long enough.
    fn window(&self) -> Option<u64> {
        let window = self.samples.last()?.0 - self.samples.first()?.0;
        (self.samples.len() >= ENOUGH_SAMPLES && window >= ENOUGH_NS).then_some(window)
    }
}

fn median(values: &mut [f64]) -> Option<f64> {
    let middle = values.len() / 2;
    let odd = values.len() % 2 == 1;
    if values.is_empty() {
        return None;
    }
    let (below, &mut upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    if odd {
        return Some(upper);
    }
    let lower = below.iter().copied().max_by(f64::total_cmp)?;
    Some(f64::midpoint(lower, upper))
}

/// 97.5 % quantile of Student's t distribution: exact for few degrees of freedom, from above for more.
fn student_t(freedom: usize) -> f64 {
    const FEW: [f64; 10] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228];
    match freedom {
        0 => f64::INFINITY,
        1..=10 => FEW[freedom - 1],
        11..=20 => 2.201,
        21..=30 => 2.080,
        _ => 2.042,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn series(values: impl IntoIterator<Item = u64>) -> Series {
        let mut series = Series::new();
        for (n, value) in values.into_iter().enumerate() {
            series.push(MonotonicNs(SECOND * 100 + n as u64 * 2 * SECOND), value);
        }
        series
    }

    #[test]
    fn nothing_before_enough_is_seen() {
        assert_eq!(series([1, 2, 3]).growth(), None);
        assert_eq!(series([10, 20, 30]).forecast(100), None);
        let mut quick = Series::new();
        for n in 0..10 {
            quick.push(MonotonicNs(n * SECOND / 4), n);
        }
        assert_eq!(quick.growth(), None);
    }

    #[test]
    fn a_second_sample_of_the_same_moment_counts() {
        let mut twice = Series::new();
        for n in 0..10 {
            twice.push(MonotonicNs(n * SECOND), 0);
            twice.push(MonotonicNs(n * SECOND), 7 * n);
        }
        assert!(twice.growth().is_some_and(|growth| (growth.per_minute - 420.0).abs() < 1e-6));
    }

    #[test]
    fn steady_growth() {
        let growth = series((0..20).map(|n| n * 2)).growth().expect("20 samples");
        assert!((growth.per_minute - 60.0).abs() < 1e-9, "{growth:?}");
        assert_eq!((growth.window_ns, growth.flat), (38 * SECOND, false));
    }

    #[test]
    fn one_outlier_does_not_matter() {
        let values = (0..21).map(|n| if n == 20 { 10_000 } else { 100 + n });
        let growth = series(values).growth().expect("21 samples");
        assert!((growth.per_minute - 30.0).abs() < 3.0, "{growth:?}");
    }

    #[test]
    fn flat_has_no_forecast() {
        let flat = series([50; 30]);
        assert!(flat.growth().is_some_and(|growth| growth.flat && growth.per_minute == 0.0));
        assert_eq!(flat.forecast(100), None);
        assert_eq!(series((0..30).map(|n| 50 + n % 2)).forecast(100), None);
        assert_eq!(series((0..30).map(|n| 50 - n)).forecast(100), None);
    }

    #[test]
    fn forecast_contains_the_truth() {
        // Two descriptors each second, 1000 - 100 - 58 left at the end.
        let forecast = series((0..30).map(|n| 100 + 4 * n / 2)).forecast(1000).expect("a trend");
        let truth = (1000 - 158) * SECOND;
        assert!(forecast.soonest_ns < truth && truth < forecast.latest_ns, "{forecast:?}");
        assert!(forecast.latest_ns < truth + truth / 50, "{forecast:?}");
        assert_eq!(series((0..30).map(|n| 100 + n)).forecast(u64::MAX), None, "too far");
        assert_eq!(series((0..30).map(|n| 100 + n)).forecast(100).map(|full| full.latest_ns), Some(0));
    }

    #[test]
    fn long_runs_are_thinned_out() {
        let mut series = Series::new();
        for n in 0..20_000 {
            series.push(MonotonicNs(n * SECOND), 3 * n);
        }
        assert!(series.samples.len() <= SAMPLES);
        let growth = series.growth().expect("many samples");
        assert!((growth.per_minute - 180.0).abs() < 1e-6, "{growth:?}");
        assert!(growth.window_ns > 500 * SECOND && growth.window_ns <= 64 * LONGEST_STEP_NS, "{growth:?}");
    }

    proptest! {
        #[test]
        fn any_numbers(steps in prop::collection::vec((0_u64..1 << 40, any::<u64>()), 0..200), limit: u64) {
            let (mut series, mut at) = (Series::new(), 0);
            for (step, value) in steps {
                at += step;
                series.push(MonotonicNs(at), value);
            }
            if let Some(growth) = series.growth() {
                prop_assert!(growth.per_minute.is_finite());
            }
            if let Some(forecast) = series.forecast(limit) {
                prop_assert!(forecast.soonest_ns <= forecast.latest_ns);
            }
        }

        #[test]
        fn a_forecast_of_a_line_with_noise(slope in 5_u64..100, noise in prop::collection::vec(0_u64..5, 40)) {
            let forecast = series(noise.iter().zip(0..).map(|(noise, n)| 1000 + slope * n + noise)).forecast(100_000);
            prop_assert!(forecast.is_some());
        }
    }
}
