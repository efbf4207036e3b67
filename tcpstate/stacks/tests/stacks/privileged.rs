//! Stacks for which it takes root: of files without a name, and of processes in other namespaces.

#[path = "reader.rs"]
#[expect(dead_code, reason = "shared with the tests that need no privileges")]
mod reader;
#[path = "target.rs"]
#[expect(dead_code, reason = "shared with the tests that need no privileges")]
mod target;

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use reader::Reader;
use rustix::{
    io::Errno,
    thread::{CapabilitySet, capabilities, set_capabilities},
};
use target::{Capture, MAX_STACK, Result, Target, build, capture, compiled, scratch, wait_for_call};
use tcpstate_core::model::stack::Frame;
use tcpstate_wire::{StackEnd, Truncation};

/// Sources and how they are compiled.
const C: (&str, &str) = ("blocked.c", "gcc -O2 -pthread -g");
const CPP: (&str, &str) = ("blocked.cc", "g++ -O2 -g");
const STATIC: (&str, &str) = ("blocked.c", "gcc -O2 -pthread -g -static -fno-omit-frame-pointer");

/// Run alone, it leaves them for a machine that has no compilers.
#[test]
fn programs_are_compiled() -> Result {
    for (source, command) in [C, CPP, STATIC] {
        assert!(compiled(source, command)?.is_file());
    }
    Ok(())
}

/// The functions of a stack that must be complete.
fn functions(capture: &Capture) -> (Vec<String>, Vec<Frame>) {
    let mut reader = Reader::default();
    let stack = reader.unwind(&capture.copy());
    assert_eq!(stack.end, StackEnd::Complete);
    let frames = reader.name(capture.pid, &stack);
    let names = frames.iter().filter_map(|frame| frame.function.clone());
    (names.collect(), frames)
}

#[track_caller]
fn assert_adjacent(names: &[String], expected: &[&str]) {
    assert!(
        names.windows(expected.len()).any(|window| window == expected),
        "{expected:?} are not in a row in {names:#?}"
    );
}

#[test]
fn deleted_before_it_was_seen() -> Result {
    let program = build("deleted", C.0, C.1)?;
    let target = Target::start(&program, &["accept"])?;
    let capture = target.blocked(libc::SYS_accept)?;
    fs::remove_file(&program)?;
    let (names, frames) = functions(&capture);
    assert_adjacent(&names, &["accept_one", "serve", "main"]);
    assert!(frames.iter().any(|frame| frame.module.as_deref() == Some(&program)), "named as when it was started");
    Ok(())
}

#[test]
fn replaced_before_it_was_seen() -> Result {
    let program = build("upgraded", C.0, C.1)?;
    let other = build("upgrade", CPP.0, CPP.1)?;
    let target = Target::start(&program, &["accept"])?;
    let capture = target.blocked(libc::SYS_accept)?;
    fs::rename(&other, &program)?;
    assert_adjacent(&functions(&capture).0, &["accept_one", "serve", "main"]);
    Ok(())
}

/// A tracer without all that root may do: that a program's file is not for it to read is not said of the program.
#[test]
fn a_file_that_may_not_be_read() -> Result {
    let program = build("unreadable", C.0, C.1)?;
    fs::set_permissions(&program, Permissions::from_mode(0o111))?;
    let target = Target::start(&program, &["accept"])?;
    let capture = target.blocked(libc::SYS_accept)?;
    let unwound = thread::scope(|scope| {
        let with_less = || {
            // Of this thread alone.
            let mut sets = capabilities(None)?;
            sets.effective = CapabilitySet::SYS_PTRACE;
            set_capabilities(None, sets)?;
            let mut reader = Reader::default();
            let stack = reader.unwind(&capture.copy());
            let StackEnd::Truncated(Truncation::Unreadable(module)) = stack.end else { return Ok(None) };
            Ok::<_, Errno>(Some((reader.path(module), reader.why_unreadable(module))))
        };
        scope.spawn(with_less).join()
    });
    let (path, why) = unwound.map_err(|_| "the thread panicked")??.ok_or("it could be read")?;
    assert_eq!(path.as_deref(), Some(&*program));
    assert_eq!(why.as_deref(), Some("Permission denied (os error 13)"));
    Ok(())
}

/// A program in a container: root directory on a file system that only its own mount namespace has, pid 1.
#[test]
fn in_other_namespaces() -> Result {
    let program = build("contained", STATIC.0, STATIC.1)?;
    let root = scratch("root")?;
    fs::create_dir_all(&root)?;
    let script = r#"mount -t tmpfs tmpfs "$1"; mkdir "$1/tmp"; cp "$2" "$1/app"; exec chroot "$1" /app jit 'py::handle:/srv/app.py'"#;
    let unshare = Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "--kill-child=KILL", "sh", "-ec", script, "sh"])
        .args([&root, &program])
        .stdin(Stdio::piped())
        .spawn()?;
    let unshare = Target { child: unshare };
    let pid = contained(unshare.pid())?;
    wait_for_call(pid, pid, libc::SYS_read)?;
    assert!(!root.join("app").exists(), "the file is in its own mount namespace only");
    let (names, frames) = functions(&capture(pid, pid, MAX_STACK)?);
    assert_adjacent(&names, &["session", "called_by_jit", "handle", "jit", "main"]);
    assert!(frames.iter().any(|frame| frame.module.as_ref().is_some_and(|path| path.ends_with("app"))));
    Ok(())
}

/// The child of `unshare` once it is the program.
fn contained(unshare: u32) -> Result<u32> {
    let start = Instant::now();
    loop {
        let children = fs::read_to_string(format!("/proc/{unshare}/task/{unshare}/children"))?;
        if let Some(pid) = children.split_whitespace().next()
            && fs::read(format!("/proc/{pid}/cmdline"))?.starts_with(b"/app\0")
        {
            return Ok(pid.parse()?);
        }
        if start.elapsed() > Duration::from_secs(20) {
            return Err("the program did not start".into());
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// What a child has from its parent has its parent's names, until one of them writes to the page.
#[test]
fn a_forked_process_has_the_names_of_its_parent() -> Result {
    use std::{fs::File, io::Write as _, os::fd::OwnedFd};

    use nix::unistd::{ForkResult, fork, pipe, read, write};

    const PAGE: usize = 4096;
    // SAFETY: new memory, for this test alone.
    let page = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            PAGE,
            libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    assert_ne!(page, libc::MAP_FAILED);
    let page = page.cast::<u8>();
    // SAFETY: within that memory, which is of the process that writes.
    let touch = |value: u8| unsafe { page.write_volatile(value) };
    touch(1);
    let path = format!("/tmp/perf-{}.map", std::process::id());
    writeln!(File::create(&path)?, "{:x} 100 py::handle:/srv/app.py", page as usize)?;

    let names = |child: u32| {
        let mut functions = Reader::default().jit(child, page as u64 + 0x10);
        functions.pop().map(|function| function.name)
    };
    // Touches the page for each byte that it is sent, and answers.
    let child = || -> Result<(u32, OwnedFd, OwnedFd)> {
        let ((orders, order), (answers, answer)) = (pipe()?, pipe()?);
        // SAFETY: the child calls nothing that could wait for a thread it does not have.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => Ok((child.as_raw().cast_unsigned(), order, answers)),
            ForkResult::Child => {
                drop((order, answers));
                let mut byte = [0];
                while read(&orders, &mut byte).is_ok_and(|read| read == 1) {
                    touch(2);
                    let _ = write(&answer, &byte);
                }
                // SAFETY: ends the child without the clean-up of its parent.
                unsafe { libc::_exit(0) }
            }
        }
    };
    let handle = Some("handle".to_owned());
    assert_eq!(names(std::process::id()), handle);
    let (first, order, answers) = child()?;
    assert_eq!(names(first), handle);
    write(&order, b"1")?;
    read(&answers, &mut [0])?;
    assert_eq!(names(first), None, "it has other code there since");
    let (second, _order, _answers) = child()?;
    assert_eq!(names(second), handle);
    touch(3);
    assert_eq!(names(second), None, "its parent has other code there since");
    fs::remove_file(&path)?;
    Ok(())
}
