//! Connections that come and go, one after another.

use std::{os::fd::OwnedFd, thread};

use anyhow::{Result, anyhow};
use rustix::net::{Shutdown, shutdown};

/// One connector and one acceptor, each waiting for the other. Ten transitions a connection.
pub(super) fn prepare(count: u64) -> Result<impl FnMut() -> Result<()>> {
    let (listener, address) = super::listen()?;
    Ok(move || {
        let listener = listener.try_clone()?;
        let acceptor = thread::spawn(move || -> Result<()> {
            for _ in 0..count {
                let (stream, _) = listener.accept()?;
                super::wait_for_end(&OwnedFd::from(stream))?;
            }
            Ok(())
        });
        for n in 0..count {
            let fd = super::open(n, address)?;
            shutdown(&fd, Shutdown::Write)?;
            super::wait_for_end(&fd)?;
        }
        acceptor.join().map_err(|_| anyhow!("the acceptor panicked"))?
    })
}
