//! TCP states, protocols and families as the kernel numbers them.

/// A TCP state, numbered as in `include/net/tcp_states.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum TcpState {
    /// Data flows both ways.
    Established = 1,
    /// `connect()` sent a SYN.
    SynSent = 2,
    /// The handshake of a passive open is under way.
    SynRecv = 3,
    /// We closed first; our FIN is not acknowledged yet.
    FinWait1 = 4,
    /// Our FIN is acknowledged; the peer has not closed.
    FinWait2 = 5,
    /// Both closed; waiting for stray segments to die.
    TimeWait = 6,
    /// No connection.
    Close = 7,
    /// The peer closed; our program has not.
    CloseWait = 8,
    /// The peer closed first, then we did; our FIN is not acknowledged yet.
    LastAck = 9,
    /// Waiting for connections.
    Listen = 10,
    /// Both closed at the same time; our FIN is not acknowledged yet.
    Closing = 11,
    /// A connection request (`struct request_sock`); never seen by `inet_sock_set_state`.
    NewSynRecv = 12,
    /// A socket bound inactively (`TCP_BOUND_INACTIVE`, Linux 6.8, `sock_diag` only).
    BoundInactive = 13,
}

impl TcpState {
    /// Every state, in the kernel's order.
    pub const ALL: [Self; 13] = [
        Self::Established,
        Self::SynSent,
        Self::SynRecv,
        Self::FinWait1,
        Self::FinWait2,
        Self::TimeWait,
        Self::Close,
        Self::CloseWait,
        Self::LastAck,
        Self::Listen,
        Self::Closing,
        Self::NewSynRecv,
        Self::BoundInactive,
    ];

    /// The kernel's spelling without the `TCP_` prefix, such as `CLOSE_WAIT`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Established => "ESTABLISHED",
            Self::SynSent => "SYN_SENT",
            Self::SynRecv => "SYN_RECV",
            Self::FinWait1 => "FIN_WAIT1",
            Self::FinWait2 => "FIN_WAIT2",
            Self::TimeWait => "TIME_WAIT",
            Self::Close => "CLOSE",
            Self::CloseWait => "CLOSE_WAIT",
            Self::LastAck => "LAST_ACK",
            Self::Listen => "LISTEN",
            Self::Closing => "CLOSING",
            Self::NewSynRecv => "NEW_SYN_RECV",
            Self::BoundInactive => "BOUND_INACTIVE",
        }
    }

    /// The bit of this state in a mask of states (`TCPF_*` in `include/net/tcp_states.h`).
    #[must_use]
    pub const fn bit(self) -> u32 {
        1 << self as u32
    }
}

impl TryFrom<u8> for TcpState {
    /// The number that is no state we know.
    type Error = u8;

    fn try_from(number: u8) -> Result<Self, u8> {
        match number {
            1..=13 => Ok(Self::ALL[usize::from(number) - 1]),
            unknown => Err(unknown),
        }
    }
}

/// `AF_INET`.
pub const AF_INET: u16 = 2;
/// `AF_INET6`.
pub const AF_INET6: u16 = 10;
/// `IPPROTO_TCP`.
pub const IPPROTO_TCP: u16 = 6;
/// `IPPROTO_MPTCP`: the parent of the TCP subflows, which carry protocol 6 and the same ports.
pub const IPPROTO_MPTCP: u16 = 262;

#[cfg(test)]
mod tests {
    use super::TcpState;

    #[test]
    fn numbers_are_the_kernels() {
        for state in TcpState::ALL {
            assert_eq!(TcpState::try_from(state as u8), Ok(state));
        }
        assert_eq!(TcpState::CloseWait as u8, 8);
        assert_eq!(TcpState::try_from(0), Err(0));
        assert_eq!(TcpState::try_from(14), Err(14));
    }
}
