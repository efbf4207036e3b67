//! Many small receives, no transition.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    thread,
};

use anyhow::{Result, anyhow};

/// Bytes of a receive.
const PIECE: usize = 256;
/// Receives that one send serves.
const PIECES: u64 = 64;

/// One connection: whole pieces are sent, each is received by itself.
pub(super) fn prepare(count: u64) -> Result<impl FnMut() -> Result<()>> {
    let (listener, address) = super::listen()?;
    let sender = TcpStream::from(super::open(0, address)?);
    let (mut receiver, _) = listener.accept()?;
    Ok(move || {
        let mut sender = sender.try_clone()?;
        let sending = thread::spawn(move || -> Result<()> {
            let pieces = vec![0; PIECE * PIECES as usize];
            for _ in 0..count.div_ceil(PIECES) {
                sender.write_all(&pieces)?;
            }
            Ok(())
        });
        let mut piece = [0; PIECE];
        for _ in 0..count.div_ceil(PIECES) * PIECES {
            receiver.read_exact(&mut piece)?;
        }
        sending.join().map_err(|_| anyhow!("the sender panicked"))?
    })
}
