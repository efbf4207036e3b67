//! Any bytes as a recording: frame by frame through the reader, and each payload without its checksum through the decoders, which
//! a fuzzer would otherwise never reach. `cargo +nightly fuzz run recording` in `tcpstate` runs it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tcpstate_core::{
    aggregate::states::{By, SocketFilter, count},
    model::MonotonicNs,
};
use tcpstate_recording::{Content, FrameKind, Reader, v1};

/// Bytes of the header of a file, and of that of a frame.
const HEADER: usize = 16;
const FRAME_HEADER: usize = 16;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(mut reader) = Reader::new(bytes) {
        while let Ok(Some(_)) = reader.frame() {}
    }
    let Some((kind, rest)) = bytes.split_first() else { return };
    payload(u16::from(*kind), rest);
    // A whole frame whose checksum need not match.
    if let Some((header, rest)) = bytes.get(HEADER..).and_then(|frame| frame.split_first_chunk::<FRAME_HEADER>()) {
        payload(u16::from_le_bytes([header[8], header[9]]), rest);
    }
});

fn payload(kind: u16, payload: &[u8]) {
    let Some(kind) = FrameKind::from_number(kind) else { return };
    let Ok(content) = v1::decode(kind, payload) else { return };
    if let Content::Census(rest) = &content
        && let Ok(census) = rest.as_ref().clone().with(Vec::new())
    {
        // Whatever it says of processes and namespaces, it can be counted.
        let _ = count(&census, &SocketFilter::default(), Some(By::Process), MonotonicNs(1));
    }
    // What can be read can be written, and is the same then.
    let encoded = v1::encode(content.clone()).expect("memory");
    assert_eq!(v1::decode(kind, &encoded), Ok(content));
}
