//! Which sockets the tasks hold that the filters want: an iterator over descriptors that comes by now and then.

use crate::{
    filters::owner,
    kernel::{
        file::with_socket,
        iter::{self, TaskFileContext},
    },
    stories::holding,
};

/// A descriptor of a task.
#[inline(always)]
pub(crate) fn on_file(ctx: *const TaskFileContext) {
    // SAFETY: the iterator's context.
    unsafe {
        let Some(descriptor) = iter::descriptor(ctx) else { return };
        let holder = descriptor.task.owner();
        if owner::wants(&holder) {
            with_socket!(descriptor.file, |sk| holding::held(sk, &holder));
        }
    }
}
