//! Whether what happens is asked for.

use aya_ebpf::{macros::map, maps::Array};

/// 0 until the opening snapshot is in, and again once the programs are to be detached: then transitions update the stories, and
/// nothing is sent or counted.
#[map]
static ARMED: Array<u32> = Array::with_max_entries(1, 0);

/// Whether transitions are asked for: from when the opening snapshot is in until the programs are about to be detached.
#[inline(always)]
pub(crate) fn is_armed() -> bool {
    ARMED.get(0).is_some_and(|armed| *armed != 0)
}
