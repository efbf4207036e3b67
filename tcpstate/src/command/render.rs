//! The renderers that the settings ask for: what the live commands show, `report` shows of a recording.

pub(super) mod leaks;
pub(super) mod states;
pub(super) mod trace;
