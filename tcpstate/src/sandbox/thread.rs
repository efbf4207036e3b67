//! The thread that has stacks unwound and named, and how it is asked.

use std::{
    io,
    panic::resume_unwind,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
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
    beginning::{Beginning, Look},
    desk::Desk,
    interpreters::{Interpretable, executes_one},
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

type Jobs = Queue<Asked, Job>;

/// What somebody waits for.
#[derive(Debug)]
enum Asked {
    /// An answer.
    Question(Question),
    /// How frames are found of programs that interpreters run in these processes.
    Interpreters(Interpretable),
}

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
    beginning: Arc<Mutex<Beginning>>,
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
        let beginning = Arc::<Mutex<Beginning>>::default();
        let begins = Arc::clone(&beginning);
        let answers = Answers { came: answers, recipes: Arc::clone(&recipes) };
        let hurry = Arc::new(AtomicBool::new(false));
        let desk = Desk::new(Arc::clone(&hurry));
        let thread =
            thread::Builder::new().name("sandbox".to_owned()).spawn(move || run(&its, &answers, &begins, desk))?;
        Ok(Self { jobs, came, beginning, recipes, thread: Some(thread), pending: 0, hurry })
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
        self.jobs.ask(Asked::Interpreters(of));
    }

    /// A program has begun: it is looked into if it is an interpreter. Most are not, and are not heard of any more.
    pub(crate) fn begun(&mut self, begun: Begun) {
        if executes_one(begun.tgid) {
            lock(&self.beginning).wait_for(begun, Instant::now());
            self.jobs.wake();
        }
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
        self.jobs.ask(Asked::Question(Question::Name { stacks, deadline, answer }));
        named
    }

    /// Has it found out where threads sleep, as far as time allows.
    pub(crate) fn sleepers(&mut self, threads: Vec<SleeperStack>, deadline: Instant) -> Sleeping {
        let (answer, named) = oneshot::channel();
        self.jobs.ask(Asked::Question(Question::Sleepers { threads, deadline, answer }));
        named
    }

    /// Says that somebody waits for the end: what takes long is given up.
    pub(crate) fn hurry(&self) {
        self.hurry.store(true, Ordering::Relaxed);
    }

    /// Has it found out what wakes processes, as far as time allows.
    pub(crate) fn wakers(&mut self, processes: Vec<BusyProcess>, deadline: Instant) -> oneshot::Receiver<Wakers> {
        let (answer, wakers) = oneshot::channel();
        self.jobs.ask(Asked::Question(Question::Wakers { processes, deadline, answer }));
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

fn lock(beginning: &Mutex<Beginning>) -> MutexGuard<'_, Beginning> {
    beginning.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run(jobs: &Jobs, answers: &Answers, beginning: &Mutex<Beginning>, mut desk: Desk) {
    // The executable may have file capabilities, which its children have to keep and not to gain.
    if let Err(error) = set_no_new_privs(true) {
        tracing::debug!(%error, "failed to have children gain no privileges");
    }
    // A unit test is not this program.
    if cfg!(not(test)) {
        desk.open();
    }
    // How long nobody has to have asked and no copy to have come until memory is given back, and when that will be: nothing was read yet.
    let mut quiet = LEAST_REST;
    let mut rest: Option<Instant> = None;
    loop {
        let now = Instant::now();
        let (due, until_due) = {
            let mut beginning = lock(beginning);
            (beginning.take_due(now), beginning.until_due(now))
        };
        due.into_iter().for_each(|look| jobs.add_first(look.begun.uid, Job::Look(look)));
        let until_rest = rest.map(|at| at.saturating_duration_since(now));
        match jobs.next([until_due, until_rest].into_iter().flatten().min().unwrap_or(Duration::MAX)) {
            Next::Ask(Asked::Interpreters(of)) => {
                let running = of.running();
                let mut beginning = lock(beginning);
                running.into_iter().for_each(|begun| beginning.is_there(begun, now));
                desk.interpretable = of;
            }
            Next::Ask(Asked::Question(question)) => {
                let began = Instant::now();
                desk.answer(question);
                quiet = (began.elapsed() * REST).max(LEAST_REST);
                rest = Some(Instant::now() + quiet);
            }
            Next::Work(Job::Unwind(place, copy)) => {
                let (user, began) = (copy.user, Instant::now());
                answers.send(Came::Stack(Box::new(desk.unwound(place, *copy))));
                jobs.took(user, began.elapsed());
                rest = rest.map(|_| Instant::now() + quiet);
            }
            Next::Work(Job::Look(look)) => {
                let began = Instant::now();
                let (came, found) = desk.look(look);
                if let Some((program, recipe)) = found {
                    answers.send(Came::Recipe(program, recipe));
                }
                jobs.took(look.begun.uid, began.elapsed());
                lock(beginning).looked(look, came, Instant::now());
            }
            Next::Nothing => {
                if rest.is_some_and(|at| Instant::now() >= at) {
                    desk.rest();
                    memory::release();
                    rest = None;
                }
            }
            Next::Closed => return,
        }
    }
}
