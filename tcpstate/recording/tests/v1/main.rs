//! Version 1 of the format: files of it are kept here, and whatever becomes of the code, they say what they said.
//!
//! `server.tcps` was recorded of a server that leaks in every way, `variants.tcps` written of [`variants::contents`], both by the
//! program that brought the format.

mod text;
mod variants;

use std::{collections::BTreeMap, fs, path::Path};

use tcpstate_core::model::{
    Comm, Unseen,
    activity::{Activity, Busiest, WokenBy},
    leak::Traffic,
};
use tcpstate_recording::{Content, FrameKind, Reader, Writer, v1};
use tempfile::tempdir;

fn kept(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/v1").join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every frame of a file that is whole.
fn read(bytes: &[u8]) -> Vec<Content> {
    let mut reader = Reader::new(bytes).expect("a recording");
    let mut contents = Vec::new();
    while let Some(content) = reader.frame().expect("a whole frame") {
        contents.push(content);
    }
    assert_eq!(reader.skipped(), 0, "frames of kinds that are not known");
    contents
}

/// A file as far as the format goes: how well payloads are compressed is not a matter of it.
#[derive(Debug, PartialEq, Eq)]
struct Uncompressed {
    header: Vec<u8>,
    frames: Vec<UncompressedFrame>,
}

#[derive(Debug, PartialEq, Eq)]
struct UncompressedFrame {
    /// Its number, and what is kept free after it.
    kind: Vec<u8>,
    payload: Vec<u8>,
}

fn uncompressed(file: &[u8]) -> Uncompressed {
    let (header, mut rest) = file.split_at(16);
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let (head, after) = rest.split_at(16);
        let length = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes")) as usize;
        let (compressed, next) = after.split_at(length(0));
        let payload = zstd::bulk::decompress(compressed, length(4)).expect("zstd");
        frames.push(UncompressedFrame { kind: head[8..12].to_vec(), payload });
        rest = next;
    }
    Uncompressed { header: header.to_vec(), frames }
}

/// What the writer writes of these.
fn written(contents: Vec<Content>) -> Vec<u8> {
    let directory = tempdir().expect("a directory");
    let path = directory.path().join("a.tcps");
    let mut writer = Writer::create(&path, false, None).expect("a file");
    for content in contents {
        writer.write(content).expect("disk");
    }
    drop(writer);
    fs::read(&path).expect("just written")
}

#[test]
fn a_file_of_long_ago_says_what_it_said() {
    let said = text::of(&read(&kept("server.tcps")));
    let golden = String::from_utf8(kept("server.txt")).expect("UTF-8");
    let differs = golden.lines().zip(said.lines()).find(|(golden, said)| golden != said);
    assert!(golden == said, "differs in {differs:?}");
}

#[test]
fn every_variant_is_read() {
    assert_eq!(read(&kept("variants.tcps")), variants::contents());
}

#[test]
fn what_is_written_is_the_same_to_the_byte() {
    for (name, contents) in [("variants.tcps", variants::contents()), ("server.tcps", read(&kept("server.tcps")))] {
        assert_eq!(uncompressed(&written(contents)), uncompressed(&kept(name)), "{name}");
    }
}

/// Kinds that came after the files above: what their payloads are, to the byte.
#[test]
fn later_kinds_are_the_same_to_the_byte() {
    let unseen = Content::Unseen(Unseen { transitions: 300, sockets: 61 });
    assert_eq!(v1::encode(unseen.clone()).expect("memory"), [0xac, 0x02, 61]);
    assert_eq!(v1::decode(FrameKind::Unseen, &[0xac, 0x02, 61]), Ok(unseen));
    assert_eq!(FrameKind::Unseen as u16, 11);
    assert!(v1::decode(FrameKind::Unseen, &[0xac, 0x02]).is_err(), "cut short");
}

/// Kinds of frames that the first files do not have: what is written is read.
#[test]
fn kinds_that_came_later_are_read() {
    let traffic = Traffic { received: u64::MAX, sent: 7 };
    let busy = Activity {
        running: 1,
        stopped: 2,
        traced: 3,
        frozen: 4,
        busiest: Some(Busiest { tid: 8, comm: Comm(*b"spin\0\0\0\0\0\0\0\0\0\0\0\0"), permille: 990, window_ns: 5 }),
        woken_by: Some(WokenBy { epoll: 4, sockets: 12 }),
    };
    let contents = vec![
        Content::Traffic(vec![Some(traffic), None]),
        Content::Traffic(Vec::new()),
        Content::Activities(BTreeMap::from([(7, busy), (9, Activity::default())])),
    ];
    let written = written(contents.clone());
    assert_eq!(read(&written), contents);
    assert!(text::of(&contents).starts_with("traffic 2\n  received 18446744073709551615 sent 7\n  none\ntraffic 0\n"));
}

/// Nothing of a file that is cut short within a payload is made up.
#[test]
fn a_payload_that_is_cut_short_is_none() {
    for content in variants::contents() {
        let kind = content.kind();
        let payload = v1::encode(content).expect("memory");
        for end in 0..payload.len() {
            assert!(v1::decode(kind, &payload[..end]).is_err(), "{kind:?} of {end} bytes");
        }
    }
}
