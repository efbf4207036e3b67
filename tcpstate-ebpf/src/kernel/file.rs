//! `struct file`: from there to its socket.

use aya_ebpf::{bindings, helpers::generated::bpf_sock_from_file};

use crate::{
    kernel::{
        current,
        read::{Opaque, Probed, Read, load},
        sock::Sock,
    },
    rodata::offset,
};

/// An open file whose type the verifier knows, and that is held open meanwhile: so its socket lives, too.
#[derive(Clone, Copy)]
pub(crate) struct File(*mut bindings::file);

impl File {
    #[inline(always)]
    pub(crate) fn new(typed: *mut bindings::file) -> Self {
        Self(typed)
    }

    /// Its `struct socket`, whose type the verifier knows; null for another file.
    #[inline(always)]
    pub(crate) fn typed_socket(self) -> *const Opaque {
        // SAFETY: a typed file.
        unsafe { bpf_sock_from_file(self.0) as *const Opaque }
    }

    /// The TCP socket behind it.
    #[inline(always)]
    pub(crate) fn socket(self) -> Option<Sock> {
        let socket = self.typed_socket();
        if socket.is_null() {
            return None;
        }
        // SAFETY: a typed `struct socket`.
        let sk = Sock::new(unsafe { load(socket, offset!(socket_sk)) });
        (sk.address() != 0 && sk.is_stream_of_tcp()).then_some(sk)
    }

    /// The same where the kernel offers no way from a file to a typed socket (`sock_from_file()`, `net/socket.c`).
    #[inline(always)]
    pub(crate) fn socket_by_address(self) -> Option<Sock<Probed>> {
        const S_IFMT: u16 = 0o170_000;
        const S_IFSOCK: u16 = 0o140_000;
        let file: *const Opaque = self.0.cast();
        // SAFETY: a typed file and its typed inode. A socket opened by its path (`O_PATH`) has no private data.
        let sk = unsafe {
            if load::<u16>(load(file, offset!(file_inode)), offset!(inode_mode)) & S_IFMT != S_IFSOCK {
                return None;
            }
            socket_behind(file, load(file, offset!(file_private_data)))?
        };
        (sk.address() != 0 && sk.is_stream_of_tcp()).then_some(sk)
    }
}

/// The socket of any family behind a descriptor of the running task.
#[inline(always)]
pub(crate) fn socket_of_current(fd: u64) -> Option<Sock<Probed>> {
    let (array, len) = current::descriptors();
    if fd >= u64::from(len) {
        return None;
    }
    // SAFETY: a helper that reads 0 from a bad address reads what has no type.
    unsafe {
        let file: *const Opaque = Probed::load(array.wrapping_byte_add(fd as usize * size_of::<u64>()), 0);
        let private_data = Probed::load(file, offset!(file_private_data));
        if file.is_null() { None } else { socket_behind(file, private_data) }
    }
}

/// The socket whose `struct socket` is the private data of a file. Other files have other private data; only a socket points back.
#[inline(always)]
fn socket_behind(file: *const Opaque, private_data: *const Opaque) -> Option<Sock<Probed>> {
    // SAFETY: the helper reads 0 from a bad address.
    unsafe {
        let back: *const Opaque = Probed::load(private_data, offset!(socket_file));
        (back == file).then(|| Sock::at(Probed::load(private_data, offset!(socket_sk))))
    }
}

/// Runs `$work` on the TCP socket behind a file, read in the way that this kernel has.
macro_rules! with_socket {
    ($file:expr, |$sk:ident| $work:expr) => {
        if $crate::rodata::has(tcpstate_common::helper::SOCKET_FROM_FILE) {
            if let Some($sk) = $file.socket() {
                $work
            }
        } else if $crate::rodata::has(tcpstate_common::helper::READ_KERNEL) {
            if let Some($sk) = $file.socket_by_address() {
                $work
            }
        }
    };
}
pub(crate) use with_socket;
