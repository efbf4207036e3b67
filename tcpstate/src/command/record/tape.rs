//! What goes into the file, in its order: events, and before them what filters have to know of them.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
    time::Duration,
};

use anyhow::Result;
use tcpstate_core::{
    aggregate::stack_book::StackBook,
    decode,
    model::{Totals, Unseen, leak::PlaceId, stack::Stack},
};
use tcpstate_recording::{Content, Counts, RecordingEnd, Start, Writer};

use super::{
    census::TakenCensus,
    names::NameKeeper,
    sink::{Sink, Written},
};
use crate::{
    host::Host,
    hunt::{self, BATCH, Fetch, Hunt},
    session::Clock,
    settings::record::RecordSettings,
};

/// Places that are remembered to be in the file, besides those that are in every checkpoint; 24 bytes each.
const MOST_WRITTEN: usize = 1 << 15;
/// Bytes that a stack with names takes, about.
const STACK_BYTES: usize = 4 << 10;

/// Frames of stacks in a frame of the recording, about: a tenth of what a reader has room for.
const STACK_FRAMES: usize = 20_000;

/// The recording as it grows.
pub(super) struct Tape {
    sink: Sink,
    names: NameKeeper,
    start: Start,
    /// Stacks that are in the current file, as hashes.
    written: HashMap<PlaceId, u64, RandomState>,
    pub(super) totals: Totals,
    pub(super) unseen: Unseen,
    /// What the current file says of it.
    unseen_written: Unseen,
}

/// The first frame, but for the number of the file.
pub(super) fn start(settings: &RecordSettings, hunt: &Hunt) -> Start {
    let clock = &hunt.clock;
    let zone = jiff::tz::TimeZone::system();
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    Start {
        tcpstate: env!("CARGO_PKG_VERSION").to_owned(),
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        boot_id: boot_id.trim().to_owned(),
        at: clock.start,
        wall_offset_ns: clock.wall.offset_ns,
        zone: zone.iana_name().map(str::to_owned),
        zone_offset_s: zone.to_offset(clock.wall.at(clock.start)).seconds(),
        filters: settings.filters.clone(),
        late_ns: u64::try_from(settings.hunt.older_than.as_nanos()).unwrap_or(u64::MAX),
        stack_bytes: settings.hunt.stack_bytes,
        file: 0,
        probes: hunt.tracer.probes().clone(),
    }
}

impl Tape {
    pub(super) fn new(writer: Writer, start: Start, host: &Host) -> Result<Self> {
        Ok(Self {
            sink: Sink::start(writer)?,
            names: NameKeeper::new(host),
            start,
            written: HashMap::default(),
            totals: Totals::default(),
            unseen: Unseen::default(),
            unseen_written: Unseen::default(),
        })
    }

    /// Writes a content, which takes about so many bytes, after the events that came before it.
    pub(super) async fn write(&mut self, bytes: usize, content: Content) -> Result<()> {
        self.flush().await?;
        self.sink.write(bytes, content).await
    }

    /// Writes the events that wait, and before them what filters have to know of them.
    async fn flush(&mut self) -> Result<()> {
        if let Some(names) = self.names.news() {
            self.sink.write(0, Content::Names(names)).await?;
        }
        self.sink.flush().await
    }

    /// Writes a census.
    pub(super) async fn census(&mut self, found: Option<TakenCensus>) -> Result<()> {
        let Some(TakenCensus { frames, names, .. }) = found else { return Ok(()) };
        self.names.note_all(&names);
        self.flush().await?;
        self.sink.frames(frames).await
    }

    /// Writes the stacks of these places that the file does not have, or has otherwise.
    pub(super) async fn stacks(&mut self, places: &BTreeSet<PlaceId>, book: &StackBook) -> Result<()> {
        if self.written.len() > MOST_WRITTEN {
            // Should one of the others come again, so does its stack.
            self.written.retain(|place, _| places.contains(place));
        }
        let (mut news, mut frames) = (Vec::new(), 0);
        for place in places {
            let Some(stack) = book.get(*place) else { continue };
            let hash = self.written.hasher().hash_one(stack);
            if self.written.insert(*place, hash) != Some(hash) {
                frames += stack.frames.len();
                news.push((*place, Arc::clone(stack)));
            }
            if frames >= STACK_FRAMES {
                frames = 0;
                self.write_stacks(std::mem::take(&mut news)).await?;
            }
        }
        self.write_stacks(news).await
    }

    async fn write_stacks(&mut self, news: Vec<(PlaceId, Arc<Stack>)>) -> Result<()> {
        // A frame has a function, a file and a module; this is about what these take.
        let bytes = news.len() * STACK_BYTES;
        if news.is_empty() { Ok(()) } else { self.write(bytes, Content::Stacks(news)).await }
    }

    pub(super) async fn count(&mut self, clock: &Clock) -> Result<()> {
        self.flush().await?;
        self.write_counts(clock).await
    }

    pub(super) async fn begin_file(&mut self, clock: &Clock) -> Result<()> {
        self.start.file = self.sink.rotated();
        self.written.clear();
        self.names.forget();
        self.sink.write(0, Content::Start(Box::new(self.start.clone()))).await?;
        // Counts go on from file to file: this is where they stood.
        self.unseen_written = Unseen::default();
        self.write_counts(clock).await
    }

    async fn write_counts(&mut self, clock: &Clock) -> Result<()> {
        if self.unseen != self.unseen_written {
            self.unseen_written = self.unseen;
            self.sink.write(0, Content::Unseen(self.unseen)).await?;
        }
        let counts = Counts { at: clock.now(), totals: self.totals };
        self.sink.write(0, Content::Counts(counts)).await
    }

    pub(super) async fn end_file(&mut self, clock: &Clock, rotated: bool) -> Result<()> {
        self.write(0, Content::End(RecordingEnd { at: clock.now(), rotated })).await?;
        self.sink.sync().await
    }

    /// Goes on in another file, which [`Self::begin_file`] begins.
    pub(super) async fn rotate(&mut self) -> Result<()> {
        self.sink.rotate().await
    }

    /// Whether the file is as long as it may be.
    pub(super) fn is_full(&self) -> bool {
        self.sink.is_full()
    }

    /// How long nothing was taken from the kernel because the file was behind.
    pub(super) fn waited(&self) -> Duration {
        self.sink.waited()
    }

    /// Waits until everything is written.
    pub(super) async fn finish(self) -> Result<Written> {
        self.sink.finish().await
    }
}

impl Fetch for Tape {
    /// Takes the events and stacks that wait; events go into the file, too.
    async fn fetch(&mut self, hunt: &mut Hunt) -> Result<()> {
        // Stacks first: they have to be unwound while their process lives.
        hunt.fetch_stacks();
        loop {
            let Self { names, sink, totals, .. } = self;
            let Hunt { tracer, leaks, stacks, .. } = hunt;
            let mut result = Ok(());
            let mut block_full = false;
            let drained = tracer.drain(BATCH, |record| match decode::leak::any(record) {
                Ok(event) => {
                    if let Some(transition) = event.transition() {
                        totals.seen += 1;
                        names.note(transition);
                    }
                    if let Some(event) = event.leak() {
                        hunt::push(leaks, stacks, &event);
                    }
                    block_full |= sink.event(event);
                }
                Err(error) => result = Err(error),
            });
            result?;
            if block_full {
                self.flush().await?;
            }
            if drained < BATCH {
                break;
            }
        }
        // Those of the events that came meanwhile: what is written of how things stand may be the last.
        hunt.fetch_stacks();
        let counters = hunt.count()?;
        self.totals.lost = counters.dropped - counters.dropped_beside.min(counters.dropped);
        self.totals.transitions = self.totals.seen + self.totals.lost;
        self.totals.filtered = counters.filtered;
        self.totals.map_full = counters.map_full;
        self.totals.unknown_state = counters.unknown_state;
        self.unseen = Unseen { transitions: counters.unseen, sockets: counters.unseen_sockets };
        Ok(())
    }
}
