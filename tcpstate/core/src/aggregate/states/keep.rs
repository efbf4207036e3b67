//! What is kept of a census that is to be counted later.

use std::collections::HashSet;

use super::{LISTEN, SocketFilter, holders, process, types::ProcessRow};
use crate::model::census::{Census, FoundNamespace, FoundProcess, ListedSocket};

impl Census {
    /// Leaves out everything that no survey with this filter, or a stricter one, would say.
    #[must_use]
    pub fn kept(mut self, filter: &SocketFilter) -> Self {
        let mut namespaces = std::mem::take(&mut self.namespaces);
        let mut inodes = HashSet::new();
        for namespace in &mut namespaces {
            let (kept, left_out) = std::mem::take(&mut namespace.sockets)
                .into_iter()
                .partition(|socket| filter.matches(&self, socket, holders(&self, socket)));
            namespace.sockets = kept;
            namespace.add_listening(&left_out);
            inodes.extend(namespace.sockets.iter().map(|socket| socket.inode));
        }
        self.namespaces = namespaces;
        self.holders.retain(|(inode, _)| *inode != 0 && inodes.contains(inode));
        self.keep_processes(|found| is_near(found) && filter.wants_process(process(found)));
        self
    }

    /// Leaves out the processes that hold nothing, unless they are wanted all the same.
    fn keep_processes(&mut self, wanted: impl Fn(&FoundProcess) -> bool) {
        let mut holding = vec![false; self.processes.len()];
        for &(_, index) in &self.holders {
            holding[index as usize] = true;
        }
        let mut places = Vec::with_capacity(self.processes.len());
        let mut processes = Vec::new();
        for (found, holds) in self.processes.iter().zip(holding) {
            places.push(u32::try_from(processes.len()).unwrap_or(u32::MAX));
            if holds || wanted(found) {
                processes.push(*found);
            }
        }
        self.processes = processes;
        for (_, index) in &mut self.holders {
            *index = places[*index as usize];
        }
    }
}

impl FoundNamespace {
    fn add_listening(&mut self, left_out: &[ListedSocket]) {
        let listening = left_out.iter().filter(|socket| socket.state == LISTEN);
        self.listening.extend(listening.map(|socket| socket.local.port));
        self.listening.sort_unstable();
        self.listening.dedup();
    }
}

fn is_near(found: &FoundProcess) -> bool {
    ProcessRow { process: process(found), descriptors: found.descriptors, limit: found.limit, sockets: 0 }.is_near()
}
