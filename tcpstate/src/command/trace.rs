//! `tcpstate trace`: from the ring buffer to standard output, until something ends it.

use std::{
    io::Write as _,
    time::{Duration, Instant},
};

use anyhow::Result;
use tcpstate_core::{
    aggregate::dwell::DwellTable,
    decode,
    model::{MonotonicNs, Totals, Unseen},
};
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    command::render::trace::TraceRenderer,
    confinement::{self, Duties},
    host::{Host, preflight, stderr::Stderr},
    kernel::Tracer,
    report::{Summary, clock::TimeFormat, summary_text::write_summary},
    session::{
        Clock,
        ending::{Endings, WatchEnd},
        is_broken_pipe,
        output::Output,
        start::{Started, Tracing, start},
    },
    settings::trace::TraceSettings,
};

/// How long an event waits for a reader at most: nobody is woken for a single one.
const TICK: Duration = Duration::from_millis(50);
/// Records rendered at a time, so that a busy system does not keep signals waiting.
const BATCH: usize = 2048;
/// How often losses are spoken of at most.
const LOSS_INTERVAL: Duration = Duration::from_secs(1);

/// Runs the command to its end.
///
/// # Errors
///
/// When the tracer cannot start, or the output cannot be written; a closed pipe is no error.
pub async fn run(settings: &TraceSettings, host: &Host, debug: bool) -> Result<()> {
    preflight::check_capabilities()?;
    host.check_proc()?;
    if let Some(foreign) = host.foreign_pids() {
        tracing::warn!("{foreign}");
    }
    let Started { tracer, followed, clock } = start(&Tracing {
        config: settings.config(settings.buffer.watermark()),
        pids: settings.filter.pids(),
        children: settings.filter.children(),
        buffer: settings.buffer,
        debug,
    })?;
    confinement::tracer(&Duties::default())?;
    let zone = jiff::tz::TimeZone::system();
    let time = TimeFormat { style: settings.time, clock: clock.wall, start: clock.start, zone };
    let mut session = Session {
        tracer,
        renderer: TraceRenderer::new(settings.output, time, settings.color),
        output: Output::to_stdout()?,
        dwell: DwellTable::of_states(settings.config(0).states),
        last: MonotonicNs(0),
        totals: Totals::default(),
        left: settings.count.map(u64::from),
        losses_reported: None,
        clock,
    };
    match session.run(Endings::new(settings.duration, followed)?).await {
        Err(error) if is_broken_pipe(&error) => Ok(()),
        other => other,
    }
}

struct Session {
    tracer: Tracer,
    renderer: TraceRenderer,
    output: Output,
    dwell: DwellTable,
    /// When the last transition happened that was shown.
    last: MonotonicNs,
    totals: Totals,
    /// Transitions still to be shown, with `--count`.
    left: Option<u64>,
    losses_reported: Option<Instant>,
    clock: Clock,
}

impl Session {
    async fn run(&mut self, mut endings: Endings) -> Result<()> {
        let mut first = self.output.buffer().await?;
        self.renderer.start(&mut first, self.clock.start, self.tracer.probes())?;
        self.output.write(first)?;

        let end = self.follow(&mut endings).await?;
        let elapsed = self.clock.began.elapsed();
        // Of what happens later nothing is told.
        let ended = self.clock.now();
        self.tracer.detach()?;
        let progress = self.output.progress();
        let counted_out = end == WatchEnd::Counted;
        // A trace that ends at its `--count` ends there.
        let ended = if counted_out { self.last } else { ended };
        endings.finish(end, &progress, self.finish(elapsed, ended, counted_out)).await
    }

    /// Shows records as they come.
    async fn follow(&mut self, endings: &mut Endings) -> Result<WatchEnd> {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                end = endings.next() => return Ok(end),
                filled = self.tracer.filled() => filled?,
                _ = tick.tick() => {
                    self.tracer.tend()?;
                    endings.check_processes(&self.tracer)?;
                }
            }
            // While the output's reader is slow this waits, the ring buffer fills, and the kernel counts what it cannot keep.
            loop {
                let batch = tokio::select! {
                    biased;
                    end = endings.next() => return Ok(end),
                    batch = self.batch() => batch?,
                };
                if self.left == Some(0) {
                    return Ok(WatchEnd::Counted);
                }
                if batch < BATCH {
                    break;
                }
            }
        }
    }

    /// Renders what waits in the ring buffer, up to [`BATCH`] records; returns how many.
    ///
    /// Waits only before the first record is taken, so that giving up on it loses nothing.
    async fn batch(&mut self) -> Result<usize> {
        let mut out = self.output.buffer().await?;
        let Self { tracer, renderer, dwell, last, totals, left, .. } = self;
        let limit = left.map_or(BATCH, |left| BATCH.min(usize::try_from(left).unwrap_or(BATCH)));
        let mut result = Ok(());
        let drained = tracer.drain(limit, |record| {
            if result.is_err() {
                return;
            }
            result = decode::transition(record).map_err(anyhow::Error::from).and_then(|transition| {
                totals.seen += 1;
                dwell.record(&transition);
                *last = (*last).max(transition.at);
                Ok(renderer.transition(&mut out, &transition)?)
            });
        });
        result?;
        if let Some(left) = left {
            *left -= drained as u64;
        }
        self.report_losses(&mut out)?;
        self.output.write(out)?;
        Ok(drained)
    }

    /// Says so when more was lost than was said before.
    fn report_losses(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let lost = self.tracer.counters()?.dropped;
        if lost > self.totals.lost && self.losses_reported.is_none_or(|last| last.elapsed() >= LOSS_INTERVAL) {
            self.totals.lost = lost;
            self.losses_reported = Some(Instant::now());
            self.renderer.lost(out, self.clock.now(), lost)?;
        }
        Ok(())
    }

    /// Shows what is left in the ring buffer, then the summary.
    async fn finish(&mut self, elapsed: Duration, ended: MonotonicNs, counted_out: bool) -> Result<()> {
        while !counted_out && self.batch().await? == BATCH {}
        let counters = self.tracer.counters()?;
        self.totals.lost = counters.dropped;
        self.totals.filtered = counters.filtered;
        self.totals.map_full = counters.map_full;
        self.totals.unknown_state = counters.unknown_state;
        // What the kernel counted after a `--count` is not part of the trace.
        self.totals.transitions =
            if counted_out { self.totals.seen + self.totals.lost } else { counters.transitions() };
        let unseen = Unseen { transitions: counters.unseen, sockets: counters.unseen_sockets };
        let dwell = self.dwell.rows(ended.max(self.last));
        let summary = Summary { elapsed, totals: self.totals, unseen, dwell, open_not_kept: self.dwell.not_kept() };

        let mut out = self.output.buffer().await?;
        self.renderer.summary(&mut out, self.clock.now(), &summary)?;
        self.output.write(out)?;
        self.output.finish().await?;
        let mut text = Vec::new();
        write_summary(&mut text, &summary)?;
        Ok(Stderr.write_all(&text)?)
    }
}
