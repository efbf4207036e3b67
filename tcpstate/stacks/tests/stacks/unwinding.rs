//! Which frames are found, and how a stack says that it is complete.

use std::{fs, io::Write as _, path::Path, process::Command};

use tcpstate_core::model::stack::Frame;
use tcpstate_stacks::fold;
use tcpstate_wire::{Backing, StackEnd, Truncation, UnwoundStack};

use crate::{
    Result, assert_adjacent, assert_complete, names,
    reader::{Copied, Reader},
    resolve, resolve_until, source_line,
    target::{Target, build, capture, line_of, scratch, source, threads, wait_for_call},
};

const NO_FRAME_POINTER: &str = "gcc -O2 -fomit-frame-pointer -pthread";

fn accept_is_found(test: &str, flags: &str) -> Result {
    let program = build(test, "blocked.c", &format!("{NO_FRAME_POINTER} {flags}"))?;
    let target = Target::start(&program, &["accept"])?;
    let (stack, frames) = resolve(&target.blocked(libc::SYS_accept)?);
    assert_adjacent(&frames, &["accept_one", "serve", "main"]);
    assert_complete(&stack, &frames);
    assert!(names(&frames)[0].contains("accept"), "{:#?}", names(&frames));
    assert!(!stack.frames[0].is_return && stack.frames[1..].iter().all(|address| address.is_return));
    Ok(())
}

#[test]
fn position_independent() -> Result {
    accept_is_found("pie", "-fpie -pie")
}

#[test]
fn at_a_fixed_address() -> Result {
    accept_is_found("no-pie", "-fno-pie -no-pie")
}

#[test]
fn without_shared_libraries() -> Result {
    accept_is_found("static", "-static")
}

#[test]
fn static_and_position_independent() -> Result {
    accept_is_found("static-pie", "-static-pie -fpie")
}

#[test]
fn with_frame_pointers() -> Result {
    accept_is_found("with-fp", "-fno-omit-frame-pointer")
}

#[test]
fn frame_pointers_where_there_is_no_unwind_info() -> Result {
    let program =
        build("fp-only", "blocked.c", "gcc -O2 -pthread -fno-omit-frame-pointer -fno-asynchronous-unwind-tables")?;
    let target = Target::start(&program, &["accept"])?;
    let (stack, frames) = resolve(&target.blocked(libc::SYS_accept)?);
    assert_adjacent(&frames, &["accept_one", "serve", "main"]);
    assert_complete(&stack, &frames);
    Ok(())
}

/// Without unwind info and frame pointers only the code itself tells.
const SILENT: &str = "-O2 -fomit-frame-pointer -fno-asynchronous-unwind-tables -fno-unwind-tables -pthread";

#[test]
fn neither_frame_pointer_nor_unwind_info() -> Result {
    let program = build("neither", "blocked.c", &format!("gcc {SILENT}"))?;
    for (how, functions) in [
        ("accept", ["accept_one", "serve", "main"]),
        ("words", ["accept_above_old_words", "serve_above_old_words", "main"]),
    ] {
        let target = Target::start(&program, &[how])?;
        let (stack, frames) = resolve(&target.blocked(libc::SYS_accept)?);
        assert_adjacent(&frames, &functions);
        assert_ends_silently(&stack, &frames, "main", &program);
    }
    Ok(())
}

/// The C library calls `main` by pointer.
#[track_caller]
fn assert_ends_silently(stack: &UnwoundStack, frames: &[Frame], function: &str, program: &Path) {
    assert!(
        matches!(stack.end, StackEnd::Truncated(Truncation::NoUnwindInfo(_))),
        "{:?}: {:#?}",
        stack.end,
        names(frames)
    );
    assert_eq!(frames.last().and_then(|frame| frame.module.as_deref()), Some(program));
    assert_eq!(names(frames).last().map(String::as_str), Some(function), "nothing is made up below");
}

#[test]
fn a_call_by_pointer_has_no_target_to_follow() -> Result {
    let program = build("by-pointer", "blocked.c", &format!("gcc {SILENT}"))?;
    let target = Target::start(&program, &["pointer"])?;
    let (stack, frames) = resolve(&target.blocked(libc::SYS_accept)?);
    assert_adjacent(&frames, &["accept_one", "serve"]);
    assert_ends_silently(&stack, &frames, "serve", &program);
    Ok(())
}

/// musl's system calls have neither unwind info nor frame pointers, and those that can be cancelled are made below two functions
/// of its own.
#[test]
fn musl() -> Result {
    let with_unwind_info = "-O2 -fomit-frame-pointer -pthread";
    for (test, flags) in [
        ("musl-static", format!("-static {with_unwind_info}")),
        ("musl-static-silent", format!("-static {SILENT}")),
        ("musl-dynamic", with_unwind_info.to_owned()),
        ("musl-no-plt", format!("-fno-plt {with_unwind_info}")),
        ("musl-stripped", format!("-static -Wl,--export-dynamic -Wl,--strip-debug {with_unwind_info}")),
    ] {
        let program = build(test, "blocked.c", &format!("musl-gcc {flags}"))?;
        let target = Target::start(&program, &["accept"])?;
        let (stack, frames) = resolve(&target.blocked(libc::SYS_accept)?);
        assert_adjacent(&frames, &["accept", "accept_one", "serve", "main"]);
        if flags.contains(SILENT) {
            assert_ends_silently(&stack, &frames, "main", &program);
        } else {
            assert_complete(&stack, &frames);
        }
    }
    Ok(())
}

#[test]
fn unwind_info_in_debug_frame() -> Result {
    let with_both =
        build("debug-frame-both", "blocked.c", &format!("{NO_FRAME_POINTER} -g -fno-asynchronous-unwind-tables"))?;
    let program = scratch("debug-frame")?;
    let removed = Command::new("objcopy")
        .args(["--remove-section=.eh_frame", "--remove-section=.eh_frame_hdr"])
        .args([&with_both, &program])
        .status()?;
    assert!(removed.success());
    let target = Target::start(&program, &["accept"])?;
    let (stack, frames) = resolve(&target.blocked(libc::SYS_accept)?);
    assert_adjacent(&frames, &["accept_one", "serve", "main"]);
    assert_complete(&stack, &frames);
    Ok(())
}

#[test]
fn code_that_is_loaded_later() -> Result {
    let library = build("plugin.so", "plugin.c", "gcc -O2 -fomit-frame-pointer -shared -fpic")?;
    let program = build("plugin", "blocked.c", NO_FRAME_POINTER)?;
    let mut target = Target::start(&program, &["plugin".as_ref(), library.as_os_str()])?;
    let mut reader = Reader::default();
    let before = reader.unwind(&target.blocked(libc::SYS_read)?.copy());
    assert_adjacent(&reader.name(target.pid(), &before), &["plugin", "main"]);

    target.child.stdin.as_mut().ok_or("no stdin")?.write_all(b"x")?;
    let (_, after) = resolve_until(&target, libc::SYS_read, "plugin_wait", &mut reader)?;
    assert_adjacent(&after, &["plugin_wait", "plugin_enter", "plugin", "main"]);
    assert!(after.iter().any(|frame| frame.module.as_deref() == Some(&library)));
    Ok(())
}

#[test]
fn threads_with_the_same_stack() -> Result {
    let program = build("threads", "blocked.c", NO_FRAME_POINTER)?;
    let target = Target::start(&program, &["lock"])?;
    let mut reader = Reader::default();
    let mut stacks = Vec::new();
    wait_for_call(target.pid(), target.pid(), libc::SYS_futex)?;
    for thread in threads(target.pid())? {
        wait_for_call(target.pid(), thread, libc::SYS_futex)?;
        let stack = reader.unwind(&capture(target.pid(), thread, 16 * 1024)?.copy());
        let frames = reader.name(target.pid(), &stack);
        assert_complete(&stack, &frames);
        stacks.push((thread, (stack.frames, names(&frames))));
    }
    let folded = fold(stacks);
    let [workers, main] = &*folded else { return Err(format!("{} different stacks", folded.len()).into()) };
    assert_eq!((workers.threads.len(), main.threads.len()), (6, 1));
    assert!(workers.stack.1.windows(2).any(|names| names == ["wait_for_lock", "worker"]), "{:#?}", workers.stack.1);
    assert_eq!(main.threads, [target.pid()]);
    Ok(())
}

#[test]
fn a_short_copy_says_so() -> Result {
    let program = build("short", "blocked.c", NO_FRAME_POINTER)?;
    let target = Target::start(&program, &["accept"])?;
    let whole = target.blocked(libc::SYS_accept)?;
    let mut reader = Reader::default();
    let complete = reader.unwind(&whole.copy());
    for length in [0, 8, 24, 48, 64] {
        let capture = capture(target.pid(), target.pid(), length)?;
        let stack = reader.unwind(&capture.copy());
        assert_eq!(stack.end, StackEnd::Truncated(Truncation::CopyEnded(length as u64)));
        assert_eq!(stack.frames[..], complete.frames[..stack.frames.len()], "the beginning is right");
    }
    Ok(())
}

#[test]
fn endless_recursion_is_cut() -> Result {
    let program = build("recurse", "blocked.c", &format!("{NO_FRAME_POINTER} -fno-optimize-sibling-calls"))?;
    let target = Target::start(&program, &["recurse"])?;
    let (stack, frames) = resolve(&target.blocked(libc::SYS_read)?);
    assert_eq!(stack.end, StackEnd::Truncated(Truncation::TooDeep(stack.frames.len() as u64)));
    assert_adjacent(&frames, &["session", "recurse", "recurse", "recurse"]);
    Ok(())
}

#[test]
fn code_made_at_run_time() -> Result {
    let program = build("jit", "blocked.c", "gcc -O2 -fno-omit-frame-pointer -pthread")?;
    let target = Target::start(&program, &["jit", "py::handle request:/srv/app.py"])?;
    let capture = target.blocked(libc::SYS_read)?;
    let map = format!("/tmp/perf-{}.map", target.pid());
    let (stack, frames) = resolve(&capture);
    fs::remove_file(map)?;
    assert_adjacent(&frames, &["session", "called_by_jit", "handle request", "jit", "main"]);
    assert_complete(&stack, &frames);
    assert_eq!(stack.frames.iter().filter(|address| address.backing == Backing::Jit).count(), 1);
    Ok(())
}

#[test]
fn code_made_at_run_time_without_names() -> Result {
    assert_complete_through_jit("jit-unnamed", "jit")
}

/// As Python's perf trampoline, in a program without frame pointers.
#[test]
fn code_made_at_run_time_without_frame_pointer() -> Result {
    let program = build("trampoline", "blocked.c", NO_FRAME_POINTER)?;
    let mut target = Target::start(&program, &["trampoline"])?;
    let capture = target.blocked(libc::SYS_read)?;
    let mut reader = Reader::default();
    let stack = reader.unwind(&capture.copy());
    let frames = reader.name(capture.pid, &stack);
    let jit = stack.frames.iter().find(|address| address.backing == Backing::Jit).ok_or("no such frame")?;
    assert_adjacent(&frames, &["session", "called_by_jit", &format!("[unknown] 0x{:x}", jit.ip), "jit", "main"]);
    assert_complete(&stack, &frames);

    let mut too_late = Reader::default();
    too_late.unwind(&Copied { bytes: Vec::new(), ..capture.copy() });
    target.end()?;
    assert_eq!(reader.unwind(&capture.copy()).end, StackEnd::Complete, "its code was read");
    assert_eq!(
        too_late.unwind(&capture.copy()).end,
        StackEnd::Truncated(Truncation::NoFramePointer),
        "its code is gone"
    );
    Ok(())
}

/// As Java has it by default, in a program that keeps frame pointers: the one of `jit` leads to `main`.
#[test]
fn code_made_at_run_time_that_leaves_the_frame_pointer_alone() -> Result {
    assert_complete_through_jit("jit-fixed", "fixed")
}

/// The stack leads through code without a name, in a program that keeps frame pointers.
fn assert_complete_through_jit(name: &str, how: &str) -> Result {
    let program = build(name, "blocked.c", "gcc -O2 -fno-omit-frame-pointer -pthread")?;
    let target = Target::start(&program, &[how])?;
    let (stack, frames) = resolve(&target.blocked(libc::SYS_read)?);
    let jit = stack.frames.iter().find(|address| address.backing == Backing::Jit).ok_or("no such frame")?;
    assert_adjacent(&frames, &["called_by_jit", &format!("[unknown] 0x{:x}", jit.ip), "jit", "main"]);
    assert_complete(&stack, &frames);
    Ok(())
}

/// Neither does code tell where the caller is, nor is the frame pointer its own.
#[test]
fn frames_are_not_left_out_unseen() -> Result {
    let program = build("jit-opaque", "blocked.c", "gcc -O2 -fno-omit-frame-pointer -pthread")?;
    for (how, made_at_run_time) in [("opaque", 1), ("zero", 2)] {
        let target = Target::start(&program, &[how])?;
        let (stack, frames) = resolve(&target.blocked(libc::SYS_read)?);
        assert_eq!(stack.end, StackEnd::Truncated(Truncation::NoFramePointer), "{how}: {:#?}", names(&frames));
        assert_adjacent(&frames, &["session", "called_by_jit"]);
        let last = &stack.frames[stack.frames.len() - made_at_run_time..];
        assert!(last.iter().all(|address| address.backing == Backing::Jit), "{how}: {:#?}", names(&frames));
    }
    Ok(())
}

#[test]
fn below_a_signal_handler() -> Result {
    let program = build("signal", "blocked.c", NO_FRAME_POINTER)?;
    let target = Target::start(&program, &["signal"])?;
    let (stack, frames) = resolve(&target.blocked(libc::SYS_read)?);
    assert_eq!(stack.end, StackEnd::Truncated(Truncation::Signal), "{:#?}", names(&frames));
    assert_adjacent(&frames, &["session", "handler"]);
    Ok(())
}

#[test]
fn functions_of_node() -> Result {
    let flags = ["--perf-basic-prof".as_ref(), "--interpreted-frames-native-stack".as_ref()];
    let script = source("blocked.js");
    let node = Target::start("node".as_ref(), &[flags[0], flags[1], script.as_os_str()])?;
    let mut reader = Reader::default();
    let (stack, frames) = resolve_until(&node, libc::SYS_futex, "takeTurn", &mut reader)?;
    fs::remove_file(format!("/tmp/perf-{}.map", node.pid()))?;
    assert_complete(&stack, &frames);
    let names = names(&frames);
    let own: Vec<_> = names.iter().filter(|name| ["takeTurn", "session", "serve"].contains(&name.as_str())).collect();
    assert_eq!(own, ["takeTurn", "session", "serve"], "{names:#?}");
    assert_eq!(source_line(&frames, "session"), Some(("blocked.js", line_of("blocked.js", "function session")?)));
    Ok(())
}
