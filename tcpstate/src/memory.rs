//! Memory of our own.

/// Gives memory back to the system that was needed once: reading the kernel's types or a large snapshot takes tens of megabytes,
/// of which the allocator of glibc would keep a part.
pub(crate) fn release() {
    // SAFETY: it has no precondition.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}
