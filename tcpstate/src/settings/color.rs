//! Whether text is coloured.

use clap::ColorChoice;

use crate::{cli::ColorArgs, host::Host};

/// Whether text on standard output is to be coloured.
pub(super) fn wants_color(args: ColorArgs, host: &Host) -> bool {
    match args.when {
        ColorChoice::Always => true,
        ColorChoice::Auto => host.colors,
        ColorChoice::Never => false,
    }
}
