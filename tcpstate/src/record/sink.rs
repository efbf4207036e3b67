//! The file, on a thread of its own: to compress and to wait for a disk must not keep anybody from emptying the ring buffer.
//!
//! What waits to be written has a bound. Beyond it nothing more is taken from the kernel, whose ring buffer then fills, and what
//! finds it full is counted there: losses are told of as always, and memory does not grow.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::{
    model::event::Event,
    recording::{
        frame::Kind,
        record,
        writer::{BLOCK, Writer},
    },
};

/// What may wait to be written, KiB.
const ROOM: usize = 64 << 10;

/// The way to the file.
pub(super) struct Sink {
    jobs: mpsc::UnboundedSender<Job>,
    room: Arc<Semaphore>,
    state: Arc<State>,
    done: oneshot::Receiver<io::Result<Written>>,
    /// Events that wait for [`Sink::flush`].
    events: Vec<Event>,
    /// Files that were begun after the first, as far as they were asked for.
    rotated: u32,
    /// How long there was no room, all in all.
    waited: Duration,
}

/// What was written in the end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    /// Bytes of all files.
    pub(super) bytes: u64,
    /// How many files.
    pub(super) files: u32,
}

/// How far the thread is.
#[derive(Default)]
struct State {
    full: AtomicBool,
    rotated: AtomicU32,
}

struct Job {
    what: What,
    /// Given back when it is written.
    _room: OwnedSemaphorePermit,
}

enum What {
    Events(Vec<Event>),
    Record(Kind, Box<dyn FnOnce() -> io::Result<Vec<u8>> + Send>),
    Frames(Vec<u8>),
    Rotate,
    Sync,
}

impl Sink {
    pub(super) fn start(writer: Writer) -> Result<Self> {
        let (jobs, waiting) = mpsc::unbounded_channel();
        let (tell, done) = oneshot::channel();
        let (room, state) = (Arc::new(Semaphore::new(ROOM)), Arc::new(State::default()));
        let (for_thread, state_for_thread) = (Arc::clone(&room), Arc::clone(&state));
        let work = move || {
            let result = write(writer, waiting, &state_for_thread);
            // Nobody waits for room that will not come.
            for_thread.close();
            let _ = tell.send(result);
        };
        thread::Builder::new()
            .name("tcpstate-file".into())
            .spawn(work)
            .context("failed to start the thread that writes the recording")?;
        Ok(Self { jobs, room, state, done, events: Vec::new(), rotated: 0, waited: Duration::ZERO })
    }

    /// Keeps an event until [`Sink::flush`]; returns whether a block is full.
    pub(super) fn event(&mut self, event: Event) -> bool {
        self.events.push(event);
        self.events.len() >= BLOCK
    }

    /// Has the events that wait written.
    pub(super) async fn flush(&mut self) -> Result<()> {
        if self.events.is_empty() {
            return Ok(());
        }
        let events = std::mem::take(&mut self.events);
        let bytes = events.len() * size_of::<Event>();
        self.send(bytes, What::Events(events)).await
    }

    /// Has a record written, before the events that wait; it takes about so many bytes until then.
    pub(super) async fn record(
        &mut self,
        kind: Kind,
        bytes: usize,
        record: impl Serialize + Send + 'static,
    ) -> Result<()> {
        let encode = move || record::encode(&record).map_err(io::Error::other);
        self.send(bytes, What::Record(kind, Box::new(encode))).await
    }

    /// Has frames written that are whole already, before the events that wait.
    pub(super) async fn frames(&mut self, frames: Vec<u8>) -> Result<()> {
        self.send(frames.len(), What::Frames(frames)).await
    }

    /// Goes on in another file, which the caller begins.
    pub(super) async fn rotate(&mut self) -> Result<()> {
        self.rotated += 1;
        self.send(0, What::Rotate).await
    }

    /// Has the file brought to the disk.
    pub(super) async fn sync(&mut self) -> Result<()> {
        self.send(0, What::Sync).await
    }

    /// Whether the file is as long as it may be.
    pub(super) fn is_full(&self) -> bool {
        self.state.full.load(Ordering::Acquire) && self.state.rotated.load(Ordering::Acquire) == self.rotated
    }

    /// Files that were begun after the first.
    pub(super) fn rotated(&self) -> u32 {
        self.rotated
    }

    /// How long nothing was taken from the kernel because the file was behind.
    pub(super) fn waited(&self) -> Duration {
        self.waited
    }

    /// Waits until everything is written.
    pub(super) async fn finish(self) -> Result<Written> {
        let Self { jobs, done, .. } = self;
        drop(jobs);
        done.await.context("the thread that writes the recording ended")?.context(FAILED)
    }

    async fn send(&mut self, bytes: usize, what: What) -> Result<()> {
        let kib = u32::try_from((bytes >> 10).clamp(1, ROOM))?;
        let began = Instant::now();
        let permit = match Arc::clone(&self.room).try_acquire_many_owned(kib) {
            Ok(permit) => Ok(permit),
            Err(_) => {
                let permit = Arc::clone(&self.room).acquire_many_owned(kib).await;
                self.waited += began.elapsed();
                permit
            }
        };
        if let Ok(room) = permit
            && self.jobs.send(Job { what, _room: room }).is_ok()
        {
            return Ok(());
        }
        match (&mut self.done).await.context("the thread that writes the recording ended")? {
            Ok(_) => bail!("the thread that writes the recording ended"),
            Err(error) => Err(error).context(FAILED),
        }
    }
}

const FAILED: &str = "failed to write the recording";

fn write(mut writer: Writer, mut jobs: mpsc::UnboundedReceiver<Job>, state: &State) -> io::Result<Written> {
    while let Some(Job { what, _room }) = jobs.blocking_recv() {
        match what {
            What::Events(events) => writer.events(&events)?,
            What::Record(kind, encode) => writer.payload(kind, &encode()?)?,
            What::Frames(frames) => writer.frames(&frames)?,
            What::Rotate => writer.rotate().map_err(|error| named("failed to begin another file", &error))?,
            What::Sync => writer.sync().map_err(|error| named("failed to bring it to the disk", &error))?,
        }
        // In this order: who reads that another file was begun must not read that the one before was full.
        state.full.store(writer.is_full(), Ordering::Release);
        state.rotated.store(writer.rotated(), Ordering::Release);
    }
    Ok(Written { bytes: writer.written(), files: writer.rotated() + 1 })
}

fn named(what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}
