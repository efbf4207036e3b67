//! Text of the command line → values. Each error says what would be right; clap names the option and the value.

use std::{net::IpAddr, num::NonZeroU64, str::FromStr, time::Duration};

use ipnet::IpNet;
use jiff::SignedDuration;
use tcpstate_common::state::TcpState;
use thiserror::Error;

/// Why a value was refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ParseError {
    /// No such state.
    #[error("no TCP state of that name; known are {}", state_names())]
    State,
    /// Neither an address nor a block.
    #[error("expected an address such as `192.0.2.7` or `::1`, or a block such as `10.0.0.0/8` or `2001:db8::/32`")]
    Network,
    /// Not a number of bytes.
    #[error("expected a number of bytes with K, M or G for powers of 1024, such as `512K` or `8M`")]
    ByteCount,
    /// Not a number of things.
    #[error("expected a whole number above zero")]
    Count,
    /// Not a duration.
    #[error("expected a time with its unit, such as `500ms`, `30s`, `5m` or `1h30m`")]
    Duration,
    /// Zero or negative.
    #[error("expected a time above zero")]
    NoDuration,
}

/// Names that `ss` gives to states where they are not the kernel's.
const ALIASES: [(&str, TcpState); 4] = [
    ("ESTAB", TcpState::Established),
    ("LISTENING", TcpState::Listen),
    ("CLOSED", TcpState::Close),
    ("UNCONN", TcpState::Close),
];

fn state_names() -> String {
    TcpState::ALL.map(TcpState::name).join(", ")
}

/// A TCP state by its name in the kernel or in `ss`; case, `-` and `_` do not matter.
///
/// # Errors
///
/// When there is no such state; the error lists them.
pub fn state(text: &str) -> Result<TcpState, ParseError> {
    let is = |name: &str| letters(name).eq(letters(text));
    let alias = ALIASES.iter().find(|(name, _)| is(name)).map(|&(_, state)| state);
    TcpState::ALL.into_iter().find(|state| is(state.name())).or(alias).ok_or(ParseError::State)
}

/// What is left of a state's name without case and separators.
fn letters(name: &str) -> impl Iterator<Item = char> {
    name.chars().filter(|c| !matches!(c, '-' | '_')).map(|c| c.to_ascii_uppercase())
}

/// An address block in CIDR notation or a single address. Host bits are cleared, as people type `10.1.2.3/8`.
///
/// # Errors
///
/// When it is neither.
pub fn network(text: &str) -> Result<IpNet, ParseError> {
    IpNet::from_str(text)
        .map(|net| net.trunc())
        .or_else(|_| IpAddr::from_str(text).map(IpNet::from))
        .map_err(|_| ParseError::Network)
}

/// A number of bytes, with `K`, `M` or `G` (also `KiB` and so on) for powers of 1024.
///
/// # Errors
///
/// When it is no whole number with one of these suffixes, or does not fit into 64 bits.
pub fn byte_count(text: &str) -> Result<u64, ParseError> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, suffix) = text.split_at(end);
    let shift = match suffix.to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KIB" => 10,
        "M" | "MIB" => 20,
        "G" | "GIB" => 30,
        _ => return Err(ParseError::ByteCount),
    };
    let number: u64 = digits.parse().map_err(|_| ParseError::ByteCount)?;
    number.checked_mul(1 << shift).ok_or(ParseError::ByteCount)
}

/// How many, above zero.
///
/// # Errors
///
/// When it is anything else.
pub fn count(text: &str) -> Result<NonZeroU64, ParseError> {
    text.parse().map_err(|_| ParseError::Count)
}

/// A time span with units.
///
/// # Errors
///
/// When a unit is missing or unknown, and when it is not above zero.
pub fn duration(text: &str) -> Result<Duration, ParseError> {
    let signed: SignedDuration = text.parse().map_err(|_| ParseError::Duration)?;
    let duration = Duration::try_from(signed).map_err(|_| ParseError::NoDuration)?;
    if duration.is_zero() { Err(ParseError::NoDuration) } else { Ok(duration) }
}
