//! Much accepting, little else.

use std::{os::fd::OwnedFd, time::Duration};

use anyhow::Result;
use rustix::net::sockopt::set_socket_linger;

/// Connections that wait at once; fewer than the backlog holds.
const BURST: u64 = 500;

/// Each connection is reset by whom accepted it: six transitions.
pub(super) fn prepare(count: u64) -> Result<impl FnMut() -> Result<()>> {
    let (listener, address) = super::listen()?;
    Ok(move || {
        let mut begun = 0;
        while begun < count {
            let end = count.min(begun + BURST);
            let opened = (begun..end).map(|n| super::open(n, address)).collect::<Result<Vec<OwnedFd>>>()?;
            for _ in begun..end {
                let (stream, _) = listener.accept()?;
                set_socket_linger(&stream, Some(Duration::ZERO))?;
            }
            drop(opened);
            begun = end;
        }
        Ok(())
    })
}
