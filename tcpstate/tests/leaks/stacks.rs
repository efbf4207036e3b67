//! Stacks with names, as a symbolizer would give them.

use std::path::{Path, PathBuf};

use tcpstate_core::{
    aggregate::stack_book::StackBook,
    model::{
        leak::PlaceId,
        stack::{Frame, Source, Stack},
    },
};

/// `name file:line`, `name` alone, or `name@module` for a library; `inlined` or `runtime` may come first.
pub(crate) fn stack(frames: &[&str]) -> Stack {
    Stack { frames: frames.iter().map(|text| frame(text)).collect(), ..Stack::default() }
}

fn frame(text: &str) -> Frame {
    let (inlined, text) = text.strip_prefix("inlined ").map_or((false, text), |text| (true, text));
    let (runtime, text) = text.strip_prefix("runtime ").map_or((false, text), |text| (true, text));
    let (text, module) = match text.split_once('@') {
        Some((text, module)) => (text, format!("/usr/lib/x86_64-linux-gnu/{module}")),
        None => (text, "/opt/app/bin/server".to_owned()),
    };
    let (function, source) = match text.split_once(' ') {
        Some((function, source)) => {
            let (file, line) = source.split_once(':').expect("file:line");
            (function, Some(Source { file: PathBuf::from(file), line: line.parse().ok() }))
        }
        None => (text, None),
    };
    let function = (!function.is_empty()).then(|| function.to_owned());
    Frame { function, source, module: Some(Path::new(&module).into()), offset: 0x1234, inlined, runtime }
}

#[test]
fn equal_stacks_are_one_place() {
    let mut book = StackBook::default();
    for (place, frames) in [(1, ["a", "main"]), (2, ["b", "main"]), (3, ["a", "main"])] {
        book.insert(PlaceId(place), stack(&frames));
    }
    assert_eq!([1, 2, 3, 4].map(|place| book.fold(PlaceId(place)).0), [1, 2, 1, 4]);
    book.retain(&[PlaceId(3)].into());
    assert_eq!(book.get(PlaceId(2)), None);
    assert_eq!(book.fold(PlaceId(3)), PlaceId(1), "who stands for others stays");
    assert!(book.get(PlaceId(1)).is_some());
}

#[test]
fn libraries_by_file_and_by_source() {
    for (text, library) in [
        ("recv@libc.so.6", true),
        ("main", false),
        ("runtime _PyEval_EvalFrameDefault Python/ceval.c:1", true),
        ("core::ops::call_once /rustc/0123/library/core/src/ops/function.rs:250", true),
        ("tokio::park /home/u/.cargo/registry/src/x/tokio-1.0/src/park.rs:7", true),
        ("serve src/main.rs:12", false),
    ] {
        assert_eq!(frame(text).is_library(), library, "{text}");
    }
}
