//! `tcpstate report`: a recording through the aggregators and renderers of `leaks`, `trace` and `states`.

mod contents;
mod leaks;
mod states;
mod trace;
mod wanted;

use std::{
    io::{self, BufWriter, IsTerminal as _, Write as _},
    path::Path,
};

use anyhow::{Result, bail};
use jiff::tz::{Offset, TimeZone};
use tcpstate_core::model::{MonotonicNs, event::Event};
use tcpstate_recording::{Content, FrameError, FrameKind, ReadError, Start};

use self::{contents::Contents, wanted::Wanted};
use crate::{
    cli::{Moment, Show},
    report::clock::{TimeFormat, TimeStyle, WallClock},
    session::{is_broken_pipe, stdout::Stdout},
    settings::{SettingsError, report::ReportSettings},
};

/// Runs the command to its end.
///
/// # Errors
///
/// When the file is no recording, or the output cannot be written; a closed pipe is no error. A recording that is cut off or
/// damaged is none either: what comes before is shown, and that there is no more is said.
pub fn run(settings: &ReportSettings) -> Result<()> {
    match show(settings) {
        Err(error) if is_broken_pipe(&error) => Ok(()),
        other => other,
    }
}

/// What is the same for all that can be shown.
struct Replay<'a> {
    settings: &'a ReportSettings,
    start: Start,
    wanted: Wanted,
    span: Span,
    zone: TimeZone,
}

/// What to show, both ends included.
#[derive(Clone, Copy, Debug)]
struct Span {
    from: MonotonicNs,
    to: MonotonicNs,
}

/// How far a recording could be read.
struct Reached {
    /// The last moment of which it tells.
    at: MonotonicNs,
    /// Whether there is no more because the recording was ended.
    ended: bool,
    /// Whether what follows was not wanted.
    stopped: bool,
    /// Why there is no more.
    error: Option<ReadError>,
}

/// What takes the frames of a recording.
trait Viewer {
    /// Takes what a frame says. Returns whether more is wanted.
    fn take(&mut self, content: Content, wanted: &mut Wanted) -> Result<bool>;
}

fn show(settings: &ReportSettings) -> Result<()> {
    let path = &settings.file;
    // A progress bar would stand in the midst of columns.
    let progress = io::stderr().is_terminal() && !(settings.show == Show::Trace && io::stdout().is_terminal());
    let mut contents = Contents::open(path, progress, unwanted(settings.show))?;
    let start = match contents.next() {
        Ok(Some(Content::Start(start))) => *start,
        Ok(Some(_)) => bail!("`{}` does not begin as a recording does: its first frame is missing", path.display()),
        Ok(None) => bail!("`{}` holds nothing: it was cut off before its first frame", path.display()),
        Err(error) => bail!("`{}` cannot be read: {error}", path.display()),
    };
    let zone = zone(&start);
    let span = span(settings, &start, &zone)?;
    let mut replay = Replay { settings, wanted: Wanted::new(&settings.filter), span, zone, start };
    if replay.span.to < replay.start.at {
        bail!(
            "`--to` is before the recording, which begins at {}",
            replay.time(TimeStyle::Rfc3339).at(replay.start.at)
        );
    }
    replay.say_what_is_missing();
    let mut out = BufWriter::with_capacity(1 << 20, Stdout);
    match settings.show {
        Show::Leaks => leaks::show(&mut replay, &mut contents, &mut out)?,
        Show::Trace | Show::Summary => trace::show(&mut replay, &mut contents, &mut out)?,
        Show::States => states::show(&mut replay, &mut contents, &mut out)?,
    }
    out.flush()?;
    Ok(())
}

/// Frames that need not be decoded.
fn unwanted(show: Show) -> &'static [FrameKind] {
    match show {
        Show::Leaks => &[FrameKind::CensusPart, FrameKind::Census],
        Show::Trace | Show::Summary => {
            &[FrameKind::Sockets, FrameKind::Stacks, FrameKind::CensusPart, FrameKind::Census]
        }
        Show::States => &[FrameKind::Events, FrameKind::Sockets, FrameKind::Checkpoint, FrameKind::Stacks],
    }
}

/// The zone that the recording was made in; without its rules at least its offset.
fn zone(start: &Start) -> TimeZone {
    let by_name = start.zone.as_deref().and_then(|name| TimeZone::get(name).ok());
    by_name.unwrap_or_else(|| Offset::from_seconds(start.zone_offset_s).map_or(TimeZone::UTC, TimeZone::fixed))
}

fn span(settings: &ReportSettings, start: &Start, zone: &TimeZone) -> Result<Span, SettingsError> {
    let began = clock(start).at(start.at);
    let monotonic = |moment: Moment| {
        let ns = moment.resolve(began, zone).as_nanosecond() - i128::from(start.wall_offset_ns);
        MonotonicNs(u64::try_from(ns).unwrap_or(if ns < 0 { 0 } else { u64::MAX }))
    };
    let from = settings.from.map_or(MonotonicNs(0), monotonic);
    let to = settings.to.map_or(MonotonicNs(u64::MAX), monotonic);
    if to < from { Err(SettingsError::Range) } else { Ok(Span { from, to }) }
}

impl Replay<'_> {
    /// How text output of this recording writes times.
    fn time(&self, style: TimeStyle) -> TimeFormat {
        TimeFormat { style, clock: clock(&self.start), start: self.start.at, zone: self.zone.clone() }
    }

    /// Hands the frames to a viewer, as far as they can be read and are wanted.
    fn read(&mut self, contents: &mut Contents, viewer: &mut impl Viewer) -> Result<Reached> {
        let mut reached = Reached { at: self.start.at, ended: false, stopped: false, error: None };
        loop {
            let content = match contents.next() {
                Ok(Some(content)) => content,
                Ok(None) => break,
                Err(error) => {
                    reached.error = Some(error);
                    break;
                }
            };
            let at = match &content {
                Content::Events(events) => events.iter().map(Event::at).max(),
                Content::Checkpoint(checkpoint) => Some(checkpoint.now),
                Content::Census(rest) => Some(rest.now),
                Content::Counts(counts) => Some(counts.at),
                Content::End(end) => Some(end.at),
                Content::Start(_)
                | Content::Sockets(_)
                | Content::Stacks(_)
                | Content::Names(_)
                | Content::CensusPart(_) => None,
            };
            reached.at = reached.at.max(at.unwrap_or_default());
            match &content {
                Content::Names(names) => self.wanted.learn(names),
                Content::End(_) => reached.ended = true,
                _ => {}
            }
            if !viewer.take(content, &mut self.wanted)? {
                reached.stopped = true;
                break;
            }
        }
        contents.finish();
        self.say_where_it_ended(contents, &reached);
        if self.span.from > reached.at {
            bail!("`--from` is after the recording, which ends at {}", self.time(TimeStyle::Rfc3339).at(reached.at));
        }
        if let Some(missing) = self.wanted.unresolved() {
            bail!("{missing}");
        }
        Ok(reached)
    }

    fn say_what_is_missing(&self) {
        let Start { filters, host, tcpstate, probes, file, .. } = &self.start;
        tracing::info!("recorded by tcpstate {tcpstate} on {host}, kernel {}", probes.hooks.kernel);
        if !filters.is_empty() {
            tracing::warn!("recorded with {}: what that rejects is not in it", filters.join(" "));
        }
        if *file > 0 {
            tracing::info!("file {} of a rotated recording: what was before is in another one", file + 1);
        }
    }

    fn say_where_it_ended(&self, contents: &Contents, reached: &Reached) {
        let path = contents.path().display();
        let until = self.time(TimeStyle::Rfc3339);
        let until = until.at(reached.at);
        if let Some(error) = &reached.error {
            let what = match error {
                ReadError::Frame { error: FrameError::CutOff, .. } => "is cut off",
                _ => "is damaged",
            };
            tracing::warn!("`{path}` {what} {error}; what comes before is shown, until {until}");
        } else if !reached.ended && !reached.stopped {
            tracing::warn!("`{path}` was not ended: its recorder was killed, or is still at it; shown until {until}");
        }
        if contents.skipped() > 0 {
            tracing::warn!("{} frames of a later tcpstate were skipped", contents.skipped());
        }
    }
}

/// The recording's clock.
fn clock(start: &Start) -> WallClock {
    WallClock { offset_ns: start.wall_offset_ns }
}

/// The name of a file as messages show it.
fn named(path: &Path) -> String {
    format!("`{}`", path.display())
}
