//! The thread that has stacks unwound and named, and how it is asked.

use std::{
    io,
    panic::resume_unwind,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::thread::set_no_new_privs;
use tcpstate_common::interpreted::Begun;
use tcpstate_core::model::leak::PlaceId;
use tokio::sync::{Notify, mpsc, oneshot};

use super::{
    beginning::Look,
    desk::Desk,
    interpreters::Interpretable,
    question::{BusyProcess, Named, Question, SleeperStack, Sleeping, Wakers},
    queue::{Next, Queue},
    taken::{Came, TakenCopy, TakenStack},
};
use crate::host::memory;

/// Debug info is given back when nobody has asked for so many times the time that the last names took: what reading it once more
/// would cost is little beside that, and a hunt that goes on for days needs no names most of the time.
const REST: u32 = 30;
/// Nobody has asked for at least this long.
const LEAST_REST: Duration = Duration::from_secs(1);

type Jobs = Queue<Question, Job>;

/// What is done for a user.
#[derive(Debug)]
enum Job {
    /// A copy of a stack is unwound.
    Unwind(PlaceId, Box<TakenCopy>),
    /// An interpreter is looked for in a program that has begun.
    Look(Look),
}

/// The thread that has stacks unwound and named. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Sandbox {
    jobs: Arc<Jobs>,
    came: mpsc::UnboundedReceiver<Came>,
    /// Told when something that came has a recipe.
    recipes: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
    /// Copies that are on their way.
    pending: u64,
    /// Whether there is no time left.
    hurry: Arc<AtomicBool>,
}

impl Sandbox {
    /// Starts it, and the processes that read.
    ///
    /// # Errors
    ///
    /// The system has no more threads.
    pub(crate) fn start() -> io::Result<Self> {
        let jobs = Arc::new(Jobs::default());
        let (answers, came) = mpsc::unbounded_channel();
        let its = Arc::clone(&jobs);
        let recipes = Arc::new(Notify::new());
        let answers = Answers { came: answers, recipes: Arc::clone(&recipes) };
        let hurry = Arc::new(AtomicBool::new(false));
        let desk = Desk::new(Arc::clone(&hurry));
        let thread = thread::Builder::new().name("sandbox".to_owned()).spawn(move || run(&its, &answers, desk))?;
        Ok(Self { jobs, came, recipes, thread: Some(thread), pending: 0, hurry })
    }

    /// Has a copy unwound. Returns the places of which there is no room for the copies.
    pub(crate) fn unwind(&mut self, place: PlaceId, copy: TakenCopy) -> Vec<PlaceId> {
        let bytes = size_of::<TakenCopy>() + copy.copy.bytes.len();
        let left = self.jobs.add(copy.user, Job::Unwind(place, Box::new(copy)), bytes);
        let places = left.into_iter().filter_map(|job| match job {
            Job::Unwind(place, _) => Some(place),
            Job::Look(_) => None,
        });
        let places: Vec<PlaceId> = places.collect();
        self.pending += 1;
        self.pending -= places.len() as u64;
        places
    }

    /// What has come back by now, one after the other.
    pub(crate) fn take(&mut self) -> Option<Came> {
        let came = self.came.try_recv().ok()?;
        if matches!(came, Came::Stack(_)) {
            self.pending -= 1;
        }
        Some(came)
    }

    /// Has it found out how frames are found of programs that interpreters run in these processes, now and when one begins.
    pub(crate) fn look_for_interpreters(&mut self, of: Interpretable) {
        self.jobs.ask(Question::Interpreters(of));
    }

    /// Says that a program has begun.
    pub(crate) fn begun(&mut self, begun: Begun) {
        self.jobs.ask(Question::Begun(begun));
    }

    /// Waits until something has come back that tells how frames are found. Cancellation-safe.
    pub(crate) async fn recipe_came(&self) {
        self.recipes.notified().await;
    }

    /// Whether none is on its way.
    pub(crate) fn is_idle(&self) -> bool {
        self.pending == 0
    }

    /// Has stacks named in their order, as far as time allows.
    pub(crate) fn name(&mut self, stacks: Vec<TakenStack>, deadline: Instant) -> Named {
        let (answer, named) = oneshot::channel();
        self.jobs.ask(Question::Name { stacks, deadline, answer });
        named
    }

    /// Has it found out where threads sleep, as far as time allows.
    pub(crate) fn sleepers(&mut self, threads: Vec<SleeperStack>, deadline: Instant) -> Sleeping {
        let (answer, named) = oneshot::channel();
        self.jobs.ask(Question::Sleepers { threads, deadline, answer });
        named
    }

    /// Says that somebody waits for the end: what takes long is given up.
    pub(crate) fn hurry(&self) {
        self.hurry.store(true, Ordering::Relaxed);
    }

    /// Has it found out what wakes processes, as far as time allows.
    pub(crate) fn wakers(&mut self, processes: Vec<BusyProcess>, deadline: Instant) -> oneshot::Receiver<Wakers> {
        let (answer, wakers) = oneshot::channel();
        self.jobs.ask(Question::Wakers { processes, deadline, answer });
        wakers
    }

    /// The thread ends early only by a panic, which goes on here.
    pub(crate) fn failed(&mut self) -> ! {
        match self.thread.take().map(JoinHandle::join) {
            Some(Err(panic)) => resume_unwind(panic),
            Some(Ok(())) | None => unreachable!("the thread waits for work"),
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.jobs.close();
        self.hurry();
        // What it is at ends in time by itself; so do the processes.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What goes back to the tracer. Nobody takes it when that ends.
struct Answers {
    came: mpsc::UnboundedSender<Came>,
    recipes: Arc<Notify>,
}

impl Answers {
    fn send(&self, came: Came) {
        let has_recipe = match &came {
            Came::Recipe(..) => true,
            Came::Stack(unwound) => unwound.recipe.is_some(),
        };
        drop(self.came.send(came));
        if has_recipe {
            self.recipes.notify_one();
        }
    }
}

fn run(jobs: &Jobs, answers: &Answers, mut desk: Desk) {
    // The executable may have file capabilities, which its children have to keep and not to gain.
    if let Err(error) = set_no_new_privs(true) {
        tracing::debug!(%error, "failed to have children gain no privileges");
    }
    // A unit test is not this program.
    if cfg!(not(test)) {
        desk.open();
    }
    // Nothing was read, so there is nothing to give back.
    let mut rest = Duration::MAX;
    loop {
        let until_due = desk.beginning.until_due(Instant::now());
        match jobs.next(until_due.map_or(rest, |due| due.min(rest))) {
            Next::Ask(ask) => {
                let began = Instant::now();
                desk.answer(ask);
                rest = (began.elapsed() * REST).max(LEAST_REST);
            }
            Next::Work(Job::Unwind(place, copy)) => {
                let (user, began) = (copy.user, Instant::now());
                answers.send(Came::Stack(Box::new(desk.unwound(place, *copy))));
                jobs.took(user, began.elapsed());
            }
            Next::Work(Job::Look(look)) => {
                let began = Instant::now();
                if let Some((program, recipe)) = desk.look(look) {
                    answers.send(Came::Recipe(program, recipe));
                }
                jobs.took(look.begun.uid, began.elapsed());
                rest = rest.min(LEAST_REST);
            }
            Next::Nothing if until_due.is_some() => {}
            Next::Nothing => {
                desk.rest();
                memory::release();
                rest = Duration::MAX;
            }
            Next::Closed => return,
        }
        for look in desk.beginning.take_due(Instant::now()) {
            // Of what there is no room for, a stack will tell.
            drop(jobs.add(look.begun.uid, Job::Look(look), size_of::<Job>()));
        }
    }
}
