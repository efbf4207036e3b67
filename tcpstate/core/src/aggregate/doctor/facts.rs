//! What a diagnosis rests on.

use std::collections::BTreeMap;

use crate::{
    aggregate::states::SocketCounts,
    model::doctor::{Configured, Machine, Reading},
};

/// All that is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The process and the kernel.
    pub machine: Machine,
    /// Inode number of the network namespace that the settings are of.
    pub netns: u32,
    /// Whether it is the program's own.
    pub own_netns: bool,
    /// Settings by name, with dots.
    pub settings: BTreeMap<&'static str, Reading>,
    /// Settings that files name, for the next start of the machine.
    pub configured: Vec<Configured>,
    /// Sockets that were to be looked at, by process.
    pub sockets: SocketCounts,
    /// Those of the network namespace that the settings are of.
    pub sockets_here: SocketCounts,
}

impl Facts {
    /// A setting as a number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<i64> {
        self.settings.get(name)?.number()
    }
}
