//! Which thread of a process to ask.
//!
//! The first thread of a process may exit before the others (`pthread_exit()` in `main`). It then stays as a zombie, whose number is
//! still that of the process, but which has given back memory, descriptors and namespaces (`do_exit()`, `kernel/exit.c`, Linux 6.18):
//! what `/proc/PID` shows of them is empty. Another thread shows them all, also under `/proc/TID`, which is there for every thread
//! though no listing has it (`proc_pid_lookup()`, `fs/proc/base.c`), and which unlike `/proc/PID/task/TID` has `map_files`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// A thread of process `pid` that has what the process has: the first one as long as it lives, so that the number is mostly `pid`
/// itself. That, too, where no thread lives any more.
#[must_use]
pub fn living(pid: u32) -> u32 {
    living_in(Path::new("/proc"), pid)
}

/// The path of a file of process `pid`, such as `maps`: that of a thread that lives.
#[must_use]
pub fn file(pid: u32, name: &str) -> PathBuf {
    directory(Path::new("/proc"), pid).join(name)
}

/// The directory of process `pid` below a mounted `/proc`: that of a thread that lives.
#[must_use]
pub fn directory(proc: &Path, pid: u32) -> PathBuf {
    proc.join(living_in(proc, pid).to_string())
}

fn living_in(proc: &Path, pid: u32) -> u32 {
    if !has_no_memory(proc, pid) {
        return pid;
    }
    let threads = fs::read_dir(proc.join(format!("{pid}/task"))).into_iter().flatten();
    let mut threads = threads.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    threads.find(|&thread| thread != pid && !has_no_memory(proc, thread)).unwrap_or(pid)
}

/// Whether a thread has exited, or is the kernel's own: the cheapest file that says so. Any other error is not of the thread: one that
/// may not be looked at is for the caller to find.
fn has_no_memory(proc: &Path, thread: u32) -> bool {
    fs::read_link(proc.join(format!("{thread}/exe"))).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_thread_stands_for_the_process_while_it_lives() {
        let own = std::process::id();
        assert_eq!(living(own), own);
        assert_eq!(file(own, "fd"), Path::new(&format!("/proc/{own}/fd")));
        assert_eq!(living(u32::MAX), u32::MAX, "there is none");
        assert_eq!(living(2), 2, "a thread of the kernel, or none");
    }
}
