//! Whether two processes have the same memory at an address: what a `fork()` left to both, and neither has written to since.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
};

use rustix::param::page_size;

use super::thread;

/// Of an entry of `/proc/PID/pagemap` (Documentation/admin-guide/mm/pagemap.rst): the page is in memory.
const PRESENT: u64 = 1 << 63;
/// The number of its frame; 0 without `CAP_SYS_ADMIN`.
const FRAME: u64 = (1 << 55) - 1;
/// Of an entry of `/proc/kpageflags`: pages of the same bytes were made one (`KPF_KSM`, `include/uapi/linux/kernel-page-flags.h`).
const MERGED: u64 = 1 << 21;

/// Whether the page at `address` is one and the same in both processes, and that because one of them was forked: `false` when that
/// cannot be told.
#[must_use]
pub(crate) fn is_shared(one: u32, other: u32, address: u64) -> bool {
    let frames = (frame(one, address), frame(other, address));
    matches!(frames, (Ok(Some(one)), Ok(Some(other))) if one == other && is_merged(one).is_ok_and(|merged| !merged))
}

/// The number of the frame at an address; `None` when it is not in memory, or not told.
fn frame(pid: u32, address: u64) -> io::Result<Option<u64>> {
    let entry = entry(&File::open(thread::file(pid, "pagemap"))?, address / page_size() as u64)?;
    Ok(Some(entry & FRAME).filter(|&frame| entry & PRESENT != 0 && frame != 0))
}

/// Linux 6.12 has the flag of every anonymous page (seen there), so it counts only where pages are merged at all.
fn is_merged(frame: u64) -> io::Result<bool> {
    Ok(any_is_merged()? && entry(&File::open("/proc/kpageflags")?, frame)? & MERGED != 0)
}

/// Whether the kernel has made one of any pages (Documentation/admin-guide/mm/ksm.rst); it has not where it cannot.
fn any_is_merged() -> io::Result<bool> {
    match fs::read_to_string("/sys/kernel/mm/ksm/pages_shared") {
        Ok(pages) => Ok(pages.trim() != "0"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn entry(file: &File, index: u64) -> io::Result<u64> {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, index * 8)?;
    Ok(u64::from_ne_bytes(bytes))
}
