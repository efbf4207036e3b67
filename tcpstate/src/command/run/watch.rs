//! The tracer while a command runs, and the judgement afterwards.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Result;
use tcpstate_core::{
    aggregate::leaks::Observed,
    model::{
        leak::PlaceId,
        probes::{Hooks, Role},
    },
};
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};

use super::clean_up::is_at_exit;
use crate::{
    host::Host,
    hunt::{self, Hunt, TICK},
    report::{
        leaks::{LeakReport, Outlook, Surroundings},
        run::{Allowance, CommandEnd, RunReport},
    },
    settings::run::RunSettings,
};

/// After the command has ended, those that it has just killed may still be on their way out.
const GRACE: Duration = Duration::from_millis(200);
/// A place that the kernel side never has, for all those without a stack.
const NO_STACK: PlaceId = PlaceId(0);
/// Closed sockets that wait for their stacks to be named.
const UNSETTLED: usize = 4096;
/// How often it is asked whether they are gone.
const POLL: Duration = Duration::from_millis(5);

/// A tracer of one process and its descendants.
pub(super) struct Watch {
    hunt: Hunt,
    tick: Interval,
    settings: RunSettings,
    pid: u32,
}

/// What this kernel does not let be seen.
fn unseen(hooks: &Hooks) -> Vec<&'static str> {
    let mut unseen = hooks.lost();
    // Only the stack of a close tells that it was the clean-up at an exit.
    if [Role::Registers, Role::UserStacks].into_iter().any(|role| hooks.chosen(role).is_none()) {
        unseen.push("sockets that a program closes as it cleans up at its exit pass for closed in time");
    }
    unseen
}

impl Watch {
    /// Everything is attached when it returns.
    pub(super) fn start(settings: &RunSettings, host: &Host, pid: u32, debug: bool) -> Result<Self> {
        let reports: Vec<&Path> =
            [&settings.junit, &settings.report].into_iter().flatten().map(PathBuf::as_path).collect();
        let (mut hunt, _) = hunt::attach(host, &settings.hunt(pid), debug)?.begin(&reports)?;
        hunt.leaks = hunt.leaks.keeping(settings.max_dwell);
        hunt.reconcile()?;
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self { hunt, tick, settings: settings.clone(), pid })
    }

    /// Waits until there is something to take, and takes it; cancellation-safe.
    pub(super) async fn next(&mut self) -> Result<()> {
        let Self { hunt, tick, .. } = self;
        tokio::select! {
            biased;
            came = hunt.tracer.stack_came() => came?,
            filled = hunt.tracer.filled() => filled?,
            _ = tick.tick() => hunt.tracer.tend()?,
            look = hunt.is_to_look() => {
                look?;
                hunt.look();
                return Ok(());
            }
        }
        hunt.fetch()?;
        if hunt.leaks.unsettled_count() >= UNSETTLED {
            settle(hunt);
        }
        hunt.reconcile_if_needed()
    }

    /// Judges what the command left.
    pub(super) async fn finish(mut self, end: CommandEnd) -> Result<RunReport> {
        let ended = self.hunt.clock.now();
        let left = self.wait_for_the_dying().await?;
        let hunt = &mut self.hunt;
        hunt.fetch()?;
        hunt.reconcile()?;
        hunt.tracer.detach()?;
        hunt.fetch()?;

        settle(hunt);
        hunt.name_now(&hunt.leaks.places());
        let Hunt { tracer, leaks, stacks, clock, losses, .. } = hunt;
        let book = stacks.book();
        // Places whose stack is missing look the same: there may be as many as there were processes.
        let fold = |place| if book.get(place).is_some() { book.fold(place) } else { NO_STACK };
        let now = clock.now();
        let allow = self.settings.allow.as_ref();
        let observed = Observed { now, asleep_in_send: None, fold: &fold };
        let outcome = leaks.outcome(&observed, &|suspect| {
            allow.and_then(|list| list.rule_for(suspect, |place| book.get(place).map(AsRef::as_ref)))
        });
        let used = outcome.allowed();
        let allowances = allow.map_or(&[][..], |list| &list.rules).iter().enumerate().map(|(index, rule)| Allowance {
            line: rule.line,
            reason: rule.reason.clone(),
            sockets: used.get(&index).copied().unwrap_or(0),
        });
        let allowances = allowances.collect();
        let mut survey = leaks.survey(&observed);
        survey.groups.clear();
        survey.sending.clear();
        survey.closed_late.clear();
        survey.processes.clear();
        survey.groups.extend(outcome.findings.iter().map(|finding| finding.group.clone()));
        let unseen = unseen(&tracer.probes().hooks);
        let surroundings = Surroundings {
            losses: *losses,
            unseen,
            top: usize::MAX,
            outlook: Outlook::Ended,
            ..Surroundings::default()
        };
        let leaks = LeakReport::new(survey, book, surroundings);
        Ok(RunReport {
            command: self.settings.command.clone(),
            pid: self.pid,
            end,
            began: clock.start,
            ended,
            clock: clock.wall,
            older_than: self.settings.older_than(),
            max_dwell: self.settings.max_dwell,
            outcome,
            leaks,
            allow_list: allow.map(|list| list.path.clone()),
            allowances,
            processes_left: left,
        })
    }

    /// Returns how many descendants stay.
    async fn wait_for_the_dying(&mut self) -> Result<u64> {
        let began = Instant::now();
        loop {
            let live = self.hunt.tracer.live_children()?;
            if live == 0 || began.elapsed() >= GRACE {
                return Ok(live);
            }
            self.hunt.fetch()?;
            sleep(POLL).await;
        }
    }
}

/// Finds out which sockets were closed as their process cleaned up at its exit.
fn settle(hunt: &mut Hunt) {
    hunt.name_now(&hunt.leaks.unsettled());
    let Hunt { leaks, stacks, .. } = hunt;
    let book = stacks.book();
    leaks.settle(|place| book.get(place).is_some_and(|stack| is_at_exit(stack)));
}
