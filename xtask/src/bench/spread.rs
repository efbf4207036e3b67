//! Medians, and how far apart the readings are.

use std::fmt;

use serde::Serialize;

/// The median of some readings, the least and the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) least: f64,
    pub(super) greatest: f64,
}

impl Spread {
    /// `None` of none.
    pub(super) fn of(readings: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut readings: Vec<f64> = readings.into_iter().collect();
        readings.sort_by(f64::total_cmp);
        let (&least, &greatest) = (readings.first()?, readings.last()?);
        let half = readings.len() / 2;
        let upper = *readings.get(half)?;
        let lower = if readings.len().is_multiple_of(2) { *readings.get(half.wrapping_sub(1))? } else { upper };
        Some(Self { median: f64::midpoint(lower, upper), least, greatest })
    }
}

/// With a precision, such as `{:.2}`: `0.95 (0.93–0.97)`; the range is left out where it says nothing.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(0);
        let [median, least, greatest] =
            [self.median, self.least, self.greatest].map(|value| format!("{value:.digits$}"));
        if least == greatest { f.write_str(&median) } else { write!(f, "{median} ({least}–{greatest})") }
    }
}

#[cfg(test)]
mod tests {
    use super::Spread;

    #[test]
    fn the_median_is_in_the_middle() {
        let of = |readings: &[f64]| Spread::of(readings.iter().copied());
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[3.0]), Some(Spread { median: 3.0, least: 3.0, greatest: 3.0 }));
        assert_eq!(of(&[3.0, 1.0, 9.0]), Some(Spread { median: 3.0, least: 1.0, greatest: 9.0 }));
        assert_eq!(of(&[4.0, 1.0, 9.0, 2.0]), Some(Spread { median: 3.0, least: 1.0, greatest: 9.0 }));
    }

    #[test]
    fn a_range_is_shown_where_there_is_one() {
        let spread = Spread { median: 0.951, least: 0.93, greatest: 0.968 };
        assert_eq!(format!("{spread:.2}"), "0.95 (0.93–0.97)");
        assert_eq!(format!("{spread:.0}"), "1");
    }
}
