//! The hooks that `tcpstate` uses on this kernel.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// What `tcpstate probes` has chosen for these roles, each once: tracepoints by name (`inet_sock_set_state`), events of tracefs by
/// group and name (`syscalls:sys_exit_accept`). A function's entry or end (`fentry`, `fexit`) is left out: there the kernel runs a
/// program without a tracepoint's detours.
///
/// # Errors
///
/// It fails.
pub(super) fn chosen(tcpstate: &Path, roles: &[&str]) -> Result<Vec<String>> {
    let output = Command::new(tcpstate).args(["probes", "-o", "json"]).output();
    let output = output.with_context(|| format!("failed to run `{}`", tcpstate.display()))?;
    ensure!(output.status.success(), "`tcpstate probes` ends with {}", output.status);
    let report: Value = serde_json::from_slice(&output.stdout).context("`tcpstate probes -o json`")?;
    Ok(names(&report, roles))
}

fn names(report: &Value, roles: &[&str]) -> Vec<String> {
    let of_role = |role: &Value| roles.iter().any(|name| role["role"] == *name);
    let chosen = report["roles"].as_array().into_iter().flatten().filter(|role| of_role(role));
    let chosen = chosen.filter_map(|role| role["chosen"].as_str());
    let tracepoints =
        chosen.filter_map(|hook| hook.strip_prefix("tp_btf/").or_else(|| hook.strip_prefix("tracepoint/")));
    let mut names = Vec::new();
    for name in tracepoints.flat_map(|hook| hook.split(", ")).flat_map(alternatives) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// `accept{,4}` means `accept` and `accept4`.
fn alternatives(name: &str) -> Vec<String> {
    match name.strip_suffix('}').and_then(|name| name.split_once('{')) {
        Some((stem, ends)) => ends.split(',').map(|end| format!("{stem}{end}")).collect(),
        None => vec![name.to_owned()],
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
            role("accept", Some("tracepoint/syscalls:sys_exit_accept{,4}, io_uring:io_uring_complete")),
            role("eof-reads", Some("fexit/tcp_recvmsg")),
            role("splice-reads", None),
            role("processes", Some("tp_btf/sched_process_{fork,exec,exit}")),
            role("ends", Some("tp_btf/sched_process_exit")),
        ]});
        assert_eq!(
            names(&report, &["transitions", "accept", "eof-reads", "splice-reads"]),
            [
                "inet_sock_set_state",
                "syscalls:sys_exit_accept",
                "syscalls:sys_exit_accept4",
                "io_uring:io_uring_complete"
            ]
        );
        assert_eq!(
            names(&report, &["processes", "ends"]),
            ["sched_process_fork", "sched_process_exec", "sched_process_exit"]
        );
    }
}
