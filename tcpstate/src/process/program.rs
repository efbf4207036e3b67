//! Which program a process executes, told from those before and after it.

use std::fs;

use super::thread;

/// Where the stack of the first thread of process `pid` began (`mm->start_stack`): `execve()` chooses it at random, and a fork has that
/// of its parent. `None` when the process is gone, or may not be looked into.
#[must_use]
pub fn start_stack(pid: u32) -> Option<u64> {
    parse(&fs::read(thread::file(pid, "stat")).ok()?)
}

/// Field 28 of `proc_pid_stat(5)`; 0 stands for what is not told. The name before it may hold anything, parentheses too.
fn parse(stat: &[u8]) -> Option<u64> {
    let after_name = stat.iter().rposition(|&byte| byte == b')')?;
    let fields = std::str::from_utf8(&stat[after_name + 1..]).ok()?;
    // The state is field 3.
    fields.split_ascii_whitespace().nth(28 - 3)?.parse().ok().filter(|&address| address != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_stack() {
        let start = start_stack(std::process::id()).expect("own stack");
        let maps = crate::process::maps::read(std::process::id()).expect("own maps");
        let stack = crate::process::maps::parse(&maps).find(|mapping| mapping.name() == b"[stack]").expect("a stack");
        assert!((stack.start..stack.end).contains(&start), "{start:x} is not in {stack:?}");
        assert_eq!(start_stack(i32::MAX as u32), None);
    }

    #[test]
    fn not_told() {
        let fields = ["0"; 60].join(" ");
        assert_eq!(parse(format!("7 (a) b) R {fields}").as_bytes()), None);
        assert_eq!(parse(b"7 (a) R 1"), None);
    }
}
