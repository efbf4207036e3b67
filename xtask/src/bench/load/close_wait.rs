//! Sockets in CLOSE_WAIT, that stay.

use std::net::TcpStream;

use anyhow::{Context as _, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors besides those of the sockets.
const SPARE: u64 = 100;

/// Every connection is accepted and then closed by the one that opened it.
pub(super) fn prepare(first: u64, count: u64) -> Result<impl FnMut() -> Result<()>> {
    let limit = count + SPARE;
    let maximum = getrlimit(Resource::Nofile).maximum.map(|maximum| maximum.max(limit));
    setrlimit(Resource::Nofile, Rlimit { current: Some(limit), maximum })
        .with_context(|| format!("failed to allow {limit} descriptors: raise the hard limit (`ulimit -Hn`)"))?;
    let (listener, address) = super::listen()?;
    let mut kept: Vec<TcpStream> = Vec::with_capacity(usize::try_from(count)?);
    Ok(move || {
        for n in first..first + count {
            let opened = super::open(n, address)?;
            kept.push(listener.accept()?.0);
            drop(opened);
        }
        Ok(())
    })
}
