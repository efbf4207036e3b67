//! Messages of `sock_diag(7)`: the request for a namespace's TCP sockets, and what comes back.
//!
//! Layouts as in `include/uapi/linux/inet_diag.h`; filled by `net/ipv4/inet_diag.c` and `tcp_diag.c` (Linux 6.18).

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroU64,
};

use bytemuck::{Pod, Zeroable};
use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, NlasIterator};
use tcpstate_common::state::{AF_INET, AF_INET6, TcpState};

use crate::model::{Age, Endpoint, Family, State, census::ListedSocket, scope};

/// `SOCK_DIAG_BY_FAMILY` of `include/uapi/linux/sock_diag.h`.
const BY_FAMILY: u16 = 20;
/// `INET_DIAG_INFO`: `struct tcp_info`.
const INFO: u16 = 2;
/// `INET_DIAG_CGROUP_ID`; sent unasked since Linux 5.9.
const CGROUP_ID: u16 = 21;
/// Of `struct tcp_info`, milliseconds.
const LAST_DATA_RECV: usize = 52;
/// Of `struct tcp_info`, milliseconds.
const LAST_ACK_RECV: usize = 56;
/// `idiag_timer` of a minisock that stands for a closed socket.
const TIMER_MINISOCK: u8 = 3;
/// How long the kernel keeps TIME_WAIT (`TCP_TIMEWAIT_LEN`, `include/net/tcp.h`), milliseconds.
const TIME_WAIT_MS: u32 = 60_000;
/// Coarseness of the kernel's times: one jiffy of `HZ=100`, the longest in use, milliseconds.
const JIFFY_MS: u32 = 10;
/// Netlink aligns messages and attributes to this.
const ALIGN: usize = 4;
const HEADER: usize = size_of::<libc::nlmsghdr>();

/// What `ss -a` asks for: everything but sockets that are only bound, which are in no list of connections.
const STATES: u32 = {
    let mut mask = 0;
    let mut index = 0;
    while index < TcpState::ALL.len() {
        if TcpState::ALL[index] as u8 != TcpState::BoundInactive as u8 {
            mask |= TcpState::ALL[index].bit();
        }
        index += 1;
    }
    mask
};

/// States whose age is told by `struct tcp_info`.
const AGED: u32 = TcpState::CloseWait.bit() | TcpState::FinWait2.bit() | TcpState::Closing.bit();

/// `struct inet_diag_sockid`, ports and addresses in network order.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct SockId {
    sport: [u8; 2],
    dport: [u8; 2],
    src: [u8; 16],
    dst: [u8; 16],
    interface: u32,
    cookie: [u32; 2],
}

/// `struct inet_diag_req_v2`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Request {
    family: u8,
    protocol: u8,
    extensions: u8,
    pad: u8,
    states: u32,
    id: SockId,
}

/// `struct inet_diag_msg`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Message {
    family: u8,
    state: u8,
    timer: u8,
    retransmits: u8,
    id: SockId,
    expires_ms: u32,
    receive_queue: u32,
    send_queue: u32,
    uid: u32,
    inode: u32,
}

/// Why an answer could not be used.
#[derive(Debug, thiserror::Error)]
pub enum DiagError {
    /// The kernel refused.
    #[error("the kernel refused to list TCP sockets: {0}; where `tcp_diag` is a module, `modprobe tcp_diag` loads it")]
    Refused(io::Error),
    /// It is no answer of this kind.
    #[error("an answer of `sock_diag` cannot be read: {0}")]
    Malformed(String),
}

/// What follows a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Another one.
    More,
    /// Nothing.
    End,
}

/// What to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Everything that `ss -a` lists, without what takes the kernel longer to tell.
    All,
    /// Sockets in the states whose age `struct tcp_info` tells, with it: it takes the kernel a lock for each of them.
    Ages,
}

/// Asks for TCP sockets of one family in the namespace of the netlink socket.
#[must_use]
pub fn request(family: Family, ask: Ask) -> Vec<u8> {
    let family = match family {
        Family::Inet => AF_INET,
        Family::Inet6 => AF_INET6,
    };
    let request = Request {
        family: family.to_le_bytes()[0],
        protocol: libc::IPPROTO_TCP.to_le_bytes()[0],
        extensions: if ask == Ask::Ages { 1 << (INFO - 1) } else { 0 },
        states: if ask == Ask::Ages { AGED } else { STATES },
        ..Request::zeroed()
    };
    let length = HEADER + size_of::<Request>();
    let mut bytes = vec![0; length];
    let mut message = NetlinkBuffer::new(&mut bytes);
    message.set_length(u32::try_from(length).unwrap_or(u32::MAX));
    message.set_message_type(BY_FAMILY);
    message.set_flags(NLM_F_REQUEST | NLM_F_DUMP);
    message.payload_mut().copy_from_slice(bytemuck::bytes_of(&request));
    bytes
}

/// Reads one datagram of the answer and adds its sockets to `sockets`.
///
/// # Errors
///
/// When the kernel refused, and when the datagram is not what a kernel sends.
pub fn datagram(mut bytes: &[u8], sockets: &mut Vec<ListedSocket>) -> Result<Then, DiagError> {
    let malformed = |error: netlink_packet_core::DecodeError| DiagError::Malformed(error.to_string());
    while !bytes.is_empty() {
        let message = NetlinkBuffer::new_checked(bytes).map_err(malformed)?;
        let payload = message.payload();
        match message.message_type() {
            netlink_packet_core::NLMSG_DONE => return refusal(payload).map_or(Ok(Then::End), Err),
            netlink_packet_core::NLMSG_ERROR => {
                return Err(refusal(payload).unwrap_or_else(|| DiagError::Malformed("an error of 0".to_owned())));
            }
            BY_FAMILY => sockets.push(socket(payload)?),
            // NLMSG_NOOP and whatever else a later kernel may put in between.
            _ => {}
        }
        let length = (message.length() as usize).next_multiple_of(ALIGN);
        bytes = bytes.get(length..).unwrap_or_default();
    }
    Ok(Then::More)
}

/// The negative error number that a payload begins with.
fn refusal(payload: &[u8]) -> Option<DiagError> {
    let number = i32::from_ne_bytes(payload.get(..4)?.try_into().ok()?);
    (number < 0).then(|| DiagError::Refused(io::Error::from_raw_os_error(number.saturating_neg())))
}

fn socket(payload: &[u8]) -> Result<ListedSocket, DiagError> {
    let (message, attributes) = payload
        .split_at_checked(size_of::<Message>())
        .ok_or_else(|| DiagError::Malformed(format!("a socket in {} bytes", payload.len())))?;
    let message: Message = bytemuck::pod_read_unaligned(message);
    let family = match u16::from(message.family) {
        AF_INET => Family::Inet,
        AF_INET6 => Family::Inet6,
        other => return Err(DiagError::Malformed(format!("a socket of address family {other}"))),
    };
    let endpoint = |addr: [u8; 16], port| {
        let addr = match family {
            Family::Inet => IpAddr::from(Ipv4Addr::new(addr[0], addr[1], addr[2], addr[3])),
            Family::Inet6 => scope::on_link(IpAddr::from(Ipv6Addr::from(addr)), message.id.interface),
        };
        Endpoint { addr, port: u16::from_be_bytes(port) }
    };
    let mut cgroup = None;
    let mut since = None;
    for attribute in NlasIterator::new(attributes) {
        let attribute = attribute.map_err(|error| DiagError::Malformed(error.to_string()))?;
        let value = attribute.value();
        match attribute.kind() {
            CGROUP_ID => cgroup = value.try_into().ok().map(u64::from_ne_bytes).and_then(NonZeroU64::new),
            INFO => since = milliseconds(value, LAST_ACK_RECV).zip(milliseconds(value, LAST_DATA_RECV)),
            _ => {}
        }
    }
    let state = State::from(message.state);
    Ok(ListedSocket {
        cookie: u64::from(message.id.cookie[0]) | u64::from(message.id.cookie[1]) << 32,
        family,
        state,
        local: endpoint(message.id.src, message.id.sport),
        remote: endpoint(message.id.dst, message.id.dport),
        inode: message.inode,
        cgroup,
        receive_queue: message.receive_queue,
        send_queue: message.send_queue,
        age: age(state, (message.timer == TIMER_MINISOCK).then_some(message.expires_ms), since),
    })
}

/// Out of `struct tcp_info`.
fn milliseconds(info: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(info.get(offset..offset + 4)?.try_into().ok()?))
}

/// How long a socket has been in its state, where the kernel tells.
///
/// CLOSE_WAIT, FIN_WAIT2 and CLOSING are entered by a segment that also acknowledges, so they are as old as the last
/// acknowledgement at least; the FIN that begins CLOSE_WAIT comes after all data. The timer of TIME_WAIT starts at 60 s,
/// and again when a late segment comes. Nothing tells when the other states began. `minisock_ms` is what is left of a
/// minisock's time, `since` the time since an acknowledgement and since data were received last.
fn age(state: State, minisock_ms: Option<u32>, since: Option<(u32, u32)>) -> Option<Age> {
    let ns = |ms: u32| u64::from(ms) * 1_000_000;
    let State::Known(state) = state else { return None };
    match (state, minisock_ms, since) {
        (TcpState::TimeWait, Some(left), _) => {
            let at_least_ns = ns(TIME_WAIT_MS.saturating_sub(left).saturating_sub(JIFFY_MS));
            Some(Age { at_least_ns, at_most_ns: None })
        }
        (TcpState::CloseWait, None, Some((acknowledged, data))) => {
            let at_least_ns = ns(acknowledged.saturating_sub(JIFFY_MS));
            let at_most_ns = ns(data.saturating_add(JIFFY_MS)).max(at_least_ns);
            Some(Age { at_least_ns, at_most_ns: Some(at_most_ns) })
        }
        (TcpState::FinWait2 | TcpState::Closing, None, Some((acknowledged, _))) => {
            Some(Age { at_least_ns: ns(acknowledged.saturating_sub(JIFFY_MS)), at_most_ns: None })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
