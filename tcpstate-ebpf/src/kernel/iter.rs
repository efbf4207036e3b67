//! Iterators: what the kernel hands over for each task, descriptor or socket, and where what is written goes.

use aya_ebpf::{
    bindings::{file, seq_file},
    helpers::generated::{bpf_seq_write, bpf_skc_to_tcp_sock},
};

use crate::kernel::{file::File, read::Opaque, sock::Sock, task::Task};

/// `struct bpf_iter_meta`.
#[repr(C)]
pub(crate) struct Meta {
    seq: *mut seq_file,
}

/// `struct bpf_iter__task`.
#[repr(C)]
pub(crate) struct TaskContext {
    meta: *const Meta,
    task: *const Opaque,
}

/// `struct bpf_iter__task_file`.
#[repr(C)]
pub(crate) struct TaskFileContext {
    meta: *const Meta,
    task: *const Opaque,
    fd: u32,
    file: *mut file,
}

/// `struct bpf_iter__tcp`.
#[repr(C)]
pub(crate) struct TcpContext {
    meta: *const Meta,
    sk_common: *const Opaque,
}

/// A descriptor of a task.
pub(crate) struct Descriptor {
    pub(crate) task: Task,
    pub(crate) fd: u32,
    pub(crate) file: File,
    pub(crate) reader: Reader,
}

/// The task that the iterator is at; `None` at its end.
///
/// # Safety
///
/// `ctx` has to be the context of an `iter/task` program.
#[inline(always)]
pub(crate) unsafe fn task(ctx: *const TaskContext) -> Option<(Task, Reader)> {
    // SAFETY: the caller's promise; a null task marks the end.
    unsafe {
        let task = (*ctx).task;
        (!task.is_null()).then(|| (Task::new(task), Reader((*ctx).meta)))
    }
}

/// The descriptor that the iterator is at; `None` at its end.
///
/// # Safety
///
/// `ctx` has to be the context of an `iter/task_file` program.
#[inline(always)]
pub(crate) unsafe fn descriptor(ctx: *const TaskFileContext) -> Option<Descriptor> {
    // SAFETY: the caller's promise; null task or file mark the end.
    unsafe {
        let (task, file) = ((*ctx).task, (*ctx).file);
        (!task.is_null() && !file.is_null()).then(|| Descriptor {
            task: Task::new(task),
            fd: (*ctx).fd,
            file: File::new(file),
            reader: Reader((*ctx).meta),
        })
    }
}

/// The full TCP socket that the iterator is at, in the hash tables of a network namespace; `None` at its end, and at a TIME_WAIT or a
/// connection request.
///
/// # Safety
///
/// `ctx` has to be the context of an `iter/tcp` program.
#[inline(always)]
pub(crate) unsafe fn full_socket(ctx: *const TcpContext) -> Option<(Sock, Reader)> {
    // SAFETY: the caller's promise; null marks the end.
    unsafe {
        let common = (*ctx).sk_common;
        if common.is_null() {
            return None;
        }
        let tcp = bpf_skc_to_tcp_sock(common.cast_mut().cast());
        (!tcp.is_null()).then(|| (Sock::new(tcp.cast()), Reader((*ctx).meta)))
    }
}

/// Where the reader of an iterator reads.
#[derive(Clone, Copy)]
pub(crate) struct Reader(*const Meta);

impl Reader {
    /// Writes a record for the reader.
    #[inline(always)]
    pub(crate) fn write<T>(self, record: &T) {
        let record = core::ptr::from_ref(record).cast();
        // SAFETY: the iterator's own `struct seq_file`.
        unsafe { bpf_seq_write((*self.0).seq, record, size_of::<T>() as u32) };
    }
}
