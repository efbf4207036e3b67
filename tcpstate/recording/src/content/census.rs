//! A census in frames: its sockets in parts, then the rest.

use std::mem;

use hashbrown::HashMap;
use tcpstate_core::model::{
    MonotonicNs,
    census::{Census, Gaps, ListedSocket},
};

use crate::frame::{FrameError, SOCKETS_IN_A_FRAME};

/// Some sockets of one network namespace; the [`CensusRest`] that follows makes the census whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CensusPart {
    pub(crate) netns: u32,
    pub(crate) sockets: Vec<ListedSocket>,
}

/// Why processes are missing in a census; the [`CensusRest`] that follows has how many are known to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CensusGaps {
    pub(crate) refused: Vec<u32>,
    pub(crate) why: Option<String>,
    pub(crate) hidden: Option<String>,
}

impl CensusGaps {
    /// Takes them out of a census; `None` where nothing is missing.
    fn take(gaps: &mut Gaps) -> Option<Self> {
        let (refused, why, hidden) = (mem::take(&mut gaps.refused), gaps.why.take(), gaps.hidden.take());
        let some = Self { refused, why, hidden };
        (some != Self::default()).then_some(some)
    }
}

/// A census without its sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CensusRest {
    /// The moment at which it was complete.
    pub now: MonotonicNs,
    pub(crate) census: Census,
}

impl CensusRest {
    /// Takes the sockets out of a census, in parts, and what it lacks.
    pub(super) fn split(mut census: Census, now: MonotonicNs) -> (Vec<CensusPart>, Option<CensusGaps>, Self) {
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
        let gaps = CensusGaps::take(&mut census.gaps);
        (parts, gaps, Self { now, census })
    }

    /// The census, with what came before this. None of its network namespaces is that of the program that reads it.
    ///
    /// # Errors
    ///
    /// When the parts do not fit to it.
    pub fn with(self, parts: Vec<CensusPart>, gaps: Option<CensusGaps>) -> Result<Census, FrameError> {
        let mut census = self.census;
        if let Some(CensusGaps { refused, why, hidden }) = gaps {
            census.gaps = Gaps { refused, why, hidden, ..census.gaps };
        }
        let mut places: HashMap<u32, usize> = HashMap::new();
        for (at, namespace) in census.namespaces.iter().enumerate() {
            places.entry(namespace.inode).or_insert(at);
        }
        for part in parts {
            let place = places.get(&part.netns).and_then(|&at| census.namespaces.get_mut(at));
            let Some(namespace) = place else {
                return Err(FrameError::Content("its sockets are of a network namespace that is not in it".to_owned()));
            };
            namespace.sockets.extend(part.sockets);
        }
        Ok(census)
    }
}
