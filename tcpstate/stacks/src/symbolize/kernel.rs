//! Names of kernel functions.

use std::collections::HashMap;

use blazesym::{
    MaybeDefault,
    symbolize::{
        Input, Symbolized, Symbolizer,
        source::{Kernel, Source},
    },
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
pub(super) struct KernelSymbols {
    symbolizer: Option<Symbolizer>,
    names: HashMap<u64, String>,
}

impl KernelSymbols {
    /// Names of functions, without those of the tracing itself; the address where a name is not to be had, as under
    /// `kernel.kptr_restrict`. On the stack of a thread that sleeps is no tracing but that a hook waits for the end of a call.
    pub(super) fn names(&mut self, addresses: &[u64], asleep: bool) -> Vec<String> {
        let mut names: Vec<String> = addresses.iter().map(|&address| self.name(address)).collect();
        if asleep {
            names.retain(|name| !name.starts_with(TRAMPOLINE));
            return names;
        }
        let begin = names.iter().take(TRACING_FRAMES).rposition(|name| is_tracing(name)).map_or(0, |last| last + 1);
        names.drain(..begin);
        names
    }

    fn name(&mut self, address: u64) -> String {
        let symbolizer = self.symbolizer.get_or_insert_with(Symbolizer::new);
        let name = self.names.entry(address).or_insert_with(|| look_up(symbolizer, address));
        name.clone()
    }
}

fn is_tracing(name: &str) -> bool {
    TRACING.iter().any(|begin| name.starts_with(begin))
}

/// `address` is that of the instruction after a call.
fn look_up(symbolizer: &Symbolizer, address: u64) -> String {
    let kernel = Kernel { vmlinux: MaybeDefault::None, ..Kernel::default() };
    match symbolizer.symbolize_single(&Source::Kernel(kernel), Input::AbsAddr(address - 1)) {
        Ok(Symbolized::Sym(symbol)) => symbol.name.into_owned(),
        Ok(Symbolized::Unknown(_)) => format!("{address:#x}"),
        Err(error) => {
            tracing::debug!(%error, "failed to symbolize kernel address {address:#x}");
            format!("{address:#x}")
        }
    }
}
