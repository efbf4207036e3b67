//! How kernel memory is read: nothing but this follows a pointer of the kernel.
//!
//! Through a typed pointer the verifier checks each access against the kernel's BTF: a wrong offset does not load. A load from a
//! pointer that turns out to be null reads 0 (`BPF_PROBE_MEM`), which is why nothing tests for null without need. Where the kernel
//! hands out a bare address, `bpf_probe_read_kernel()` reads the same fields, and 0 from a bad address, too.

use core::{ffi::c_void, mem::MaybeUninit};

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;

/// A kernel object that only offsets from BTF look into.
pub(crate) type Opaque = c_void;

/// How kernel memory is read.
pub(crate) trait Read: Copy {
    /// The verifier knows the type of pointers.
    const TYPED: bool;

    /// Loads a kernel field at an offset from BTF.
    ///
    /// # Safety
    ///
    /// With [`Typed`], `base` has to be a pointer that the verifier knows the type of. `T` has to be valid when all zero.
    unsafe fn load<T: Copy>(base: *const Opaque, offset: u32) -> T;
}

/// By loads that the verifier checks.
#[derive(Clone, Copy)]
pub(crate) struct Typed;

/// By a helper that takes any address.
#[derive(Clone, Copy)]
pub(crate) struct Probed;

impl Read for Typed {
    const TYPED: bool = true;

    #[inline(always)]
    unsafe fn load<T: Copy>(base: *const Opaque, offset: u32) -> T {
        // SAFETY: the caller's promise; the verifier proves that the field is one of the structure.
        unsafe { base.byte_add(offset as usize).cast::<T>().read_volatile() }
    }
}

impl Read for Probed {
    const TYPED: bool = false;

    #[inline(always)]
    unsafe fn load<T: Copy>(base: *const Opaque, offset: u32) -> T {
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: the helper fills all of `value`, with zeros where it fails.
        unsafe {
            let from = base.wrapping_byte_add(offset as usize);
            bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, from);
            value.assume_init()
        }
    }
}

impl Probed {
    /// Loads a kernel field into what is no part of the BPF stack; zeros where that fails.
    ///
    /// # Safety
    ///
    /// `to` has to be writable.
    #[inline(always)]
    pub(crate) unsafe fn load_into<T: Copy>(to: *mut T, base: *const Opaque, offset: u32) {
        let from = base.wrapping_byte_add(offset as usize);
        // SAFETY: the caller's promise; the helper takes any address.
        unsafe { bpf_probe_read_kernel(to.cast(), size_of::<T>() as u32, from) };
    }
}

/// Loads a kernel field through a typed pointer.
///
/// # Safety
///
/// `base` has to be a pointer that the verifier knows the type of.
#[inline(always)]
pub(crate) unsafe fn load<T: Copy>(base: *const Opaque, offset: u32) -> T {
    // SAFETY: the caller's promise.
    unsafe { Typed::load(base, offset) }
}

/// Methods that each load a field of the structure behind `self.0`, a pointer that `R` can read.
macro_rules! fields {
    ($($(#[$attribute:meta])* $name:ident: $type:ty = $offset:ident;)+) => {
        $($(#[$attribute])* #[inline(always)] pub(crate) fn $name(self) -> $type {
            // SAFETY: whoever made this promised a pointer that `R` can read.
            unsafe { R::load(self.0, $crate::rodata::offset!($offset)) }
        })+
    };
}
pub(super) use fields;
