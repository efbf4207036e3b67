//! `tcpstate record`: what `leaks` and `trace` would be told, into a file.

mod looks;
mod names;

use std::{collections::HashMap, fs, io, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use tokio::time::{MissedTickBehavior, interval};

use self::names::NameKeeper;
use crate::{
    aggregate::leaks::Leaks,
    decode,
    kernel::{Options, Tracer},
    leaks::{
        TICK, WAKEUP_PART,
        intake::{BATCH, Intake},
    },
    model::{Totals, leak::PlaceId},
    preflight,
    recording::{
        frame::Kind,
        record::{Counted, End, Start},
        writer::Writer,
    },
    report::stack::Stack,
    session::{Clock, ending::Endings, followed::Followed, log_probes, warn_of_rounding},
    settings::{host::Host, record::RecordSettings},
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
    preflight::raise_descriptor_limit();
    warn_of_rounding(settings.buffer);
    let followed = Followed::new(settings.filter.pids(), settings.filter.children())?;
    let path = settings.path.display();
    let writer = Writer::create(&settings.path, settings.overwrite, settings.rotation).map_err(|error| {
        let exists = error.kind() == io::ErrorKind::AlreadyExists;
        let error = anyhow::Error::from(error);
        if exists {
            error.context(format!("`{path}` is there already: give another name, or `--overwrite`"))
        } else {
            error.context(format!("failed to make `{path}`"))
        }
    })?;
    let tracer = Tracer::start(&Options {
        config: settings.config(settings.buffer.bytes / WAKEUP_PART),
        pids: followed.pids().to_vec(),
        buffer_bytes: settings.buffer.bytes,
        debug,
    });
    let tracer = tracer.inspect_err(|_| {
        // Nothing was recorded: an empty file would only be in the way. A device or a pipe is not ours to remove.
        if fs::symlink_metadata(&settings.path).is_ok_and(|file| file.is_file()) {
            let _ = fs::remove_file(&settings.path);
        }
    })?;
    log_probes(tracer.probes());
    let clock = Clock::start()?;
    let start = start(settings, &tracer, &clock);
    let leaks = Leaks::new(start.leak_options(settings.older_than));
    let mut recorder = Recorder {
        intake: Intake::new(tracer, leaks, clock, settings.stack_bytes)?,
        written: HashMap::new(),
        names: NameKeeper::new(host),
        totals: Totals::default(),
        lost_told: 0,
        writer,
        start,
        settings,
    };
    let endings = Endings::new(settings.duration, followed)?;
    let result = recorder.run(endings).await;
    recorder.intake.tracer.detach();
    result.with_context(|| {
        format!("the recording ended early; what was written until then is whole: `tcpstate report {path}`")
    })?;
    recorder.say_what_is_there();
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
    lost_told: u64,
    writer: Writer,
    start: Start,
    settings: &'a RecordSettings,
}

impl Recorder<'_> {
    async fn run(&mut self, mut endings: Endings) -> Result<()> {
        self.begin_file()?;
        self.look(true)?;
        self.follow(&mut endings).await?;
        self.fetch()?;
        // The iterators of the last look need the programs; what they do not see any more is in the ring buffer.
        self.look(true)?;
        self.intake.tracer.detach();
        self.fetch()?;
        self.count()?;
        self.end_file(false)
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
                filled = self.intake.tracer.filled() => filled?,
                _ = looks.tick() => {
                    self.fetch()?;
                    self.look(false)?;
                }
                _ = flush.tick() => {
                    self.fetch()?;
                    self.count()?;
                    self.tell_of_losses();
                    // No more often: a file begins with how things stand, however large that is.
                    if self.writer.is_full() {
                        self.rotate()?;
                    }
                }
                _ = tick.tick() => {
                    self.intake.tracer.flush_log();
                    endings.check_processes(&self.intake.tracer)?;
                }
            }
            self.fetch()?;
        }
    }

    /// Takes the events and stacks that wait.
    fn fetch(&mut self) -> Result<()> {
        // Stacks first: they have to be unwound while their process lives.
        self.intake.fetch_stacks();
        loop {
            let Self { intake: Intake { tracer, leaks, .. }, names, writer, totals, .. } = self;
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
                    block_full |= writer.event(event);
                }
                Err(error) => result = Err(error),
            });
            result?;
            if block_full {
                self.flush()?;
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
    fn flush(&mut self) -> Result<()> {
        if let Some(names) = self.names.news() {
            self.writer.record_before(Kind::Names, &names).context("failed to write the recording")?;
        }
        self.writer.flush().context("failed to write the recording")
    }

    fn write(&mut self, kind: Kind, record: &impl serde::Serialize) -> Result<()> {
        self.flush()?;
        self.writer.record(kind, record).context("failed to write the recording")
    }

    fn count(&mut self) -> Result<()> {
        self.write(Kind::Counted, &Counted { at: self.intake.clock.now(), totals: self.totals })
    }

    fn begin_file(&mut self) -> Result<()> {
        self.start.file = self.writer.rotated();
        let start = self.start.clone();
        self.written.clear();
        self.names.forget();
        self.writer.record_before(Kind::Start, &start).context("failed to write the recording")?;
        // Counts go on from file to file: this is where they stood.
        let counted = Counted { at: self.intake.clock.now(), totals: self.totals };
        self.writer.record_before(Kind::Counted, &counted).context("failed to write the recording")
    }

    fn end_file(&mut self, rotated: bool) -> Result<()> {
        self.write(Kind::End, &End { at: self.intake.clock.now(), rotated })?;
        self.writer.sync().context("failed to bring the recording to the disk")
    }

    /// Goes on in another file, which begins with how things stand.
    fn rotate(&mut self) -> Result<()> {
        self.count()?;
        self.end_file(true)?;
        self.writer.rotate().context("failed to begin another file")?;
        self.begin_file()?;
        self.look(true)
    }

    fn tell_of_losses(&mut self) {
        if self.intake.losses.events > self.lost_told {
            self.lost_told = self.intake.losses.events;
            tracing::warn!(
                "{} events lost so far: the ring buffer is full; a larger `--buffer` or a filter helps",
                self.lost_told
            );
        }
    }

    fn say_what_is_there(&self) {
        let Totals { seen, lost, .. } = self.totals;
        let path = self.settings.path.display();
        let bytes = self.writer.written();
        let files = self.writer.rotated() + 1;
        eprintln!(
            "{seen} transitions recorded, {lost} lost, in {:.1} s: {bytes} bytes in {files} file{}; `tcpstate report {path}` shows them",
            self.intake.clock.began.elapsed().as_secs_f64(),
            if files == 1 { "" } else { "s" }
        );
    }
}
