//! One test at a time, each with a time limit, each failure with what the tracers said.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process,
    sync::{Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

use libtest_mimic::{Failed, Trial};

use super::transcript;

/// Every wait of a test has a deadline of its own; this is for what nobody thought of.
const LIMIT: Duration = Duration::from_secs(90);

/// Tests count what the kernel does, so they do not run beside each other whatever the number of test threads.
static ALONE: Mutex<()> = Mutex::new(());

/// A test by its name.
pub(crate) fn trial(name: impl Into<String>, test: impl FnOnce() -> anyhow::Result<()> + Send + 'static) -> Trial {
    let name = name.into();
    let watched = name.clone();
    Trial::test(name, move || {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        transcript::forget();
        let _watch = watch(watched);
        match catch_unwind(AssertUnwindSafe(test)) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Failed::from(format!("{error:#}\n{}{}", places(&error), transcript::evidence()))),
            Err(_) => Err(Failed::from(format!("panicked\n{}", transcript::evidence()))),
        }
    })
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
