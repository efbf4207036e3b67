//! An iterator over the descriptors of one process, which aya cannot ask for.

use std::{
    fs::File,
    io,
    os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result};
use aya::programs::Iter;

/// `BPF_LINK_CREATE`, `BPF_ITER_CREATE` and `BPF_TRACE_ITER` (`include/uapi/linux/bpf.h`).
const LINK_CREATE: libc::c_int = 28;
const ITER_CREATE: libc::c_int = 33;
const TRACE_ITER: u32 = 28;

/// `link_create` of `union bpf_attr`, of an iterator.
#[repr(C)]
struct LinkCreate {
    program: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
    info: u64,
    info_len: u32,
    pad: u32,
}

/// `iter_create` of `union bpf_attr`.
#[repr(C)]
struct IterCreate {
    link: u32,
    flags: u32,
}

/// `task` of `union bpf_iter_link_info`, from Linux 6.1 on; earlier ones refuse what they do not know (`bpf_iter_link_attach()`,
/// `kernel/bpf/bpf_iter.c`).
#[repr(C)]
struct OfTask {
    tid: u32,
    pid: u32,
    pid_fd: u32,
    pad: u32,
}

/// Opens the iterator for the process with this pid; of one that is gone it finds nothing.
///
/// # Errors
///
/// Before Linux 6.1.
pub(super) fn open_of_process(iterator: &Iter, pid: u32) -> Result<File> {
    let info = OfTask { tid: 0, pid, pid_fd: 0, pad: 0 };
    let link = LinkCreate {
        program: iterator.fd()?.as_fd().as_raw_fd().cast_unsigned(),
        target: 0,
        attach_type: TRACE_ITER,
        flags: 0,
        info: &raw const info as u64,
        info_len: size_of::<OfTask>() as u32,
        pad: 0,
    };
    let link = call(LINK_CREATE, &link).context("this kernel has no iterator over one process")?;
    let file = IterCreate { link: link.as_raw_fd().cast_unsigned(), flags: 0 };
    Ok(File::from(call(ITER_CREATE, &file).context("failed to open an iterator over one process")?))
}

/// A command of `bpf()` that makes a descriptor.
fn call<T>(command: libc::c_int, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: the kernel reads as many bytes as it is told, and what they point to outlives the call.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) };
    let Ok(fd @ 0..) = i32::try_from(fd) else { return Err(io::Error::last_os_error()) };
    // SAFETY: a new descriptor, which nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
