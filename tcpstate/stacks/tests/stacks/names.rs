//! What the frames are called, and where they are in the source.

use crate::{
    Result, assert_adjacent, assert_complete, names, resolve, source_line,
    target::{Target, build, line_of, scratch, threads, wait_for_call},
};

#[test]
fn lines_of_calls() -> Result {
    let program = build("lines", "blocked.c", "gcc -O2 -fomit-frame-pointer -pthread -g")?;
    let target = Target::start(&program, &["accept"])?;
    let (stack, frames) = resolve(&target.blocked(libc::SYS_accept)?);
    assert_complete(&stack, &frames);
    assert_adjacent(&frames, &["accept_one", "serve", "main"]);
    assert_eq!(source_line(&frames, "accept_one"), Some(("blocked.c", line_of("blocked.c", "accept_one blocks")?)));
    assert_eq!(source_line(&frames, "serve"), Some(("blocked.c", line_of("blocked.c", "serve calls")?)));
    Ok(())
}

#[test]
fn inlined_functions() -> Result {
    let program = build("inlined", "blocked.c", "gcc -O2 -fomit-frame-pointer -pthread -g")?;
    let target = Target::start(&program, &["read"])?;
    let (stack, frames) = resolve(&target.blocked(libc::SYS_read)?);
    assert_complete(&stack, &frames);
    assert_adjacent(&frames, &["take_byte", "take_request", "session", "main"]);
    for function in ["take_byte", "take_request", "session"] {
        let mark = if function == "take_byte" { "blocks" } else { "calls" };
        let line = line_of("blocked.c", &format!("/* {function} {mark}"))?;
        assert_eq!(source_line(&frames, function), Some(("blocked.c", line)), "{function}");
    }
    let innermost = frames.iter().position(|frame| frame.inlined).ok_or("no inlined functions")?;
    let session = &frames[innermost..innermost + 3];
    assert_eq!(session.iter().map(|frame| frame.inlined).collect::<Vec<_>>(), [true, true, false]);
    assert!(session.iter().all(|frame| frame.offset == session[0].offset), "one address: {session:#?}");
    Ok(())
}

#[test]
fn without_symbols() -> Result {
    let program = build("stripped", "blocked.c", "gcc -O2 -fomit-frame-pointer -pthread -s")?;
    let target = Target::start(&program, &["accept"])?;
    let (stack, frames) = resolve(&target.blocked(libc::SYS_accept)?);
    assert_complete(&stack, &frames);
    let unnamed: Vec<_> = names(&frames).into_iter().filter(|name| name.starts_with("stripped+0x")).collect();
    assert!(unnamed.len() >= 3, "{:#?}", names(&frames));
    Ok(())
}

#[test]
fn cpp_names_are_demangled() -> Result {
    let program = build("cpp", "blocked.cc", "g++ -O2 -fomit-frame-pointer")?;
    let target = Target::start(&program, &[""; 0])?;
    let (stack, frames) = resolve(&target.blocked(libc::SYS_read)?);
    assert_complete(&stack, &frames);
    let names = names(&frames);
    let at = names.iter().position(|name| name == "proxy::Pool<int>::take(int)").ok_or(format!("{names:#?}"))?;
    assert!(names[at + 1].starts_with("proxy::serve(") && names[at + 1].contains("lambda"), "{names:#?}");
    assert!(names[at + 2].starts_with("proxy::serve(") && !names[at + 2].contains("lambda"), "{names:#?}");
    assert_eq!(names[at + 3], "main");
    Ok(())
}

fn rust_is_named(test: &str, flags: &str) -> Result {
    let program =
        build(test, "blocked.rs", &format!("rustc --edition 2021 --crate-name blocked -C opt-level=3 {flags}"))?;
    let target = Target::start(&program, &[""; 0])?;
    wait_for_call(target.pid(), target.pid(), libc::SYS_futex)?;
    let thread = *threads(target.pid())?.get(1).ok_or("no second thread")?;
    wait_for_call(target.pid(), thread, libc::SYS_accept4)?;
    let (stack, frames) = resolve(&crate::target::capture(target.pid(), thread, 64 * 1024)?);
    assert_complete(&stack, &frames);
    let names = names(&frames);
    let at = names.iter().position(|name| name.ends_with("::accept_one")).ok_or(format!("{names:#?}"))?;
    assert_eq!(names[at], "<blocked::Server<std::net::tcp::TcpListener> as blocked::Serve>::accept_one");
    assert_eq!(names[at + 1], "blocked::serve_forever");
    assert!(names.iter().all(|name| !name.contains("::h")), "{names:#?}");
    Ok(())
}

#[test]
fn rust_names_are_demangled() -> Result {
    rust_is_named("rust", "")
}

#[test]
fn rust_names_in_the_new_mangling() -> Result {
    rust_is_named("rust-v0", "-C symbol-mangling-version=v0")
}

#[test]
fn rust_with_debug_info() -> Result {
    rust_is_named("rust-debug", "-g")
}

#[test]
fn debug_info_found_by_link() -> Result {
    let whole = build("linked-whole", "blocked.c", "gcc -O2 -fomit-frame-pointer -pthread -g -Wl,--build-id=none")?;
    let (program, debug) = (scratch("linked")?, scratch("linked.debug")?);
    for arguments in [
        vec!["--only-keep-debug".as_ref(), whole.as_os_str(), debug.as_os_str()],
        vec!["--strip-all".as_ref(), whole.as_os_str(), program.as_os_str()],
        vec![format!("--add-gnu-debuglink={}", debug.display()).as_ref(), program.as_os_str()],
    ] {
        assert!(std::process::Command::new("objcopy").args(arguments).status()?.success());
    }
    let target = Target::start(&program, &["accept"])?;
    let (_, frames) = resolve(&target.blocked(libc::SYS_accept)?);
    assert_adjacent(&frames, &["accept_one", "serve", "main"]);
    assert_eq!(source_line(&frames, "serve"), Some(("blocked.c", line_of("blocked.c", "serve calls")?)));
    Ok(())
}
