//! Of what `leaks` shows.

use std::io;

use tcpstate_core::model::MonotonicNs;

use crate::{
    cli::LeaksFormat,
    report::{
        clock::{TimeFormat, TimeStyle, WallClock},
        folded::{self, Weight},
        leaks::LeakReport,
        leaks_json::LeaksJson,
        leaks_text::LeaksText,
        svg,
    },
    session::pages::Pages,
    settings::leaks::LeaksSettings,
};

pub(crate) enum LeaksRenderer {
    /// One report after another, or each in place of the one before.
    Text { text: LeaksText, pages: Pages },
    /// One object a report.
    Json(LeaksJson),
    /// The last report only.
    Folded(Weight),
    /// The last report only.
    Svg(Weight),
}

impl LeaksRenderer {
    pub(crate) fn new(settings: &LeaksSettings, clock: WallClock, start: MonotonicNs) -> Self {
        match settings.output {
            LeaksFormat::Json => Self::Json(LeaksJson::new(clock)),
            LeaksFormat::Folded => Self::Folded(settings.weight),
            LeaksFormat::Svg => Self::Svg(settings.weight),
            LeaksFormat::Text => {
                let time = TimeFormat { style: TimeStyle::Local, clock, start, zone: jiff::tz::TimeZone::system() };
                Self::Text {
                    text: LeaksText { time, color: settings.color, width: Pages::width() },
                    pages: Pages::new(settings.interval.is_some()),
                }
            }
        }
    }

    /// A report that others follow.
    pub(crate) fn interim(&mut self, out: &mut Vec<u8>, report: &LeakReport) -> io::Result<()> {
        match self {
            Self::Text { .. } | Self::Json(_) => self.last(out, report),
            Self::Folded(_) | Self::Svg(_) => Ok(()),
        }
    }

    /// The last report.
    pub(crate) fn last(&mut self, out: &mut Vec<u8>, report: &LeakReport) -> io::Result<()> {
        match self {
            Self::Text { text, pages } => {
                pages.turn(out)?;
                text.report(out, report)
            }
            Self::Json(json) => json.report(out, report),
            Self::Folded(weight) => folded::write(out, report, *weight),
            Self::Svg(weight) => svg::write(out, report, *weight),
        }
    }
}
