//! The ring buffer and the counters beside it.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    maps::{Map, MapData, MapError, PerCpuArray, RingBuf},
    sys::SyscallError,
};
use tcpstate_common::counters::Counters;
use tokio::io::{Interest, unix::AsyncFd};

/// Records, and what became of those that are not among them. Outlives the programs.
pub(super) struct Ring {
    records: RingBuf<MapData>,
    /// The same map by a descriptor of its own, for the runtime to watch.
    readiness: AsyncFd<OwnedFd>,
    counters: PerCpuArray<MapData, Counters>,
}

impl Ring {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self> {
        let records: RingBuf<MapData> = take(ebpf, "EVENTS")?;
        let readiness = watch(&records)?;
        Ok(Self { records, readiness, counters: take(ebpf, "COUNTERS")? })
    }

    /// Waits until the programs wake their reader.
    pub(super) async fn filled(&self) -> Result<()> {
        readable(&self.readiness).await
    }

    /// Hands out up to `limit` records; returns how many there were.
    pub(super) fn drain(&mut self, limit: usize, mut record: impl FnMut(&[u8])) -> usize {
        for drained in 0..limit {
            match self.records.next() {
                Some(item) => record(&item),
                None => return drained,
            }
        }
        limit
    }

    /// The sum over all CPUs.
    pub(super) fn counters(&self) -> Result<Counters> {
        let per_cpu = self.counters.get(&0, 0).context("failed to read the counters of the BPF programs")?;
        let mut sum = Counters::default();
        per_cpu.iter().for_each(|counters| sum.add(counters));
        Ok(sum)
    }
}

/// Has the runtime watch a ring buffer, by a descriptor of its own.
pub(super) fn watch(records: &RingBuf<MapData>) -> Result<AsyncFd<OwnedFd>> {
    let watch = || -> io::Result<_> {
        let descriptor = records.as_fd().try_clone_to_owned()?;
        // SAFETY: an `OwnedFd` is open and the same for as long as it lives, which is as long as the `AsyncFd`.
        Ok(unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?)
    };
    watch().context("failed to watch the ring buffer")
}

/// Waits until the programs wake the reader. Cancellation-safe.
pub(super) async fn readable(readiness: &AsyncFd<OwnedFd>) -> Result<()> {
    readiness.readable().await.context("failed to watch the ring buffer")?.clear_ready();
    Ok(())
}

/// Takes a map out of the object.
pub(super) fn take<T>(ebpf: &mut Ebpf, name: &str) -> Result<T>
where
    T: TryFrom<Map, Error = MapError>,
{
    ebpf.take_map(name)
        .with_context(|| format!("the BPF object has no map `{name}`"))?
        .try_into()
        .map_err(|error| explain(name, error))
}

/// Borrows a map of the object.
pub(super) fn borrow<'a, T>(ebpf: &'a mut Ebpf, name: &str) -> Result<T>
where
    T: TryFrom<&'a mut Map, Error = MapError>,
{
    ebpf.map_mut(name)
        .with_context(|| format!("the BPF object has no map `{name}`"))?
        .try_into()
        .map_err(|error| explain(name, error))
}

/// A ring buffer is mapped into memory where it is taken.
fn explain(name: &str, error: MapError) -> anyhow::Error {
    let what = match &error {
        MapError::SyscallError(SyscallError { call: "mmap", .. }) => {
            format!("failed to map the ring buffer `{name}` into memory; see `ulimit -v`, or try a smaller `--buffer`")
        }
        MapError::SyscallError(_) | MapError::IoError(_) => format!("failed to read of what kind the map `{name}` is"),
        _ => format!("the map `{name}` of the BPF object is of another type"),
    };
    anyhow::Error::from(error).context(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_refused_is_not_a_type() {
        let refused = SyscallError { call: "mmap", io_error: io::Error::from_raw_os_error(libc::ENOMEM) };
        let said = format!("{:#}", explain("EVENTS", refused.into()));
        assert!(
            said.starts_with("failed to map the ring buffer `EVENTS`") && said.ends_with("(os error 12)"),
            "{said}"
        );
        let said = format!("{:#}", explain("EVENTS", MapError::InvalidMapType { map_type: 1 }));
        assert!(said.contains("is of another type"), "{said}");
    }
}
