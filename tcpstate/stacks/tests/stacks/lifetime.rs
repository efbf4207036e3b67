//! Processes that end, execute another program, or lose their files.

use std::{
    fs,
    io::Write as _,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use tcpstate_broker::process::{descriptors, files, program as executed, thread::living};
use tcpstate_core::model::stack::Frame;
use tcpstate_wire::{Backing, StackEnd, Truncation};

use crate::{
    Result, assert_adjacent, assert_complete, names,
    reader::Reader,
    target::{MAX_STACK, PATIENCE, Target, build, capture, scratch, threads, wait_for_call},
};

const GCC: &str = "gcc -O2 -fomit-frame-pointer -pthread -g";

#[test]
fn ended_before_it_was_symbolized() -> Result {
    let program = build("ended", "blocked.c", GCC)?;
    let mut target = Target::start(&program, &["accept"])?;
    let capture = target.blocked(libc::SYS_accept)?;
    let mut reader = Reader::default();
    let stack = reader.unwind(&capture.copy());
    target.end()?;
    fs::remove_file(&program)?;
    assert_adjacent(&reader.name(capture.pid, &stack), &["accept_one", "serve", "main"]);

    let late = reader.unwind(&capture.copy());
    assert_eq!(late.frames, stack.frames, "a stack that was captured before the end");
    assert_eq!(late.end, StackEnd::Complete);

    let too_late = Reader::default().unwind(&capture.copy());
    assert_eq!(too_late.end, StackEnd::Truncated(Truncation::ProcessGone));
    Ok(())
}

#[test]
fn ended_before_it_was_seen() -> Result {
    let program = build("unseen", "blocked.c", GCC)?;
    let mut target = Target::start(&program, &["accept"])?;
    let capture = target.blocked(libc::SYS_accept)?;
    target.end()?;
    let mut reader = Reader::default();
    let stack = reader.unwind(&capture.copy());
    assert_eq!(stack.end, StackEnd::Truncated(Truncation::ProcessGone));
    assert_eq!(stack.frames.iter().map(|address| &address.backing).collect::<Vec<_>>(), [&Backing::Unknown]);
    let frames = reader.name(capture.pid, &stack);
    assert_eq!(frames.iter().map(Frame::name).collect::<Vec<_>>(), [format!("[unknown] 0x{:x}", capture.registers.ip)]);
    Ok(())
}

/// What the first thread has given back at its exit, the others still have.
#[test]
fn first_thread_has_exited() -> Result {
    let program = build("left", "blocked.c", GCC)?;
    let target = Target::start(&program, &["leave"])?;
    let pid = target.pid();
    let start = Instant::now();
    // A zombie has no executable.
    while fs::read_link(format!("/proc/{pid}/exe")).is_ok() {
        if start.elapsed() > PATIENCE {
            return Err("the first thread lives on".into());
        }
        thread::sleep(Duration::from_millis(2));
    }
    let [_, other] = threads(pid)?[..] else { return Err("not two threads".into()) };
    wait_for_call(pid, other, libc::SYS_accept)?;
    assert_eq!(living(pid), other);
    // The kernel may count the one that `accept()` has reserved.
    let listed = fs::read_dir(format!("/proc/{pid}/task/{other}/fd"))?.count() as u64;
    assert!(listed > 3 && descriptors::open(pid) >= Some(listed), "{listed}, {:?}", descriptors::open(pid));
    assert_eq!(descriptors::limit(pid), descriptors::limit(std::process::id()));
    assert!(executed::start_stack(pid).is_some());
    files::open_in_root(pid, &program)?;
    let capture = capture(pid, other, MAX_STACK)?;
    let mut reader = Reader::default();
    let stack = reader.unwind(&capture.copy());
    let frames = reader.name(pid, &stack);
    assert_adjacent(&frames, &["accept_one", "serve", "serve_alone"]);
    assert_complete(&stack, &frames);
    Ok(())
}

#[test]
fn replaced_after_it_was_seen() -> Result {
    let program = build("replaced", "blocked.c", GCC)?;
    let other = build("replacement", "blocked.cc", "g++ -O2 -g")?;
    let target = Target::start(&program, &["accept"])?;
    let capture = target.blocked(libc::SYS_accept)?;
    let mut reader = Reader::default();
    reader.unwind(&capture.copy());
    fs::rename(&other, &program)?;
    let stack = reader.unwind(&capture.copy());
    let frames = reader.name(capture.pid, &stack);
    assert_adjacent(&frames, &["accept_one", "serve", "main"]);
    assert_complete(&stack, &frames);
    Ok(())
}

#[test]
fn another_program_in_the_same_process() -> Result {
    let first = build("exec-first", "blocked.c", &format!("{GCC} -no-pie"))?;
    let second = build("exec-second", "blocked.c", &format!("{GCC} -no-pie -O1 -DPADDING"))?;
    let mut target = Target::start(&first, &["exec".as_ref(), second.as_os_str()])?;
    let mut reader = Reader::default();
    let before = reader.unwind(&target.blocked(libc::SYS_read)?.copy());
    assert!(names(&reader.name(target.pid(), &before)).contains(&"main".to_owned()));
    target.child.stdin.as_mut().ok_or("no stdin")?.write_all(b"x")?;
    let after = reader.unwind(&target.blocked(libc::SYS_accept)?.copy());
    let frames = reader.name(target.pid(), &after);
    assert_adjacent(&frames, &["accept_one", "serve", "main"]);
    assert!(frames.iter().any(|frame| frame.module.as_deref() == Some(&second)));
    assert!(frames.iter().all(|frame| frame.module.as_deref() != Some(&first)));
    Ok(())
}

#[test]
fn one_file_is_read_once_for_all_processes() -> Result {
    let program = build("shared", "blocked.c", GCC)?;
    let copy = scratch("shared-copy")?;
    fs::copy(&program, &copy)?;
    let mut reader = Reader::default();
    let mut module_of = |path: &PathBuf| -> Result<_> {
        let target = Target::start(path, &["accept"])?;
        let stack = reader.unwind(&target.blocked(libc::SYS_accept)?.copy());
        Ok(reader.module(&stack, path).ok_or("not on the stack")?)
    };
    assert_eq!(module_of(&program)?, module_of(&program)?);
    assert_ne!(module_of(&program)?, module_of(&copy)?, "another file, whatever is in it");
    Ok(())
}

/// What was read for names is mapped until it is given back; after that there are names all the same, new ones included.
#[test]
fn files_are_given_back() -> Result {
    let program = build("closed", "blocked.c", GCC)?;
    let is_mapped =
        || -> Result<bool> { Ok(fs::read_to_string("/proc/self/maps")?.contains(&*program.to_string_lossy())) };
    let accepts = Target::start(&program, &["accept"])?;
    let reads = Target::start(&program, &["read"])?;
    let mut reader = Reader::default();
    let accepting = reader.unwind(&accepts.blocked(libc::SYS_accept)?.copy());
    let reading = reader.unwind(&reads.blocked(libc::SYS_read)?.copy());
    let before = names(&reader.name(accepts.pid(), &accepting));
    assert!(is_mapped()?);
    reader.close_files();
    assert!(!is_mapped()?);
    assert_eq!(names(&reader.name(accepts.pid(), &accepting)), before);
    assert!(!is_mapped()?, "read once more for names that are known");
    assert!(names(&reader.name(reads.pid(), &reading)).iter().any(|name| name == "take_byte"));
    Ok(())
}
