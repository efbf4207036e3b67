//! One trace that holds every kind of value that a renderer has to show.

use std::{net::IpAddr, num::NonZeroU64, time::Duration};

use tcpstate::report::{Summary, clock::WallClock};
use tcpstate_common::{COMM_LEN, state::TcpState};
use tcpstate_core::{
    aggregate::dwell::DwellTable,
    model::{
        Comm, Dwell, Endpoint, Family, MonotonicNs, Owner, OwnerSource, Protocol, SocketId, State, Totals, Transition,
        Unseen,
        probes::{HookAttempt, Hooks, Probes, Refusal, Role, RoleProbe},
        scope,
    },
};

/// 2026-09-21T14:13:20Z is the boot.
pub(crate) const CLOCK: WallClock = WallClock { offset_ns: 1_790_000_000_000_000_000 };
/// The trace began half a second after 100 s of uptime.
pub(crate) const START: MonotonicNs = MonotonicNs(100_500_000_000);

/// When the trace ends.
const END: MonotonicNs = MonotonicNs(START.0 + 12_345_678_901);

pub(crate) fn endpoint(addr: &str, port: u16) -> Endpoint {
    Endpoint { addr: addr.parse::<IpAddr>().expect("an address"), port }
}

/// On the link of interface 3.
fn link_local(addr: &str, port: u16) -> Endpoint {
    let Endpoint { addr, port } = endpoint(addr, port);
    Endpoint { addr: scope::on_link(addr, 3), port }
}

pub(crate) fn comm(name: &[u8]) -> Comm {
    let mut bytes = [0; COMM_LEN];
    bytes[..name.len()].copy_from_slice(name);
    Comm(bytes)
}

pub(crate) fn owner(pid: u32, name: &[u8], source: OwnerSource) -> Owner {
    Owner { pid, tid: pid + 1, comm: comm(name), source, start: None }
}

/// A server's connection over IPv4, the `n`th moment of the trace.
fn base(n: u64) -> Transition {
    Transition {
        at: MonotonicNs(START.0 + n * 12_345_678),
        socket: SocketId { cookie: NonZeroU64::new(4_097), skaddr: 0xffff_8881_0234_5940 },
        id: NonZeroU64::new(8_193),
        old: State::Known(TcpState::Established),
        new: State::Known(TcpState::CloseWait),
        in_old: Dwell::Exact(1_234_567),
        owner: Some(owner(4_242, b"nginx", OwnerSource::Accept)),
        family: Family::Inet,
        protocol: Protocol::Tcp,
        local: endpoint("192.0.2.1", 443),
        remote: endpoint("198.51.100.200", 54_321),
        netns: 4_026_531_840,
        cgroup: NonZeroU64::new(7_531),
        uid: 33,
    }
}

pub(crate) fn transitions() -> Vec<Transition> {
    use TcpState::*;
    let known = State::Known;
    let v6 = |transition, local, remote| Transition {
        family: Family::Inet6,
        local: endpoint(local, 8080),
        remote: endpoint(remote, 65_535),
        ..transition
    };
    vec![
        Transition {
            old: known(Close),
            new: known(Listen),
            in_old: Dwell::Unknown,
            owner: Some(owner(812, b"nginx", OwnerSource::Listen)),
            local: endpoint("0.0.0.0", 443),
            remote: endpoint("0.0.0.0", 0),
            socket: SocketId { cookie: None, skaddr: 0xffff_8881_0000_0000 },
            id: None,
            ..base(0)
        },
        Transition {
            old: known(SynRecv),
            new: known(Established),
            in_old: Dwell::Unknown,
            owner: Some(owner(812, b"nginx", OwnerSource::Listen)),
            ..base(1)
        },
        Transition { id: NonZeroU64::new(16_386), ..base(2) },
        Transition { old: known(CloseWait), new: known(LastAck), in_old: Dwell::Exact(42_000_000_000), ..base(3) },
        Transition {
            old: known(SynSent),
            new: known(Established),
            owner: Some(owner(4_194_304, b"hostile\x1b[2Jxx", OwnerSource::Connect)),
            cgroup: None,
            ..v6(base(4), "::1", "::1")
        },
        Transition {
            owner: Some(owner(77, "k\u{202e}nab".as_bytes(), OwnerSource::Snapshot)),
            in_old: Dwell::AtLeast(86_400_123_456_789),
            ..v6(base(5), "::ffff:192.0.2.1", "::ffff:198.51.100.200")
        },
        Transition {
            old: known(FinWait1),
            new: known(FinWait2),
            owner: None,
            in_old: Dwell::AtLeast(999),
            ..v6(base(6), "2001:db8:1111:2222:3333:4444:5555:6666", "2001:db8::1")
        },
        Transition { protocol: Protocol::Mptcp, owner: Some(owner(9, b"\xff\\", OwnerSource::Connect)), ..base(7) },
        Transition {
            old: State::Unknown(14),
            new: known(Close),
            protocol: Protocol::Other(17),
            owner: Some(owner(10, "日本".as_bytes(), OwnerSource::Accept)),
            ..base(8)
        },
        Transition {
            family: Family::Inet6,
            local: link_local("fe80::1", 443),
            remote: link_local("fe80::2", 54_321),
            old: known(Closing),
            new: known(BoundInactive),
            in_old: Dwell::Exact(0),
            ..base(90_000)
        },
    ]
}

pub(crate) fn allowed(hook: &str) -> HookAttempt {
    HookAttempt { hook: hook.to_owned(), refused: None }
}

pub(crate) fn refused(hook: &str, errno: Option<i32>, reason: &str) -> HookAttempt {
    HookAttempt { hook: hook.to_owned(), refused: Some(Refusal { errno, reason: reason.to_owned() }) }
}

/// Of a hardened kernel, on which some roles cannot be filled.
pub(crate) fn hooks() -> Hooks {
    let role = |role, attempts| RoleProbe { role, attempts };
    Hooks {
        kernel: "6.18.44".to_owned(),
        lockdown: Some("integrity".to_owned()),
        roles: vec![
            role(Role::Transitions, vec![allowed("tp_btf/inet_sock_set_state")]),
            role(Role::Ends, vec![allowed("tp_btf/tcp_destroy_sock")]),
            role(
                Role::Accept,
                vec![
                    refused("fexit/inet_csk_accept", Some(1), "the kernel refuses to load it: Operation not permitted"),
                    refused("kretprobe/inet_csk_accept", None, "no kprobe PMU"),
                    allowed("tracepoint/syscalls:sys_exit_accept{,4}"),
                ],
            ),
            role(
                Role::WaitingAccepts,
                vec![
                    refused(
                        "fentry/security_sock_graft",
                        Some(1),
                        "the kernel refuses to load it: Operation not permitted",
                    ),
                    allowed("tracepoint/syscalls:sys_exit_accept{,4}"),
                ],
            ),
            role(
                Role::EofReads,
                vec![
                    refused("tp_btf/sock_recv_length", None, "no BTF type `btf_trace_sock_recv_length`"),
                    refused("fexit/tcp_recvmsg", Some(524), "the kernel refuses to load it: Unknown error 524"),
                ],
            ),
            role(Role::Sockets, vec![allowed("iter/tcp"), allowed("sock_diag")]),
        ],
    }
}

pub(crate) fn probes() -> Probes {
    Probes { hooks: hooks(), snapshot_sockets: 1_017, snapshot_netns: 3, buffer_bytes: 8 << 20 }
}

pub(crate) fn summary(totals: Totals) -> Summary {
    let mut dwell = DwellTable::default();
    transitions().iter().for_each(|transition| dwell.record(transition));
    let (unseen, open_not_kept) = (Unseen::default(), totals.lost);
    Summary { elapsed: Duration::from_millis(12_345), totals, unseen, dwell: dwell.rows(END), open_not_kept }
}
