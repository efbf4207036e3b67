//! Any bytes as what the kernel hands over: a record of the ring buffer, a datagram of netlink. `cargo +nightly fuzz run decode` in
//! `tcpstate` runs it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tcpstate_core::{
    decode::{self, diag, leak},
    model::event::Event,
};

fuzz_target!(|bytes: &[u8]| {
    // What decodes any record agrees with those that decode one kind.
    match leak::any(bytes) {
        Ok(Event::Transition(transition)) => assert_eq!(decode::transition(bytes), Ok(transition)),
        Ok(entered @ Event::Entered { .. }) => assert_eq!(leak::event(bytes).ok(), entered.leak()),
        Ok(Event::Beside(event)) => assert_eq!(leak::event(bytes), Ok(event)),
        Err(error) => {
            assert!(decode::transition(bytes).is_err() && leak::event(bytes).is_err(), "{error}");
        }
    }
    let mut sockets = Vec::new();
    let _ = diag::datagram(bytes, &mut sockets);
    // A message without its header is longer than this.
    assert!(sockets.len() <= bytes.len() / 72);
});
