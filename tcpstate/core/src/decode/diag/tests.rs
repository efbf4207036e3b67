use proptest::{collection::vec, prelude::*};

use super::*;
use crate::decode::seeds;

/// A socket as the kernel writes it, padded to the alignment of netlink.
fn message(message: &Message, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut payload = bytemuck::bytes_of(message).to_vec();
    for (kind, value) in attributes {
        let length = u16::try_from(4 + value.len()).expect("short");
        payload.extend(length.to_ne_bytes());
        payload.extend(kind.to_ne_bytes());
        payload.extend(*value);
        payload.resize(payload.len().next_multiple_of(ALIGN), 0);
    }
    framed(BY_FAMILY, &payload)
}

fn framed(kind: u16, payload: &[u8]) -> Vec<u8> {
    let length = HEADER + payload.len();
    let mut bytes = vec![0; length];
    let mut message = NetlinkBuffer::new(&mut bytes);
    message.set_length(u32::try_from(length).expect("short"));
    message.set_message_type(kind);
    message.payload_mut().copy_from_slice(payload);
    bytes.resize(length.next_multiple_of(ALIGN), 0);
    bytes
}

fn raw(state: TcpState) -> Message {
    let mut src = [0; 16];
    src[..4].copy_from_slice(&[192, 0, 2, 1]);
    let mut dst = [0; 16];
    dst[..4].copy_from_slice(&[198, 51, 100, 7]);
    Message {
        family: AF_INET.to_le_bytes()[0],
        state: state as u8,
        id: SockId {
            sport: 443_u16.to_be_bytes(),
            dport: 50_000_u16.to_be_bytes(),
            src,
            dst,
            interface: 0,
            cookie: [7, 0],
        },
        receive_queue: 1,
        send_queue: 2,
        uid: 33,
        inode: 4_711,
        ..Message::zeroed()
    }
}

fn info(last_data_recv: u32, last_ack_recv: u32) -> Vec<u8> {
    let mut info = vec![0; 248];
    info[LAST_DATA_RECV..][..4].copy_from_slice(&last_data_recv.to_ne_bytes());
    info[LAST_ACK_RECV..][..4].copy_from_slice(&last_ack_recv.to_ne_bytes());
    info
}

fn one(bytes: &[u8]) -> ListedSocket {
    let mut sockets = Vec::new();
    assert_eq!(datagram(bytes, &mut sockets).expect("as the kernel writes it"), Then::More);
    assert_eq!(sockets.len(), 1);
    sockets[0]
}

#[test]
fn every_field_is_where_the_kernel_puts_it() {
    let endpoint = |addr: &str, port| Endpoint { addr: addr.parse().expect("an address"), port };
    let bytes = message(
        &raw(TcpState::CloseWait),
        &[(8, &[1]), (INFO, &info(5_000, 3_000)), (CGROUP_ID, &77_u64.to_ne_bytes())],
    );
    assert_eq!(
        one(&bytes),
        ListedSocket {
            cookie: 7,
            family: Family::Inet,
            state: State::Known(TcpState::CloseWait),
            local: endpoint("192.0.2.1", 443),
            remote: endpoint("198.51.100.7", 50_000),
            inode: 4_711,
            cgroup: NonZeroU64::new(77),
            receive_queue: 1,
            send_queue: 2,
            age: Some(Age { at_least_ns: 2_990_000_000, at_most_ns: Some(5_010_000_000) }),
        }
    );
    let mut v6 = raw(TcpState::Listen);
    v6.family = AF_INET6.to_le_bytes()[0];
    v6.id.src = [0x20; 16];
    let listed = one(&message(&v6, &[]));
    assert_eq!(
        (listed.family, listed.local),
        (Family::Inet6, endpoint("2020:2020:2020:2020:2020:2020:2020:2020", 443))
    );
    assert_eq!((listed.cgroup, listed.age), (None, None));
}

#[test]
fn an_age_is_told_where_the_kernel_tells_it() {
    let at_least = |ms: u64| Some(Age { at_least_ns: ms * 1_000_000, at_most_ns: None });
    let with = |state, timer, expires_ms, since: Option<(u32, u32)>| {
        let info = since.map(|(data, acknowledged)| info(data, acknowledged));
        let attributes: Vec<_> = info.iter().map(|info| (INFO, info.as_slice())).collect();
        one(&message(&Message { timer, expires_ms, ..raw(state) }, &attributes)).age
    };
    assert_eq!(with(TcpState::TimeWait, TIMER_MINISOCK, 20_000, None), at_least(39_990));
    assert_eq!(with(TcpState::TimeWait, TIMER_MINISOCK, 90_000, None), at_least(0));
    assert_eq!(with(TcpState::FinWait2, 2, 20_000, Some((9_000, 4_000))), at_least(3_990));
    // A minisock in FIN_WAIT2 has a timer of a length that its socket chose.
    assert_eq!(with(TcpState::FinWait2, TIMER_MINISOCK, 20_000, None), None);
    assert_eq!(with(TcpState::Established, 0, 0, Some((9_000, 4_000))), None);
    // What is received out of order, such as after the FIN, never makes the upper bound the smaller one.
    let age = with(TcpState::CloseWait, 0, 0, Some((1_000, 4_000))).expect("an age");
    assert_eq!(age, Age { at_least_ns: 3_990_000_000, at_most_ns: Some(3_990_000_000) });
    // A kernel whose `struct tcp_info` ends before.
    assert_eq!(one(&message(&raw(TcpState::CloseWait), &[(INFO, &[0; 56])])).age, None);
}

#[test]
fn a_datagram_holds_several_and_the_end() {
    let established = raw(TcpState::Established);
    let mut bytes = message(&established, &[(8, &[1])]);
    bytes.extend(framed(1, &[]));
    bytes.extend(message(&raw(TcpState::Closing), &[]));
    bytes.extend(framed(netlink_packet_core::NLMSG_DONE, &0_i32.to_ne_bytes()));
    let mut sockets = Vec::new();
    assert_eq!(datagram(&bytes, &mut sockets).expect("valid"), Then::End);
    assert_eq!(sockets.len(), 2);
}

#[test]
fn seeds_of_answers() {
    let attributes: [(u16, &[u8]); 3] = [(8, &[1]), (INFO, &info(5_000, 3_000)), (CGROUP_ID, &77_u64.to_ne_bytes())];
    let mut dump = message(&raw(TcpState::CloseWait), &attributes);
    dump.extend(message(&raw(TcpState::TimeWait), &[]));
    dump.extend(framed(netlink_packet_core::NLMSG_DONE, &0_i32.to_ne_bytes()));
    assert_eq!(datagram(&dump, &mut Vec::new()).expect("valid"), Then::End);
    seeds::assert_seed("dump", &dump);
    seeds::assert_seed("refused", &framed(netlink_packet_core::NLMSG_ERROR, &(-libc::ENOENT).to_ne_bytes()));
}

#[test]
fn refusals_are_errors() {
    let mut sockets = Vec::new();
    let enoent = (-libc::ENOENT).to_ne_bytes();
    for kind in [netlink_packet_core::NLMSG_ERROR, netlink_packet_core::NLMSG_DONE] {
        let error = datagram(&framed(kind, &enoent), &mut sockets).expect_err("refused").to_string();
        assert!(error.contains("No such file") && error.contains("modprobe tcp_diag"), "{error}");
    }
    let mut unix = raw(TcpState::Established);
    unix.family = 1;
    assert!(datagram(&message(&unix, &[]), &mut sockets).is_err());
    assert!(datagram(&framed(BY_FAMILY, &[0; 71]), &mut sockets).is_err());
    assert!(sockets.is_empty());
}

#[test]
fn requests_are_for_all_that_ss_lists_and_for_ages() {
    let parse = |ask| {
        let bytes = request(Family::Inet6, ask);
        assert_eq!(bytes.len(), 16 + 56);
        bytemuck::pod_read_unaligned::<Request>(&bytes[16..])
    };
    let all = parse(Ask::All);
    assert_eq!((all.family, all.protocol), (10, 6));
    assert_eq!((all.states, all.extensions), (0b1_1111_1111_1110, 0));
    let ages = parse(Ask::Ages);
    assert_eq!((ages.states, ages.extensions), (0b1001_0010_0000, 0b10));
}

proptest! {
    #[test]
    fn no_answer_panics(bytes in vec(any::<u8>(), 0..300)) {
        let mut sockets = Vec::new();
        drop(datagram(&bytes, &mut sockets));
    }

    #[test]
    fn no_damage_panics(at in 0..400_usize, with: u8, cut in 0..400_usize) {
        let mut bytes = message(&raw(TcpState::CloseWait), &[(INFO, &info(1, 2)), (CGROUP_ID, &[1; 8])]);
        bytes.truncate(cut);
        if let Some(byte) = bytes.get_mut(at) {
            *byte = with;
        }
        let mut sockets = Vec::new();
        drop(datagram(&bytes, &mut sockets));
        prop_assert!(sockets.len() <= 1);
    }

    #[test]
    fn bounds_are_in_order(data: u32, acknowledged: u32, left: u32, minisock: bool, state in 1..14_u8) {
        let minisock = minisock.then_some(left);
        if let Some(Age { at_least_ns, at_most_ns: Some(at_most_ns) }) = age(State::from(state), minisock, Some((acknowledged, data))) {
            prop_assert!(at_least_ns <= at_most_ns);
        }
    }
}
