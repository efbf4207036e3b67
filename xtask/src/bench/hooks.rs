//! The hooks that `tcpstate` uses on this kernel, and how a program gets to those that are perf events.

use std::{
    fs, io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
    path::Path,
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// Where a program is attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    /// A tracepoint, by name.
    Raw(String),
    /// An event of tracefs, by number.
    Event(u64),
}

/// What `tcpstate probes` has chosen for these roles. A function's entry or end (`fentry`, `fexit`) is left out: there the kernel runs
/// a program without a tracepoint's detours.
///
/// # Errors
///
/// It fails, or an event is not there.
pub(super) fn chosen(binary: &Path, roles: &[&str]) -> Result<Vec<Hook>> {
    let output = Command::new(binary).args(["probes", "-o", "json"]).output();
    let output = output.with_context(|| format!("failed to run `{}`", binary.display()))?;
    ensure!(output.status.success(), "`tcpstate probes` ends with {}", output.status);
    let report: Value = serde_json::from_slice(&output.stdout).context("`tcpstate probes -o json`")?;
    let mut hooks = Vec::new();
    for name in names(&report, roles) {
        let hook = match name.split_once(':') {
            Some((group, event)) => Hook::Event(event_id(group, event)?),
            None => Hook::Raw(name),
        };
        if !hooks.contains(&hook) {
            hooks.push(hook);
        }
    }
    Ok(hooks)
}

/// Tracepoints by name (`inet_sock_set_state`) and events by group and name (`syscalls:sys_exit_accept`).
fn names(report: &Value, roles: &[&str]) -> Vec<String> {
    let of_role = |role: &Value| roles.iter().any(|name| role["role"] == *name);
    let chosen = report["roles"].as_array().into_iter().flatten().filter(|role| of_role(role));
    let chosen = chosen.filter_map(|role| role["chosen"].as_str());
    let tracepoints =
        chosen.filter_map(|hook| hook.strip_prefix("tp_btf/").or_else(|| hook.strip_prefix("tracepoint/")));
    tracepoints.flat_map(alternatives).collect()
}

/// `accept{,4}` means `accept` and `accept4`.
fn alternatives(name: &str) -> Vec<String> {
    match name.strip_suffix('}').and_then(|name| name.split_once('{')) {
        Some((stem, ends)) => ends.split(',').map(|end| format!("{stem}{end}")).collect(),
        None => vec![name.to_owned()],
    }
}

fn event_id(group: &str, event: &str) -> Result<u64> {
    let path = Path::new("/sys/kernel/tracing/events").join(group).join(event).join("id");
    let id = fs::read_to_string(&path).with_context(|| format!("failed to read `{}`", path.display()))?;
    Ok(id.trim().parse()?)
}

/// Opens an event of tracefs, on every process.
pub(super) fn open_event(id: u64) -> io::Result<OwnedFd> {
    /// `struct perf_event_attr` as it began (`PERF_ATTR_SIZE_VER0`, `include/uapi/linux/perf_event.h`).
    #[repr(C)]
    struct Attributes {
        kind: u32,
        size: u32,
        config: u64,
        rest: [u64; 6],
    }
    const PERF_TYPE_TRACEPOINT: u32 = 2;
    const PERF_FLAG_FD_CLOEXEC: libc::c_ulong = 8;
    let size = size_of::<Attributes>() as u32;
    let attributes = Attributes { kind: PERF_TYPE_TRACEPOINT, size, config: id, rest: [0; 6] };
    // A program attached to an event runs on every CPU, whichever this one is for.
    let (process, cpu, group): (libc::pid_t, i32, RawFd) = (-1, 0, -1);
    // SAFETY: the kernel reads as many bytes of the attributes as they say.
    let fd = unsafe {
        libc::syscall(libc::SYS_perf_event_open, &raw const attributes, process, cpu, group, PERF_FLAG_FD_CLOEXEC)
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Has a program run at an event.
pub(super) fn set_program(event: &OwnedFd, program: &OwnedFd) -> io::Result<()> {
    /// `PERF_EVENT_IOC_SET_BPF`
    const SET_BPF: libc::c_ulong = 0x4004_2408;
    // SAFETY: this request takes a descriptor by value.
    match unsafe { libc::ioctl(event.as_raw_fd(), SET_BPF, program.as_raw_fd()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::names;

    #[test]
    fn chosen_tracepoints_are_understood() {
        let role = |role: &str, chosen: Option<&str>| json!({"role": role, "chosen": chosen});
        let report = json!({"roles": [
            role("transitions", Some("tp_btf/inet_sock_set_state")),
            role("accept", Some("tracepoint/syscalls:sys_exit_accept{,4}")),
            role("eof-reads", Some("fexit/tcp_recvmsg")),
            role("splice-reads", None),
            role("processes", Some("tp_btf/sched_process_{fork,exit}")),
        ]});
        assert_eq!(
            names(&report, &["transitions", "accept", "eof-reads", "splice-reads"]),
            ["inet_sock_set_state", "syscalls:sys_exit_accept", "syscalls:sys_exit_accept4"]
        );
        assert_eq!(names(&report, &["processes"]), ["sched_process_fork", "sched_process_exit"]);
    }
}
