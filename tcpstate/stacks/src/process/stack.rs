//! Stack memory of a sleeping thread, read without stopping it.

use std::io::IoSliceMut;

use nix::{
    sys::uio::{RemoteIoVec, process_vm_readv},
    unistd::Pid,
};

use super::{ProcessError, thread};

/// How much stack is read at most, bytes.
pub const MAX_STACK: usize = 64 * 1024;

/// A page: what can be unreadable on its own.
const PAGE: u64 = 4096;

/// Reads the stack of process `pid` from `sp` upwards into `stack`, replacing what it held, at most `limit` bytes and never
/// more than [`MAX_STACK`].
///
/// Reads page by page in one system call: a stack that ends sooner is no error, `stack` is then shorter. The thread runs
/// on: what is read is right only where it still sleeps.
///
/// # Errors
///
/// [`ProcessError::Gone`] when the process has ended; [`ProcessError::Read`] when not even the first page can be read.
pub fn read_stack(pid: u32, sp: u64, limit: usize, stack: &mut Vec<u8>) -> Result<(), ProcessError> {
    let limit = limit.min(MAX_STACK);
    stack.clear();
    stack.resize(limit, 0);
    let end = sp.saturating_add(limit as u64);
    let mut remote = Vec::with_capacity(limit / PAGE as usize + 2);
    let mut at = sp;
    while at < end {
        let next = (at / PAGE).saturating_add(1).saturating_mul(PAGE).min(end);
        remote.push(RemoteIoVec { base: at as usize, len: (next - at) as usize });
        at = next;
    }
    let living = i32::try_from(thread::living(pid)).map_err(|_| ProcessError::Gone(pid))?;
    match process_vm_readv(Pid::from_raw(living), &mut [IoSliceMut::new(stack)], &remote) {
        Ok(read) => {
            stack.truncate(read);
            Ok(())
        }
        Err(error) => {
            stack.clear();
            Err(ProcessError::new(pid, format!("memory of process {pid} at 0x{sp:x}"), error.into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process;

    use super::*;

    #[test]
    fn own_memory() {
        let here = [0x5a_u8; 64];
        let mut stack = vec![1, 2, 3];
        read_stack(process::id(), here.as_ptr() as u64, 64, &mut stack).expect("own memory");
        assert_eq!(stack, here);
    }

    #[test]
    fn a_short_stack_is_shorter() {
        let maps = super::super::maps::read(process::id()).expect("own maps");
        let stack_end =
            super::super::maps::parse(&maps).find(|mapping| mapping.name() == b"[stack]").expect("a stack").end;
        let mut stack = Vec::new();
        read_stack(process::id(), stack_end - 5000, MAX_STACK, &mut stack).expect("top of the stack");
        assert_eq!(stack.len(), 5000);
    }

    #[test]
    fn unreadable_memory_is_an_error() {
        let mut stack = Vec::new();
        for address in [0, 8, u64::MAX - 5, 1 << 63] {
            assert!(matches!(read_stack(process::id(), address, 4096, &mut stack), Err(ProcessError::Read { .. })));
        }
        assert!(matches!(read_stack(i32::MAX as u32, 4096, 4096, &mut stack), Err(ProcessError::Gone(_))));
        assert!(stack.is_empty());
    }
}
