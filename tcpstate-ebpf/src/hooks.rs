//! Programs, one file for each hook.

pub(crate) mod accept;
pub(crate) mod destroy;
pub(crate) mod holding;
pub(crate) mod inheriting;
pub(crate) mod leaking;
pub(crate) mod nested;
pub(crate) mod opening;
pub(crate) mod process;
pub(crate) mod receive;
pub(crate) mod threads;
pub(crate) mod transition;
pub(crate) mod trial;
