//! The worker: nothing but memory, its channel and what it is handed.

use std::{
    fs,
    io::Write as _,
    os::{fd::AsFd as _, unix::process::CommandExt as _},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use rustix::{
    io::{FdFlags, fcntl_setfd},
    thread::CapabilitySet,
};
use tcpstate::confinement::{STRANGER, WORKER_CPU_SECONDS, WORKER_DESCRIPTORS};

use super::{
    process::{PATIENCE, Process},
    status::{Status, limit},
};
use crate::support::{
    launch::{Capability, Launch},
    run::trials,
};

pub(crate) fn trials() -> Vec<Trial> {
    trials![
        "confinement::worker";
        has_nothing, what_it_is_not_handed_is_closed, forbidden_calls_kill, statx_is_lacking, reads_what_it_is_handed,
        memory_is_bounded, ends_are_told_apart, out_of_reach, without_capabilities, in_a_user_namespace,
    ]
}

/// Calls that kill it, with arguments that do no harm where they do not.
const FORBIDDEN: &[(&str, libc::c_long, &[isize])] = &[
    ("openat2", libc::SYS_openat2, &[]),
    ("open_by_handle_at", libc::SYS_open_by_handle_at, &[-1]),
    ("readlinkat", libc::SYS_readlinkat, &[]),
    ("getdents64", libc::SYS_getdents64, &[-1]),
    ("unlinkat", libc::SYS_unlinkat, &[]),
    ("renameat2", libc::SYS_renameat2, &[]),
    ("mkdirat", libc::SYS_mkdirat, &[]),
    ("truncate", libc::SYS_truncate, &[]),
    ("newfstatat of a path", libc::SYS_newfstatat, &[-1, 0, 0, 0]),
    ("write elsewhere", libc::SYS_write, &[1, 0, 0]),
    ("pwrite64", libc::SYS_pwrite64, &[-1]),
    ("sendto elsewhere", libc::SYS_sendto, &[1, 0, 0]),
    ("memfd_create", libc::SYS_memfd_create, &[]),
    ("socket", libc::SYS_socket, &[1, 1, 0]),
    ("socketpair", libc::SYS_socketpair, &[]),
    ("connect", libc::SYS_connect, &[-1]),
    ("bind", libc::SYS_bind, &[-1]),
    ("accept4", libc::SYS_accept4, &[-1]),
    ("ptrace", libc::SYS_ptrace, &[-1]),
    ("process_vm_readv", libc::SYS_process_vm_readv, &[]),
    ("process_vm_writev", libc::SYS_process_vm_writev, &[]),
    ("pidfd_open", libc::SYS_pidfd_open, &[]),
    ("pidfd_getfd", libc::SYS_pidfd_getfd, &[-1]),
    ("kill", libc::SYS_kill, &[1, 0]),
    ("tgkill of another", libc::SYS_tgkill, &[1, 1, 0]),
    ("tkill of another", libc::SYS_tkill, &[1, 0]),
    ("rt_sigqueueinfo", libc::SYS_rt_sigqueueinfo, &[]),
    ("F_SETOWN", libc::SYS_fcntl, &[0, libc::F_SETOWN as isize, 1]),
    ("F_SETLEASE", libc::SYS_fcntl, &[0, libc::F_SETLEASE as isize, 2]),
    ("ioctl", libc::SYS_ioctl, &[-1]),
    ("bpf", libc::SYS_bpf, &[-1]),
    ("perf_event_open", libc::SYS_perf_event_open, &[]),
    ("io_uring_setup", libc::SYS_io_uring_setup, &[]),
    ("userfaultfd", libc::SYS_userfaultfd, &[-1]),
    ("keyctl", libc::SYS_keyctl, &[-1]),
    ("mount", libc::SYS_mount, &[]),
    ("unshare", libc::SYS_unshare, &[]),
    ("setns", libc::SYS_setns, &[-1]),
    ("chroot", libc::SYS_chroot, &[]),
    ("setresuid", libc::SYS_setresuid, &[-1, -1, -1]),
    ("capset", libc::SYS_capset, &[]),
    ("prctl", libc::SYS_prctl, &[-1]),
    ("prlimit64", libc::SYS_prlimit64, &[0, 0, 0, 0]),
    ("seccomp", libc::SYS_seccomp, &[-1]),
    ("personality", libc::SYS_personality, &[0xffff_ffff]),
    ("shmget", libc::SYS_shmget, &[]),
    ("mq_open", libc::SYS_mq_open, &[]),
    ("inotify_init1", libc::SYS_inotify_init1, &[-1]),
    ("a call that is none", 4095, &[]),
];

/// What takes more than its number.
const FORBIDDEN_ACTIONS: &[&[&str]] = &[
    &["open", "/etc/passwd", "0"],
    &["open", "/dev/null", "1"],
    &["execute", "/bin/true"],
    &["fork"],
    &["thread"],
    &["executable-memory"],
    &["make-executable"],
];

fn has_nothing() -> Result<()> {
    let worker = Process::start("worker", &[])?;
    let confined = worker.confined;
    ensure!(confined.seccomp && confined.stranger && confined.rootless, "{confined:?}");
    ensure!(confined.landlock == kernel_has_landlock(), "{confined:?}");
    is_confined(worker.pid())?;
    ensure!(worker.go()?.done());
    Ok(())
}

/// What the kernel says of a worker.
pub(super) fn is_confined(pid: u32) -> Result<()> {
    let status = alone(pid)?;
    ensure!(status.ids("Uid")? == [STRANGER; 4] && status.ids("Gid")? == [STRANGER; 4], "{:?}", status.ids("Uid"));
    ensure!(status.get("Groups")?.is_empty(), "groups {}", status.get("Groups")?);
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        ensure!(status.capabilities(set)? == CapabilitySet::empty(), "{set}: {}", status.get(set)?);
    }
    ensure!(status.get("NoNewPrivs")? == "1" && status.get("Seccomp")? == "2");
    for (name, most) in [
        ("Max address space", (16_u64 << 30).to_string()),
        ("Max data size", (512 << 20).to_string()),
        ("Max stack size", (8 << 20).to_string()),
        ("Max cpu time", WORKER_CPU_SECONDS.to_string()),
        ("Max open files", WORKER_DESCRIPTORS.to_string()),
        ("Max core file size", "0".to_owned()),
        ("Max file size", "0".to_owned()),
        ("Max processes", "0".to_owned()),
        ("Max locked memory", "0".to_owned()),
        ("Max msgqueue size", "0".to_owned()),
    ] {
        ensure!(limit(pid, name)? == [most.clone(), most.clone()], "{name}: {:?} instead of {most}", limit(pid, name)?);
    }
    // Root may look; there is nothing to be seen.
    let root = fs::read_dir(format!("/proc/{pid}/root/")).map(|entries| entries.count());
    ensure!(root.as_ref().map_or(true, |&count| count == 0), "its root directory has {root:?} entries");
    Ok(())
}

/// Its status once it has one thread. The one that helps it out of its root directory has been joined, which is possible a moment
/// before the kernel counts it no more (`exit_notify()` after `mm_release()`, `kernel/exit.c`, `fork.c`).
fn alone(pid: u32) -> Result<Status> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = Status::of(pid)?;
        if status.get("Threads")? == "1" {
            return Ok(status);
        }
        ensure!(Instant::now() < deadline, "{} threads", status.get("Threads")?);
        thread::sleep(Duration::from_millis(2));
    }
}

/// As the kernel says to whoever asks for the version of Landlock.
pub(super) fn kernel_has_landlock() -> bool {
    // SAFETY: it is given no memory.
    unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, 0, 0, 1) > 0 }
}

fn what_it_is_not_handed_is_closed() -> Result<()> {
    let others: Vec<_> = (0..3).map(|_| fs::File::open("/etc/passwd")).collect::<Result<_, _>>()?;
    let high = rustix::io::fcntl_dupfd_cloexec(&others[0], 700)?;
    others.iter().map(fs::File::as_fd).chain([high.as_fd()]).try_for_each(|one| fcntl_setfd(one, FdFlags::empty()))?;
    let descriptors = |role| -> Result<usize> {
        let process = Process::start(role, &[])?;
        Ok(fs::read_dir(format!("/proc/{}/fd", process.pid()))?.count())
    };
    let (anybody, worker) = (descriptors("anybody")?, descriptors("worker")?);
    ensure!(anybody >= 7, "they were not inherited: {anybody}");
    ensure!(worker == 3, "{worker} descriptors");
    Ok(())
}

fn forbidden_calls_kill() -> Result<()> {
    for (name, number, arguments) in FORBIDDEN {
        let mut action = vec!["call".to_owned(), number.to_string()];
        action.extend(arguments.iter().map(isize::to_string));
        kills(name, &action.iter().map(String::as_str).collect::<Vec<_>>())?;
    }
    for action in FORBIDDEN_ACTIONS {
        kills(&format!("{action:?}"), action)?;
    }
    let end = Process::start("worker", &["old-call"])?.go()?;
    // SIGSEGV where the kernel takes no calls of 32-bit programs.
    ensure!(end.killed_by(libc::SIGSYS) || end.killed_by(libc::SIGSEGV), "a call of 32-bit programs: {end:?}");
    Ok(())
}

fn kills(name: &str, action: &[&str]) -> Result<()> {
    let anybody = Process::start("anybody", action)?.go()?;
    ensure!(anybody.status.success(), "{name} of who is not confined: {anybody:?}");
    let worker = Process::start("worker", action)?.go()?;
    ensure!(worker.killed_by(libc::SIGSYS) && worker.said.is_none(), "{name}: {worker:?}");
    Ok(())
}

/// It has a path, which is not looked at; Rust and the C library do without.
fn statx_is_lacking() -> Result<()> {
    let end = Process::start("worker", &["call", &libc::SYS_statx.to_string(), "-1"])?.go()?;
    ensure!(end.done(), "{end:?}");
    Ok(())
}

fn reads_what_it_is_handed() -> Result<()> {
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(b"bytes of others")?;
    let worker = Process::start("worker", &["read", "bytes of others"])?;
    worker.hand(fs::File::open(file.path())?.as_fd())?;
    let end = worker.end()?;
    ensure!(end.done(), "{end:?}");
    Ok(())
}

fn memory_is_bounded() -> Result<()> {
    let most = 512_usize << 20;
    let allocate = |role, action, bytes: usize| Process::start(role, &[action, &bytes.to_string()])?.go();
    ensure!(allocate("anybody", "allocate", most)?.done());
    ensure!(allocate("worker", "allocate", most / 2)?.done());
    let end = allocate("worker", "allocate", most)?;
    ensure!(end.refused(), "{end:?}");
    let end = allocate("worker", "allocate-or-die", most)?;
    ensure!(end.killed_by(libc::SIGABRT), "{end:?}");
    Ok(())
}

/// What is not the fault of a forbidden call does not look like one.
fn ends_are_told_apart() -> Result<()> {
    let end = Process::start("worker", &["panic"])?.go()?;
    ensure!(end.status.code() == Some(101), "a panic: {end:?}");
    for action in ["abort", "recurse"] {
        let end = Process::start("worker", &[action])?.go()?;
        ensure!(end.killed_by(libc::SIGABRT), "{action}: {end:?}");
    }
    Ok(())
}

/// Of processes of other users, and of the same one.
fn out_of_reach() -> Result<()> {
    let worker = Process::start("worker", &[])?;
    let pid = worker.pid();
    let succeeds = |uid, words: String| -> Result<bool> {
        let mut command = Command::new("sh");
        command.uid(uid).gid(uid).args(["-c", &words]).stdout(std::process::Stdio::null());
        Ok(command.stderr(std::process::Stdio::null()).status()?.success())
    };
    for uid in [1000, 65_534] {
        ensure!(succeeds(0, format!("kill -0 {pid}"))?);
        ensure!(!succeeds(uid, format!("kill -0 {pid}"))?, "user {uid} may send it signals");
    }
    for uid in [1000, 65_534, STRANGER] {
        for file in ["maps", "environ", "mem", "fd/0"] {
            ensure!(!succeeds(uid, format!("exec 3< /proc/{pid}/{file}"))?, "user {uid} may open its `{file}`");
        }
    }
    ensure!(worker.go()?.done());
    Ok(())
}

/// What could not be had is said, and the rest holds.
fn without_capabilities() -> Result<()> {
    let launch = |without| Launch { without_capabilities: vec![without], ..Launch::default() };
    let worker = Process::launch(&launch(Capability::SetUid), "worker", &["open", "/etc/passwd", "0"])?;
    let status = Status::of(worker.pid())?;
    ensure!(!worker.confined.stranger && status.ids("Uid")? == [0; 4]);
    ensure!(status.capabilities("CapPrm")?.is_empty() && status.capabilities("CapBnd")?.is_empty());
    ensure!(worker.go()?.killed_by(libc::SIGSYS));
    let worker = Process::launch(&launch(Capability::SysChroot), "worker", &[])?;
    ensure!(!worker.confined.rootless && worker.confined.stranger && worker.confined.seccomp);
    let worker = Process::launch(&Launch { uid: Some(65_534), ..Launch::default() }, "worker", &["fork"])?;
    let status = Status::of(worker.pid())?;
    ensure!(!worker.confined.stranger && !worker.confined.rootless && status.ids("Uid")? == [65_534; 4]);
    ensure!(worker.confined.landlock == kernel_has_landlock());
    ensure!(worker.go()?.killed_by(libc::SIGSYS));
    Ok(())
}

/// One in which no user but its own is mapped.
fn in_a_user_namespace() -> Result<()> {
    let launch = Launch { new_users: true, ..Launch::default() };
    let worker = Process::launch(&launch, "worker", &["fork"])?;
    let status = Status::of(worker.pid())?;
    ensure!(!worker.confined.stranger && worker.confined.seccomp, "{:?}", worker.confined);
    ensure!(status.capabilities("CapPrm")?.is_empty() && status.get("NoNewPrivs")? == "1");
    ensure!(worker.go()?.killed_by(libc::SIGSYS));
    Ok(())
}
