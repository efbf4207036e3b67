//! Options that say how something is written.

use clap::{Args, ColorChoice, ValueEnum, builder::PossibleValue};

use super::headings::OUTPUT;
use crate::report::{clock::TimeStyle, folded::Weight};

/// Format of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// Columns.
    #[default]
    Text,
    /// One JSON object a line, as documented by the command's schema.
    Json,
}

/// Format of a report of leaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LeaksFormat {
    /// For people; on a terminal each report replaces the one before.
    #[default]
    Text,
    /// One JSON object a report, as documented by `leaks-v1.schema.json`.
    Json,
    /// Stacks in one line each, as flame graph programs read them; at the end.
    Folded,
    /// A flame graph; at the end.
    Svg,
}

impl LeaksFormat {
    /// Whether it shows stacks by their widths.
    #[must_use]
    pub fn is_flame_graph(self) -> bool {
        matches!(self, Self::Folded | Self::Svg)
    }
}

/// How leaks are written.
#[derive(Args, Clone, Copy, Debug)]
pub struct LeaksOutputArgs {
    /// Text for people, one JSON object a report, or the stacks of the last report as a flame graph.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t, help_heading = OUTPUT)]
    pub output: LeaksFormat,

    /// What the widths of a flame graph stand for [default: seconds].
    #[arg(long, value_enum, value_name = "UNIT", help_heading = OUTPUT)]
    pub weight: Option<Weight>,
}

/// How text is written that is full of times.
#[derive(Args, Clone, Copy, Debug)]
pub struct TextArgs {
    /// How text output shows the time; JSON always carries both clocks.
    #[arg(long, value_enum, value_name = "STYLE", default_value_t, help_heading = OUTPUT)]
    pub time: TimeStyle,

    /// Whether it is coloured.
    #[command(flatten)]
    pub color: ColorArgs,
}

/// Whether text is coloured.
#[derive(Args, Clone, Copy, Debug)]
pub struct ColorArgs {
    /// Whether text output is coloured: auto means on a terminal, unless `NO_COLOR` is set.
    #[arg(long = "color", value_name = "WHEN", default_value_t = ColorChoice::Auto, help_heading = OUTPUT)]
    pub when: ColorChoice,
}

impl ValueEnum for TimeStyle {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Local, Self::Rfc3339, Self::Relative, Self::None]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Self::Local => PossibleValue::new("local").help("Local wall clock, HH:MM:SS.mmm"),
            Self::Rfc3339 => PossibleValue::new("rfc3339").help("Local date, time and offset, microseconds"),
            Self::Relative => PossibleValue::new("relative").help("Seconds since the trace began"),
            Self::None => PossibleValue::new("none").help("No column of times"),
        })
    }
}

impl ValueEnum for Weight {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Seconds, Self::Sockets]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Self::Seconds => PossibleValue::new("seconds").help("How many sockets, and for how long"),
            Self::Sockets => PossibleValue::new("sockets").help("How many sockets"),
        })
    }
}
