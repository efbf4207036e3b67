//! Censuses in a recording, as `tcpstate states` shows them.

use std::{collections::BTreeMap, io::Write};

use anyhow::{Result, bail};
use tcpstate_core::{
    aggregate::states::{By, SocketCounts, SocketFilter, count},
    model::{MonotonicNs, census::Census},
};
use tcpstate_recording::{CensusGaps, CensusPart, CensusRest, Content, Names};

use super::{
    contents::{Contents, named},
    replay::{Replay, TimeRange, Viewer},
    wanted::Wanted,
};
use crate::{
    cli::{LeaksFormat, OutputFormat},
    command::render::states::StatesRenderer,
    report::clock::TimeStyle,
    session::pages::Pages,
    settings::report::StatesView,
};

/// Sees censuses, and shows them: the last before the end of the range, or where the range has a beginning each of them with what
/// changed since the one before.
struct StatesViewer<'a, W> {
    out: &'a mut W,
    renderer: StatesRenderer,
    view: &'a StatesView,
    range: TimeRange,
    each: bool,
    parts: Vec<CensusPart>,
    gaps: Option<CensusGaps>,
    /// What was told of cgroups until now.
    names: BTreeMap<u64, Vec<u8>>,
    /// The last census that was within the range.
    last: Option<(MonotonicNs, Census)>,
    shown: Option<SocketCounts>,
    /// The first census that was too late.
    too_late: Option<MonotonicNs>,
}

impl<W: Write> Viewer for StatesViewer<'_, W> {
    fn take(&mut self, content: Content, wanted: &mut Wanted) -> Result<bool> {
        match content {
            Content::Names(Names { cgroups, .. }) => self.names.extend(cgroups),
            Content::CensusPart(part) => self.parts.push(part),
            Content::CensusGaps(gaps) => self.gaps = Some(gaps),
            Content::Census(rest) => return self.take_census(*rest, wanted),
            _ => {}
        }
        Ok(true)
    }
}

impl<W: Write> StatesViewer<'_, W> {
    fn take_census(&mut self, rest: CensusRest, wanted: &Wanted) -> Result<bool> {
        let now = rest.now;
        let census = rest.with(std::mem::take(&mut self.parts), self.gaps.take())?;
        if now > self.range.to {
            self.too_late = Some(now);
            return Ok(false);
        }
        if now < self.range.from {
            return Ok(true);
        }
        if self.each {
            self.show(now, census, wanted)?;
        } else {
            self.last = Some((now, census));
        }
        Ok(true)
    }

    fn show(&mut self, now: MonotonicNs, mut census: Census, wanted: &Wanted) -> Result<()> {
        let filter = self.filter(&census, wanted);
        census.namespaces.retain(|namespace| wanted.wants_netns(namespace.inode));
        census.gaps.namespaces.retain(|(name, _)| wanted.may_want_netns(name));
        if self.view.by == Some(By::Cgroup) {
            census.cgroups.clone_from(&self.names);
        }
        let mut counts = count(&census, &filter, self.view.by, now);
        if let Some(before) = &self.shown {
            counts.compare(before);
        }
        let mut text = Vec::new();
        self.renderer.report(&mut text, &counts)?;
        self.out.write_all(&text)?;
        self.shown = Some(counts);
        Ok(())
    }

    /// With the processes and cgroups that are meant as far as is known by now.
    fn filter(&self, census: &Census, wanted: &Wanted) -> SocketFilter {
        let mut filter = self.view.filter.clone();
        if !filter.pids.is_empty() {
            filter.pids.extend(census.processes.iter().map(|found| found.pid).filter(|&pid| wanted.follows(pid)));
        }
        filter.cgroups = wanted.cgroups();
        filter
    }
}

pub(super) fn show(replay: &mut Replay<'_>, contents: &mut Contents, out: &mut impl Write) -> Result<()> {
    let settings = replay.settings;
    let format = match settings.output {
        LeaksFormat::Json => OutputFormat::Json,
        _ => OutputFormat::Text,
    };
    let style = match settings.time {
        // A report without its time would be of no moment.
        TimeStyle::None => TimeStyle::Local,
        style => style,
    };
    let mut viewer = StatesViewer {
        out,
        renderer: StatesRenderer::new(format, replay.time(style), settings.top, settings.color, Pages::new(false)),
        view: &settings.states,
        range: replay.range,
        each: settings.from.is_some(),
        parts: Vec::new(),
        gaps: None,
        names: BTreeMap::new(),
        last: None,
        shown: None,
        too_late: None,
    };
    let reached = replay.read(contents, &mut viewer)?;
    if let Some((now, census)) = viewer.last.take() {
        viewer.show(now, census, &replay.wanted)?;
    }
    if viewer.shown.is_some() {
        return Ok(());
    }
    let format = replay.time(TimeStyle::Rfc3339);
    match viewer.too_late {
        Some(at) if viewer.each => {
            bail!("sockets were not counted between `--from` and `--to`, the next time at {}", format.at(at))
        }
        Some(at) => {
            bail!("sockets were counted for the first time at {}: give that or a later time for `--to`", format.at(at))
        }
        None if viewer.each => {
            bail!("sockets were not counted after `--from`: the recording ends at {}", format.at(reached.at))
        }
        None => bail!(
            "{} has no counts of sockets: it was recorded with `--no-states`, by an earlier tcpstate, or cut off before",
            named(contents.path())
        ),
    }
}
