//! Options that hunting commands share: one declaration of each. A command that means something else by one
//! of them, or has another default, changes it ([`super::change`]).

use std::time::Duration;

use clap::Args;

use super::{
    headings::{LIMITS, REPORT},
    parse::{byte_count, time},
};

/// From when on a socket in CLOSE_WAIT counts.
#[derive(Args, Clone, Copy, Debug)]
pub struct AgeArgs {
    /// Only sockets that have been in CLOSE_WAIT for this long.
    #[arg(long, help_heading = REPORT, value_name = "TIME", default_value = "1s", value_parser = time)]
    pub older_than: Duration,
}

/// What a hunt has the kernel side copy, and into how much memory.
#[derive(Args, Clone, Copy, Debug)]
pub struct HuntArgs {
    /// Bytes of each user stack to copy at first, up to 64K; K is 1024.
    #[arg(long, help_heading = LIMITS, value_name = "BYTES", default_value = "16K", value_parser = byte_count)]
    pub stack_size: u64,

    /// Ring buffer between kernel and tcpstate; K, M and G are powers of 1024.
    #[arg(long, help_heading = LIMITS, value_name = "BYTES", default_value = "2M", value_parser = byte_count)]
    pub buffer: u64,
}
