//! What is run besides this program and the peers.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::build;

/// Where they are.
#[derive(Args, Clone, Debug)]
pub(crate) struct Programs {
    /// Ours, as it is released
    pub(super) tcpstate: PathBuf,
    /// What attaches floors and has the kernel take times
    pub(super) floor: PathBuf,
}

impl Programs {
    /// Builds them.
    ///
    /// # Errors
    ///
    /// A build failed.
    pub(super) fn build() -> Result<Self> {
        Ok(Self { tcpstate: build::release("tcpstate")?, floor: build::release("tcpstate-floor")? })
    }

    /// As they are given once more, to the one who measures as root.
    pub(super) fn arguments(self) -> [PathBuf; 2] {
        [self.tcpstate, self.floor]
    }
}
