//! From a report to its JSON.

use serde::Serialize;
use tcpstate_core::aggregate::leaks::{Forecast, Group, LeakingProcess};

use super::{
    closed::{ClosedBody, closed_body},
    group::{GroupBody, group_body},
};
use crate::report::{json::ProcessBody, leaks::LeakReport};

/// What an object holds beside the moment.
#[derive(Serialize)]
pub(super) struct ReportBody<'a> {
    complete: bool,
    losses: LossesBody,
    unseen: &'a [&'static str],
    snapshot_age_ns: Option<u64>,
    totals: TotalsBody,
    processes: Vec<LeakingProcessBody>,
    groups: Vec<GroupBody<'a>>,
    groups_left_out: usize,
    sending: Vec<GroupBody<'a>>,
    sending_left_out: usize,
    closed_late: Vec<ClosedBody<'a>>,
    closed_late_left_out: usize,
}

pub(super) fn report(report: &LeakReport) -> ReportBody<'_> {
    let survey = &report.survey;
    let totals = &survey.totals;
    let closed: Vec<_> = report.closed_late().iter().map(|closed| closed_body(report, closed)).collect();
    ReportBody {
        complete: report.is_complete(),
        losses: losses(report),
        unseen: &report.unseen,
        snapshot_age_ns: survey.snapshot.map(|taken| survey.now.0.saturating_sub(taken.0)),
        totals: TotalsBody {
            close_wait: totals.close_wait,
            processes: totals.processes,
            sending: totals.sending,
            young: totals.young,
            ghosts: totals.ghosts,
            closed_late: totals.closed_late,
            closed_forgotten: totals.closed_forgotten,
        },
        processes: survey.processes.iter().map(LeakingProcessBody::from).collect(),
        groups: groups(report, report.shown()),
        groups_left_out: report.left_out().len(),
        sending: groups(report, report.sending()),
        sending_left_out: survey.sending.len() - report.sending().len(),
        closed_late_left_out: survey.closed_late.len() - closed.len(),
        closed_late: closed,
    }
}

#[derive(Serialize)]
pub(in crate::report) struct LossesBody {
    events: u64,
    unrepaired: bool,
    map_full: u64,
    stacks_skipped: u64,
    stacks_dropped: u64,
}

pub(in crate::report) fn losses(report: &LeakReport) -> LossesBody {
    LossesBody {
        events: report.losses.events,
        unrepaired: report.unrepaired,
        map_full: report.losses.map_full,
        stacks_skipped: report.losses.stacks_skipped,
        stacks_dropped: report.losses.stacks_dropped,
    }
}

#[derive(Serialize)]
struct TotalsBody {
    close_wait: u64,
    processes: u64,
    sending: u64,
    young: u64,
    ghosts: u64,
    closed_late: u64,
    closed_forgotten: u64,
}

#[derive(Serialize)]
struct LeakingProcessBody {
    #[serde(flatten)]
    process: ProcessBody,
    sockets: u64,
    descriptors: Option<u64>,
    limit: Option<u64>,
    forecast: Option<ForecastBody>,
}

#[derive(Serialize)]
struct ForecastBody {
    soonest_ns: u64,
    latest_ns: u64,
}

impl From<&LeakingProcess> for LeakingProcessBody {
    fn from(row: &LeakingProcess) -> Self {
        let forecast = |Forecast { soonest_ns, latest_ns }| ForecastBody { soonest_ns, latest_ns };
        Self {
            process: row.process.into(),
            sockets: row.sockets,
            descriptors: row.descriptors,
            limit: row.limit,
            forecast: row.forecast.map(forecast),
        }
    }
}

fn groups<'a>(report: &'a LeakReport, groups: &'a [Group]) -> Vec<GroupBody<'a>> {
    groups.iter().map(|group| group_body(report, group)).collect()
}
