//! Shared options with words or a default of a command's own.

use clap::Arg;

/// Changes one option of a command, by its id, and leaves the others as they are. Unlike `Command::mut_arg()`, `mut_args()` with
/// this keeps the options in their order.
pub(super) fn change(option: &'static str, change: impl Fn(Arg) -> Arg) -> impl Fn(Arg) -> Arg {
    move |arg| if arg.get_id() == option { change(arg) } else { arg }
}
