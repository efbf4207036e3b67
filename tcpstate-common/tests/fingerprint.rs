//! Nothing that crosses the boundary changes without the fingerprint.

use std::path::{Path, PathBuf};

use tcpstate_common::FINGERPRINT;

#[path = "../fingerprint.rs"]
mod fingerprint;

use fingerprint::{Source, of, sources};

fn here() -> Vec<Source> {
    sources(Path::new("src")).expect("the sources of this crate")
}

/// The fingerprint after `file` says `new` where it said `old`.
fn with(file: &str, old: &str, new: &str) -> u64 {
    let mut sources = here();
    let (_, text) = sources.iter_mut().find(|(path, _)| path == Path::new(file)).expect(file);
    let before = String::from_utf8(text.clone()).expect("text");
    assert_eq!(before.matches(old).count(), 1, "`{old}` in {file}");
    *text = before.replace(old, new).into_bytes();
    of(&sources)
}

#[test]
fn it_is_that_of_all_sources() {
    let sources = here();
    assert!(sources.iter().any(|(path, _)| path == Path::new("leak.rs")));
    assert_eq!(of(&sources), FINGERPRINT);
}

#[test]
fn every_change_of_a_layout_changes_it() {
    for (what, file, old, new) in [
        ("size of a field", "event.rs", "pub netns: u32,", "pub netns: u64,"),
        ("type of a field", "leak.rs", "pub len: i64,", "pub len: u64,"),
        ("name of a field", "event.rs", "pub uid: u32,", "pub gid: u32,"),
        ("field in place of padding", "leak.rs", "pub pad: [u8; 3],", "pub why: u8,\n    pub pad: [u8; 2],"),
        ("offsets of fields", "leak.rs", "pub ip: u64,", ""),
        ("length of an array", "leak.rs", "KERNEL_FRAMES: usize = 32", "KERNEL_FRAMES: usize = 16"),
        ("kind of a record", "leak.rs", "KIND_LEFT: u32 = 3", "KIND_LEFT: u32 = 9"),
        ("bit of a filter", "config.rs", "PID: u32 = 1 << 0", "PID: u32 = 1 << 11"),
        ("kernel field", "layout.rs", "\"sock\" \"sk_uid\"", "\"sock\" \"sk_gid\""),
        ("new type", "lib.rs", "pub mod state;", "pub mod state;\n#[repr(C)]\npub struct New(u32);"),
    ] {
        assert_ne!(with(file, old, new), FINGERPRINT, "{what}");
    }
}

#[test]
fn so_does_a_file_that_comes_goes_or_moves() {
    let mut more = here();
    more.push((PathBuf::from("zone.rs"), Vec::new()));
    let fewer = &here()[1..];
    let mut moved = here();
    moved[0].0 = Path::new("wire").join(&moved[0].0);
    for sources in [&more[..], fewer, &moved] {
        assert_ne!(of(sources), FINGERPRINT);
    }
}
