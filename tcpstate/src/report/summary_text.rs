//! The end of a trace, for people; goes to standard error.

use std::{fmt, io};

use anstyle::Style;
use tcpstate_core::{aggregate::dwell::DwellRow, model::Totals};

use super::{
    Summary,
    columns::{Align, Column, Columns},
    words::Count,
};

/// Writes what was counted, what is missing and how to get it, and how long sockets stayed in each state.
///
/// # Errors
///
/// Those of `out`.
pub fn write_summary(out: &mut impl io::Write, summary: &Summary) -> io::Result<()> {
    let Totals { seen, lost, filtered, map_full, unknown_state, .. } = summary.totals;
    let unseen = summary.unseen;
    let elapsed = HumanTime(u64::try_from(summary.elapsed.as_nanos()).unwrap_or(u64::MAX));
    writeln!(out, "{} seen, {lost} lost, {filtered} filtered out, in {elapsed}", Count(seen, "transition"))?;
    if lost > 0 {
        writeln!(
            out,
            "incomplete: {} found the ring buffer full and are missing from the counts and times below; \
             ask for a larger `--buffer`, or for less with filters",
            Count(lost, "transition")
        )?;
    }
    if unseen.transitions > 0 {
        writeln!(
            out,
            "incomplete: at least {} of {} are missing, since the kernel ran no tracing program for them; nothing helps here",
            Count(unseen.transitions, "transition"),
            Count(unseen.sockets, "socket")
        )?;
    }
    if map_full > 0 {
        writeln!(
            out,
            "incomplete: the map of sockets was full for {}: no owners and no times of these; \
             trace less at a time with filters",
            Count(map_full, "socket")
        )?;
    }
    if unknown_state > 0 {
        writeln!(
            out,
            "{} had a state unknown to this tcpstate, shown by its number",
            Count(unknown_state, "transition")
        )?;
    }
    if summary.open_not_kept > 0 {
        writeln!(
            out,
            "incomplete: too many stays without an end to keep them all: {} of them are missing below",
            summary.open_not_kept
        )?;
    }
    if summary.dwell.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    write_dwell(out, &summary.dwell)
}

fn write_dwell(out: &mut impl io::Write, rows: &[DwellRow]) -> io::Result<()> {
    let column = |title, align, group, width| Column { title, align, group, width, steps: &[] };
    let mut columns = Columns::new(vec![
        column("TIME IN", Align::Left, 0, "ESTABLISHED".len()),
        column("COUNT", Align::Right, 1, 8),
        column("P50", Align::Right, 2, 8),
        column("P90", Align::Right, 2, 8),
        column("P99", Align::Right, 2, 8),
        column("MAX", Align::Right, 2, 8),
        column("", Align::Left, 3, 1),
    ]);
    for row in rows {
        set_row(&mut columns, row).map_err(io::Error::other)?;
        columns.grow();
    }
    columns.write_titles(out, Style::new())?;
    for row in rows {
        set_row(&mut columns, row).map_err(io::Error::other)?;
        columns.write_line(out)?;
    }
    Ok(())
}

fn set_row(columns: &mut Columns, row: &DwellRow) -> fmt::Result {
    let plain = Style::new();
    columns.set(0, plain, row.state)?;
    columns.set(1, plain, row.count)?;
    let quantiles = row.exact.map(|exact| [exact.p50_ns, exact.p90_ns, exact.p99_ns, exact.max_ns].map(HumanTime));
    for (index, column) in (2..6).enumerate() {
        match quantiles {
            Some(quantiles) => columns.set(column, plain, quantiles[index])?,
            None => columns.set(column, plain, '-')?,
        }
    }
    let others =
        [(row.at_least, "begun before the trace", row.at_least_max_ns), (row.open, "not seen to end", row.open_max_ns)];
    let others = others.into_iter().filter(|&(count, ..)| count > 0);
    let others = others.map(|(count, what, ns)| format!("and {count} {what}, the longest ≥ {}", HumanTime(ns)));
    columns.set(6, plain, others.collect::<Vec<_>>().join(", "))
}

/// Nanoseconds as three significant digits and a unit, cut off.
#[derive(Clone, Copy)]
struct HumanTime(u64);

impl fmt::Display for HumanTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(ns) = *self;
        let (unit_ns, unit) = match ns {
            0..1_000 => return write!(f, "{ns} ns"),
            1_000..1_000_000 => (1_000, "µs"),
            1_000_000..1_000_000_000 => (1_000_000, "ms"),
            _ => (1_000_000_000, "s"),
        };
        let (whole, thousandths) = (ns / unit_ns, ns % unit_ns * 1_000 / unit_ns);
        match whole {
            0..10 => write!(f, "{whole}.{:02} {unit}", thousandths / 10),
            10..100 => write!(f, "{whole}.{} {unit}", thousandths / 100),
            _ => write!(f, "{whole} {unit}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::HumanTime;

    #[test]
    fn times_have_three_digits_and_are_never_rounded_up() {
        for (ns, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.00 µs"),
            (9_999, "9.99 µs"),
            (10_000, "10.0 µs"),
            (999_999, "999 µs"),
            (1_050_000, "1.05 ms"),
            (99_999_999, "99.9 ms"),
            (999_999_999, "999 ms"),
            (1_000_000_000, "1.00 s"),
            (86_400_000_000_000, "86400 s"),
            (u64::MAX, "18446744073 s"),
        ] {
            assert_eq!(HumanTime(ns).to_string(), text);
        }
    }
}
