//! `tcpstate leaks`: from events, snapshots and stacks to a report every few seconds.

pub(crate) mod look;
pub(crate) mod render;
pub(crate) mod sleepers;
pub(crate) mod stacks;

use std::{
    io,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use tokio::time::{MissedTickBehavior, interval, sleep};

use self::{look::look, render::Renderer, stacks::Stacks};
use crate::{
    aggregate::leaks::{self, Leaks, Observed},
    decode,
    kernel::{Options, Tracer},
    model::leak::LeakLosses,
    preflight,
    report::leaks::{LeakReport, Surroundings, processes_asleep},
    session::{
        Clock, ending::Endings, followed::Followed, is_broken_pipe, log_probes, output::Output, warn_of_rounding,
    },
    settings::leaks::LeaksSettings,
};

/// How often events and stacks are fetched: a stack has to be unwound while its process lives.
pub(crate) const TICK: Duration = Duration::from_millis(50);
/// Events taken at a time.
pub(crate) const BATCH: usize = 8192;
/// The buffer fills to this part before its reader is woken ahead of the tick.
pub(crate) const WAKEUP_PART: u32 = 4;
/// How often snapshots repair what events may have left wrong, at least.
pub(crate) const RECONCILE: Duration = Duration::from_secs(10);
/// A snapshot that takes less than this part of the time between two reports is taken for each of them: it also says who holds
/// the sockets and what is in their queues.
pub(crate) const SNAPSHOT_PART: u32 = 50;
/// Longest wait of `--once` for a second look, where one does not suffice.
const SECOND_LOOK: Duration = Duration::from_secs(2);

/// Runs the command to its end.
///
/// # Errors
///
/// When the tracer cannot start, or the output cannot be written; a closed pipe is no error.
pub async fn run(settings: &LeaksSettings, debug: bool) -> Result<()> {
    preflight::check_capabilities()?;
    preflight::raise_descriptor_limit();
    warn_of_rounding(settings.buffer);
    let followed = Followed::new(settings.filter.pids(), settings.filter.children())?;
    let tracer = Tracer::start(&Options {
        config: settings.config(settings.buffer.bytes / WAKEUP_PART),
        pids: followed.pids().to_vec(),
        buffer_bytes: settings.buffer.bytes,
        debug,
    })?;
    log_probes(tracer.probes());
    let clock = Clock::start()?;
    let probes = tracer.probes();
    let options = leaks::Options {
        older_than: settings.older_than,
        accept_hook: probes.accept_in_use().is_some(),
        receive_hook: probes.receive.as_ref().is_some_and(|attempt| attempt.refused.is_none()),
    };
    let mut hunt = Hunt {
        tracer,
        leaks: Leaks::new(options),
        stacks: Stacks::default(),
        losses: LeakLosses::default(),
        reconciled: None,
        lost_at_reconcile: 0,
        renderer: Renderer::new(settings, clock.wall, clock.start),
        output: Output::start(io::stdout())?,
        clock,
        settings,
    };
    let endings = Endings::new(settings.duration, followed)?;
    match hunt.run(endings).await {
        Err(error) if is_broken_pipe(&error) => Ok(()),
        other => other,
    }
}

struct Hunt<'a> {
    tracer: Tracer,
    leaks: Leaks,
    stacks: Stacks,
    losses: LeakLosses,
    /// When the last snapshot was taken, and how long it took.
    reconciled: Option<(Instant, Duration)>,
    /// Events that had been lost then.
    lost_at_reconcile: u64,
    renderer: Renderer,
    output: Output,
    clock: Clock,
    settings: &'a LeaksSettings,
}

impl Hunt<'_> {
    async fn run(&mut self, mut endings: Endings) -> Result<()> {
        self.reconcile()?;
        match self.settings.interval {
            Some(every) => {
                self.watch(&mut endings, every).await?;
                self.fetch()?;
                self.reconcile_if_due(every)?;
            }
            None => self.look_once(&mut endings).await?,
        }
        let last = self.report()?;
        self.tracer.detach();
        let finish = async {
            let mut out = self.output.buffer().await?;
            self.renderer.last(&mut out, &last)?;
            self.output.write(out)?;
            Ok::<_, anyhow::Error>(self.output.finish().await?)
        };
        tokio::select! {
            finished = finish => finished?,
            () = endings.signal() => bail!(
                "interrupted while the reader of standard output was not reading; the end of the output is missing"
            ),
        }
        Ok(())
    }

    /// Reports at intervals until something ends it.
    async fn watch(&mut self, endings: &mut Endings, every: Duration) -> Result<()> {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut reports = interval(every);
        reports.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first one comes at once.
        reports.tick().await;
        loop {
            tokio::select! {
                biased;
                _ = endings.next() => return Ok(()),
                filled = self.tracer.filled() => filled?,
                _ = reports.tick() => {
                    self.fetch()?;
                    self.reconcile_if_due(every)?;
                    let report = self.report()?;
                    // A reader that is slow gets fewer reports: stacks cannot wait for it.
                    if let Some(mut out) = self.output.try_buffer()? {
                        self.renderer.interim(&mut out, &report)?;
                        self.output.write(out)?;
                    }
                }
                _ = tick.tick() => {
                    self.tracer.flush_log();
                    endings.check_processes(&self.tracer)?;
                }
            }
            self.fetch()?;
        }
    }

    /// One look, and a second one where the first does not tell whether a socket is old enough.
    async fn look_once(&mut self, endings: &mut Endings) -> Result<()> {
        let report = self.report()?;
        if let Some(wait) = report.survey.settles_in_ns {
            let wait = Duration::from_nanos(wait).min(SECOND_LOOK);
            tokio::select! {
                _ = endings.next() => return Ok(()),
                () = sleep(wait) => {}
            }
            self.fetch()?;
            self.reconcile()?;
        }
        Ok(())
    }

    /// Takes the events and stacks that wait.
    fn fetch(&mut self) -> Result<()> {
        let Self { tracer, leaks, stacks, settings, .. } = self;
        let mut result = Ok(());
        while tracer.drain(BATCH, |record| match decode::leak::event(record) {
            Ok(event) => leaks.push(&event),
            Err(error) => result = Err(error),
        }) == BATCH
        {}
        result?;
        stacks.fetch(tracer, settings.stack_bytes);
        let counters = tracer.counters()?;
        self.losses = LeakLosses::from(&counters);
        Ok(())
    }

    fn reconcile_if_due(&mut self, every: Duration) -> Result<()> {
        let due =
            self.reconciled.is_none_or(|(last, took)| took * SNAPSHOT_PART < every || last.elapsed() >= RECONCILE);
        if due || self.losses.events > self.lost_at_reconcile { self.reconcile() } else { Ok(()) }
    }

    fn reconcile(&mut self) -> Result<()> {
        let began = Instant::now();
        let lost = self.tracer.counters()?.dropped;
        let snapshot = look(&mut self.tracer, &self.clock)?;
        self.leaks.reconcile(&snapshot);
        self.reconciled = Some((began, began.elapsed()));
        self.lost_at_reconcile = lost;
        Ok(())
    }

    fn report(&mut self) -> Result<LeakReport> {
        self.stacks.name(&self.leaks.places());
        // Threads are looked at for the processes that the sockets of just now belong to.
        let book = self.stacks.book();
        let fold = |place| book.fold(place);
        let now = self.clock.now();
        let survey = self.leaks.survey(&Observed { now, asleep_in_send: None, fold: &fold });
        let pids: Vec<u32> = survey.processes.iter().map(|row| row.process.pid).collect();
        let threads = if pids.is_empty() { Vec::new() } else { self.tracer.threads(&pids)? };
        let in_send = sleepers::in_send(&threads);
        let survey = self.leaks.survey(&Observed { now, asleep_in_send: Some(&in_send), fold: &fold });
        let sleepers = processes_asleep(&survey, self.settings.top)
            .into_iter()
            .map(|pid| (pid, sleepers::of_process(pid, &threads, &mut self.stacks)))
            .collect();
        let surroundings = Surroundings {
            sleepers,
            losses: self.losses,
            unrepaired: self.losses.events > self.lost_at_reconcile,
            top: self.settings.top,
        };
        Ok(LeakReport::new(survey, self.stacks.book(), surroundings))
    }
}
