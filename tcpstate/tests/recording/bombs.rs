//! Recordings that were made to do harm: few bytes that take much memory or time.

use std::{
    fs, io,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use tempfile::tempdir;

use crate::{
    generate,
    made::{Made, varint},
};

/// What a report of a few KiB may take, bytes: beside 16 MiB of frames what is made of them, stacks of threads and the program.
const MEMORY: u64 = 64 << 20;
/// On a machine that is busy, in a debug build.
const TIME: Duration = Duration::from_secs(20);

/// `0` so often.
fn zeros(count: usize) -> Vec<u8> {
    [varint(count), vec![0; count]].concat()
}

/// Events of one socket, each of three bytes.
fn events(rows: usize) -> Vec<u8> {
    let columns = |columns: usize| zeros(0).repeat(columns);
    let one = zeros(1);
    let mut payload = [one.clone(), columns(5), one.clone(), one.clone(), one, columns(5)].concat();
    // That it is destroyed, at the same time, and the same one but for the first row.
    payload.extend(
        [varint(rows), vec![5; rows], zeros(rows), varint(rows), vec![0], vec![1; rows - 1], columns(6)].concat(),
    );
    payload
}

/// One stack of one frame, with so many names of the kernel's functions, all empty.
fn strings(count: usize) -> Vec<u8> {
    [&varint(1)[..], &varint(1), &varint(0), &zeros(count), &[0, 0]].concat()
}

fn stacks(count: usize) -> Vec<u8> {
    let stack = |place: usize| [varint(place), vec![0; 4]].concat();
    [varint(count), (0..count).flat_map(stack).collect()].concat()
}

/// Cgroups without paths, all of the same id.
fn names(count: usize) -> Vec<u8> {
    [varint(count), vec![0; 2 * count], zeros(0), zeros(0)].concat()
}

/// Sockets of a snapshot with so many holders each.
fn holders(count: usize) -> Vec<u8> {
    let facts = [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 0, 0, 0, 0];
    [&varint(1)[..], &facts, &[8, 0, 0, 0, 0, 0, 0], &varint(count), &vec![1; 2 * count], &[0]].concat()
}

/// Runs `tcpstate report`, which may take so many bytes and no more; how it ended, and how long that took.
fn report(path: &Path, arguments: &[&str], most: u64) -> (ExitStatus, Duration) {
    let began = Instant::now();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcpstate"));
    command.arg("report").arg(path).args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: one system call between fork and exec. What is written to and is nobody else's counts (`may_expand_vm()` of `mm/mmap.c`).
    unsafe {
        command.pre_exec(move || {
            let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
            if libc::setrlimit(libc::RLIMIT_DATA, &raw const limit) == 0 {
                Ok(())
            } else {
                Err(io::Error::last_os_error())
            }
        });
    }
    (command.status().expect("tcpstate runs"), began.elapsed())
}

/// However its payloads are made: as large as a frame may say it is, or as large as is just allowed.
#[test]
fn few_bytes_take_little_memory() {
    let directory = tempdir().expect("a directory");
    let path = directory.path().join("bomb.tcps");
    type Payload = fn(usize) -> Vec<u8>;
    let kinds: [(&str, u16, Payload, &[usize]); 5] = [
        ("events", 2, events, &[22_000_000, 65_536, 30_000]),
        ("strings", 5, strings, &[67_000_000, 640_000, 300_000]),
        ("names", 6, names, &[33_000_000, 300_000, 100_000]),
        ("stacks", 5, stacks, &[300_000, 30_000]),
        ("holders", 3, holders, &[33_000_000, 900_000, 400_000]),
    ];
    for (name, kind, payload, counts) in kinds {
        for &count in counts {
            let payload = payload(count);
            for frames in [1, 8] {
                let mut made = Made::new(generate::start());
                for _ in 0..frames {
                    made.push(kind, &payload);
                }
                fs::write(&path, made.bytes()).expect("disk");
                for show in ["leaks", "trace", "states"] {
                    let most = MEMORY + 256 * made.bytes().len() as u64;
                    let arguments = ["--show", show, "--pid", "1", "--comm", "a"];
                    let (status, took) = report(&path, &arguments, most);
                    let what = format!("{frames} of {count} {name} in {} bytes, {show}", made.bytes().len());
                    assert!(status.code().is_some_and(|code| code < 2), "{what}: {status}, {most} bytes were allowed");
                    assert!(took < TIME, "{what}: {took:?}");
                }
            }
        }
    }
}

/// It says what was reached, and shows what came before.
#[test]
fn what_is_refused_is_said() {
    let directory = tempdir().expect("a directory");
    let path = directory.path().join("bomb.tcps");
    let mut made = Made::new(generate::start());
    made.push(2, &events(20_000_000));
    fs::write(&path, made.bytes()).expect("disk");
    let shown = crate::reports::report(&path, &["--show", "summary"]);
    assert!(shown.status.success() && shown.stdout.starts_with("0 transitions seen"), "{}", shown.stdout);
    let expected = "a frame that takes much more memory than its file has bytes, as none does that is written";
    assert!(shown.stderr.contains("is damaged at byte") && shown.stderr.contains(expected), "{}", shown.stderr);
}
