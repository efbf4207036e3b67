//! The thread that names stacks. The first address of a large library takes a tenth of a second, in which events would wait.

use std::{
    io,
    panic::resume_unwind,
    sync::mpsc::{self, RecvTimeoutError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tcpstate_core::model::stack::Stack;
use tcpstate_stacks::{Namer, UnwoundStack};
use tokio::sync::oneshot;

use crate::host::memory;

/// Stacks to name, and what is done with them then.
type Work = (Vec<UnwoundStack>, Box<dyn FnOnce(Vec<Stack>) + Send>);

/// Debug info is given back when nobody has asked for so many times the time that the last names took: what reading it once more
/// would cost is little beside that, and a hunt that goes on for days needs no names most of the time.
const PATIENCE: u32 = 30;
/// Nobody has asked for at least this long.
const LEAST_PATIENCE: Duration = Duration::from_secs(1);

/// A thread that knows the symbols of every file that it was asked for. It ends when this is dropped and its work is done.
#[derive(Debug)]
pub(crate) struct NamingThread {
    work: mpsc::Sender<Work>,
    thread: Option<JoinHandle<()>>,
}

impl NamingThread {
    /// # Errors
    ///
    /// The system has no more threads.
    pub(crate) fn start() -> io::Result<Self> {
        let (work, queue) = mpsc::channel::<Work>();
        let thread = thread::Builder::new().name("symbols".to_owned()).spawn(move || run(&queue))?;
        Ok(Self { work, thread: Some(thread) })
    }

    /// Names stacks in their order, and waits for that.
    pub(crate) fn name(&mut self, stacks: Vec<UnwoundStack>) -> Vec<Stack> {
        let (answer, named) = mpsc::channel();
        // An answer that nobody waits for is none too many.
        self.ask(stacks, move |stacks| drop(answer.send(stacks)));
        named.recv().unwrap_or_else(|_| self.failed())
    }

    /// Has stacks named in their order while the caller does something else.
    pub(crate) fn begin(&mut self, stacks: Vec<UnwoundStack>) -> oneshot::Receiver<Vec<Stack>> {
        let (answer, named) = oneshot::channel();
        self.ask(stacks, move |stacks| drop(answer.send(stacks)));
        named
    }

    fn ask(&mut self, stacks: Vec<UnwoundStack>, done: impl FnOnce(Vec<Stack>) + Send + 'static) {
        if self.work.send((stacks, Box::new(done))).is_err() {
            self.failed();
        }
    }

    /// The thread ends early only by a panic, which goes on here.
    pub(crate) fn failed(&mut self) -> ! {
        match self.thread.take().map(JoinHandle::join) {
            Some(Err(panic)) => resume_unwind(panic),
            Some(Ok(())) | None => unreachable!("the thread that names stacks waits for work"),
        }
    }
}

fn run(queue: &mpsc::Receiver<Work>) {
    let mut namer = Namer::new();
    // No file is open, so there is none to close.
    let mut patience = Duration::MAX;
    loop {
        match queue.recv_timeout(patience) {
            Ok((stacks, done)) => {
                let began = Instant::now();
                done(stacks.iter().map(|stack| namer.name(stack)).collect());
                patience = (began.elapsed() * PATIENCE).max(LEAST_PATIENCE);
            }
            Err(RecvTimeoutError::Timeout) => {
                namer.close_files();
                memory::release();
                patience = Duration::MAX;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use tcpstate_common::leak::Registers;
    use tcpstate_stacks::{StackCopy, Unwinder};
    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;

    /// Of no process.
    fn unwound() -> UnwoundStack {
        let copy = StackCopy::new(u32::MAX, Registers::default(), &[]);
        UnwoundStack { varying: true, ..Unwinder::new().unwind(&copy) }
    }

    /// Naming that takes long is stood for by work before it that does not end.
    #[test]
    fn the_caller_goes_on_while_names_are_made() {
        let mut namer = NamingThread::start().expect("a thread");
        let (release, held) = mpsc::channel::<()>();
        namer.ask(Vec::new(), move |_| {
            // Who waits all the same gets an answer that this test does not want.
            let _ = held.recv_timeout(Duration::from_secs(10));
        });
        let mut named = namer.begin(vec![unwound(), unwound()]);
        assert_eq!(named.try_recv(), Err(TryRecvError::Empty));
        drop(release);
        let named = named.blocking_recv().expect("an answer");
        assert_eq!(named.len(), 2);
        assert_eq!(named[0].truncated.as_deref(), Some("callers further out vary"));
    }

    #[test]
    #[should_panic(expected = "of the thread")]
    fn a_panic_of_the_thread_is_not_kept_from_the_caller() {
        let mut namer = NamingThread::start().expect("a thread");
        namer.ask(Vec::new(), |_| panic!("a panic of the thread"));
        namer.name(vec![unwound()]);
    }
}
