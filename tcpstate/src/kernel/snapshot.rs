//! Sockets older than the tracer.
//!
//! The iterators' programs write the stories in the kernel, where races with events are settled; user space only sets them
//! going in every network namespace and counts.

use std::{
    fs::File,
    io::{self, Read as _},
};

use anyhow::{Context as _, Result};
use aya::{Btf, Ebpf, programs::Iter};

use super::{
    loader::program,
    namespaces::{in_network_namespace, other_network_namespaces},
};

/// What the snapshot found.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Found {
    pub(super) sockets: u64,
    pub(super) namespaces: u32,
    /// Namespaces whose sockets without a descriptor could not be listed.
    pub(super) refused: u32,
}

/// Takes the snapshot: first by descriptors, which name an owner, then the sockets that have none.
pub(super) fn take(ebpf: &mut Ebpf, btf: &Btf) -> Result<Found> {
    let files: &mut Iter = program(ebpf, "snapshot_files")?;
    files.load("task_file", btf).context("failed to load the iterator `iter/task_file`")?;
    let mut found = Found { sockets: count(open(files)?)?, namespaces: 1, refused: 0 };

    let tcp: &mut Iter = program(ebpf, "snapshot_tcp")?;
    tcp.load("tcp", btf).context("failed to load the iterator `iter/tcp`")?;
    found.sockets += count(open(tcp)?)?;
    for namespace in other_network_namespaces() {
        // The iterator takes the namespace of the thread that opens it.
        match in_network_namespace(&namespace, || open(&mut *tcp).and_then(count)) {
            Ok(sockets) => {
                found.sockets += sockets?;
                found.namespaces += 1;
            }
            Err(_) => found.refused += 1,
        }
    }
    Ok(found)
}

fn open(iterator: &mut Iter) -> Result<File> {
    let open = |iterator: &mut Iter| -> Result<File> {
        let link = iterator.attach()?;
        Ok(iterator.take_link(link)?.into_file()?)
    };
    open(iterator).context("failed to start the snapshot of open sockets")
}

/// Runs an iterator to its end. It writes one word for each story it began.
fn count(mut file: File) -> Result<u64> {
    let mut words = 0;
    let mut buffer = [0; 64 << 10];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(words / size_of::<u64>() as u64),
            Ok(read) => words += read as u64,
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
            Err(error) => return Err(error).context("failed to read the snapshot of open sockets"),
        }
    }
}
