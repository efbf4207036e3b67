//! The transitions of a recording, as `tcpstate trace` shows them.

use std::{
    io::{self, Write},
    time::Duration,
};

use anyhow::Result;
use tcpstate_core::{
    aggregate::dwell::DwellTable,
    model::{Totals, Transition, Unseen},
};
use tcpstate_recording::Content;

use super::{
    contents::Contents,
    replay::{Replay, TimeRange, Viewer},
    wanted::Wanted,
};
use crate::{
    cli::{LeaksFormat, OutputFormat, Show},
    command::render::trace::TraceRenderer,
    host::stderr::Stderr,
    report::{Summary, summary_text::write_summary},
};

/// Bytes that are rendered before they are written.
const BUFFER: usize = 256 << 10;

struct TraceViewer<'a, W> {
    out: &'a mut W,
    buffer: Vec<u8>,
    renderer: TraceRenderer,
    /// Whether transitions are shown, not only what they amount to.
    lines: bool,
    range: TimeRange,
    dwell: DwellTable,
    shown: u64,
    rejected: u64,
    /// Transitions out of the range.
    outside: u64,
    /// What was counted before the range, and until its end.
    before: Option<Totals>,
    until: Totals,
    unseen_before: Unseen,
    unseen: Unseen,
}

impl<W: Write> Viewer for TraceViewer<'_, W> {
    fn take(&mut self, content: Content, wanted: &mut Wanted) -> Result<bool> {
        match content {
            Content::Events(events) => {
                for transition in events.iter().filter_map(|event| event.transition()) {
                    if transition.at < self.range.from || transition.at > self.range.to {
                        self.outside += 1;
                    } else if wanted.transition(transition) {
                        self.shown += 1;
                        // Recordings of before that was known have the time.
                        let Transition { in_old, old, owner, .. } = *transition;
                        let in_old = in_old.unless_meaningless(old, owner.as_ref());
                        let transition = &Transition { in_old, ..*transition };
                        self.dwell.record(transition);
                        if self.lines {
                            self.renderer.transition(&mut self.buffer, transition)?;
                        }
                    } else {
                        self.rejected += 1;
                    }
                    if self.buffer.len() >= BUFFER {
                        self.write()?;
                    }
                }
            }
            Content::Unseen(unseen) => self.unseen = unseen,
            Content::Counts(counts) => {
                if self.before.is_none() || counts.at < self.range.from {
                    self.before = Some(counts.totals);
                    self.unseen_before = self.unseen;
                }
                self.until = counts.totals;
                // Blocks overlap in time a little: what one CPU saw may come after what another saw later.
                return Ok(counts.at.0 < self.range.to.0.saturating_add(1_000_000_000));
            }
            _ => {}
        }
        Ok(true)
    }
}

impl<W: Write> TraceViewer<'_, W> {
    fn write(&mut self) -> io::Result<()> {
        self.out.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

pub(super) fn show(replay: &mut Replay<'_>, contents: &mut Contents, out: &mut impl Write) -> Result<()> {
    let settings = replay.settings;
    let format = match settings.output {
        LeaksFormat::Json => OutputFormat::Json,
        _ => OutputFormat::Text,
    };
    let mut trace = TraceViewer {
        out,
        buffer: Vec::with_capacity(2 * BUFFER),
        renderer: TraceRenderer::new(format, replay.time(settings.time), settings.color),
        lines: settings.show == Show::Trace,
        range: replay.range,
        dwell: DwellTable::of_states(settings.filter.config.states),
        shown: 0,
        rejected: 0,
        outside: 0,
        before: None,
        until: Totals::default(),
        unseen_before: Unseen::default(),
        unseen: Unseen::default(),
    };
    if trace.lines {
        trace.renderer.start(&mut trace.buffer, replay.start.at, &replay.start.probes)?;
    }
    let reached = replay.read(contents, &mut trace)?;
    let before = trace.before.unwrap_or_default();
    let lost = trace.until.lost.saturating_sub(before.lost);
    let totals = Totals {
        transitions: trace.shown + lost,
        seen: trace.shown,
        lost,
        filtered: trace.rejected + trace.until.filtered.saturating_sub(before.filtered),
        map_full: trace.until.map_full,
        unknown_state: trace.until.unknown_state.saturating_sub(before.unknown_state),
    };
    let (from, to) = (replay.range.from.max(replay.start.at), replay.range.to.min(reached.at));
    let elapsed = Duration::from_nanos(to.0.saturating_sub(from.0));
    let unseen = Unseen {
        transitions: trace.unseen.transitions.saturating_sub(trace.unseen_before.transitions),
        sockets: trace.unseen.sockets.saturating_sub(trace.unseen_before.sockets),
    };
    let dwell = trace.dwell.rows(to);
    let summary = Summary { elapsed, totals, unseen, dwell, open_not_kept: trace.dwell.not_kept() };
    let mut text = Vec::new();
    write_summary(&mut text, &summary)?;
    if trace.outside > 0 {
        writeln!(text, "{} transitions outside of the range", trace.outside)?;
    }
    if trace.lines || format == OutputFormat::Json {
        trace.renderer.summary(&mut trace.buffer, to, &summary)?;
        trace.write()?;
        trace.out.flush()?;
        Stderr.write_all(&text)?;
    } else {
        trace.out.write_all(&text)?;
    }
    Ok(())
}
