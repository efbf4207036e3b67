//! `tcpstate record`: what `leaks` and `trace` would be told, into a file.

mod census;
mod checkpoint;
mod names;
mod sink;
mod tape;

use std::{io::Write as _, os::unix::ffi::OsStrExt as _, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use tcpstate_core::model::Totals;
use tcpstate_recording::Writer;
use tokio::time::{MissedTickBehavior, interval, timeout};

use self::{
    census::{CensusTaker, TakenCensus},
    sink::Written,
    tape::Tape,
};
use crate::{
    host::{Host, stderr::Stderr},
    hunt::{self, Fetch as _, Hunt, TICK},
    report::escape::Escaped,
    session::{Clock, ending::Endings},
    settings::record::RecordSettings,
};

/// What a crash costs at most: events are written at least so often.
const FLUSH: Duration = Duration::from_secs(1);
/// How long the end waits for a census: whoever has millions of descriptors makes it last.
const CENSUS_PATIENCE: Duration = Duration::from_secs(5);

/// Runs the command to its end.
///
/// # Errors
///
/// When the tracer cannot start, or the file cannot be written.
pub async fn run(settings: &RecordSettings, host: &Host, debug: bool) -> Result<()> {
    let attached = hunt::attach(host, &settings.hunt, debug)?;
    // Only now: with `--overwrite` the former recording is gone. And not later, since it may be another user's.
    let writer = Writer::create(&settings.path, settings.overwrite, settings.rotation)?;
    let (hunt, followed) = attached.begin(&[&settings.path])?;
    let census = settings.census.as_ref().map(|settings| CensusTaker::start(settings, host, hunt.clock)).transpose()?;
    let tape = Tape::new(writer, tape::start(settings, &hunt), host)?;
    let mut recorder = Recorder { hunt, tape, census, told: (0, Duration::ZERO), settings };
    let endings = Endings::new(settings.duration, followed)?;
    let result = recorder.run(endings).await;
    let result = result.and(recorder.hunt.tracer.detach());
    let Recorder { tape, hunt, .. } = recorder;
    let totals = tape.totals;
    // Whatever failed, what waits is written.
    let finished = tape.finish().await;
    let written = result.and(finished).with_context(|| early_end(settings))?;
    say_what_is_there(settings, &hunt.clock, totals, written);
    Ok(())
}

struct Recorder<'a> {
    /// Its leaks say whose stacks and threads a report will want.
    hunt: Hunt,
    tape: Tape,
    census: Option<CensusTaker>,
    /// Losses that were told of, and how long the file had been behind by then.
    told: (u64, Duration),
    settings: &'a RecordSettings,
}

impl Recorder<'_> {
    async fn run(&mut self, mut endings: Endings) -> Result<()> {
        self.begin_file().await?;
        self.checkpoint(true).await?;
        self.follow(&mut endings).await?;
        self.fetch().await?;
        // One that began before the end was asked for is not the last.
        self.finish_census().await?;
        if let Some(census) = &mut self.census {
            census.ask();
        }
        // The iterators of the last checkpoint need the programs; what they do not see any more is in the ring buffer.
        self.checkpoint(true).await?;
        self.hunt.tracer.detach()?;
        self.fetch().await?;
        self.finish_census().await?;
        self.tape.count(&self.hunt.clock).await?;
        self.tape.end_file(&self.hunt.clock, false).await
    }

    /// Waits for the census that is being taken, if one is.
    async fn finish_census(&mut self) -> Result<()> {
        let found = match &mut self.census {
            Some(census) if census.is_asked() => timeout(CENSUS_PATIENCE, census.found()).await,
            _ => return Ok(()),
        };
        match found {
            Ok(found) => self.tape.census(found).await,
            Err(_) => {
                tracing::warn!(
                    "the sockets of the end are not counted for `report --show states`: that takes longer than {} s",
                    CENSUS_PATIENCE.as_secs()
                );
                Ok(())
            }
        }
    }

    async fn follow(&mut self, endings: &mut Endings) -> Result<()> {
        let ticker = |every| {
            let mut tick = interval(every);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            tick
        };
        let (mut tick, mut flush, mut checkpoints) = (ticker(TICK), ticker(FLUSH), ticker(self.settings.interval));
        checkpoints.tick().await;
        loop {
            tokio::select! {
                biased;
                _ = endings.next() => return Ok(()),
                _ = checkpoints.tick() => {
                    self.fetch().await?;
                    self.checkpoint(false).await?;
                }
                _ = flush.tick() => {
                    self.fetch().await?;
                    self.tape.count(&self.hunt.clock).await?;
                    self.tell_of_losses();
                    // No more often: a file begins with how things stand, however large that is.
                    if self.tape.is_full() {
                        self.rotate().await?;
                    }
                }
                found = found(&mut self.census) => self.tape.census(found).await?,
                _ = tick.tick() => {
                    self.hunt.tracer.tend()?;
                    endings.check_processes(&self.hunt.tracer)?;
                    if let Some(census) = &mut self.census {
                        census.ask_if_due();
                    }
                }
                look = self.hunt.is_to_look() => {
                    look?;
                    self.hunt.look();
                    continue;
                }
                // Last: where events come without a pause, what is done now and then has its turn all the same.
                filled = self.hunt.tracer.filled() => filled?,
            }
            self.fetch().await?;
        }
    }

    /// Takes the events and stacks that wait.
    async fn fetch(&mut self) -> Result<()> {
        self.tape.fetch(&mut self.hunt).await
    }

    async fn begin_file(&mut self) -> Result<()> {
        self.tape.begin_file(&self.hunt.clock).await?;
        if let Some(census) = &mut self.census {
            census.ask();
        }
        Ok(())
    }

    /// Goes on in another file, which begins with how things stand.
    async fn rotate(&mut self) -> Result<()> {
        self.tape.count(&self.hunt.clock).await?;
        self.tape.end_file(&self.hunt.clock, true).await?;
        self.tape.rotate().await?;
        self.begin_file().await?;
        self.checkpoint(true).await
    }

    fn tell_of_losses(&mut self) {
        let (lost, waited) = (self.hunt.losses.events, self.tape.waited());
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

/// What a census found, if one is being taken; cancellation-safe.
async fn found(census: &mut Option<CensusTaker>) -> Option<TakenCensus> {
    match census {
        Some(census) if census.is_asked() => census.found().await,
        _ => std::future::pending().await,
    }
}

/// What is left of a recording that failed.
fn early_end(settings: &RecordSettings) -> String {
    let before = settings.rotation.map(|_| {
        let mut name = settings.path.clone().into_os_string();
        name.push(".1");
        PathBuf::from(name)
    });
    let left = [Some(settings.path.clone()), before].into_iter().flatten().find(|path| path.is_file());
    match left.map(|path| Escaped(path.as_os_str().as_bytes()).to_string()) {
        Some(path) => {
            format!("the recording ended early; what was written until then is whole: `tcpstate report {path}`")
        }
        None => "nothing was recorded".to_owned(),
    }
}

fn say_what_is_there(settings: &RecordSettings, clock: &Clock, totals: Totals, written: Written) {
    let Totals { seen, lost, .. } = totals;
    let path = Escaped(settings.path.as_os_str().as_bytes());
    let Written { bytes, files } = written;
    let _ = writeln!(
        Stderr,
        "{seen} transitions recorded, {lost} lost, in {:.1} s: {bytes} bytes in {files} file{}; `tcpstate report {path}` shows them",
        clock.began.elapsed().as_secs_f64(),
        if files == 1 { "" } else { "s" }
    );
}
