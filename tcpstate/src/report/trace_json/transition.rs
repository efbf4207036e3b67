//! The line of a transition, written byte by byte: there is one for each event, and with serde it was half of all that a trace
//! costs in user space.

use std::{
    io::{self, Write as _},
    net::IpAddr,
    num::NonZeroU64,
};

use itoa::{Buffer, Integer};
use serde::Serializer as _;
use tcpstate_core::model::{Dwell, Endpoint, Family, Owner, Protocol, State, Transition, scope};

use crate::report::{
    clock::{Nanoseconds, WallClock},
    escape::Escaped,
};

/// Writes lines of transitions.
#[derive(Debug)]
pub(super) struct TransitionLine {
    /// Version of the schema.
    schema: u32,
    time: Nanoseconds,
}

impl TransitionLine {
    pub(super) fn new(schema: u32, clock: WallClock) -> Self {
        Self { schema, time: Nanoseconds::new(clock) }
    }

    /// The whole line.
    ///
    /// # Errors
    ///
    /// None: there is room in a `Vec`.
    pub(super) fn write(&mut self, out: &mut Vec<u8>, transition: &Transition) -> io::Result<()> {
        out.extend_from_slice(b"{\"schema\":");
        write_number(out, self.schema);
        out.extend_from_slice(b",\"kind\":\"transition\",\"time\":\"");
        self.time.write(out, transition.at)?;
        out.extend_from_slice(b"\",\"mono_ns\":");
        write_number(out, transition.at.0);
        out.extend_from_slice(b",\"id\":");
        write_or_null(out, transition.id);
        out.extend_from_slice(b",\"cookie\":");
        write_or_null(out, transition.socket.cookie);
        out.extend_from_slice(b",\"skaddr\":\"0x");
        out.extend_from_slice(&hexadecimal(transition.socket.skaddr));
        out.extend_from_slice(b"\",\"netns\":");
        write_number(out, transition.netns);
        out.extend_from_slice(b",\"cgroup\":");
        write_or_null(out, transition.cgroup);
        out.extend_from_slice(b",\"uid\":");
        write_number(out, transition.uid);
        out.extend_from_slice(b",\"protocol\":");
        match transition.protocol {
            Protocol::Tcp => out.extend_from_slice(b"\"tcp\""),
            Protocol::Mptcp => out.extend_from_slice(b"\"mptcp\""),
            Protocol::Other(other) => write_number(out, other),
        }
        out.extend_from_slice(match transition.family {
            Family::Inet => b",\"family\":\"inet\",\"local\":".as_slice(),
            Family::Inet6 => b",\"family\":\"inet6\",\"local\":",
        });
        write_endpoint(out, transition.local)?;
        out.extend_from_slice(b",\"remote\":");
        write_endpoint(out, transition.remote)?;
        out.extend_from_slice(b",\"old\":");
        write_state(out, transition.old);
        out.extend_from_slice(b",\"new\":");
        write_state(out, transition.new);
        match transition.in_old {
            Dwell::Exact(ns) => {
                out.extend_from_slice(b",\"in_old_ns\":");
                write_number(out, ns);
            }
            Dwell::AtLeast(ns) => {
                out.extend_from_slice(b",\"in_old_at_least_ns\":");
                write_number(out, ns);
            }
            Dwell::Unknown => {}
        }
        out.extend_from_slice(b",\"owner\":");
        write_owner(out, transition.owner.as_ref())?;
        out.extend_from_slice(b"}\n");
        Ok(())
    }
}

fn write_number(out: &mut Vec<u8>, number: impl Integer) {
    out.extend_from_slice(Buffer::new().format(number).as_bytes());
}

fn write_or_null(out: &mut Vec<u8>, number: Option<NonZeroU64>) {
    match number {
        Some(number) => write_number(out, number.get()),
        None => out.extend_from_slice(b"null"),
    }
}

fn write_endpoint(out: &mut Vec<u8>, Endpoint { addr, port }: Endpoint) -> io::Result<()> {
    out.extend_from_slice(b"{\"addr\":\"");
    let (addr, interface) = scope::split(addr);
    match addr {
        IpAddr::V4(addr) => {
            let [first, rest @ ..] = addr.octets();
            write_number(out, first);
            for octet in rest {
                out.push(b'.');
                write_number(out, octet);
            }
        }
        IpAddr::V6(_) => write!(out, "{addr}")?,
    }
    if let Some(interface) = interface {
        out.extend_from_slice(b"\",\"scope\":");
        write_number(out, interface.get());
        out.extend_from_slice(b",\"port\":");
    } else {
        out.extend_from_slice(b"\",\"port\":");
    }
    write_number(out, port);
    out.push(b'}');
    Ok(())
}

/// Its name, or the number of one that has none here.
fn write_state(out: &mut Vec<u8>, state: State) {
    match state {
        State::Known(state) => {
            out.push(b'"');
            out.extend_from_slice(state.name().as_bytes());
            out.push(b'"');
        }
        State::Unknown(number) => write_number(out, number),
    }
}

fn write_owner(out: &mut Vec<u8>, owner: Option<&Owner>) -> io::Result<()> {
    let Some(owner) = owner else {
        out.extend_from_slice(b"null");
        return Ok(());
    };
    out.extend_from_slice(b"{\"pid\":");
    write_number(out, owner.pid);
    out.extend_from_slice(b",\"tid\":");
    write_number(out, owner.tid);
    out.extend_from_slice(b",\"comm\":");
    write_name(out, owner.comm.bytes())?;
    out.extend_from_slice(b",\"via\":\"");
    out.extend_from_slice(owner.source.name().as_bytes());
    out.extend_from_slice(b"\"}");
    Ok(())
}

/// Bytes that others chose: escaped for terminals, and then for JSON.
fn write_name(out: &mut Vec<u8>, name: &[u8]) -> io::Result<()> {
    if name.iter().all(|&byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'\\' | b'"')) {
        out.push(b'"');
        out.extend_from_slice(name);
        out.push(b'"');
        return Ok(());
    }
    Ok(serde_json::Serializer::new(out).collect_str(&Escaped(name))?)
}

/// All sixteen digits of an address of the kernel.
fn hexadecimal(address: u64) -> [u8; 16] {
    let mut digits = [0; 16];
    for (digit, shift) in digits.iter_mut().zip((0..16).rev()) {
        *digit = b"0123456789abcdef"[(address >> (4 * shift) & 0xf) as usize];
    }
    digits
}
