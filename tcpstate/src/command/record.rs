//! `tcpstate record`: what `leaks` and `trace` would be told, into a file.

mod census;
mod checkpoint;
mod names;
mod sink;

use std::{collections::HashMap, fs, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use tcpstate_core::{
    aggregate::leaks::Leaks,
    decode,
    model::{Totals, leak::PlaceId, stack::Stack},
};
use tcpstate_recording::{
    frame::Kind,
    record::{Counted, End, Start},
    writer::Writer,
};
use tokio::time::{MissedTickBehavior, interval};

use self::{
    census::{Found, Taker},
    names::NameKeeper,
    sink::{Sink, Written},
};
use crate::{
    host::{Host, preflight},
    hunt::{
        TICK, WAKEUP_PART,
        intake::{BATCH, Intake},
    },
    kernel::{Tracer, TracerOptions},
    session::{Clock, ending::Endings, followed::Followed, log_probes, warn_of_rounding},
    settings::record::RecordSettings,
};

/// What a crash costs at most: events are written at least so often.
const FLUSH: Duration = Duration::from_secs(1);
/// Groups whose processes' threads are looked at.
const ASLEEP: usize = 100;

/// Runs the command to its end.
///
/// # Errors
///
/// When the tracer cannot start, or the file cannot be written.
pub async fn run(settings: &RecordSettings, host: &Host, debug: bool) -> Result<()> {
    preflight::check_capabilities()?;
    host.check_pids()?;
    preflight::raise_descriptor_limit();
    warn_of_rounding(settings.buffer);
    let mut followed = Followed::new(settings.filter.pids(), settings.filter.children())?;
    let path = settings.path.display();
    let tracer = Tracer::start(&TracerOptions {
        config: settings.config(settings.buffer.bytes / WAKEUP_PART),
        pids: followed.pids().to_vec(),
        descendants: followed.descendants(),
        buffer_bytes: settings.buffer.bytes,
        debug,
    })?;
    // Only now: with `--overwrite` the former recording is gone.
    let writer = Writer::create(&settings.path, settings.overwrite, settings.rotation)?;
    followed.catch_up()?;
    log_probes(tracer.probes());
    let clock = Clock::start()?;
    let start = start(settings, &tracer, &clock);
    let leaks = Leaks::new(start.leak_options(settings.older_than));
    let census = settings.census.as_ref().map(|settings| Taker::start(settings, host, clock)).transpose()?;
    let mut recorder = Recorder {
        census,
        intake: Intake::new(tracer, leaks, clock, settings.stack_bytes)?,
        written: HashMap::new(),
        names: NameKeeper::new(host),
        totals: Totals::default(),
        told: (0, Duration::ZERO),
        sink: Sink::start(writer)?,
        start,
        settings,
    };
    let endings = Endings::new(settings.duration, followed)?;
    let result = recorder.run(endings).await;
    let result = result.and(recorder.intake.tracer.detach());
    let Recorder { sink, totals, intake, .. } = recorder;
    let result = match result {
        Ok(()) => sink.finish().await,
        Err(error) => Err(error),
    };
    let written = result.with_context(|| {
        format!("the recording ended early; what was written until then is whole: `tcpstate report {path}`")
    })?;
    say_what_is_there(settings, &intake.clock, totals, written);
    Ok(())
}

fn start(settings: &RecordSettings, tracer: &Tracer, clock: &Clock) -> Start {
    let zone = jiff::tz::TimeZone::system();
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    Start {
        tcpstate: env!("CARGO_PKG_VERSION").to_owned(),
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        boot_id: boot_id.trim().to_owned(),
        at: clock.start,
        wall_offset_ns: clock.wall.offset_ns,
        zone: zone.iana_name().map(str::to_owned),
        zone_offset_s: zone.to_offset(clock.wall.at(clock.start)).seconds(),
        filters: settings.filters.clone(),
        late_ns: u64::try_from(settings.older_than.as_nanos()).unwrap_or(u64::MAX),
        stack_bytes: settings.stack_bytes,
        file: 0,
        probes: tracer.probes().clone(),
    }
}

struct Recorder<'a> {
    /// Its leaks say whose stacks and threads a report will want.
    intake: Intake,
    /// Stacks that are in the current file.
    written: HashMap<PlaceId, Arc<Stack>>,
    names: NameKeeper,
    totals: Totals,
    /// Losses that were told of, and how long the file had been behind by then.
    told: (u64, Duration),
    sink: Sink,
    census: Option<Taker>,
    start: Start,
    settings: &'a RecordSettings,
}

impl Recorder<'_> {
    async fn run(&mut self, mut endings: Endings) -> Result<()> {
        self.begin_file().await?;
        self.look(true).await?;
        self.follow(&mut endings).await?;
        self.fetch().await?;
        // One that began before the end was asked for is not the last.
        self.finish_census().await?;
        if let Some(census) = &mut self.census {
            census.ask();
        }
        // The iterators of the last look need the programs; what they do not see any more is in the ring buffer.
        self.look(true).await?;
        self.intake.tracer.detach()?;
        self.fetch().await?;
        self.finish_census().await?;
        self.count().await?;
        self.end_file(false).await
    }

    /// Waits for the look at all sockets that is being taken, if one is.
    async fn finish_census(&mut self) -> Result<()> {
        let found = match &mut self.census {
            Some(census) if census.is_asked() => census.found().await,
            _ => return Ok(()),
        };
        self.census(found).await
    }

    async fn follow(&mut self, endings: &mut Endings) -> Result<()> {
        let ticker = |every| {
            let mut tick = interval(every);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            tick
        };
        let (mut tick, mut flush, mut looks) = (ticker(TICK), ticker(FLUSH), ticker(self.settings.interval));
        looks.tick().await;
        loop {
            tokio::select! {
                biased;
                _ = endings.next() => return Ok(()),
                _ = looks.tick() => {
                    self.fetch().await?;
                    self.look(false).await?;
                }
                _ = flush.tick() => {
                    self.fetch().await?;
                    self.count().await?;
                    self.tell_of_losses();
                    // No more often: a file begins with how things stand, however large that is.
                    if self.sink.is_full() {
                        self.rotate().await?;
                    }
                }
                found = found(&mut self.census) => self.census(found).await?,
                _ = tick.tick() => {
                    self.intake.tracer.tend()?;
                    endings.check_processes(&self.intake.tracer)?;
                    if let Some(census) = &mut self.census {
                        census.ask_if_due();
                    }
                }
                // Last: where events come without a pause, what is done now and then has its turn all the same.
                filled = self.intake.tracer.filled() => filled?,
            }
            self.fetch().await?;
        }
    }

    /// Takes the events and stacks that wait.
    async fn fetch(&mut self) -> Result<()> {
        // Stacks first: they have to be unwound while their process lives.
        self.intake.fetch_stacks();
        loop {
            let Self { intake: Intake { tracer, leaks, .. }, names, sink, totals, .. } = self;
            let mut result = Ok(());
            let mut block_full = false;
            let drained = tracer.drain(BATCH, |record| match decode::leak::any(record) {
                Ok(event) => {
                    if let Some(transition) = event.transition() {
                        totals.seen += 1;
                        names.note(transition);
                    }
                    if let Some(event) = event.leak() {
                        leaks.push(&event);
                    }
                    block_full |= sink.event(event);
                }
                Err(error) => result = Err(error),
            });
            result?;
            if block_full {
                self.flush().await?;
            }
            if drained < BATCH {
                break;
            }
        }
        // Those of the events that came meanwhile: what is written of how things stand may be the last.
        self.intake.fetch_stacks();
        let counters = self.intake.count()?;
        self.totals.lost = counters.dropped - counters.dropped_beside.min(counters.dropped);
        self.totals.transitions = self.totals.seen + self.totals.lost;
        self.totals.filtered = counters.filtered;
        self.totals.map_full = counters.map_full;
        self.totals.unknown_state = counters.unknown_state;
        Ok(())
    }

    /// Writes the events that wait, and before them what filters have to know of them.
    async fn flush(&mut self) -> Result<()> {
        if let Some(names) = self.names.news() {
            self.sink.record(Kind::Names, 0, names).await?;
        }
        self.sink.flush().await
    }

    /// Writes a record, which takes about so many bytes, after the events that came before it.
    async fn write(&mut self, kind: Kind, bytes: usize, record: impl serde::Serialize + Send + 'static) -> Result<()> {
        self.flush().await?;
        self.sink.record(kind, bytes, record).await
    }

    /// Writes a look at all sockets.
    async fn census(&mut self, found: Option<Found>) -> Result<()> {
        let Some(Found { frames, named, .. }) = found else { return Ok(()) };
        self.names.note_all(&named);
        self.flush().await?;
        self.sink.frames(frames).await
    }

    async fn count(&mut self) -> Result<()> {
        self.write(Kind::Counted, 0, Counted { at: self.intake.clock.now(), totals: self.totals }).await
    }

    async fn begin_file(&mut self) -> Result<()> {
        self.start.file = self.sink.rotated();
        self.written.clear();
        self.names.forget();
        self.sink.record(Kind::Start, 0, self.start.clone()).await?;
        // Counts go on from file to file: this is where they stood.
        let counted = Counted { at: self.intake.clock.now(), totals: self.totals };
        self.sink.record(Kind::Counted, 0, counted).await?;
        if let Some(census) = &mut self.census {
            census.ask();
        }
        Ok(())
    }

    async fn end_file(&mut self, rotated: bool) -> Result<()> {
        self.write(Kind::End, 0, End { at: self.intake.clock.now(), rotated }).await?;
        self.sink.sync().await
    }

    /// Goes on in another file, which begins with how things stand.
    async fn rotate(&mut self) -> Result<()> {
        self.count().await?;
        self.end_file(true).await?;
        self.sink.rotate().await?;
        self.begin_file().await?;
        self.look(true).await
    }

    fn tell_of_losses(&mut self) {
        let (lost, waited) = (self.intake.losses.events, self.sink.waited());
        if lost > self.told.0 {
            let remedy = if waited > self.told.1 {
                "the file is written too slowly; a faster disk or a filter helps"
            } else {
                "where the ring buffer is full, a larger `--buffer` or a filter helps"
            };
            tracing::warn!("{lost} events lost so far: {remedy}");
            self.told = (lost, waited);
        }
    }
}

/// What a look at all sockets found, if one is being taken; cancellation-safe.
async fn found(census: &mut Option<Taker>) -> Option<Found> {
    match census {
        Some(census) if census.is_asked() => census.found().await,
        _ => std::future::pending().await,
    }
}

fn say_what_is_there(settings: &RecordSettings, clock: &Clock, totals: Totals, written: Written) {
    let Totals { seen, lost, .. } = totals;
    let path = settings.path.display();
    let Written { bytes, files } = written;
    eprintln!(
        "{seen} transitions recorded, {lost} lost, in {:.1} s: {bytes} bytes in {files} file{}; `tcpstate report {path}` shows them",
        clock.began.elapsed().as_secs_f64(),
        if files == 1 { "" } else { "s" }
    );
}
