//! One test at a time, each with a time limit, each failure with what the tracers said.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process,
    sync::{Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

use libtest_mimic::{Failed, Trial};
use rustix::system::uname;

use super::{kernel::is_emulated, transcript};

/// Every wait of a test has a deadline of its own; this is for what nobody thought of.
const LIMIT: Duration = Duration::from_secs(180);

/// Tests count what the kernel does, so they do not run beside each other whatever the number of test threads.
static ALONE: Mutex<()> = Mutex::new(());

/// How often a test is tried in which the tracer says that it has lost events, on a kernel that may preempt a task within a BPF program:
/// it does not run that for others meanwhile, and on an emulated processor, where a program takes a millisecond, that is no rare thing.
const TRIES: u32 = 3;
/// From this version of Linux on.
const PREEMPTS: u32 = 7;

/// A test by its name.
pub(crate) fn trial(name: impl Into<String>, test: impl Fn() -> anyhow::Result<()> + Send + 'static) -> Trial {
    let name = name.into();
    let watched = name.clone();
    Trial::test(name, move || {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        for tried in 1.. {
            let Err(failure) = once(&watched, &test) else { break };
            let (most, why) = tries(&failure);
            if tried >= most {
                return Err(Failed::from(failure));
            }
            println!("tried again: {why}");
        }
        Ok(())
    })
}

/// Runs a test, with its time limit. An error says what was wrong, and what the tracers said.
fn once(name: &str, test: &impl Fn() -> anyhow::Result<()>) -> Result<(), String> {
    transcript::forget();
    let _watch = watch(name.to_owned());
    match catch_unwind(AssertUnwindSafe(test)) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("{error:#}\n{}{}", places(&error), transcript::evidence())),
        Err(_) => Err(format!("panicked\n{}", transcript::evidence())),
    }
}

/// How often a test is tried that fails like this, and why again. Where the processor is emulated, everything is tried once more: what takes
/// 10 ms elsewhere may take a second there. The report on the guests says so, with why (`xtask/src/vm/table.rs`).
fn tries(failure: &str) -> (u32, &str) {
    if may_preempt() && has_lost_events(failure) {
        (TRIES, "events were lost")
    } else if is_emulated() {
        (2, failure.lines().next().unwrap_or_default())
    } else {
        (1, "")
    }
}

/// Whether typed tracepoints can be preempted on this kernel.
fn may_preempt() -> bool {
    let system = uname();
    let major = system.release().to_str().ok().and_then(|release| release.split('.').next()?.parse::<u32>().ok());
    major.is_some_and(|major| major >= PREEMPTS)
}

/// Whether tracers say so, as text or as JSON, whose quotes the evidence may have escaped.
fn has_lost_events(failure: &str) -> bool {
    let some = |after: &str| after.trim_start_matches(['\\', '"', ':']).starts_with(|first| matches!(first, '1'..='9'));
    failure.contains("events lost") || failure.split("\"events").skip(1).any(some)
}

/// Lines of the tests themselves in the error's backtrace, where `RUST_BACKTRACE` asked for one.
fn places(error: &anyhow::Error) -> String {
    let backtrace = error.backtrace().to_string();
    backtrace.lines().filter(|line| line.contains("tests/privileged/")).map(|line| format!("{line}\n")).collect()
}

/// Ends the whole run when the sender is not dropped in time.
fn watch(name: String) -> mpsc::Sender<()> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        if receiver.recv_timeout(LIMIT) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("\ntest {name} did not end in {LIMIT:?}\n{}", transcript::evidence());
            process::exit(101);
        }
    });
    sender
}

/// Names the functions of a module as its tests: `trials!["owners"; prefork, …]`.
macro_rules! trials {
    ($module:literal; $($test:ident),+ $(,)?) => {
        vec![$($crate::support::run::trial(concat!($module, "::", stringify!($test)), $test)),+]
    };
}

pub(crate) use trials;
