//! Names of kernel functions.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufRead, BufReader},
};

/// How the names of functions begin that only run because a stack is taken: those of BPF and of the ways to it.
const TRACING: [&str; 10] = [
    "__bpf_",
    "__traceiter_",
    "__unwind_",
    "arch_rethook_",
    "bpf_",
    "kretprobe_",
    "perf_",
    "rethook_",
    "stack_trace_save",
    "trace_call_bpf",
];
/// How the names of the ways to `fexit` programs begin (`bpf_trampoline_lookup()`, `kernel/bpf/trampoline.c`).
const TRAMPOLINE: &str = "bpf_trampoline_";
/// Frames among which these are looked for.
const TRACING_FRAMES: usize = 12;

/// Names of `/proc/kallsyms`, read when the first is wanted.
#[derive(Debug, Default)]
pub(crate) struct KernelSymbols {
    table: Option<Table>,
    names: HashMap<u64, String>,
}

impl KernelSymbols {
    /// Names of functions, without those of the tracing itself; the address where a name is not to be had, as under
    /// `kernel.kptr_restrict`. On the stack of a thread that sleeps is no tracing but that a hook waits for the end of a call.
    pub(crate) fn names(&mut self, addresses: &[u64], asleep: bool) -> Vec<String> {
        let mut names: Vec<String> = addresses.iter().map(|&address| self.name(address)).collect();
        if asleep {
            names.retain(|name| !name.starts_with(TRAMPOLINE));
            return names;
        }
        let begin = names.iter().take(TRACING_FRAMES).rposition(|name| is_tracing(name)).map_or(0, |last| last + 1);
        names.drain(..begin);
        names
    }

    /// Gives back what was read. The names that were found stay.
    pub(crate) fn close(&mut self) {
        self.table = None;
    }

    /// `address` is that of the instruction after a call.
    fn name(&mut self, address: u64) -> String {
        if let Some(name) = self.names.get(&address) {
            return name.clone();
        }
        let table = self.table.get_or_insert_with(|| {
            let text = File::open("/proc/kallsyms").and_then(|file| Table::read(BufReader::new(file)));
            text.unwrap_or_else(|error| {
                tracing::debug!(%error, "failed to read the kernel's symbols");
                Table::default()
            })
        });
        let name = table.name(address.wrapping_sub(1)).map_or_else(|| format!("{address:#x}"), str::to_owned);
        self.names.insert(address, name.clone());
        name
    }
}

fn is_tracing(name: &str) -> bool {
    TRACING.iter().any(|begin| name.starts_with(begin))
}

/// Functions by address.
#[derive(Debug, Default)]
struct Table {
    /// Where each begins, and where in `names` its name is.
    symbols: Vec<(u64, u32, u8)>,
    names: String,
}

impl Table {
    /// Reads lines of `ADDRESS TYPE NAME` (`s_show()`, `kernel/kallsyms.c`, Linux 6.18). Zeros stand for addresses that are not shown.
    fn read(mut lines: impl BufRead) -> io::Result<Self> {
        let mut table = Self::default();
        let mut line = String::new();
        while lines.read_line(&mut line)? > 0 {
            let mut words = line.split_ascii_whitespace();
            let symbol = (words.next(), words.next(), words.next());
            if let (Some(address), Some("t" | "T" | "w" | "W"), Some(name)) = symbol
                && let Ok(address @ 1..) = u64::from_str_radix(address, 16)
                && let (Ok(at), Ok(length)) = (u32::try_from(table.names.len()), u8::try_from(name.len()))
            {
                table.symbols.push((address, at, length));
                table.names.push_str(name);
            }
            line.clear();
        }
        // Of several names of one function the first counts.
        table.symbols.sort_by_key(|&(address, ..)| address);
        table.symbols.dedup_by_key(|(address, ..)| *address);
        Ok(table)
    }

    /// The function that is there, or the last one before.
    fn name(&self, address: u64) -> Option<&str> {
        let after = self.symbols.partition_point(|&(begin, ..)| begin <= address);
        let &(_, at, length) = self.symbols.get(after.checked_sub(1)?)?;
        self.names.get(at as usize..at as usize + usize::from(length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_function_before_an_address() {
        let text = "ffffffff81000100 T second\nffffffff81000000 t first\nffffffff81000100 t alias\n\
            ffffffff81000180 d data\nffffffffc0000000 t late\t[module]\n0000000000000000 T hidden\nrubbish\n";
        let table = Table::read(text.as_bytes()).expect("text");
        let name = |address: u64| table.name(0xffff_ffff_8100_0000 + address);
        assert_eq!(
            [name(0), name(0xff), name(0x100), name(0x200)],
            [Some("first"), Some("first"), Some("second"), Some("second")]
        );
        assert_eq!(table.name(0xffff_ffff_c000_0010), Some("late"));
        assert_eq!(table.name(1), None);
    }

    #[test]
    fn tracing_is_left_out() {
        let mut symbols = KernelSymbols::default();
        let names = ["bpf_get_task_stack", "tcp_recvmsg", "bpf_trampoline_7", "do_syscall_64"];
        let addresses: Vec<u64> = (1..=4).collect();
        symbols.names = addresses.iter().copied().zip(names.map(str::to_owned)).collect();
        assert_eq!(symbols.names(&addresses, false), ["do_syscall_64"]);
        assert_eq!(symbols.names(&addresses, true), ["bpf_get_task_stack", "tcp_recvmsg", "do_syscall_64"]);
    }
}
