//! A recording on its way from its file to what shows it: how far it is read, and what is wanted of it.

use anyhow::{Result, bail};
use jiff::{
    Timestamp,
    tz::{Offset, TimeZone},
};
use tcpstate_core::model::{MonotonicNs, event::Event};
use tcpstate_recording::{Content, FrameError, ReadError, Start};

use super::{
    contents::{self, Contents},
    wanted::Wanted,
};
use crate::{
    cli::RecordedTime,
    report::{
        clock::{TimeFormat, TimeStyle, WallClock},
        escape::Escaped,
    },
    settings::{SettingsError, report::ReportSettings},
};

/// What is the same for all that can be shown.
pub(super) struct Replay<'a> {
    pub(super) settings: &'a ReportSettings,
    pub(super) start: Start,
    pub(super) wanted: Wanted,
    pub(super) range: TimeRange,
    zone: TimeZone,
}

/// What to show, both ends included.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeRange {
    pub(super) from: MonotonicNs,
    pub(super) to: MonotonicNs,
}

/// How far a recording could be read.
pub(super) struct Reached {
    /// The last moment of which it tells.
    pub(super) at: MonotonicNs,
    /// Whether there is no more because the recording was ended.
    ended: bool,
    /// Whether what follows was not wanted.
    stopped: bool,
    /// Why there is no more.
    error: Option<ReadError>,
}

/// What takes the frames of a recording.
pub(super) trait Viewer {
    /// Takes what a frame says. Returns whether more is wanted.
    fn take(&mut self, content: Content, wanted: &mut Wanted) -> Result<bool>;
}

/// The zone that the recording was made in; without its rules at least its offset.
fn zone(start: &Start) -> TimeZone {
    let by_name = start.zone.as_deref().and_then(|name| TimeZone::get(name).ok());
    by_name.unwrap_or_else(|| Offset::from_seconds(start.zone_offset_s).map_or(TimeZone::UTC, TimeZone::fixed))
}

fn range(settings: &ReportSettings, start: &Start, zone: &TimeZone) -> Result<TimeRange, SettingsError> {
    let mut recorded = RecordedTime { began: clock(start).at(start.at), ended: None, zone: zone.clone() };
    if [settings.from, settings.to].into_iter().flatten().any(|moment| moment.needs_end(&recorded)) {
        recorded.ended = contents::end(&settings.file).map(|end| clock(start).at(end));
    }
    let monotonic = |moment: Timestamp| {
        let ns = moment.as_nanosecond() - i128::from(start.wall_offset_ns);
        MonotonicNs(u64::try_from(ns).unwrap_or(if ns < 0 { 0 } else { u64::MAX }))
    };
    let from = settings.from.map_or(MonotonicNs(0), |moment| monotonic(moment.begin(&recorded)));
    let to = settings.to.map_or(MonotonicNs(u64::MAX), |moment| monotonic(moment.end(&recorded)));
    if to < from { Err(SettingsError::Range) } else { Ok(TimeRange { from, to }) }
}

impl<'a> Replay<'a> {
    /// Reads how the recording began, and says what is missing of it.
    ///
    /// # Errors
    ///
    /// When it does not begin as a recording does, or nothing of it is in the range that was asked for.
    pub(super) fn begin(settings: &'a ReportSettings, contents: &mut Contents) -> Result<Self> {
        let path = contents::named(&settings.file);
        let start = match contents.next() {
            Ok(Some(Content::Start(start))) => *start,
            Ok(Some(_)) => bail!("{path} does not begin as a recording does: its first frame is missing"),
            Ok(None) => bail!("{path} holds nothing: it was cut off before its first frame"),
            Err(error) => bail!("{path} cannot be read: {error}"),
        };
        let zone = zone(&start);
        let range = range(settings, &start, &zone)?;
        let replay = Self { settings, wanted: Wanted::new(&settings.filter), range, zone, start };
        if replay.range.to < replay.start.at {
            bail!(
                "`--to` is before the recording, which begins at {}",
                replay.time(TimeStyle::Rfc3339).at(replay.start.at)
            );
        }
        replay.say_what_is_missing();
        Ok(replay)
    }
}

impl Replay<'_> {
    /// The recording's clock.
    pub(super) fn clock(&self) -> WallClock {
        clock(&self.start)
    }

    /// How text output of this recording writes times.
    pub(super) fn time(&self, style: TimeStyle) -> TimeFormat {
        TimeFormat { style, clock: clock(&self.start), start: self.start.at, zone: self.zone.clone() }
    }

    /// Hands the frames to a viewer, as far as they can be read and are wanted.
    pub(super) fn read(&mut self, contents: &mut Contents, viewer: &mut impl Viewer) -> Result<Reached> {
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
                | Content::Traffic(_)
                | Content::Activities(_)
                | Content::Stacks(_)
                | Content::Names(_)
                | Content::Unseen(_)
                | Content::CensusPart(_)
                | Content::CensusGaps(_) => None,
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
        if self.range.from > reached.at {
            bail!("`--from` is after the recording, which ends at {}", self.time(TimeStyle::Rfc3339).at(reached.at));
        }
        if let Some(missing) = self.wanted.unresolved() {
            bail!("{missing}");
        }
        Ok(reached)
    }

    fn say_what_is_missing(&self) {
        let Start { filters, host, tcpstate, probes, file, .. } = &self.start;
        let text = |text: &String| Escaped(text.as_bytes()).to_string();
        let (tcpstate, host, kernel) = (text(tcpstate), text(host), text(&probes.hooks.kernel));
        tracing::info!("recorded by tcpstate {tcpstate} on {host}, kernel {kernel}");
        if !filters.is_empty() {
            let filters: Vec<_> = filters.iter().map(text).collect();
            tracing::warn!("recorded with {}: what that rejects is not in it", filters.join(" "));
        }
        if *file > 0 {
            tracing::info!("file {} of a rotated recording: what was before is in another one", u64::from(*file) + 1);
        }
    }

    fn say_where_it_ended(&self, contents: &Contents, reached: &Reached) {
        let path = contents::named(contents.path());
        let until = self.time(TimeStyle::Rfc3339);
        let until = until.at(reached.at);
        if let Some(error) = &reached.error {
            let what = match error {
                ReadError::Frame { error: FrameError::CutOff, .. } => "is cut off",
                _ => "is damaged",
            };
            tracing::warn!("{path} {what} {error}; what comes before is shown, until {until}");
        } else if !reached.ended && !reached.stopped {
            tracing::warn!("{path} was not ended: its recorder was killed, or is still at it; shown until {until}");
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
