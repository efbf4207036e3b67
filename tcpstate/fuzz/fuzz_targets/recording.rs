//! Any bytes as a recording: frame by frame through the reader, and each payload without its checksum through the decoders, which
//! a fuzzer would otherwise never reach. `cargo +nightly fuzz run recording` in `tcpstate` runs it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tcpstate_core::{
    aggregate::states::{By, SocketFilter, count},
    model::MonotonicNs,
};
use tcpstate_recording::{
    census::{self, CensusRest},
    events,
    frame::{FRAME_HEADER, FrameHeader, HEADER, Kind},
    reader::Reader,
    record::{Counted, End, Checkpoint, Names, Sockets, Stacks, Start, decode},
};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(mut reader) = Reader::new(bytes) {
        while let Ok(Some(_)) = reader.frame() {}
    }
    let Some((kind, payload)) = bytes.split_first() else { return };
    payloads(u16::from(*kind), payload);
    // A whole frame whose checksum need not match.
    if let Some(frame) = bytes.get(HEADER..)
        && let Some(header) = frame.first_chunk::<FRAME_HEADER>()
        && let Ok(header) = FrameHeader::parse(*header)
    {
        payloads(header.kind, &frame[FRAME_HEADER..]);
    }
});

fn payloads(kind: u16, payload: &[u8]) {
    match Kind::from_number(kind) {
        Some(Kind::Start) => drop(decode::<Start>(payload)),
        Some(Kind::Events) => {
            // What can be read can be written, and is the same then.
            if let Ok(decoded) = events::decode(payload) {
                let encoded = events::encode(&decoded).expect("memory");
                assert_eq!(events::decode(&encoded).as_ref(), Ok(&decoded));
            }
        }
        Some(Kind::Sockets) => drop(decode::<Sockets>(payload)),
        Some(Kind::Checkpoint) => drop(decode::<Checkpoint>(payload)),
        Some(Kind::Stacks) => drop(decode::<Stacks>(payload)),
        Some(Kind::Names) => drop(decode::<Names>(payload)),
        Some(Kind::Counted) => drop(decode::<Counted>(payload)),
        Some(Kind::End) => drop(decode::<End>(payload)),
        Some(Kind::Part) => drop(census::part(payload)),
        Some(Kind::Census) => {
            // Whatever it says of processes and namespaces, it can be counted.
            if let Ok(census) = decode::<CensusRest>(payload).and_then(|rest| rest.census(Vec::new())) {
                let _ = count(&census, &SocketFilter::default(), Some(By::Process), MonotonicNs(1));
            }
        }
        None => {}
    }
}
