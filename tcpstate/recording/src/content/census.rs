//! A census in frames: its sockets in parts, then the rest.

use std::mem;

use tcpstate_core::model::{
    MonotonicNs,
    census::{Census, FoundNamespace, ListedSocket},
};

use crate::frame::{FrameError, SOCKETS_IN_A_FRAME};

/// Some sockets of one network namespace; the [`CensusRest`] that follows makes the census whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CensusPart {
    pub(crate) netns: u32,
    pub(crate) sockets: Vec<ListedSocket>,
}

/// A census without its sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CensusRest {
    /// The moment at which it was complete.
    pub now: MonotonicNs,
    pub(crate) census: Census,
}

impl CensusRest {
    /// Takes the sockets out of a census, in parts.
    pub(super) fn split(mut census: Census, now: MonotonicNs) -> (Vec<CensusPart>, Self) {
        let mut parts = Vec::new();
        for namespace in &mut census.namespaces {
            let mut sockets = mem::take(&mut namespace.sockets);
            // What stands together then was made at the same time, and is alike.
            sockets.sort_unstable_by_key(|socket| (socket.inode, socket.state, socket.local.port));
            let first = parts.len();
            // From the end: what is split off is moved once.
            while !sockets.is_empty() {
                let sockets = sockets.split_off((sockets.len() - 1) / SOCKETS_IN_A_FRAME * SOCKETS_IN_A_FRAME);
                parts.push(CensusPart { netns: namespace.inode, sockets });
            }
            parts[first..].reverse();
        }
        (parts, Self { now, census })
    }

    /// The census, with the sockets that came before this. None of its network namespaces is that of the program that reads it.
    ///
    /// # Errors
    ///
    /// When the parts do not fit to it.
    pub fn with(self, parts: Vec<CensusPart>) -> Result<Census, FrameError> {
        let mut census = self.census;
        for part in parts {
            let of_part = |namespace: &&mut FoundNamespace| namespace.inode == part.netns;
            let Some(namespace) = census.namespaces.iter_mut().find(of_part) else {
                return Err(FrameError::Content("its sockets are of a network namespace that is not in it".to_owned()));
            };
            namespace.sockets.extend(part.sockets);
        }
        Ok(census)
    }
}
