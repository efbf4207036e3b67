//! `tcpstate leaks`: from events, snapshots and stacks to a report every few seconds.

use std::time::Duration;

use anyhow::Result;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::{
    command::render::leaks::LeaksRenderer,
    host::Host,
    hunt::{self, Fetch, Hunt, TICK},
    report::leaks::{LeakReport, Outlook},
    session::{
        ending::{Endings, WatchEnd},
        is_broken_pipe,
        output::Output,
    },
    settings::leaks::LeaksSettings,
};

/// Longest wait of `--once` for a second snapshot, where one does not suffice.
const SECOND_SNAPSHOT: Duration = Duration::from_secs(2);

/// Runs the command to its end.
///
/// # Errors
///
/// When the tracer cannot start, or the output cannot be written; a closed pipe is no error.
pub async fn run(settings: &LeaksSettings, host: &Host, debug: bool) -> Result<()> {
    let (hunt, followed) = hunt::attach(host, &settings.hunt, debug)?.begin(&[])?;
    let mut live = Live {
        renderer: LeaksRenderer::new(settings, hunt.clock.wall, hunt.clock.start),
        hunt,
        output: Output::to_stdout()?,
        settings,
    };
    let endings = Endings::new(settings.duration, followed)?;
    match live.run(endings).await {
        Err(error) if is_broken_pipe(&error) => Ok(()),
        other => other,
    }
}

/// A hunt that is reported on as it goes.
struct Live<'a> {
    hunt: Hunt,
    renderer: LeaksRenderer,
    output: Output,
    settings: &'a LeaksSettings,
}

impl Live<'_> {
    async fn run(&mut self, mut endings: Endings) -> Result<()> {
        self.hunt.reconcile()?;
        let end = match self.settings.interval {
            Some(every) => {
                let end = self.watch(&mut endings, every).await?;
                if end == WatchEnd::Signal {
                    self.hunt.hurry();
                }
                self.hunt.fetch()?;
                // Whether one was due or not: no later report makes up for what this one does not know.
                self.hunt.reconcile()?;
                end
            }
            None => self.report_once(&mut endings).await?,
        };
        let outlook = if self.settings.interval.is_some() { Outlook::Ended } else { Outlook::InPassing };
        let last = self.report(outlook).await?;
        self.hunt.tracer.detach()?;
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
    async fn watch(&mut self, endings: &mut Endings, every: Duration) -> Result<WatchEnd> {
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
                filled = self.hunt.tracer.filled() => filled?,
                _ = reports.tick() => {
                    self.hunt.fetch()?;
                    self.hunt.reconcile_if_due()?;
                    let report = self.report(Outlook::GoesOn).await?;
                    // A reader that is slow gets fewer reports: stacks cannot wait for it.
                    if let Some(mut out) = self.output.try_buffer()? {
                        self.renderer.interim(&mut out, &report)?;
                        self.output.write(out)?;
                    }
                }
                _ = tick.tick() => {
                    self.hunt.tracer.tend()?;
                    endings.check_processes(&self.hunt.tracer)?;
                }
                look = self.hunt.is_to_look() => {
                    look?;
                    self.hunt.look();
                    continue;
                }
            }
            self.hunt.fetch()?;
        }
    }

    /// One snapshot, and a second one where the first does not tell whether a socket is old enough.
    async fn report_once(&mut self, endings: &mut Endings) -> Result<WatchEnd> {
        let report = self.report(Outlook::InPassing).await?;
        if let Some(wait) = report.survey.settles_in_ns {
            let wait = Duration::from_nanos(wait).min(SECOND_SNAPSHOT);
            tokio::select! {
                end = endings.next() => return Ok(end),
                () = sleep(wait) => {}
            }
            self.hunt.fetch()?;
            self.hunt.reconcile()?;
        }
        Ok(WatchEnd::Counted)
    }

    /// What is said of a moment. Events are taken while the stacks get their names.
    async fn report(&mut self, outlook: Outlook) -> Result<LeakReport> {
        let top = self.settings.top;
        let surveyed = self.hunt.survey(top, &mut NobodyElse).await?;
        Ok(surveyed.into_report(&self.hunt, top, outlook))
    }
}

/// Events go to the aggregator only.
struct NobodyElse;

impl Fetch for NobodyElse {
    async fn fetch(&mut self, hunt: &mut Hunt) -> Result<()> {
        hunt.fetch()
    }
}
