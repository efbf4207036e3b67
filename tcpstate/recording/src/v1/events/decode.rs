//! Bytes → events. Whatever the bytes are: no index is trusted, and nothing is allocated that they do not fill.

use std::{net::IpAddr, num::NonZeroU64};

use hashbrown::HashMap;
use tcpstate_core::model::{
    Comm, Dwell, Endpoint, MonotonicNs, Owner, SocketId, State, Transition,
    event::Event,
    leak::{Actor, LeakEvent, PlaceId},
};

use super::block::{Block, Common, Rest, Who, dwell, row};
use crate::{
    budget::Budget,
    frame::FrameError,
    v1::{
        bytes::{from_bytes, malformed},
        socket::FamilyV1,
    },
};

/// Decodes a block of events.
///
/// # Errors
///
/// When the bytes are none that [`encode`](fn@super::encode) writes.
pub(in crate::v1) fn decode(bytes: &[u8], budget: &mut Budget) -> Result<Vec<Event>, FrameError> {
    let block: Block = from_bytes(bytes, budget)?;
    budget.charge_for::<Event>(block.kinds.len())?;
    // With what was known of each last.
    budget.charge_for::<(BlockSocket, SocketId, MonotonicNs, u64)>(block.sockets.cookies.len())?;
    let sockets = sockets(&block).ok_or_else(malformed)?;
    let mut reader = BlockReader {
        times: block.times.iter(),
        row_sockets: block.row_sockets.iter(),
        olds: block.olds.iter(),
        news: block.news.iter(),
        dwell_kinds: block.dwell_kinds.iter(),
        dwells: block.dwells.iter(),
        row_whos: block.row_whos.iter(),
        row_places: block.row_places.iter(),
        block: &block,
        sockets,
        known: 0,
        last: HashMap::new(),
        time: 0,
    };
    let mut events = Vec::with_capacity(block.kinds.len());
    for &kind in &block.kinds {
        events.push(reader.event(kind).ok_or_else(malformed)?);
    }
    Ok(events)
}

/// A socket of the block.
struct BlockSocket {
    id: SocketId,
    rest: Option<Rest>,
}

fn sockets(block: &Block) -> Option<Vec<BlockSocket>> {
    let mut address = 0_u64;
    let undo = |difference: &i64| {
        address = address.wrapping_add_signed(*difference);
        address
    };
    let skaddrs: Vec<u64> = block.skaddrs.iter().map(undo).collect();
    let columns = &block.sockets;
    let ends = |addrs: &[u32], ports: &[u16], at: usize| -> Option<Endpoint> {
        Some(Endpoint { addr: *block.addresses.get(*addrs.get(at)? as usize)?, port: *ports.get(at)? })
    };
    let mut cookie = 0_u64;
    let mut story = 0_u64;
    let mut with_ends = 0;
    let mut sockets = Vec::with_capacity(columns.cookies.len());
    for (index, &difference) in columns.cookies.iter().enumerate() {
        cookie = cookie.wrapping_add_signed(difference);
        let id =
            SocketId { cookie: NonZeroU64::new(cookie), skaddr: *skaddrs.get(*columns.skaddrs.get(index)? as usize)? };
        let rest = match columns.commons.get(index)?.checked_sub(1) {
            None => None,
            Some(common) => {
                let common = *block.commons.get(common as usize)?;
                let local = ends(&columns.local_addrs, &columns.local_ports, with_ends)?;
                let remote = ends(&columns.remote_addrs, &columns.remote_ports, with_ends)?;
                story = story.wrapping_add_signed(*columns.ids.get(with_ends)?);
                with_ends += 1;
                // An IPv4 socket has no IPv6 address, nor the other way round.
                let is_v4 = common.family == FamilyV1::Inet;
                let fits = |end: Endpoint| matches!(end.addr, IpAddr::V4(_)) == is_v4;
                if !fits(local) || !fits(remote) {
                    return None;
                }
                Some((NonZeroU64::new(story), common, local, remote))
            }
        };
        sockets.push(BlockSocket { id, rest });
    }
    Some(sockets)
}

struct BlockReader<'a> {
    block: &'a Block,
    sockets: Vec<BlockSocket>,
    /// Sockets that rows have named.
    known: usize,
    last: HashMap<SocketId, (MonotonicNs, u8)>,
    time: u64,
    times: std::slice::Iter<'a, i64>,
    row_sockets: std::slice::Iter<'a, u32>,
    olds: std::slice::Iter<'a, u8>,
    news: std::slice::Iter<'a, u8>,
    dwell_kinds: std::slice::Iter<'a, u8>,
    dwells: std::slice::Iter<'a, u64>,
    row_whos: std::slice::Iter<'a, u32>,
    row_places: std::slice::Iter<'a, u32>,
}

impl BlockReader<'_> {
    fn event(&mut self, kind: u8) -> Option<Event> {
        self.time = self.time.wrapping_add_signed(*self.times.next()?);
        let at = MonotonicNs(self.time);
        let index = self.socket()?;
        let socket = self.sockets.get(index)?.id;
        Some(match kind {
            row::TRANSITION => Event::Transition(self.transition(at, index)?),
            row::ENTERED => Event::Entered { transition: self.transition(at, index)?, opened: self.place()? },
            row::ACCEPTED => {
                let owner = self.owner()??;
                Event::Beside(LeakEvent::Accepted { at, socket, owner, opened: self.place()? })
            }
            row::EOF_READ => {
                let by = self.actor()??;
                Event::Beside(LeakEvent::EofRead { at, socket, by, place: self.place()? })
            }
            row::LEFT => {
                let new = State::from(*self.news.next()?);
                let actor = self.actor()?;
                let place = self.place()?;
                Event::Beside(LeakEvent::Left { at, socket, new, closed: actor.map(|actor| (actor, place)) })
            }
            row::DESTROYED => Event::Beside(LeakEvent::Destroyed { at, socket }),
            _ => return None,
        })
    }

    fn socket(&mut self) -> Option<usize> {
        let back = *self.row_sockets.next()? as usize;
        if back == 0 {
            self.known += 1;
            return Some(self.known - 1);
        }
        self.known.checked_sub(back)
    }

    fn transition(&mut self, at: MonotonicNs, index: usize) -> Option<Transition> {
        let BlockSocket { id, rest } = self.sockets.get(index)?;
        let (socket, (id, common, local, remote)) = (*id, (*rest)?);
        let (old, new) = (*self.olds.next()?, *self.news.next()?);
        let last = self.last.insert(socket, (at, new));
        let in_old = match *self.dwell_kinds.next()? {
            dwell::UNKNOWN => Dwell::Unknown,
            dwell::SINCE_LAST => Dwell::Exact(at.0.checked_sub(last?.0.0)?),
            dwell::EXACT => Dwell::Exact(*self.dwells.next()?),
            dwell::AT_LEAST => Dwell::AtLeast(*self.dwells.next()?),
            _ => return None,
        };
        let Common { family, protocol, netns, cgroup, uid } = common;
        Some(Transition {
            at,
            socket,
            id,
            old: State::from(old),
            new: State::from(new),
            in_old,
            owner: self.owner()?,
            family: family.into(),
            protocol: protocol.into(),
            local,
            remote,
            netns,
            cgroup: NonZeroU64::new(cgroup),
            uid,
        })
    }

    fn who(&mut self) -> Option<Option<Who>> {
        match self.row_whos.next()?.checked_sub(1) {
            None => Some(None),
            Some(index) => self.block.whos.get(index as usize).map(|who| Some(*who)),
        }
    }

    fn owner(&mut self) -> Option<Option<Owner>> {
        let Some(Who { pid, tid, comm, source }) = self.who()? else { return Some(None) };
        let comm = Comm(*self.block.comms.get(comm as usize)?);
        Some(Some(Owner { pid, tid, comm, source: source?.into(), start: None }))
    }

    fn actor(&mut self) -> Option<Option<Actor>> {
        let Some(Who { pid, tid, comm, .. }) = self.who()? else { return Some(None) };
        Some(Some(Actor { pid, tid, comm: Comm(*self.block.comms.get(comm as usize)?), start: None }))
    }

    fn place(&mut self) -> Option<Option<PlaceId>> {
        match self.row_places.next()?.checked_sub(1) {
            None => Some(None),
            Some(index) => self.block.places.get(index as usize).map(|&place| Some(PlaceId(place))),
        }
    }
}
