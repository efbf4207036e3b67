//! `tcpstate leaks`: from events, snapshots and stacks to a report every few seconds.

pub(crate) mod render;

use std::time::{Duration, Instant};

use anyhow::Result;
use tcpstate_core::{
    aggregate::leaks::{LeakOptions, Leaks, Observed},
    model::stack::Stack,
};
use tokio::time::{MissedTickBehavior, interval, sleep};

use self::render::Renderer;
use crate::{
    host::{Host, preflight},
    hunt::{TICK, WAKEUP_PART, intake::Intake, sleepers, stacks::Named},
    kernel::{Tracer, TracerOptions},
    report::leaks::{LeakReport, Surroundings, processes_asleep},
    session::{
        Clock,
        ending::{End, Endings},
        followed::Followed,
        is_broken_pipe, log_probes,
        output::Output,
        warn_of_rounding,
    },
    settings::leaks::LeaksSettings,
};

/// So often new stacks may come while others get their names, before a report waits for the last ones without taking events.
const NAMING_ROUNDS: u32 = 8;
/// Longest wait of `--once` for a second look, where one does not suffice.
const SECOND_LOOK: Duration = Duration::from_secs(2);

/// Runs the command to its end.
///
/// # Errors
///
/// When the tracer cannot start, or the output cannot be written; a closed pipe is no error.
pub async fn run(settings: &LeaksSettings, host: &Host, debug: bool) -> Result<()> {
    preflight::check_capabilities()?;
    host.check_pids()?;
    preflight::raise_descriptor_limit();
    warn_of_rounding(settings.buffer);
    let mut followed = Followed::new(settings.filter.pids(), settings.filter.children())?;
    let tracer = Tracer::start(&TracerOptions {
        config: settings.config(settings.buffer.bytes / WAKEUP_PART),
        pids: followed.pids().to_vec(),
        descendants: followed.descendants(),
        buffer_bytes: settings.buffer.bytes,
        debug,
    })?;
    followed.catch_up()?;
    log_probes(tracer.probes());
    let clock = Clock::start()?;
    let leaks = Leaks::new(LeakOptions::seen_by(&tracer.probes().hooks, settings.older_than));
    let mut hunt = Hunt {
        intake: Intake::new(tracer, leaks, clock, settings.stack_bytes)?,
        renderer: Renderer::new(settings, clock.wall, clock.start),
        output: Output::to_stdout()?,
        settings,
    };
    let endings = Endings::new(settings.duration, followed)?;
    match hunt.run(endings).await {
        Err(error) if is_broken_pipe(&error) => Ok(()),
        other => other,
    }
}

struct Hunt<'a> {
    intake: Intake,
    renderer: Renderer,
    output: Output,
    settings: &'a LeaksSettings,
}

impl Hunt<'_> {
    async fn run(&mut self, mut endings: Endings) -> Result<()> {
        self.intake.reconcile()?;
        let end = match self.settings.interval {
            Some(every) => {
                let end = self.watch(&mut endings, every).await?;
                self.intake.fetch()?;
                // Whether one was due or not: no later report makes up for what this one does not know.
                self.intake.reconcile()?;
                end
            }
            None => self.look_once(&mut endings).await?,
        };
        let last = self.report().await?;
        self.intake.tracer.detach()?;
        let progress = self.output.progress();
        let finish = async {
            let mut out = self.output.buffer().await?;
            self.renderer.last(&mut out, &last)?;
            self.output.write(out)?;
            Ok(self.output.finish().await?)
        };
        endings.finish(end, &progress, finish).await
    }

    /// Reports at intervals until something ends it.
    async fn watch(&mut self, endings: &mut Endings, every: Duration) -> Result<End> {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut reports = interval(every);
        reports.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first one comes at once.
        reports.tick().await;
        loop {
            tokio::select! {
                biased;
                end = endings.next() => return Ok(end),
                filled = self.intake.tracer.filled() => filled?,
                _ = reports.tick() => {
                    self.intake.fetch()?;
                    self.reconcile_if_due()?;
                    let report = self.report().await?;
                    // A reader that is slow gets fewer reports: stacks cannot wait for it.
                    if let Some(mut out) = self.output.try_buffer()? {
                        self.renderer.interim(&mut out, &report)?;
                        self.output.write(out)?;
                    }
                }
                _ = tick.tick() => {
                    self.intake.tracer.tend()?;
                    endings.check_processes(&self.intake.tracer)?;
                }
            }
            self.intake.fetch()?;
        }
    }

    /// One look, and a second one where the first does not tell whether a socket is old enough.
    async fn look_once(&mut self, endings: &mut Endings) -> Result<End> {
        let report = self.report().await?;
        if let Some(wait) = report.survey.settles_in_ns {
            let wait = Duration::from_nanos(wait).min(SECOND_LOOK);
            tokio::select! {
                end = endings.next() => return Ok(end),
                () = sleep(wait) => {}
            }
            self.intake.fetch()?;
            self.intake.reconcile()?;
        }
        Ok(End::Counted)
    }

    fn reconcile_if_due(&mut self) -> Result<()> {
        if self.intake.is_due() { self.intake.reconcile() } else { Ok(()) }
    }

    /// What is said of a moment. Events are taken while the stacks get their names.
    async fn report(&mut self) -> Result<LeakReport> {
        let began = Instant::now();
        self.name_stacks().await?;
        let Intake { tracer, leaks, stacks, clock, losses, .. } = &mut self.intake;
        let book = stacks.book();
        let fold = |place| book.fold(place);
        let now = clock.now();
        let pids: Vec<u32> = leaks.processes().into_iter().collect();
        let threads = if pids.is_empty() { Vec::new() } else { tracer.threads(&pids)? };
        let in_send = sleepers::in_send(&threads, leaks.descriptors());
        let survey = leaks.survey(&Observed { now, asleep_in_send: Some(&in_send), fold: &fold });
        let (losses, unseen) = (*losses, tracer.probes().hooks.lost());
        let wanted = processes_asleep(&survey, self.settings.top);
        let (asleep, unnamed) = sleepers::of_processes(&wanted, &threads, stacks);
        let unrepaired = self.intake.is_unrepaired();

        let named = if unnamed.is_empty() {
            Vec::new()
        } else {
            let named = self.intake.stacks.begin_to_name_threads(unnamed);
            self.fetch_until(named).await?
        };
        let sleepers = sleepers::folded(&wanted, &asleep, named).into_iter().collect();
        let surroundings = Surroundings { sleepers, losses, unseen, unrepaired, top: self.settings.top };
        let report = LeakReport::new(survey, self.intake.stacks.book(), surroundings);
        tracing::debug!("report of {} groups took {} µs", report.survey.groups.len(), began.elapsed().as_micros());
        Ok(report)
    }

    /// Names the stacks of all sockets that there are when it returns.
    async fn name_stacks(&mut self) -> Result<()> {
        for _ in 0..NAMING_ROUNDS {
            // Those of what only the snapshot has told of.
            self.intake.fetch_stacks();
            let Intake { leaks, stacks, .. } = &mut self.intake;
            let all = leaks.places();
            let Some((places, named)) = stacks.begin_to_name(&all) else {
                stacks.forget_others(&all);
                return Ok(());
            };
            let named = self.fetch_until(named).await?;
            self.intake.stacks.insert(places, named);
        }
        let Intake { leaks, stacks, .. } = &mut self.intake;
        stacks.name(&leaks.places());
        Ok(())
    }

    /// Takes events and stacks until the names have come.
    async fn fetch_until(&mut self, mut named: Named) -> Result<Vec<Stack>> {
        let mut tick = interval(TICK);
        loop {
            tokio::select! {
                biased;
                named = &mut named => return Ok(named.unwrap_or_else(|_| self.intake.stacks.failed())),
                filled = self.intake.tracer.filled() => filled?,
                _ = tick.tick() => {}
            }
            self.intake.fetch()?;
        }
    }
}
