//! `struct cgroup` of the second version.

use core::marker::PhantomData;

use crate::{
    kernel::read::{Opaque, Read},
    rodata::offset,
};

/// How deep a hierarchy is walked upwards to find the cgroup of a filter.
const MAX_DEPTH: usize = 24;

/// A cgroup, or none.
#[derive(Clone, Copy)]
pub(super) struct Cgroup<R>(*const Opaque, PhantomData<R>);

impl<R: Read> Cgroup<R> {
    /// # Safety
    ///
    /// `cgroup` has to be null or a `struct cgroup` that `R` can read.
    #[inline(always)]
    pub(super) unsafe fn new(cgroup: *const Opaque) -> Self {
        Self(cgroup, PhantomData)
    }

    /// The inode number of its directory; 0 for none.
    #[inline(always)]
    pub(super) fn id_or_zero(self) -> u64 {
        if self.0.is_null() { 0 } else { self.id() }
    }

    #[inline(always)]
    fn id(self) -> u64 {
        // SAFETY: pointers that `R` can read, each loaded from one.
        unsafe { R::load(R::load(self.0, offset!(cgroup_kn)), offset!(kernfs_id)) }
    }

    /// Whether it is the one with this id, or below that.
    #[inline(always)]
    pub(super) fn is_within(self, id: u64) -> bool {
        let mut cgroup = self;
        for _ in 0..MAX_DEPTH {
            if cgroup.0.is_null() {
                return false;
            }
            if cgroup.id() == id {
                return true;
            }
            // SAFETY: pointers that `R` can read, each loaded from one; the root's parent is null.
            unsafe {
                let parent: *const Opaque = R::load(cgroup.0, offset!(cgroup_parent));
                if parent.is_null() {
                    return false;
                }
                cgroup.0 = R::load(parent, offset!(css_cgroup));
            }
        }
        false
    }
}
