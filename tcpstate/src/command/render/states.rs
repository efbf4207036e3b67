//! Of what `states` shows.

use std::io;

use tcpstate_core::aggregate::states::SocketCounts;

use crate::{
    cli::OutputFormat,
    report::{clock::TimeFormat, states_json::StatesJson, states_text::StatesText},
    session::pages::Pages,
};

pub(crate) enum StatesRenderer {
    /// One report after another, or each in place of the one before.
    Text { text: StatesText, pages: Pages },
    /// One object a report.
    Json(StatesJson),
}

impl StatesRenderer {
    pub(crate) fn new(format: OutputFormat, time: TimeFormat, top: usize, color: bool, pages: Pages) -> Self {
        match format {
            OutputFormat::Json => Self::Json(StatesJson::new(time.clock, top)),
            OutputFormat::Text => Self::Text { text: StatesText { time, color, width: Pages::width(), top }, pages },
        }
    }

    pub(crate) fn report(&mut self, out: &mut Vec<u8>, counts: &SocketCounts) -> io::Result<()> {
        match self {
            Self::Text { text, pages } => {
                pages.turn(out)?;
                text.report(out, counts)
            }
            Self::Json(json) => json.report(out, counts),
        }
    }
}
