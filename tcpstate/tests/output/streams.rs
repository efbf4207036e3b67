//! Whatever becomes of the standard streams: what could not be written is a failure that is told of, who does not want to read is
//! none, and nothing panics.

use std::{fs::File, io::Read as _, path::Path, process::Command};

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};

use crate::faults::{Ended, Fault, run};

const RECORDING: &str = "RECORDING";

/// Commands that need no privilege, each with its exit code where all is well, and whether it writes to standard output.
const COMMANDS: [(&[&str], i32, bool); 19] = [
    (&["--help"], 0, true),
    (&["--version"], 0, true),
    (&["help", "leaks"], 0, true),
    (&["run", "--help"], 0, true),
    (&["completions", "zsh"], 0, true),
    (&["man"], 0, true),
    (&["man", "trace"], 0, true),
    (&["states"], 0, true),
    (&["states", "-o", "json", "--watch", "100ms", "--count", "3"], 0, true),
    (&["report", RECORDING], 0, true),
    (&["report", RECORDING, "-o", "svg"], 0, true),
    (&["report", RECORDING, "-o", "json", "--show", "trace"], 0, true),
    (&["report", RECORDING, "--show", "summary"], 0, true),
    (&["report", RECORDING, "--show", "states"], 0, true),
    (&["report", "/nonexistent"], 1, false),
    (&["no-such-command"], 2, false),
    (&["trace", "--state", "time-wait"], 2, false),
    (&["run", "--no-such-option"], 125, false),
    (&["run", "--buffer", "3G", "--", "true"], 125, false),
];

fn tcpstate(arguments: &[&str]) -> Command {
    let recording = Path::new(env!("CARGO_MANIFEST_DIR")).join("recording/tests/v1/server.tcps");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcpstate"));
    let is_recording = |word: &&str| **word == *RECORDING;
    command.args(arguments.iter().map(|word| if is_recording(word) { recording.as_os_str() } else { word.as_ref() }));
    command.env_remove("RUST_LOG").env_remove("NO_COLOR");
    command
}

fn ended(arguments: &[&str], stdout: Fault, stderr: Fault) -> Ended {
    let ended = run(tcpstate(arguments), stdout, stderr).expect("it runs");
    assert!(!ended.stderr.contains("panicked"), "{arguments:?}: {}", ended.stderr);
    ended
}

#[test]
fn what_cannot_be_written_is_told_of() {
    for (arguments, code, writes) in COMMANDS {
        for (fault, why) in [
            (Fault::Full, "No space left on device (os error 28)"),
            (Fault::Closed, "Bad file descriptor (os error 9)"),
            (Fault::Limited, "File too large (os error 27)"),
        ] {
            let ended = ended(arguments, fault, Fault::None);
            assert_eq!(ended.code, Some(if writes { 1 } else { code }), "{arguments:?}, {fault:?}: {}", ended.stderr);
            let told = ended.stderr.ends_with(&format!("error: failed to write to standard output: {why}\n"));
            assert_eq!(told, writes, "{arguments:?}, {fault:?}: {}", ended.stderr);
        }
    }
}

#[test]
fn who_does_not_want_to_read_is_no_failure() {
    for (arguments, code, writes) in COMMANDS {
        let whole = ended(arguments, Fault::None, Fault::None);
        assert_eq!((whole.code, !whole.stdout.is_empty()), (Some(code), writes), "{arguments:?}: {}", whole.stderr);
        let gone = ended(arguments, Fault::Gone, Fault::None);
        assert_eq!(gone.code, Some(code), "{arguments:?}: {}", gone.stderr);
        assert!(!gone.stderr.contains("standard output"), "{arguments:?}: {}", gone.stderr);
        let slow = ended(arguments, Fault::Slow, Fault::Slow);
        assert_eq!(slow.code, Some(code), "{arguments:?}: {}", slow.stderr);
        // Counts of sockets are of their moment.
        assert!(slow.stdout == whole.stdout || arguments.contains(&"states"), "{arguments:?}");
    }
}

/// That nobody can be told of a failure does not make it another one.
#[test]
fn standard_error_decides_nothing() {
    for (arguments, code, writes) in COMMANDS {
        for fault in [Fault::Stuck, Fault::Full, Fault::Closed, Fault::Gone, Fault::Limited] {
            let alone = ended(arguments, Fault::None, fault);
            assert_eq!(alone.code, Some(code), "{arguments:?}, {fault:?}");
            assert_eq!(!alone.stdout.is_empty(), writes, "{arguments:?}, {fault:?}");
            if fault == Fault::Stuck {
                continue;
            }
            let both = ended(arguments, fault, fault);
            let expected = if writes && fault != Fault::Gone { 1 } else { code };
            assert_eq!(both.code, Some(expected), "{arguments:?}, {fault:?} twice");
        }
    }
}

/// What a terminal gets of reports one after another, where `TERM` is this.
fn screen(term: Option<&str>) -> String {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    let terminal = openpt(flags).expect("a terminal");
    grantpt(&terminal).and_then(|()| unlockpt(&terminal)).expect("a terminal");
    let side = ioctl_tiocgptpeer(&terminal, flags).expect("its other side");
    let mut command = tcpstate(&["states", "--watch", "100ms", "--count", "2"]);
    command.env_remove("TERM").envs(term.map(|term| ("TERM", term))).stdout(side);
    let mut child = command.spawn().expect("it runs");
    drop(command);
    let mut said = Vec::new();
    // Once nobody has the other side any more, this is EIO (`tty_hung_up_p()`).
    let _ = File::from(terminal).read_to_end(&mut said);
    assert!(child.wait().expect("our own child").success());
    String::from_utf8(said).expect("text is UTF-8")
}

#[test]
fn a_terminal_that_understands_nothing_gets_text() {
    assert!(screen(Some("xterm")).contains("\x1b[H\x1b[J"));
    for term in [Some("dumb"), Some(""), None] {
        let said = screen(term);
        assert!(said.contains("TCP socket") && !said.contains('\x1b'), "{term:?}: {said:?}");
    }
}

/// What goes into files needs no standard output.
#[test]
fn pages_in_files_are_told_of_by_their_names() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().to_str().expect("text");
    for fault in [Fault::Full, Fault::Closed, Fault::Gone] {
        let ended = ended(&["man", "--dir", path], fault, Fault::None);
        assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{fault:?}");
    }
    let limited = ended(&["man", "--dir", path], Fault::Limited, Fault::None);
    let expected = format!("error: failed to write `{path}/tcpstate.1`: File too large (os error 27)\n");
    assert_eq!((limited.code, limited.stderr), (Some(1), expected));
}
