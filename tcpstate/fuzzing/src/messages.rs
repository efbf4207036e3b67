//! Any bytes as messages of a worker that was taken over, to the tracer.

use std::os::fd::{AsFd as _, OwnedFd};

use tcpstate_broker::{AskBroker, Broker, Lost, Relay};
use tcpstate_wire::{
    Request, Subject, Supply, WorkerAnswer,
    channel::{Channel, MOST_FILES},
};

/// A broker in this process: what it is asked is about this process.
struct Here(Broker);

impl AskBroker for Here {
    fn ask(&mut self, request: &Request) -> Result<(Supply, Vec<OwnedFd>), Lost> {
        assert_eq!(request.subject.pid, std::process::id(), "another process than that of the task");
        Ok(self.0.answer(request))
    }
}

/// Reads messages until they make no sense, and answers what they ask for.
///
/// # Panics
///
/// When more is handed over than the process has, or of another process.
pub fn messages(bytes: &[u8]) {
    let (ours, theirs) = Channel::pair().expect("a pair");
    // As much as a socket takes without being read.
    let bytes = &bytes[..bytes.len().min(64 << 10)];
    let socket = theirs.into_socket();
    rustix::io::write(socket.as_fd(), bytes).expect("room");
    drop(socket);
    let mut relay = Relay::default();
    let mut broker = Here(Broker::default());
    let subject = Subject::numbered(std::process::id());
    for _ in 0..16 {
        let Ok((answer, files)) = ours.receive::<WorkerAnswer>(None) else { return };
        assert!(files.is_empty(), "nothing was sent beside it");
        if let WorkerAnswer::Needs(need) = answer {
            let (_, files) = relay.supply(subject, need, &mut broker).expect("a broker in this process");
            assert!(files.len() <= MOST_FILES);
        }
    }
}
