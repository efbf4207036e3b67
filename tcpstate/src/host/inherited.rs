//! What this process was started with and the Rust runtime would hide, and what would end it by surprise.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
};

use nix::sys::signal::{SigHandler, Signal, signal};

/// Whether standard output was closed.
static CLOSED: AtomicBool = AtomicBool::new(false);

/// Run before the runtime, which opens `/dev/null` in place of what is closed: what is written there is lost, and nobody is told.
#[used]
// SAFETY: the C library calls what this section has with arguments that `at_start` need not take, once it is itself ready.
#[unsafe(link_section = ".init_array")]
static AT_START: extern "C" fn() = at_start;

extern "C" fn at_start() {
    // SAFETY: it has no argument beyond the command and touches no memory; on a closed descriptor it is EBADF.
    let closed = unsafe { libc::fcntl(libc::STDOUT_FILENO, libc::F_GETFD) } == -1;
    CLOSED.store(closed, Ordering::Relaxed);
}

/// Makes sure that there is a standard output.
///
/// # Errors
///
/// That of a write where it was closed from the start.
pub fn check_stdout() -> io::Result<()> {
    if CLOSED.load(Ordering::Relaxed) { Err(io::Error::from_raw_os_error(libc::EBADF)) } else { Ok(()) }
}

/// Has a write beyond the limit of files (`ulimit -f`) fail instead of ending us in its midst. Programs that we execute find the
/// signal as we did: what is caught is not inherited.
pub fn outlive_file_limit() {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: the handler does nothing.
    let before = unsafe { signal(Signal::SIGXFSZ, SigHandler::Handler(nothing)) };
    if matches!(before, Ok(SigHandler::SigIgn)) {
        // SAFETY: no handler is set.
        let _ = unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) };
    }
}
