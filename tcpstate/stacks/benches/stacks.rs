//! What a stack costs from its copy to its names: `cargo bench -p tcpstate-stacks`. Needs rustc for the program that it looks at.

#[path = "../tests/stacks/reader.rs"]
#[expect(dead_code, reason = "shared with the tests")]
mod reader;
#[path = "../tests/stacks/target.rs"]
#[expect(dead_code, reason = "shared with the tests")]
mod target;

use std::hint::black_box;

use criterion::{BatchSize, Criterion};
use reader::Reader;
use target::{Capture, Result, Target, build, capture, threads, wait_for_call};
use tcpstate_wire::StackEnd;

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
    let mut reader = Reader::default();
    let stack = reader.unwind(&capture.copy());
    assert_eq!(stack.end, StackEnd::Complete);

    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("stack");
    group.bench_function("unwind, process known", |bencher| {
        bencher.iter(|| black_box(reader.unwind(&capture.copy())));
    });
    group.bench_function("unwind, first of all", |bencher| {
        bencher.iter(|| black_box(Reader::default().unwind(&capture.copy())));
    });
    group.bench_function("name, addresses known", |bencher| {
        let mut reader = Reader::default();
        reader.unwind(&capture.copy());
        reader.name(capture.pid, &stack);
        bencher.iter(|| black_box(reader.name(capture.pid, &stack)));
    });
    group.bench_function("name, first of all", |bencher| {
        let unwound = || {
            let mut reader = Reader::default();
            reader.unwind(&capture.copy());
            reader
        };
        bencher.iter_batched_ref(
            unwound,
            |reader| black_box(reader.name(capture.pid, &stack)),
            BatchSize::PerIteration,
        );
    });
    group.finish();
    criterion.final_summary();
    Ok(())
}
