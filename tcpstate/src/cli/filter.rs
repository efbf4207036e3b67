//! Filters that several commands have.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, ValueHint, builder::RangedI64ValueParser, value_parser};
use tcpstate_core::model::Family;

use super::{block::AddressBlock, headings::FILTERS, parse::network};

/// Which sockets are of interest; the kernel side rejects the rest.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = FILTERS)]
pub struct FilterArgs {
    /// Only sockets that this process opened, accepted or holds; repeat or separate with commas.
    #[arg(long, value_name = "PID", value_delimiter = ',', value_parser = value_parser!(u32).range(1..))]
    pub pid: Vec<u32>,

    /// With --pid: also its descendants, those of now and those it will fork.
    #[arg(long, requires = "pid")]
    pub children: bool,

    /// Only sockets that a thread of this name (`/proc/PID/comm`) opened, accepted or holds; repeatable.
    #[arg(long, value_name = "NAME")]
    pub comm: Vec<OsString>,

    /// Only sockets of this cgroup v2 and those below it.
    ///
    /// A directory, or a path relative to the cgroup2 mount as in `/proc/PID/cgroup`.
    #[arg(long, value_name = "PATH", value_hint = ValueHint::DirPath)]
    pub cgroup: Option<PathBuf>,

    /// Only sockets of this network namespace.
    ///
    /// A name as in `ip netns`, a path such as `/proc/PID/ns/net`, or an inode number.
    #[arg(long, value_name = "NAME|PATH|INODE")]
    pub netns: Option<OsString>,

    /// Which ends of connections.
    #[command(flatten)]
    pub ends: EndArgs,
}

/// Filters on the ends of a connection.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = FILTERS)]
pub struct EndArgs {
    /// Only this local port; repeat or separate with commas.
    #[arg(long, value_name = "PORT", value_delimiter = ',', value_parser = port())]
    pub lport: Vec<u16>,

    /// Only this remote port; repeat or separate with commas.
    #[arg(long, value_name = "PORT", value_delimiter = ',', value_parser = port())]
    pub rport: Vec<u16>,

    /// Only local addresses in this block, such as `10.0.0.0/8`, `::1` or `fe80::1%eth0`.
    #[arg(long, value_name = "CIDR", value_parser = network)]
    pub laddr: Option<AddressBlock>,

    /// Only remote addresses in this block.
    #[arg(long, value_name = "CIDR", value_parser = network)]
    pub raddr: Option<AddressBlock>,

    /// Only IPv4 sockets.
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    pub ipv4: bool,

    /// Only IPv6 sockets, also those that carry IPv4 (v4-mapped addresses).
    #[arg(short = '6', long)]
    pub ipv6: bool,
}

impl EndArgs {
    /// The family that was asked for.
    #[must_use]
    pub fn family(&self) -> Option<Family> {
        match (self.ipv4, self.ipv6) {
            (true, _) => Some(Family::Inet),
            (false, true) => Some(Family::Inet6),
            (false, false) => None,
        }
    }
}

fn port() -> RangedI64ValueParser<u16> {
    value_parser!(u16).range(1..)
}
