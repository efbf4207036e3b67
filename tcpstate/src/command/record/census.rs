//! Censuses, as `tcpstate states` takes them, on a thread of their own.

use std::{
    collections::BTreeSet,
    sync::mpsc as sync,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use tcpstate_core::model::census::Census;
use tcpstate_recording::{Content, Frames};
use tokio::sync::mpsc;

use super::names::CensusNames;
use crate::{
    census,
    host::{Host, processes::descendants},
    session::Clock,
    settings::record::CensusSettings,
};

/// Censuses take one part in so many of the time.
const TIME_PART: u32 = 50;
/// Bytes a second that censuses take in the file.
const BYTES_A_SECOND: u64 = 16 << 10;

/// What a census found, ready to be written.
pub(super) struct TakenCensus {
    pub(super) frames: Frames,
    pub(super) names: CensusNames,
    took: Duration,
}

/// Asks for censuses, and waits for them.
pub(super) struct CensusTaker {
    ask: sync::Sender<()>,
    found: mpsc::UnboundedReceiver<Result<TakenCensus>>,
    asked: bool,
    every: Duration,
    due: Instant,
    /// Whether it was said that censuses fail.
    failing: bool,
}

impl CensusTaker {
    pub(super) fn start(settings: &CensusSettings, host: &Host, clock: Clock) -> Result<Self> {
        let (ask, asked) = sync::channel();
        let (tell, found) = mpsc::unbounded_channel();
        let every = settings.every;
        let (settings, host) = (settings.clone(), host.clone());
        let work = move || {
            while asked.recv().is_ok() {
                if tell.send(take(&settings, &host, &clock)).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new()
            .name("tcpstate-states".into())
            .spawn(work)
            .context("failed to start the thread that looks at sockets")?;
        Ok(Self { ask, found, asked: false, every, due: Instant::now(), failing: false })
    }

    /// Asks for a census, if one is due and none is being taken.
    pub(super) fn ask_if_due(&mut self) {
        if Instant::now() >= self.due {
            self.ask();
        }
    }

    /// Asks for a census, if none is being taken.
    pub(super) fn ask(&mut self) {
        if !self.asked {
            self.asked = self.ask.send(()).is_ok();
        }
    }

    /// Whether a census is being taken.
    pub(super) fn is_asked(&self) -> bool {
        self.asked
    }

    /// What was found, once it is, by the census that was asked for; cancellation-safe. One that fails is told of and passed over.
    pub(super) async fn found(&mut self) -> Option<TakenCensus> {
        let found = self.found.recv().await.unwrap_or_else(|| Err(anyhow!("the thread that looks ended")));
        self.asked = false;
        match found {
            Ok(found) => {
                self.failing = false;
                self.due = Instant::now() + pause(self.every, found.took, found.frames.bytes().len() as u64);
                Some(found)
            }
            Err(error) => {
                self.due = Instant::now() + self.every;
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!("sockets cannot be counted for `report --show states` at present: {error:#}");
                }
                None
            }
        }
    }
}

/// Time to the next census after one that took so long and is so large.
fn pause(every: Duration, took: Duration, bytes: u64) -> Duration {
    every.max(took * (TIME_PART - 1)).max(Duration::from_secs(bytes / BYTES_A_SECOND))
}

fn take(settings: &CensusSettings, host: &Host, clock: &Clock) -> Result<TakenCensus> {
    let began = Instant::now();
    let census = census::take(settings.netns.as_ref(), host)?;
    let now = clock.now();
    let mut filter = settings.filter.clone();
    if settings.children {
        filter.pids.extend(descendants(&settings.filter.pids));
    }
    // Anew each time: there may be other cgroups below it by now.
    filter.cgroups = settings.cgroup.as_deref().map(|path| host.cgroups_below(path)).transpose()?;
    let census = census.kept(&filter);
    let names = named(&census);
    let mut frames = Frames::default();
    for content in Content::of_census(census, now) {
        frames.push(content)?;
    }
    let took = began.elapsed();
    tracing::debug!("a census took {} µs and {} bytes", took.as_micros(), frames.bytes().len());
    Ok(TakenCensus { frames, names, took })
}

fn named(census: &Census) -> CensusNames {
    let sockets = census.namespaces.iter().flat_map(|namespace| &namespace.sockets);
    let cgroups: BTreeSet<u64> = sockets.filter_map(|socket| socket.cgroup).map(std::num::NonZeroU64::get).collect();
    CensusNames {
        cgroups: cgroups.into_iter().collect(),
        netns: census.namespaces.iter().map(|namespace| namespace.inode).collect(),
        processes: census.processes.iter().map(|process| process.pid).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn censuses_that_cost_much_are_rare() {
        let pause = |took, bytes| pause(Duration::from_secs(10), Duration::from_millis(took), bytes);
        assert_eq!(pause(3, 2000), Duration::from_secs(10));
        assert_eq!(pause(1000, 2000), Duration::from_secs(49));
        assert_eq!(pause(3, 1 << 20), Duration::from_secs(64));
    }
}
