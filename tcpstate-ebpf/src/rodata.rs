//! What user space froze into `.rodata`. The verifier takes every value read here for a constant.

use tcpstate_common::{config::Config, layout::Layout};

/// What the loader compares with its own before it loads anything ([`tcpstate_common::FINGERPRINT_SYMBOL`]).
#[unsafe(no_mangle)]
static TCPSTATE_COMMON_FINGERPRINT: u64 = tcpstate_common::FINGERPRINT;

/// Filters and settings.
#[unsafe(no_mangle)]
pub(crate) static CONFIG: Config = Config::NONE;

/// Offsets of kernel fields.
#[unsafe(no_mangle)]
pub(crate) static LAYOUT: Layout = Layout::ABSENT;

/// Helpers that this kernel offers ([`tcpstate_common::helper`]).
#[unsafe(no_mangle)]
static HELPERS: u32 = 0;

/// Jiffies a second.
#[unsafe(no_mangle)]
pub(crate) static TICK_FREQUENCY: u32 = 0;

/// No for the verifier, which the compiler does not know.
static NEVER: u32 = 0;

/// Whether something that never is the case is. What hangs on it is there until the verifier removes it.
#[inline(always)]
pub(crate) fn is_never() -> bool {
    frozen(&NEVER) != 0
}

/// Reads a value that was replaced after compilation: the compiler must not know what it was.
#[inline(always)]
pub(crate) fn frozen<T: Copy>(value: &T) -> T {
    // SAFETY: a reference is valid for reads.
    unsafe { core::ptr::from_ref(value).read_volatile() }
}

/// Reads a setting.
macro_rules! config {
    ($($field:tt)+) => {
        $crate::rodata::frozen(&$crate::rodata::CONFIG.$($field)+)
    };
}

/// Reads the offset of a kernel field.
macro_rules! offset {
    ($field:ident) => {
        $crate::rodata::frozen(&$crate::rodata::LAYOUT.$field)
    };
}

pub(crate) use {config, offset};

/// Whether this kernel offers all of these helpers ([`tcpstate_common::helper`]).
#[inline(always)]
pub(crate) fn has(helpers: u32) -> bool {
    frozen(&HELPERS) & helpers == helpers
}

/// Whether any of these filters ([`tcpstate_common::config::filter`]) is set.
#[inline(always)]
pub(crate) fn filtering(filters: u32) -> bool {
    config!(filters) & filters != 0
}
