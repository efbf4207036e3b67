//! What the kernel hands over: records of the ring buffer, what iterators write, datagrams of netlink.

use tcpstate_common::leak::FoundRecord;
use tcpstate_core::{
    decode::{self, diag, finds::Finds, leak},
    model::event::Event,
};

/// Decodes any bytes as all of these.
///
/// # Panics
///
/// When two decoders disagree, or one makes more of the bytes than is in them.
pub fn decode(bytes: &[u8]) {
    // What decodes any record agrees with those that decode one kind.
    match leak::any(bytes) {
        Ok(Event::Transition(transition)) => assert_eq!(decode::transition(bytes), Ok(transition)),
        Ok(entered @ Event::Entered { .. }) => assert_eq!(leak::event(bytes).ok(), entered.leak()),
        Ok(Event::Beside(event)) => assert_eq!(leak::event(bytes), Ok(event)),
        Err(error) => {
            assert!(decode::transition(bytes).is_err() && leak::event(bytes).is_err(), "{error}");
        }
    }
    found(bytes);
    let mut sockets = Vec::new();
    let _ = diag::datagram(bytes, &mut sockets);
    // A message without its header is longer than this.
    assert!(sockets.len() <= bytes.len() / 72);
}

/// As records of an iterator, one after the other.
fn found(bytes: &[u8]) {
    let mut finds = Finds::default();
    let records = bytes.chunks_exact(size_of::<FoundRecord>());
    let number = records.len();
    for record in records {
        finds.add(&bytemuck::pod_read_unaligned(record));
    }
    let _ = finds.lacks_descriptors();
    if let Ok(standing) = finds.finish() {
        assert!(standing.sockets.len() + standing.listeners.len() <= number);
    }
}
