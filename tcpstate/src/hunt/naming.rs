//! The thread that names stacks. The first address of a large library takes a tenth of a second, in which events would wait.

use std::{
    io,
    panic::resume_unwind,
    sync::mpsc::{self, RecvTimeoutError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tcpstate_core::model::stack::{Frame, Source, Stack};
use tcpstate_stacks::{
    symbolize::{self, KernelSymbols, Symbolizer, hint, is_interpreter},
    unwind::{Backing, StackEnd, UnwoundStack},
};
use tokio::sync::oneshot;

use crate::host::memory;

/// A stack as it was unwound.
#[derive(Debug)]
pub(crate) struct Unnamed {
    /// The part of user space.
    pub(crate) stack: UnwoundStack,
    /// Addresses in the kernel.
    pub(crate) kernel: Vec<u64>,
    /// Whether the callers that are missing were seen to differ.
    pub(crate) varying: bool,
    /// Whether it is of a thread that sleeps, not of one that a hook met.
    pub(crate) asleep: bool,
}

/// Stacks to name, and what is done with them then.
type Work = (Vec<Unnamed>, Box<dyn FnOnce(Vec<Stack>) + Send>);

/// Debug info is given back when nobody has asked for so many times the time that the last names took: what reading it once more
/// would cost is little beside that, and a hunt that goes on for days needs no names most of the time.
const PATIENCE: u32 = 30;
/// Nobody has asked for at least this long.
const LEAST_PATIENCE: Duration = Duration::from_secs(1);

/// A thread that knows the symbols of every file that it was asked for. It ends when this is dropped and its work is done.
#[derive(Debug)]
pub(crate) struct Namer {
    work: mpsc::Sender<Work>,
    thread: Option<JoinHandle<()>>,
}

impl Namer {
    /// # Errors
    ///
    /// The system has no more threads.
    pub(crate) fn start() -> io::Result<Self> {
        let (work, queue) = mpsc::channel::<Work>();
        let thread = thread::Builder::new().name("symbols".to_owned()).spawn(move || run(&queue))?;
        Ok(Self { work, thread: Some(thread) })
    }

    /// Names stacks in their order, and waits for that.
    pub(crate) fn name(&mut self, stacks: Vec<Unnamed>) -> Vec<Stack> {
        let (answer, named) = mpsc::channel();
        // An answer that nobody waits for is none too many.
        self.ask(stacks, move |stacks| drop(answer.send(stacks)));
        named.recv().unwrap_or_else(|_| self.failed())
    }

    /// Has stacks named in their order while the caller does something else.
    pub(crate) fn begin(&mut self, stacks: Vec<Unnamed>) -> oneshot::Receiver<Vec<Stack>> {
        let (answer, named) = oneshot::channel();
        self.ask(stacks, move |stacks| drop(answer.send(stacks)));
        named
    }

    fn ask(&mut self, stacks: Vec<Unnamed>, done: impl FnOnce(Vec<Stack>) + Send + 'static) {
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
    let (mut symbolizer, mut kernel) = (Symbolizer::default(), KernelSymbols::default());
    // No file is open, so there is none to close.
    let mut patience = Duration::MAX;
    loop {
        match queue.recv_timeout(patience) {
            Ok((stacks, done)) => {
                let began = Instant::now();
                done(stacks.iter().map(|unnamed| name(&mut symbolizer, &mut kernel, unnamed)).collect());
                patience = (began.elapsed() * PATIENCE).max(LEAST_PATIENCE);
            }
            Err(RecvTimeoutError::Timeout) => {
                symbolizer.close_files();
                memory::release();
                patience = Duration::MAX;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn name(symbolizer: &mut Symbolizer, kernel: &mut KernelSymbols, unnamed: &Unnamed) -> Stack {
    let truncated = match &unnamed.stack.end {
        _ if unnamed.varying => Some("callers further out vary".to_owned()),
        StackEnd::Complete => None,
        StackEnd::Truncated(reason) => Some(reason.to_string()),
    };
    let named = symbolizer.symbolize(&unnamed.stack);
    let hint = hint(&unnamed.stack, &named);
    let mut code = unnamed.stack.frames.iter().zip(&named);
    let is_nameless = code.any(|(address, named)| address.backing == Backing::Jit && named.functions.is_empty());
    // Not where nothing is known of the code: of hundreds of short-lived processes that would be as many groups.
    let process = is_nameless.then(|| unnamed.stack.perf_map.pid());
    let mut frames: Vec<Frame> = named.iter().flat_map(frames).collect();
    if frames.iter().any(|frame| frame.module.is_none() && frame.function.is_some()) {
        for frame in &mut frames {
            frame.runtime = frame.module.as_deref().is_some_and(is_interpreter);
        }
    }
    let functions = if unnamed.asleep { kernel.names_asleep(&unnamed.kernel) } else { kernel.names(&unnamed.kernel) };
    Stack { frames, kernel: functions, truncated, hint, process }
}

/// Functions that were inlined are frames of their own.
fn frames(frame: &symbolize::Frame) -> Vec<Frame> {
    let address = if frame.module.is_some() { frame.offset } else { frame.ip };
    let nameless = Frame {
        function: None,
        source: None,
        module: frame.module.clone(),
        offset: address,
        inlined: false,
        runtime: false,
    };
    if frame.functions.is_empty() {
        return vec![nameless];
    }
    let named = frame.functions.iter().map(|function| Frame {
        function: Some(function.name.clone()),
        source: function.location.as_ref().map(|location| Source { file: location.file.clone(), line: location.line }),
        inlined: function.inlined,
        ..nameless.clone()
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use tcpstate_stacks::process::perf_map::PerfMapFile;
    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;

    fn unnamed() -> Unnamed {
        let perf_map = Arc::new(PerfMapFile::new(u32::MAX));
        let stack = UnwoundStack { frames: Vec::new(), end: StackEnd::Complete, perf_map, mapped: [].into() };
        Unnamed { stack, kernel: Vec::new(), varying: true, asleep: false }
    }

    /// Naming that takes long is stood for by work before it that does not end.
    #[test]
    fn the_caller_goes_on_while_names_are_made() {
        let mut namer = Namer::start().expect("a thread");
        let (release, held) = mpsc::channel::<()>();
        namer.ask(Vec::new(), move |_| {
            // Who waits all the same gets an answer that this test does not want.
            let _ = held.recv_timeout(Duration::from_secs(10));
        });
        let mut named = namer.begin(vec![unnamed(), unnamed()]);
        assert_eq!(named.try_recv(), Err(TryRecvError::Empty));
        drop(release);
        let named = named.blocking_recv().expect("an answer");
        assert_eq!(named.len(), 2);
        assert_eq!(named[0].truncated.as_deref(), Some("callers further out vary"));
    }

    #[test]
    #[should_panic(expected = "of the thread")]
    fn a_panic_of_the_thread_is_not_kept_from_the_caller() {
        let mut namer = Namer::start().expect("a thread");
        namer.ask(Vec::new(), |_| panic!("a panic of the thread"));
        namer.name(vec![unnamed()]);
    }
}
