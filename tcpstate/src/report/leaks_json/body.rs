//! From a report to its JSON.

use serde::Serialize;
use tcpstate_core::aggregate::leaks::{Forecast, Group, LeakingProcess};

use super::{
    closed::{ClosedBody, closed_body},
    group::{GroupBody, GrowthBody, group_body},
};
use crate::report::{json::ProcessBody, leaks::LeakReport};

/// What an object holds beside the moment.
#[derive(Serialize)]
pub(super) struct ReportBody<'a> {
    complete: bool,
    losses: LossesBody,
    surplus: SurplusBody,
    unseen: &'a [&'static str],
    snapshot_age_ns: Option<u64>,
    totals: TotalsBody,
    processes: Vec<LeakingProcessBody>,
    groups: Vec<GroupBody<'a>>,
    groups_left_out: u64,
    sending: Vec<GroupBody<'a>>,
    sending_left_out: u64,
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
        surplus: surplus(report),
        unseen: &report.unseen,
        snapshot_age_ns: survey.snapshot.map(|taken| survey.now.0.saturating_sub(taken.0)),
        totals: TotalsBody {
            close_wait: totals.close_wait,
            processes: totals.processes,
            sending: totals.sending,
            young: totals.young,
            ghosts: totals.ghosts,
            ghosts_known: report.knows_ghosts(),
            closed_late: totals.closed_late,
            closed_forgotten: totals.closed_forgotten,
        },
        processes: survey.processes.iter().map(LeakingProcessBody::from).collect(),
        groups: groups(report, report.shown()),
        groups_left_out: report.left_out().len() as u64 + survey.surplus.groups.number,
        sending: groups(report, report.sending()),
        sending_left_out: (survey.sending.len() - report.sending().len()) as u64 + survey.surplus.sending.number,
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

/// What there was too much of.
#[derive(Serialize)]
struct SurplusBody {
    groups: u64,
    group_sockets: u64,
    sending: u64,
    sending_sockets: u64,
    groups_without_growth: u64,
    processes: u64,
    process_sockets: u64,
    processes_without_growth: u64,
    stacks: u64,
    sleepers: u64,
    ports: u64,
}

fn surplus(report: &LeakReport) -> SurplusBody {
    let surplus = &report.survey.surplus;
    SurplusBody {
        groups: surplus.groups.number,
        group_sockets: surplus.groups.sockets,
        sending: surplus.sending.number,
        sending_sockets: surplus.sending.sockets,
        groups_without_growth: surplus.trends,
        processes: surplus.processes.number,
        process_sockets: surplus.processes.sockets,
        processes_without_growth: surplus.followed,
        stacks: report.nameless(),
        sleepers: report.other_sleepers,
        ports: surplus.listening,
    }
}

#[derive(Serialize)]
struct TotalsBody {
    close_wait: u64,
    processes: u64,
    sending: u64,
    young: u64,
    ghosts: u64,
    ghosts_known: bool,
    closed_late: u64,
    closed_forgotten: u64,
}

#[derive(Serialize)]
struct LeakingProcessBody {
    #[serde(flatten)]
    process: ProcessBody,
    sockets: u64,
    unaccepted: u64,
    descriptors: Option<u64>,
    limit: Option<u64>,
    descriptor_growth: Option<GrowthBody>,
    leaked_growth: Option<GrowthBody>,
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
            unaccepted: row.unaccepted,
            descriptors: row.descriptors,
            limit: row.limit,
            descriptor_growth: row.descriptor_growth.map(GrowthBody::from),
            leaked_growth: row.leaked_growth.map(GrowthBody::from),
            forecast: row.forecast.map(forecast),
        }
    }
}

fn groups<'a>(report: &'a LeakReport, groups: &'a [Group]) -> Vec<GroupBody<'a>> {
    groups.iter().map(|group| group_body(report, group)).collect()
}
