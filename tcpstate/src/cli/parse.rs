//! Text of the command line → values. Each error says what would be right; clap names the option and the value.

use std::{net::IpAddr, num::NonZeroU64, str::FromStr, time::Duration};

use ipnet::IpNet;
use jiff::SignedDuration;
use tcpstate_common::state::TcpState;
use tcpstate_core::model::scope;
use thiserror::Error;

use super::block::AddressBlock;

/// Why a value was refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(super) enum ParseError {
    /// No such state.
    #[error("no TCP state of that name; known are {}", state_names())]
    State,
    /// An interface behind something else than a link-local address.
    #[error("only a link-local address or block has a link, as in `fe80::1%eth0` or `fe80::%3/64`")]
    Link,
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
pub(super) fn state(text: &str) -> Result<TcpState, ParseError> {
    let is = |name: &str| letters(name).eq(letters(text));
    let alias = ALIASES.iter().find(|(name, _)| is(name)).map(|&(_, state)| state);
    TcpState::ALL.into_iter().find(|state| is(state.name())).or(alias).ok_or(ParseError::State)
}

/// What is left of a state's name without case and separators.
fn letters(name: &str) -> impl Iterator<Item = char> {
    name.chars().filter(|c| !matches!(c, '-' | '_')).map(|c| c.to_ascii_uppercase())
}

/// An address block in CIDR notation or a single address. Host bits are cleared, as people type `10.1.2.3/8`. A link-local address
/// may have its link behind it, as in `fe80::1%eth0`.
///
/// # Errors
///
/// When it is neither.
pub(super) fn network(text: &str) -> Result<AddressBlock, ParseError> {
    let block = |text: &str| {
        IpNet::from_str(text)
            .map(|net| net.trunc())
            .or_else(|_| IpAddr::from_str(text).map(IpNet::from))
            .map_err(|_| ParseError::Network)
    };
    let Some((addr, link)) = text.split_once('%') else { return Ok(block(text)?.into()) };
    let (link, prefix) =
        link.split_once('/').map_or((link, String::new()), |(link, prefix)| (link, format!("/{prefix}")));
    let net = block(&format!("{addr}{prefix}"))?;
    let link_local = scope::on_link(net.addr(), 1) != net.addr() && net.prefix_len() >= 64;
    if !link_local || link.is_empty() {
        return Err(ParseError::Link);
    }
    Ok(AddressBlock { net, link: Some(link.to_owned()) })
}

/// A number of bytes, with `K`, `M` or `G` (also `KiB` and so on) for powers of 1024.
///
/// # Errors
///
/// When it is no whole number with one of these suffixes, or does not fit into 64 bits.
pub(super) fn byte_count(text: &str) -> Result<u64, ParseError> {
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
pub(super) fn count(text: &str) -> Result<NonZeroU64, ParseError> {
    text.parse().map_err(|_| ParseError::Count)
}

/// A time span with units.
///
/// # Errors
///
/// When a unit is missing or unknown, and when it is not above zero.
pub(super) fn duration(text: &str) -> Result<Duration, ParseError> {
    let signed: SignedDuration = text.parse().map_err(|_| ParseError::Duration)?;
    let duration = Duration::try_from(signed).map_err(|_| ParseError::NoDuration)?;
    if duration.is_zero() { Err(ParseError::NoDuration) } else { Ok(duration) }
}

/// A time of zero or more, such as `0s`.
///
/// # Errors
///
/// When it is none, or negative.
pub(super) fn time(text: &str) -> Result<Duration, ParseError> {
    let signed: SignedDuration = text.parse().map_err(|_| ParseError::Duration)?;
    Duration::try_from(signed).map_err(|_| ParseError::NoDuration)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use tcpstate_common::state::TcpState;

    use super::{ParseError, byte_count, count, duration, network, state};

    #[test]
    fn states_are_known_as_to_ss() {
        for (name, expected) in [
            ("CLOSE_WAIT", TcpState::CloseWait),
            ("close-wait", TcpState::CloseWait),
            ("closewait", TcpState::CloseWait),
            ("fin-wait-1", TcpState::FinWait1),
            ("FinWait2", TcpState::FinWait2),
            ("estab", TcpState::Established),
            ("listening", TcpState::Listen),
            ("closed", TcpState::Close),
        ] {
            assert_eq!(state(name), Ok(expected), "{name}");
        }
        for name in ["", "-", "close wait", "CLOSE_WAIT2", "TCP_CLOSE_WAIT", "8"] {
            assert_eq!(state(name), Err(ParseError::State), "{name}");
        }
        assert!(ParseError::State.to_string().ends_with(
            "ESTABLISHED, SYN_SENT, SYN_RECV, FIN_WAIT1, FIN_WAIT2, TIME_WAIT, \
            CLOSE, CLOSE_WAIT, LAST_ACK, LISTEN, CLOSING, NEW_SYN_RECV, BOUND_INACTIVE"
        ));
    }

    #[test]
    fn blocks_lose_their_host_bits() {
        for (text, block) in [
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("192.0.2.7", "192.0.2.7/32"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:db8::1/32", "2001:db8::/32"),
            ("::1", "::1/128"),
            ("::ffff:192.0.2.7/104", "::ffff:192.0.0.0/104"),
            ("fe80::1", "fe80::1/128"),
            ("fe80::1%eth0", "fe80::1%eth0/128"),
            ("fe80::1%3/64", "fe80::%3/64"),
        ] {
            assert_eq!(network(text).map(|block| block.to_string()), Ok(block.to_owned()), "{text}");
        }
        for text in ["", "10", "10.0.0.0/33", "::/129", "10.0.0.0/", "localhost", "10.0.0.0/8 ", "x%eth0"] {
            assert_eq!(network(text), Err(ParseError::Network), "{text}");
        }
        for text in ["2001:db8::1%eth0", "10.0.0.1%eth0", "fe80::1%", "fe80::%3/10", "::1%lo"] {
            assert_eq!(network(text), Err(ParseError::Link), "{text}");
        }
    }

    #[test]
    fn byte_counts_are_binary() {
        for (text, bytes) in [("0", 0), ("4096", 4_096), ("8k", 8 << 10), ("8M", 8 << 20), ("1GiB", 1 << 30), ("5b", 5)]
        {
            assert_eq!(byte_count(text), Ok(bytes), "{text}");
        }
        for text in ["", "M", "-1", "+1", "1.5M", "8MB", "8 M", "18446744073709551616", "18446744073709551615K", "٣"] {
            assert_eq!(byte_count(text), Err(ParseError::ByteCount), "{text}");
        }
    }

    #[test]
    fn durations_have_units() {
        for (text, ms) in [("500ms", 500), ("30s", 30_000), ("5m", 300_000), ("1h30m", 5_400_000), ("1.5s", 1_500)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "30", "5 apples", "1mo", "h", "99999999999999999999h"] {
            assert_eq!(duration(text), Err(ParseError::Duration), "{text}");
        }
        for text in ["0s", "-5s"] {
            assert_eq!(duration(text), Err(ParseError::NoDuration), "{text}");
        }
    }

    #[test]
    fn counts_are_above_zero() {
        assert_eq!(count("1").map(u64::from), Ok(1));
        for text in ["0", "-1", "1.0", "", "1k"] {
            assert_eq!(count(text), Err(ParseError::Count), "{text}");
        }
    }

    proptest! {
        #[test]
        fn separators_and_case_do_not_matter(
            expected in prop::sample::select(&TcpState::ALL[..]),
            choices in prop::collection::vec((any::<bool>(), prop::sample::select(&["", "-", "_"][..])), 16),
        ) {
            let letters = expected.name().chars().filter(|&c| c != '_');
            let text: String = letters
                .zip(choices)
                .flat_map(|(c, (lower, separator))| {
                    [if lower { c.to_ascii_lowercase() } else { c }.to_string(), separator.to_owned()]
                })
                .collect();
            prop_assert_eq!(state(&text), Ok(expected), "{}", text);
        }

        #[test]
        fn no_text_panics(text in any::<String>()) {
            let _ = (state(&text), network(&text), byte_count(&text), duration(&text), count(&text));
        }
    }
}
