//! What a stack costs from its copy to its names: `cargo bench -p tcpstate-stacks`. Needs rustc for the program that it looks at.

#[path = "../tests/stacks/target.rs"]
#[expect(dead_code, reason = "shared with the tests")]
mod target;

use std::hint::black_box;

use criterion::{BatchSize, Criterion};
use target::{Capture, Result, Target, build, capture, threads, wait_for_call};
use tcpstate_stacks::{Namer, StackEnd, Unwinder};

/// Bytes of a stack that are copied, as by default.
const COPIED: usize = 16 * 1024;

/// A Rust server that waits in `accept()`, with the debug info of its own and of the standard library; and the stack of its thread.
fn server() -> Result<(Target, Capture)> {
    let program = build("bench", "blocked.rs", "rustc --edition 2021 --crate-name blocked -C opt-level=3 -g")?;
    let target = Target::start(&program, &[""; 0])?;
    wait_for_call(target.pid(), target.pid(), libc::SYS_futex)?;
    let thread = *threads(target.pid())?.get(1).ok_or("no second thread")?;
    wait_for_call(target.pid(), thread, libc::SYS_accept4)?;
    let capture = capture(target.pid(), thread, COPIED)?;
    Ok((target, capture))
}

fn main() -> Result {
    let (_target, capture) = server()?;
    let mut unwinder = Unwinder::new();
    let stack = unwinder.unwind(&capture.copy());
    assert_eq!(stack.end, StackEnd::Complete);

    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("stack");
    group.bench_function("unwind, process known", |bencher| {
        bencher.iter(|| black_box(unwinder.unwind(&capture.copy())));
    });
    group.bench_function("unwind, first of all", |bencher| {
        bencher.iter(|| black_box(Unwinder::new().unwind(&capture.copy())));
    });
    group.bench_function("name, addresses known", |bencher| {
        let mut namer = Namer::new();
        namer.name(&stack);
        bencher.iter(|| black_box(namer.name(&stack)));
    });
    group.bench_function("name, first of all", |bencher| {
        bencher.iter_batched_ref(Namer::new, |namer| black_box(namer.name(&stack)), BatchSize::PerIteration);
    });
    group.finish();
    criterion.final_summary();
    Ok(())
}
