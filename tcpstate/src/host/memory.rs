//! Memory of our own.

/// Has the allocator keep what is freed until [`release`]: starting needs tens of megabytes several times over, and the kernel clears
/// each page that it hands out.
pub(crate) fn keep() {
    #[cfg(target_env = "gnu")]
    {
        // What one thread allocates another one frees, such as stacks: with a heap for each, what is free in one is of no use to the
        // other. Nothing allocates for each event.
        // SAFETY: it has no precondition; what it refuses stays as it was.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
        // glibc takes no more for a mapping.
        set_thresholds(32 << 20, 1 << 30);
    }
}

/// Gives memory back to the system that was needed once: reading the kernel's types or a large snapshot takes tens of megabytes,
/// of which the allocator of glibc would keep a part.
pub(crate) fn release() {
    #[cfg(target_env = "gnu")]
    {
        /// Of both (`mallopt(3)`).
        const DEFAULT: libc::c_int = 128 << 10;
        set_thresholds(DEFAULT, DEFAULT);
        // SAFETY: it has no precondition.
        unsafe { libc::malloc_trim(0) };
    }
}

/// From how many bytes on an allocation is a mapping of its own, and how many free ones at its end the heap keeps.
#[cfg(target_env = "gnu")]
fn set_thresholds(mapping: libc::c_int, trim: libc::c_int) {
    // SAFETY: it has no precondition; what it refuses stays as it was.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, mapping);
        libc::mallopt(libc::M_TRIM_THRESHOLD, trim);
    }
}
