//! Long times for people.

use std::fmt;

/// Nanoseconds as one or two units, cut off: `420 ms`, `4.2 s`, `42 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub u64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0 / 1_000_000;
        let seconds = ms / 1000;
        let two = |f: &mut fmt::Formatter<'_>, (size, unit): (u64, &str), (small, small_unit): (u64, &str)| {
            let rest = seconds % size / small;
            write!(f, "{} {unit}", seconds / size)?;
            if rest > 0 { write!(f, " {rest} {small_unit}") } else { Ok(()) }
        };
        match seconds {
            0 => write!(f, "{ms} ms"),
            1..10 => write!(f, "{seconds}.{} s", ms % 1000 / 100),
            10..60 => write!(f, "{seconds} s"),
            60..3600 => two(f, (60, "min"), (1, "s")),
            3600..86_400 => two(f, (3600, "h"), (60, "min")),
            _ => two(f, (86_400, "d"), (3600, "h")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Span;

    #[test]
    fn one_or_two_units() {
        for (ms, expected) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_000, "1.0 s"),
            (9_999, "9.9 s"),
            (10_000, "10 s"),
            (59_999, "59 s"),
            (60_000, "1 min"),
            (200_000, "3 min 20 s"),
            (3_600_000, "1 h"),
            (7_500_000, "2 h 5 min"),
            (274_000_000, "3 d 4 h"),
        ] {
            assert_eq!(Span(ms * 1_000_000).to_string(), expected);
        }
        assert_eq!(Span(u64::MAX).to_string(), "213503 d 23 h");
    }
}
