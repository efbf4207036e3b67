//! Which program a process executes, told from those before and after it.

use std::fs;

use super::{stat::field, thread};

/// Where the stack of the first thread of process `pid` began (`mm->start_stack`): `execve()` chooses it at random, and a fork has that
/// of its parent. `None` when the process is gone, or may not be looked into.
#[must_use]
pub fn start_stack(pid: u32) -> Option<u64> {
    const START_STACK: usize = 28;
    // 0 stands for what is not told.
    field(&fs::read(thread::file(pid, "stat")).ok()?, START_STACK).filter(|&address| address != 0)
}

/// Where its own code ends (`mm->end_code`), under the same conditions.
#[must_use]
pub fn end_code(pid: u32) -> Option<u64> {
    const END_CODE: usize = 27;
    // 0 and 1 stand for what is not told.
    field(&fs::read(thread::file(pid, "stat")).ok()?, END_CODE).filter(|&address| address > 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::maps;

    #[test]
    fn own_stack() {
        let start = start_stack(std::process::id()).expect("own stack");
        let maps = fs::read("/proc/self/maps").expect("own maps");
        let stack = maps::parse(&maps).find(|mapping| mapping.name() == b"[stack]").expect("a stack");
        assert!((stack.start..stack.end).contains(&start), "{start:x} is not in {stack:?}");
        assert_eq!(start_stack(i32::MAX as u32), None);
    }
}
