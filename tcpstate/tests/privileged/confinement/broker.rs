//! The broker: reads what is others', and nothing else.

use std::{fs, net::Ipv4Addr, os::unix::fs::PermissionsExt as _};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use tcpstate::confinement::{BROKER_CAPABILITIES, STRANGER};

use super::{
    process::{Process, program_mapping},
    status::{Status, limit},
};
use crate::support::{
    launch::{Capability, Launch},
    process::Actor,
    run::trials,
};

pub(crate) fn trials() -> Vec<Trial> {
    trials![
        "confinement::broker";
        may_read, reads_what_is_others, each_capability_is_for_something, forbidden_calls_kill, writes_nothing,
    ]
}

/// Nobody.
const OTHER: u32 = 65_534;

fn may_read() -> Result<()> {
    let broker = Process::start("broker", &[])?;
    let confined = broker.confined;
    ensure!(confined.seccomp && confined.stranger && !confined.landlock, "{confined:?}");
    is_confined(broker.pid())?;
    ensure!(fs::read_dir(format!("/proc/{}/fd", broker.pid()))?.count() == 3);
    ensure!(broker.go()?.done());
    Ok(())
}

/// What the kernel says of a broker.
pub(super) fn is_confined(pid: u32) -> Result<()> {
    let status = Status::of(pid)?;
    ensure!(status.ids("Uid")? == [STRANGER; 4] && status.ids("Gid")? == [STRANGER; 4], "{:?}", status.ids("Uid"));
    ensure!(status.get("Groups")?.is_empty() && status.get("Threads")? == "1");
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        ensure!(status.capabilities(set)? == BROKER_CAPABILITIES, "{set}: {}", status.get(set)?);
    }
    ensure!(status.capabilities("CapInh")?.is_empty() && status.capabilities("CapAmb")?.is_empty());
    ensure!(status.get("NoNewPrivs")? == "1" && status.get("Seccomp")? == "2");
    for name in ["Max core file size", "Max file size", "Max processes"] {
        ensure!(limit(pid, name)? == ["0", "0"], "{name}: {:?}", limit(pid, name)?);
    }
    Ok(())
}

/// A process of another user, a file that only it may read, and each way to read of it.
struct Others {
    actor: Actor,
    secret: tempfile::NamedTempFile,
}

impl Others {
    fn new() -> Result<Self> {
        let actor = Actor::launch("ts-other", &Launch { uid: Some(OTHER), ..Launch::default() })?;
        actor.listen((Ipv4Addr::LOCALHOST, 0))?;
        let secret = tempfile::NamedTempFile::new()?;
        fs::write(&secret, "a secret")?;
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o400))?;
        std::os::unix::fs::chown(&secret, Some(OTHER), Some(OTHER))?;
        Ok(Self { actor, secret })
    }

    fn ways(&self) -> Result<Vec<(&'static str, Vec<String>)>> {
        let pid = self.actor.pid.to_string();
        let (range, address) = program_mapping(self.actor.pid)?;
        let secret = self.secret.path().display().to_string();
        let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        Ok(vec![
            ("maps", owned(&["maps", &pid])),
            ("root", owned(&["in-root", &pid, "/proc"])),
            ("memory", owned(&["memory", &pid, &address])),
            ("mapped", owned(&["mapped-file", &pid, &range])),
            ("secret", owned(&["contents", &secret, "a secret"])),
            ("frame", owned(&["frame", &pid, &address])),
        ])
    }

    /// The ways in which a broker that was started without some capabilities cannot read.
    fn refused(&self, without: &[Capability]) -> Result<Vec<&'static str>> {
        let launch = Launch { without_capabilities: without.to_vec(), ..Launch::default() };
        let mut refused = Vec::new();
        for (way, action) in self.ways()? {
            let action: Vec<&str> = action.iter().map(String::as_str).collect();
            let end = Process::launch(&launch, "broker", &action)?.go()?;
            ensure!(end.done() || end.refused(), "{way} without {without:?}: {end:?}");
            if end.refused() {
                refused.push(way);
            }
        }
        Ok(refused)
    }
}

fn reads_what_is_others() -> Result<()> {
    let refused = Others::new()?.refused(&[])?;
    ensure!(refused.is_empty(), "{refused:?}");
    Ok(())
}

fn each_capability_is_for_something() -> Result<()> {
    let others = Others::new()?;
    // New kernels let `CAP_SYS_ADMIN` see mappings (`may_access_mm()`, `kernel/fork.c`, Linux 6.18), and nothing else of these.
    let refused = others.refused(&[Capability::SysPtrace])?;
    ensure!(
        ["root", "memory", "mapped"].iter().all(|way| refused.contains(way)),
        "without `CAP_SYS_PTRACE`: {refused:?}"
    );
    for (without, expected) in [
        (&[Capability::SysPtrace, Capability::SysAdmin][..], &["maps", "root", "memory", "mapped", "frame"][..]),
        (&[Capability::DacReadSearch], &["mapped", "secret", "frame"]),
        (&[Capability::SysAdmin], &["frame"]),
        (&[Capability::SysAdmin, Capability::CheckpointRestore], &["mapped", "frame"]),
    ] {
        let refused = others.refused(without)?;
        ensure!(refused == expected, "without {without:?}: {refused:?} instead of {expected:?}");
    }
    Ok(())
}

/// Calls that kill it, with arguments that do no harm where they do not.
const FORBIDDEN: &[(&str, libc::c_long, &[&str])] = &[
    ("write elsewhere", libc::SYS_write, &["1", "0", "0"]),
    ("pwrite64", libc::SYS_pwrite64, &["-1"]),
    ("sendto elsewhere", libc::SYS_sendto, &["1", "0", "0"]),
    ("ftruncate", libc::SYS_ftruncate, &["-1"]),
    ("unlinkat", libc::SYS_unlinkat, &[]),
    ("renameat2", libc::SYS_renameat2, &[]),
    ("linkat", libc::SYS_linkat, &[]),
    ("mkdirat", libc::SYS_mkdirat, &[]),
    ("fchmod", libc::SYS_fchmod, &["-1"]),
    ("fchownat", libc::SYS_fchownat, &[]),
    ("utimensat", libc::SYS_utimensat, &["-1"]),
    ("setxattr", libc::SYS_setxattr, &[]),
    ("open_by_handle_at", libc::SYS_open_by_handle_at, &["-1"]),
    ("name_to_handle_at", libc::SYS_name_to_handle_at, &[]),
    ("socket", libc::SYS_socket, &["1", "1", "0"]),
    ("connect", libc::SYS_connect, &["-1"]),
    ("bind", libc::SYS_bind, &["-1"]),
    ("ptrace", libc::SYS_ptrace, &["-1"]),
    ("process_vm_writev", libc::SYS_process_vm_writev, &[]),
    ("pidfd_getfd", libc::SYS_pidfd_getfd, &["-1"]),
    ("pidfd_send_signal", libc::SYS_pidfd_send_signal, &["-1"]),
    ("kill", libc::SYS_kill, &["1", "0"]),
    ("tgkill of another", libc::SYS_tgkill, &["1", "1", "0"]),
    ("F_SETOWN", libc::SYS_fcntl, &["0", "8", "1"]),
    ("ioctl", libc::SYS_ioctl, &["-1"]),
    ("bpf", libc::SYS_bpf, &["-1"]),
    ("perf_event_open", libc::SYS_perf_event_open, &[]),
    ("io_uring_setup", libc::SYS_io_uring_setup, &[]),
    ("mount", libc::SYS_mount, &[]),
    ("setns", libc::SYS_setns, &["-1"]),
    ("unshare", libc::SYS_unshare, &[]),
    ("chroot", libc::SYS_chroot, &[]),
    ("setresuid", libc::SYS_setresuid, &["-1", "-1", "-1"]),
    ("capset", libc::SYS_capset, &[]),
    ("prctl", libc::SYS_prctl, &["-1"]),
    ("kexec_load", libc::SYS_kexec_load, &["0", "1000"]),
    ("init_module", libc::SYS_init_module, &[]),
    ("syslog", libc::SYS_syslog, &["-1"]),
];

fn forbidden_calls_kill() -> Result<()> {
    for (name, number, arguments) in FORBIDDEN {
        let number = number.to_string();
        kills(name, &[&["call", &number], *arguments].concat())?;
    }
    for action in [
        &["open", "/dev/null", "1"][..],
        &["open", "/dev/null", "2"],
        &["execute", "/bin/true"],
        &["fork"],
        &["thread"],
        &["executable-memory"],
    ] {
        kills(&format!("{action:?}"), action)?;
    }
    Ok(())
}

fn kills(name: &str, action: &[&str]) -> Result<()> {
    let anybody = Process::start("anybody", action)?.go()?;
    ensure!(anybody.status.success(), "{name} of who is not confined: {anybody:?}");
    let broker = Process::start("broker", action)?.go()?;
    ensure!(broker.killed_by(libc::SIGSYS) && broker.said.is_none(), "{name}: {broker:?}");
    Ok(())
}

/// Also by the call whose arguments a filter does not see.
fn writes_nothing() -> Result<()> {
    let directory = tempfile::tempdir()?;
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755))?;
    let [old, new] = ["old", "new"].map(|name| directory.path().join(name));
    fs::write(&old, "as it was")?;
    fs::set_permissions(&old, fs::Permissions::from_mode(0o644))?;
    for (action, path) in [("overwrite", &old), ("make", &new)] {
        let action = [action, path.to_str().unwrap_or_default()];
        let end = Process::start("broker", &action)?.go()?;
        ensure!(end.refused(), "{action:?}: {end:?}");
        let end = Process::start("anybody", &action)?.go()?;
        ensure!(end.done(), "{action:?} of who is not confined: {end:?}");
        if path == &new {
            fs::remove_file(&new)?;
        }
    }
    ensure!(fs::read_to_string(&old)? == "as it was" && !new.exists());
    Ok(())
}
