//! The end-of-file read: where the program was told, and did not close.

use aya_ebpf::helpers::generated::bpf_get_current_task_btf;
use tcpstate_common::state::TcpState;

use crate::{
    Opaque, leak,
    maps::SOCKETS,
    sock::Sock,
    stack,
    story::{EOF_READ, TRACKED},
};

const CLOSE_WAIT: u8 = TcpState::CloseWait as u8;
const MSG_PEEK: i32 = 2;

/// x86-64 numbers of the system calls whose third argument is the length asked for.
const READ: i64 = 0;
const RECVFROM: i64 = 45;

/// A receive returned `result`. Everything but a first 0 in CLOSE_WAIT leaves at once.
#[inline(always)]
pub(crate) fn on_receive(sk: Sock, result: i32, flags: i32) {
    if result != 0 || flags & MSG_PEEK != 0 || sk.state() != CLOSE_WAIT {
        return;
    }
    let key = sk.address();
    let Some(story) = SOCKETS.get_ptr_mut(key) else { return };
    // SAFETY: a value in the map.
    unsafe {
        if (*story).marks & TRACKED == 0 || (*story).marks & EOF_READ != 0 || asked_for_nothing() {
            return;
        }
        (*story).marks |= EOF_READ;
        leak::eof_read(story, key, stack::capture());
    }
}

/// A receive of no bytes returns 0 and says nothing.
#[inline(always)]
fn asked_for_nothing() -> bool {
    // SAFETY: the running task.
    unsafe { stack::user_registers(bpf_get_current_task_btf() as *const Opaque) }
        .is_some_and(|user| matches!(user.syscall, READ | RECVFROM) && user.length == 0)
}
