//! How leaks stood at one moment of a recording, as `tcpstate leaks` shows it.

use std::{collections::BTreeMap, io::Write};

use anyhow::{Result, bail};
use tcpstate_core::{
    aggregate::leaks::{Leaks, Observed, Survey},
    model::{
        MonotonicNs, ProcessId,
        activity::Activity,
        event::Event,
        leak::{FoundSocket, LeakLosses, Snapshot},
    },
};
use tcpstate_recording::{Checkpoint, Content};

use super::{
    contents::Contents,
    kept_stacks::KeptStacks,
    replay::{Replay, TimeRange, Viewer},
    wanted::Wanted,
};
use crate::{
    cli::LeaksFormat,
    command::render::leaks::LeaksRenderer,
    report::{
        clock::TimeStyle,
        leaks::{LeakReport, Outlook, Surroundings},
        leaks_json::LeaksJson,
        leaks_text::LeaksText,
    },
    session::pages::Pages,
};

struct LeakViewer {
    leaks: Leaks,
    range: TimeRange,
    stacks: KeptStacks,
    /// Sockets of the snapshot that the next checkpoint completes.
    sockets: Vec<FoundSocket>,
    /// What threads did at the next checkpoint, and what at the last one.
    next_activities: BTreeMap<u32, Activity>,
    activities: BTreeMap<u32, Activity>,
    /// The last checkpoint, without its snapshot.
    checkpoint: Option<Checkpoint>,
    /// The first checkpoint, if it is too late.
    too_late: Option<MonotonicNs>,
    /// Snapshots and losses before the first checkpoint are none.
    losses: LeakLosses,
}

impl Viewer for LeakViewer {
    fn take(&mut self, content: Content, wanted: &mut Wanted) -> Result<bool> {
        match content {
            Content::Events(events) => {
                let to = self.range.to;
                for event in events.iter().filter(|event| event.at() <= to) {
                    self.event(event, wanted);
                }
            }
            Content::Sockets(found) => self.sockets.extend(found),
            Content::Traffic(traffic) => {
                // Of the last sockets.
                let loads = self.sockets.iter_mut().rev().zip(traffic.into_iter().rev());
                loads.for_each(|(socket, traffic)| {
                    if let Some(load) = &mut socket.load {
                        load.traffic = traffic;
                    }
                });
            }
            Content::Stacks(stacks) => {
                for (place, stack) in stacks {
                    self.stacks.insert(place, stack, || self.leaks.places());
                }
            }
            Content::Activities(activities) => self.next_activities = activities,
            Content::Checkpoint(checkpoint) => {
                let activities = std::mem::take(&mut self.next_activities);
                let sockets = std::mem::take(&mut self.sockets);
                // What is of later may still be among what comes before it.
                if checkpoint.now > self.range.to {
                    self.too_late = Some(checkpoint.now);
                    return Ok(false);
                }
                self.activities = activities;
                self.checkpoint(*checkpoint, sockets, wanted);
            }
            Content::Start(_)
            | Content::Names(_)
            | Content::Counts(_)
            | Content::Unseen(_)
            | Content::CensusPart(_)
            | Content::CensusGaps(_)
            | Content::Census(_)
            | Content::End(_) => {}
        }
        Ok(true)
    }
}

impl LeakViewer {
    fn event(&mut self, event: &Event, wanted: &Wanted) {
        let unwanted = match event {
            Event::Entered { transition, .. } => transition.at < self.range.from || !wanted.transition(transition),
            Event::Transition(_) | Event::Beside(_) => false,
        };
        // What happens to a socket that never entered is nobody's.
        if let (Some(event), false) = (event.leak(), unwanted) {
            self.leaks.push(&event);
        }
    }

    fn checkpoint(&mut self, mut checkpoint: Checkpoint, mut sockets: Vec<FoundSocket>, wanted: &Wanted) {
        if let Some(mut snapshot) = checkpoint.snapshot.take() {
            let from = self.range.from;
            let began = |found: &FoundSocket| from.0 == 0 || found.since.is_some_and(|since| since >= from);
            snapshot.listeners.retain(|found| wanted.listener(found));
            let in_snapshot = wanted.of_snapshot(&snapshot);
            sockets.retain(|found| in_snapshot.wants(found) && began(found));
            self.leaks.reconcile(&Snapshot { sockets, ..snapshot });
        }
        self.losses = checkpoint.losses;
        self.checkpoint = Some(checkpoint);
        self.survey(None);
    }

    /// How things stand at the last checkpoint, or at another moment after it.
    fn survey(&mut self, at: Option<MonotonicNs>) -> Option<Survey> {
        let checkpoint = self.checkpoint.as_ref()?;
        let Self { leaks, stacks, .. } = self;
        let fold = |place| stacks.book().fold(place);
        let now = at.unwrap_or(checkpoint.now).max(checkpoint.now);
        Some(leaks.survey(&Observed { now, asleep_in_send: checkpoint.in_send.as_ref(), fold: &fold }))
    }
}

pub(super) fn show(replay: &mut Replay<'_>, contents: &mut Contents, out: &mut impl Write) -> Result<()> {
    let settings = replay.settings;
    let late = std::time::Duration::from_nanos(replay.start.late_ns);
    if settings.older_than < late && !settings.older_than.is_zero() {
        tracing::warn!("recorded with `--older-than {late:?}`: of sockets closed sooner the closer's stack is missing");
    }
    let mut viewer = LeakViewer {
        leaks: Leaks::new(replay.start.leak_options(settings.older_than))
            .filtered_by_process(replay.start.is_filtered_by_process()),
        range: replay.range,
        stacks: KeptStacks::new(),
        sockets: Vec::new(),
        next_activities: BTreeMap::new(),
        activities: BTreeMap::new(),
        checkpoint: None,
        too_late: None,
        losses: LeakLosses::default(),
    };
    let reached = replay.read(contents, &mut viewer)?;
    if let Some(left_out) = viewer.stacks.left_out() {
        tracing::warn!("{left_out}");
    }
    let Some(survey) = viewer.survey(Some(reached.at.min(replay.range.to))) else {
        let format = replay.time(TimeStyle::Rfc3339);
        match viewer.too_late {
            Some(at) => bail!("leaks were looked at first at {}: give that or a later time for `--to`", format.at(at)),
            None => bail!("the recording was cut off before leaks were looked at; `--show trace` shows what there is"),
        }
    };
    let checkpoint = viewer.checkpoint.take().map(|checkpoint| (checkpoint.sleepers, checkpoint.unrepaired));
    let (sleepers, unrepaired) = checkpoint.unwrap_or_default();
    let LeakViewer { leaks, activities, .. } = &mut viewer;
    let (sleepers, activities) = (of_present(leaks, sleepers), of_present(leaks, std::mem::take(activities)));
    let surroundings = Surroundings {
        sleepers,
        activities,
        losses: viewer.losses,
        unseen: replay.start.probes.hooks.lost(),
        unrepaired,
        top: settings.top,
        outlook: Outlook::Ended,
    };
    let report = LeakReport::new(survey, viewer.stacks.book(), surroundings);
    let mut text = Vec::new();
    renderer(replay).last(&mut text, &report)?;
    out.write_all(&text)?;
    Ok(())
}

fn renderer(replay: &Replay<'_>) -> LeaksRenderer {
    let settings = replay.settings;
    match settings.output {
        LeaksFormat::Json => LeaksRenderer::Json(LeaksJson::new(replay.clock())),
        LeaksFormat::Folded => LeaksRenderer::Folded(settings.weight),
        LeaksFormat::Svg => LeaksRenderer::Svg(settings.weight),
        LeaksFormat::Text => {
            let style = match settings.time {
                // A report without its time would be of no moment.
                TimeStyle::None => TimeStyle::Local,
                style => style,
            };
            let text = LeaksText { time: replay.time(style), color: settings.color, width: Pages::width() };
            LeaksRenderer::Text { text, pages: Pages::new(false) }
        }
    }
}

/// What a checkpoint says of processes by number, of those that had these numbers then.
fn of_present<T>(leaks: &Leaks, known: BTreeMap<u32, T>) -> BTreeMap<ProcessId, T> {
    known.into_iter().map(|(pid, known)| (leaks.present(pid), known)).collect()
}
