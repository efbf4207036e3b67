//! The renderer that the settings ask for.

use std::io::{self, IsTerminal as _, Write as _};

use crate::{
    cli::LeaksFormat,
    model::MonotonicNs,
    report::{
        clock::{TimeFormat, TimeStyle, WallClock},
        folded::{self, Weight},
        leaks::LeakReport,
        leaks_json::LeaksJson,
        leaks_text::LeaksText,
        svg,
    },
    settings::leaks::LeaksSettings,
};

/// Cursor home, and everything from there on erased (ECMA-48 CUP and ED).
const REPAINT: &[u8] = b"\x1b[H\x1b[J";

pub(crate) enum Renderer {
    /// One report after another, or each in place of the one before.
    Text { text: LeaksText, repaint: bool, shown: bool },
    /// One object a report.
    Json(LeaksJson),
    /// The last report only.
    Folded(Weight),
    /// The last report only.
    Svg(Weight),
}

impl Renderer {
    pub(crate) fn new(settings: &LeaksSettings, clock: WallClock, start: MonotonicNs) -> Self {
        match settings.output {
            LeaksFormat::Json => Self::Json(LeaksJson::new(clock)),
            LeaksFormat::Folded => Self::Folded(settings.weight),
            LeaksFormat::Svg => Self::Svg(settings.weight),
            LeaksFormat::Text => {
                let stdout = io::stdout();
                let width = stdout.is_terminal().then(|| rustix::termios::tcgetwinsize(&stdout).ok()).flatten();
                let zone = jiff::tz::TimeZone::system();
                let time = TimeFormat { style: TimeStyle::Local, clock, start, zone };
                let width = width.map(|size| usize::from(size.ws_col)).filter(|&columns| columns > 0);
                Self::Text {
                    text: LeaksText { time, color: settings.color, width },
                    repaint: stdout.is_terminal() && settings.interval.is_some(),
                    shown: false,
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
            Self::Text { text, repaint, shown } => {
                if *repaint {
                    out.write_all(REPAINT)?;
                } else if *shown {
                    out.write_all(b"\n")?;
                }
                *shown = true;
                text.report(out, report)
            }
            Self::Json(json) => json.report(out, report),
            Self::Folded(weight) => folded::write(out, report, *weight),
            Self::Svg(weight) => svg::write(out, report, *weight),
        }
    }
}
