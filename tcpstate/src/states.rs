//! `tcpstate states`: from what the kernel lists to standard output, once or again and again.

mod dump;
pub(crate) mod look;
mod namespace;
mod processes;

use std::io;

use anyhow::Result;
use tokio::time::{Instant, sleep_until};

use crate::{
    aggregate::states::{Survey, survey},
    cli::OutputFormat,
    report::{
        clock::{TimeFormat, TimeStyle},
        states_json::StatesJson,
        states_text::StatesText,
    },
    session::{Clock, ending::Endings, followed::Followed, is_broken_pipe, output::Output, pages::Pages},
    settings::{host::Host, states::StatesSettings},
};

/// Runs the command to its end.
///
/// # Errors
///
/// When the sockets cannot be listed, or the output cannot be written; a closed pipe is no error.
pub async fn run(settings: &StatesSettings, host: &Host) -> Result<()> {
    let clock = Clock::start()?;
    let renderer = Renderer::new(settings, &clock);
    let mut output = Output::start(io::stdout())?;
    match watch(settings, host, &clock, renderer, &mut output).await {
        Err(error) if is_broken_pipe(&error) => Ok(()),
        other => other,
    }
}

async fn watch(
    settings: &StatesSettings,
    host: &Host,
    clock: &Clock,
    mut renderer: Renderer,
    output: &mut Output,
) -> Result<()> {
    let mut endings = Endings::new(settings.duration, Followed::new(&[], false)?)?;
    let mut before: Option<Survey> = None;
    let mut left = settings.count.map(u64::from);
    let mut next = Instant::now();
    loop {
        let found = look::take(settings, host)?;
        let mut now = survey(&found, &settings.filter, settings.by, clock.now());
        if let Some(before) = &before {
            now.compare(before);
        }
        let mut buffer = output.buffer().await?;
        renderer.report(&mut buffer, &now)?;
        output.write(buffer)?;
        before = Some(now);
        left = left.map(|left| left - 1);
        let Some(interval) = settings.watch.filter(|_| left != Some(0)) else { break };
        // A look that takes longer than the interval is followed by the next at once, not by those that were missed.
        next = (next + interval).max(Instant::now());
        tokio::select! {
            () = sleep_until(next) => {}
            _ = endings.next() => break,
        }
    }
    Ok(output.finish().await?)
}

enum Renderer {
    /// One report after another, or each in place of the one before.
    Text { text: StatesText, pages: Pages },
    /// One object a report.
    Json(StatesJson),
}

impl Renderer {
    fn new(settings: &StatesSettings, clock: &Clock) -> Self {
        let top = settings.top;
        match settings.output {
            OutputFormat::Json => Self::Json(StatesJson::new(clock.wall, top)),
            OutputFormat::Text => {
                let zone = jiff::tz::TimeZone::system();
                let time = TimeFormat { style: TimeStyle::Local, clock: clock.wall, start: clock.start, zone };
                Self::Text {
                    text: StatesText { time, color: settings.color, width: Pages::width(), top },
                    pages: Pages::new(settings.watch.is_some()),
                }
            }
        }
    }

    fn report(&mut self, out: &mut Vec<u8>, survey: &Survey) -> io::Result<()> {
        match self {
            Self::Text { text, pages } => {
                pages.turn(out)?;
                text.report(out, survey)
            }
            Self::Json(json) => json.report(out, survey),
        }
    }
}
