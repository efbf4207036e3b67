//! What the JSON of all commands has in common.

use std::{net::IpAddr, num::NonZeroU32};

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use tcpstate_core::{
    aggregate::leaks::Process,
    model::{Age, Endpoint, MonotonicNs, Protocol, scope},
};

use super::{
    clock::WallClock,
    escape::{Escaped, Phrase},
};

/// One line: what every object begins with, and its own fields.
#[derive(Serialize)]
pub(super) struct Line<B> {
    schema: u32,
    kind: &'static str,
    #[serde(serialize_with = "nanoseconds")]
    time: Timestamp,
    mono_ns: u64,
    #[serde(flatten)]
    body: B,
}

impl<B> Line<B> {
    pub(super) fn new(schema: u32, kind: &'static str, clock: WallClock, at: MonotonicNs, body: B) -> Self {
        Self { schema, kind, time: clock.at(at), mono_ns: at.0, body }
    }
}

#[derive(Serialize)]
pub(super) struct ProcessBody {
    pid: u32,
    comm: Option<String>,
}

impl From<Process> for ProcessBody {
    fn from(Process { pid, comm, start: _ }: Process) -> Self {
        Self { pid, comm: comm.map(|comm| Escaped(comm.bytes()).to_string()) }
    }
}

#[derive(Serialize)]
pub(super) struct EndpointBody {
    #[serde(flatten)]
    addr: AddrBody,
    port: u16,
}

/// An address; of a link-local one also the interface, where it is known.
#[derive(Serialize)]
pub(super) struct AddrBody {
    addr: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<NonZeroU32>,
}

impl From<IpAddr> for AddrBody {
    fn from(addr: IpAddr) -> Self {
        let (addr, scope) = scope::split(addr);
        Self { addr, scope }
    }
}

impl From<Endpoint> for EndpointBody {
    fn from(Endpoint { addr, port }: Endpoint) -> Self {
        Self { addr: addr.into(), port }
    }
}

#[derive(Serialize)]
pub(super) struct AgeBody {
    at_least_ns: u64,
    at_most_ns: Option<u64>,
}

impl From<Age> for AgeBody {
    fn from(Age { at_least_ns, at_most_ns }: Age) -> Self {
        Self { at_least_ns, at_most_ns }
    }
}

/// RFC 3339 with all nine digits.
fn nanoseconds<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.9}"))
}

/// An address of the kernel.
pub(super) fn hexadecimal<S: Serializer>(address: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{address:#018x}"))
}

/// Bytes that others chose.
pub(super) fn escaped<S: Serializer>(bytes: &&[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Escaped(bytes))
}

/// Words of ours, or what a recording has in place of them.
pub(super) fn phrase<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Phrase(text))
}

/// The same of what may be missing.
pub(super) fn optional_phrase<S: Serializer>(text: &Option<&str>, serializer: S) -> Result<S::Ok, S::Error> {
    match text {
        Some(text) => phrase(text, serializer),
        None => serializer.serialize_none(),
    }
}

/// Its name, or the number of one that has none here.
pub(super) fn protocol<S: Serializer>(protocol: &Protocol, serializer: S) -> Result<S::Ok, S::Error> {
    match protocol {
        Protocol::Tcp => serializer.serialize_str("tcp"),
        Protocol::Mptcp => serializer.serialize_str("mptcp"),
        Protocol::Other(number) => serializer.serialize_u16(*number),
    }
}
