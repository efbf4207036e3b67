//! Sockets older than the tracer.
//!
//! The iterators' programs write the stories in the kernel, where races with events are settled; user space only sets them
//! going in every network namespace and counts.

use std::{
    fs::File,
    io::{self, Read as _},
};

use anyhow::{Context as _, Result};
use aya::{Ebpf, programs::Iter};
use bytemuck::AnyBitPattern;
use tcpstate_core::model::probes::{Hooks, Role};

use super::object::program;
use crate::host::namespaces::{in_network_namespace, other_network_namespaces};

/// Network namespaces that could not be entered.
#[derive(Debug, Default)]
pub(super) struct Unentered {
    pub(super) namespaces: u32,
    /// Why the first could not.
    pub(super) error: Option<io::Error>,
}

/// What the snapshot found.
#[derive(Debug, Default)]
pub(super) struct OpeningSnapshot {
    pub(super) sockets: u64,
    pub(super) namespaces: u32,
    /// Namespaces whose sockets without a descriptor could not be listed.
    pub(super) refused: Unentered,
}

/// Takes the snapshot as far as the kernel allows: first by descriptors, which name an owner, then the sockets that have none.
pub(super) fn take(ebpf: &mut Ebpf, hooks: &Hooks) -> Result<OpeningSnapshot> {
    let mut found = OpeningSnapshot { sockets: 0, namespaces: 1, refused: Unentered::default() };
    if hooks.chosen(Role::Descriptors).is_some() {
        found.sockets += count(open(program(ebpf, "snapshot_files")?)?)?;
    }
    if hooks.chosen(Role::Sockets).is_some() {
        let tcp: &mut Iter = program(ebpf, "snapshot_tcp")?;
        found.sockets += count(open(tcp)?)?;
        found.refused = in_other_namespaces(tcp, |file| {
            found.sockets += count(file)?;
            found.namespaces += 1;
            Ok(())
        })?;
    }
    Ok(found)
}

/// Opens an iterator in every other network namespace; returns those that could not be entered.
pub(super) fn in_other_namespaces(
    iterator: &mut Iter,
    mut read: impl FnMut(File) -> Result<()> + Send,
) -> Result<Unentered> {
    let mut refused = Unentered::default();
    for namespace in other_network_namespaces() {
        // The iterator takes the namespace of the thread that opens it.
        match in_network_namespace(&namespace, || open(&mut *iterator).and_then(&mut read)) {
            Ok(result) => result?,
            Err(error) => {
                refused.namespaces += 1;
                refused.error.get_or_insert(error);
            }
        }
    }
    Ok(refused)
}

pub(super) fn open(iterator: &mut Iter) -> Result<File> {
    let open = |iterator: &mut Iter| -> Result<File> {
        let link = iterator.attach()?;
        Ok(iterator.take_link(link)?.into_file()?)
    };
    open(iterator).context("failed to start the snapshot of open sockets")
}

/// Runs an iterator that writes one word for each story it began.
fn count(file: File) -> Result<u64> {
    let mut count = 0;
    each_record(file, |_: &u64| count += 1)?;
    Ok(count)
}

/// Runs an iterator to its end and returns what it wrote.
pub(super) fn read_records<T: AnyBitPattern>(file: File) -> Result<Vec<T>> {
    let mut records = Vec::new();
    each_record(file, |record: &T| records.push(*record))?;
    Ok(records)
}

/// Runs an iterator to its end and hands out what it writes, record by record.
pub(super) fn each_record<T: AnyBitPattern>(mut file: File, mut record: impl FnMut(&T)) -> Result<()> {
    let mut piece = vec![0; 64 << 10];
    let mut filled = 0;
    loop {
        match file.read(&mut piece[filled..]) {
            // `seq_file` hands out whole records, so that nothing remains.
            Ok(0) => return Ok(()),
            Ok(read) => filled += read,
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
            Err(error) => return Err(error).context("failed to read the snapshot of open sockets"),
        }
        let whole = filled - filled % size_of::<T>();
        piece[..whole].chunks_exact(size_of::<T>()).for_each(|bytes| record(&bytemuck::pod_read_unaligned(bytes)));
        piece.copy_within(whole..filled, 0);
        filled -= whole;
    }
}
