//! Which hooks this kernel allows: tried, not guessed.

mod attach;
mod candidates;
mod target;

pub(super) use self::{
    attach::{Search, attach, needs},
    candidates::FUNCTIONS,
    target::HookTarget,
};
