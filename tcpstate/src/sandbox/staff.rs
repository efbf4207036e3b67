//! The worker and the broker: a task is performed, with a deadline.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tcpstate_broker::{AskBroker, Lost, Relay};
use tcpstate_wire::{
    Asked, ModuleId, Need, Request, Subject, Supply, Task, Waker, WorkerAnswer, channel::ChannelError,
};

use super::{
    aside::Aside,
    child::{ReadingChild, in_words},
    patience::TaskLimits,
    role::ChildRole,
};
use crate::confinement::WORKER_CPU_SECONDS;

/// How long a message may take that has begun to come, or is to go: whoever has begun is not at anything else.
const MESSAGE: Duration = Duration::from_secs(10);
/// Most times that a task may need something: a stack of 512 frames, each in code made at run time.
const MOST_NEEDS: usize = 8192;
/// A worker that takes more memory than this when there is nothing to do is replaced, bytes.
const IDLE_BYTES: usize = 10 << 20;
/// So is one that has used this much of its time: the kernel ends it at twice that, whatever it is at then.
const MOST_CPU: Duration = Duration::from_secs(WORKER_CPU_SECONDS / 2);

/// Those who read for us.
#[derive(Debug, Default)]
pub(super) struct Staff {
    worker: Option<ReadingChild>,
    broker: BrokerDesk,
    /// Passes on what the worker needs.
    pub(super) relay: Relay,
}

/// Why a task was not performed.
#[derive(Debug)]
pub(super) struct TaskFailure {
    /// The file that was being read, if it was one.
    pub(super) module: Option<ModuleId>,
    /// Why, in words that follow "reading it"; `None` where there is nobody to perform any.
    pub(super) why: String,
}

impl Staff {
    /// Those who have no time left as soon as that is said.
    pub(super) fn new(hurry: Arc<AtomicBool>) -> Self {
        Self { broker: BrokerDesk { reader: None, hurry }, ..Self::default() }
    }

    /// Has both started, which takes a moment.
    pub(super) fn start(&mut self) {
        // Whoever needs them finds out.
        let _ = self.worker();
        let _ = self.broker.reader();
    }

    fn worker(&mut self) -> io::Result<&ReadingChild> {
        // One that ended while it had nothing to do did not do so because of what comes now.
        if self.worker.as_mut().is_none_or(ReadingChild::has_ended) {
            self.worker = Some(ReadingChild::start(ChildRole::Worker)?);
        }
        self.worker.as_ref().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Performs a task that is about this process.
    pub(super) fn perform(
        &mut self,
        subject: Subject,
        task: &Task,
        limits: TaskLimits,
        aside: &mut Aside,
    ) -> Result<WorkerAnswer, TaskFailure> {
        let mut module = match *task {
            Task::Name { module, .. } => Some(module),
            _ => None,
        };
        match self.converse(subject, task, limits, &mut module, aside) {
            Ok(answer) => Ok(answer),
            Err(Stop::Nobody(why)) => Err(TaskFailure { module: None, why }),
            Err(Stop::TooLong) => {
                drop(self.worker.take());
                let why = if self.broker.hurry.load(Ordering::Relaxed) {
                    "would have taken longer than the end could wait".to_owned()
                } else {
                    format!("took longer than {}", in_seconds(limits.each))
                };
                Err(TaskFailure { module, why })
            }
            Err(Stop::Ended) => {
                let status = self.worker.take().and_then(ReadingChild::end);
                Err(TaskFailure { module, why: in_words(status) })
            }
        }
    }

    fn converse(
        &mut self,
        subject: Subject,
        task: &Task,
        limits: TaskLimits,
        module: &mut Option<ModuleId>,
        aside: &mut Aside,
    ) -> Result<WorkerAnswer, Stop> {
        let nobody = |error: io::Error| Stop::Nobody(format!("there is nobody to read it: {error}"));
        self.worker().map_err(nobody)?;
        let Self { worker: Some(worker), broker, relay } = self else { return Err(Stop::Ended) };
        let hurry = Arc::clone(&broker.hurry);
        let mut watched = worker.watch(limits, &hurry);
        worker.channel.send(task, &[], soon())?;
        for _ in 0..MOST_NEEDS {
            if !worker.answers_within(&mut watched)? {
                return Err(Stop::TooLong);
            }
            let need = match worker.channel.receive::<WorkerAnswer>(soon())?.0 {
                WorkerAnswer::Needs(need) => need,
                answer => return Ok(answer),
            };
            let (supply, files) = supply(relay, broker, aside, subject, need);
            if let Supply::Module { module: Some(loading), .. } = supply {
                *module = Some(loading);
            }
            let files: Vec<_> = files.iter().map(|file| file.as_fd()).collect();
            worker.channel.send(&supply, &files, soon())?;
        }
        Err(Stop::TooLong)
    }

    /// Has memory given back that was needed for names.
    pub(super) fn rest(&mut self, limits: TaskLimits, aside: &mut Aside) {
        if self.worker.is_none() {
            return;
        }
        let nobody = Subject::numbered(0);
        // One that does not is not there any more.
        let _ = self.perform(nobody, &Task::CloseFiles, limits, aside);
        let is_used_up = |worker: &ReadingChild| {
            worker.resident() > IDLE_BYTES || worker.cpu_time().is_some_and(|used| used > MOST_CPU)
        };
        if self.worker.as_ref().is_some_and(is_used_up) {
            self.worker = None;
        }
    }

    /// Has the relay know where a process has its code.
    pub(super) fn ask_for_mappings(&mut self, subject: Subject) -> Result<(), Lost> {
        self.relay.supply(subject, Need::Mappings, &mut self.broker).map(drop)
    }

    /// Memory of another process, read now.
    pub(super) fn memory(&mut self, subject: Subject, address: u64, length: u32) -> Result<Vec<u8>, Lost> {
        let need = Need::Memory { address, length };
        match self.relay.supply(subject, need, &mut self.broker)?.0 {
            Supply::Memory(bytes) => Ok(bytes),
            _ => Ok(Vec::new()),
        }
    }

    /// The epoll descriptor of a process that tells at once of the end of most of these sockets of its, if one does.
    pub(super) fn waker(&mut self, subject: Subject, mut sockets: Vec<u32>) -> Result<Option<Waker>, Lost> {
        sockets.truncate(Asked::MOST_SOCKETS);
        let asked = Asked::Waker { sockets };
        match self.broker.ask(&Request { subject, path: Vec::new(), asked })?.0 {
            Supply::Waker(waker) => Ok(waker),
            _ => Ok(None),
        }
    }
}

/// Gets what the worker needs, unless that is set aside.
fn supply(
    relay: &mut Relay,
    broker: &mut BrokerDesk,
    aside: &mut Aside,
    subject: Subject,
    need: Need,
) -> (Supply, Vec<OwnedFd>) {
    let refused = |module, why: &str| (Supply::Refused { module, why: why.to_owned() }, Vec::new());
    if let Some(why) = aside.why_process(subject.pid) {
        return refused(None, &why);
    }
    match relay.supply(subject, need, broker) {
        Ok((Supply::Module { module: Some(module), file }, files)) => match aside.why_module(module) {
            Some(why) => {
                relay.vault.give_up(module, &format!("reading it {why}"));
                refused(Some(module), &why)
            }
            None => (Supply::Module { module: Some(module), file }, files),
        },
        Ok(supply) => supply,
        Err(Lost(why)) => {
            aside.process(subject.pid, &why);
            refused(None, &why)
        }
    }
}

/// Why a conversation stopped.
enum Stop {
    /// There is no worker to be had.
    Nobody(String),
    /// It took too long.
    TooLong,
    /// The worker ended, or says what makes no sense.
    Ended,
}

impl From<ChannelError> for Stop {
    fn from(error: ChannelError) -> Self {
        match error {
            ChannelError::TimedOut => Self::TooLong,
            ChannelError::Closed | ChannelError::Malformed(_) | ChannelError::Io(_) => Self::Ended,
        }
    }
}

/// Until when a message has to be there as a whole.
fn soon() -> Option<Instant> {
    Some(Instant::now() + MESSAGE)
}

/// Where the broker is asked.
#[derive(Debug, Default)]
struct BrokerDesk {
    reader: Option<ReadingChild>,
    /// Whether nobody wants to know any more.
    hurry: Arc<AtomicBool>,
}

impl BrokerDesk {
    fn reader(&mut self) -> io::Result<&ReadingChild> {
        if self.reader.as_mut().is_none_or(ReadingChild::has_ended) {
            self.reader = Some(ReadingChild::start(ChildRole::Broker)?);
        }
        self.reader.as_ref().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl AskBroker for BrokerDesk {
    fn ask(&mut self, request: &Request) -> Result<(Supply, Vec<OwnedFd>), Lost> {
        let hurry = Arc::clone(&self.hurry);
        let reader = self.reader().map_err(|error| Lost(format!("failed: there is nobody to read it: {error}")))?;
        let limits = TaskLimits::OF_BROKER;
        let mut watched = reader.watch(limits, &hurry);
        let mut ask = || {
            reader.channel.send(request, &[], soon())?;
            if reader.answers_within(&mut watched)? {
                reader.channel.receive(soon())
            } else {
                Err(ChannelError::TimedOut)
            }
        };
        let answer = ask();
        answer.map_err(|error| {
            let status = self.reader.take().and_then(ReadingChild::end);
            Lost(match error {
                ChannelError::TimedOut => format!("took longer than {}", in_seconds(limits.each)),
                _ => in_words(status),
            })
        })
    }
}

fn in_seconds(duration: Duration) -> String {
    if duration.subsec_millis() == 0 {
        format!("{} s", duration.as_secs())
    } else {
        format!("{} ms", duration.as_millis())
    }
}
