//! Counting is compared with counting done again, the slow way.

use std::collections::{BTreeSet, HashSet};

use proptest::{collection::vec, option, prelude::*, sample::select};

use super::*;
use crate::model::{self, Age, Endpoint, Family};

mod strategy;
use strategy::{PORTS, census};

fn all(census: &Census) -> impl Iterator<Item = (u32, &ListedSocket)> {
    census.namespaces.iter().flat_map(|namespace| namespace.sockets.iter().map(|socket| (namespace.inode, socket)))
}

fn by() -> impl Strategy<Value = By> {
    select(vec![By::Process, By::Netns, By::Cgroup, By::Lport, By::Remote])
}

fn take(census: &Census, by: Option<By>) -> SocketCounts {
    count(census, &SocketFilter::default(), by, MonotonicNs(1))
}

proptest! {
    #[test]
    fn every_socket_is_in_one_state(census in census(), by in option::of(by())) {
        let counts = take(&census, by);
        prop_assert_eq!(counts.sockets, all(&census).count() as u64);
        for row in &counts.states {
            let count = all(&census).filter(|(_, socket)| socket.state == row.state).count() as u64;
            prop_assert_eq!(row.sockets, count);
            prop_assert!(count > 0 && row.aged <= count);
        }
        prop_assert_eq!(counts.states.iter().map(|row| row.sockets).sum::<u64>(), counts.sockets);
        prop_assert!(counts.states.is_sorted_by_key(|row| row.state));
        prop_assert_eq!(counts.namespaces.iter().map(|row| row.sockets).sum::<u64>(), counts.sockets);
    }

    #[test]
    fn groups_add_up(census in census(), by in by()) {
        let counts = take(&census, Some(by));
        let several: u64 = all(&census).map(|(_, socket)| holders(&census, socket).len().saturating_sub(1) as u64).sum();
        let extra = if by == By::Process { several } else { 0 };
        prop_assert_eq!(counts.groups.iter().map(|group| group.sockets).sum::<u64>(), counts.sockets + extra);
        for group in &counts.groups {
            prop_assert_eq!(group.states.iter().map(|row| row.sockets).sum::<u64>(), group.sockets);
        }
        prop_assert!(counts.groups.is_sorted_by(|one, next| one.sockets >= next.sockets));
        let keys: HashSet<_> = counts.groups.iter().map(|group| format!("{:?}", group.key)).collect();
        prop_assert_eq!(keys.len(), counts.groups.len());
    }

    #[test]
    fn a_process_has_what_it_holds(census in census()) {
        let counts = take(&census, Some(By::Process));
        for (index, found) in census.processes.iter().enumerate() {
            let holds = |inode| census.holders.iter().any(|&(held, holder)| held == inode && holder as usize == index);
            let count = all(&census).filter(|(_, socket)| socket.inode != 0 && holds(socket.inode)).count() as u64;
            let group = counts.groups.iter().find(|group| group.key == GroupKey::Process(found.pid));
            prop_assert_eq!(group.map_or(0, |group| group.sockets), count);
            let row = counts.processes.iter().find(|row| row.process.pid == found.pid);
            prop_assert_eq!(row.map_or(0, |row| row.sockets), count);
            prop_assert_eq!(row.is_some(), count > 0 || found.descriptors > 80);
        }
    }

    /// Whatever ages within the bounds are chosen, the true oldest and median lie within the shown ones.
    #[test]
    fn quantiles_contain_the_truth(bounds in vec((0..50_u64, option::of(0..50_u64), 0..=50_u64), 1..30)) {
        let mut tally = StateTally::default();
        let mut truth = Vec::new();
        let listed = |age| ListedSocket {
            cookie: 0,
            family: Family::Inet,
            state: State::Known(TcpState::CloseWait),
            local: Endpoint { addr: [127, 0, 0, 1].into(), port: 1 },
            remote: Endpoint { addr: [127, 0, 0, 1].into(), port: 2 },
            inode: 0, cgroup: None, receive_queue: 0, send_queue: 0, age,
        };
        for &(least, more, part) in &bounds {
            let at_most_ns = more.map(|more| least + more);
            tally.add(&listed(Some(Age { at_least_ns: least, at_most_ns })));
            truth.push(least + more.map_or(part * 9, |more| more * part / 50));
        }
        tally.add(&listed(None));
        truth.sort_unstable();
        let rows = tally.rows();
        prop_assert_eq!((rows[0].sockets, rows[0].aged), (bounds.len() as u64 + 1, bounds.len() as u64));
        for (shown, true_age) in [(rows[0].oldest, truth[truth.len() - 1]), (rows[0].median, truth[(truth.len() - 1) / 2])] {
            let shown = shown.expect("some have an age");
            prop_assert!(shown.at_least_ns <= true_age && shown.at_most_ns.is_none_or(|most| true_age <= most), "{:?} {}", shown, true_age);
        }
    }

    #[test]
    fn ports_are_counted_once_towards_each_end(census in census()) {
        let counts = take(&census, None);
        for row in &counts.destinations {
            let listening: HashSet<_> =
                all(&census).filter(|(netns, socket)| *netns == row.netns && socket.state == LISTEN).map(|(_, s)| s.local.port).collect();
            let ports: BTreeSet<_> = all(&census)
                .filter(|(netns, socket)| {
                    *netns == row.netns
                        && socket.local.addr.to_canonical() == row.local
                        && socket.remote.addr.to_canonical() == row.remote.addr
                        && socket.remote.port == row.remote.port
                        && [32_768, 32_769].contains(&socket.local.port)
                        && !listening.contains(&socket.local.port)
                })
                .map(|(_, socket)| socket.local.port)
                .collect();
            prop_assert_eq!((row.used, row.limit), (ports.len() as u64, 2));
            prop_assert!(row.used > 0 && row.time_wait <= row.used);
        }
        prop_assert!(counts.destinations.is_sorted_by(|one, next| one.used >= next.used));
    }

    #[test]
    fn changes_lead_from_one_to_the_other(before in census(), now in census(), by in option::of(by())) {
        let before = take(&before, by);
        let mut compared = take(&now, by);
        compared.compare(&before);
        let sum = |rows: &[StateRow]| rows.iter().filter_map(|row| row.change).sum::<i64>();
        prop_assert_eq!(Some(sum(&compared.states)), compared.change());
        for row in &compared.states {
            let earlier = before.states.iter().find(|earlier| earlier.state == row.state).map_or(0, |row| row.sockets);
            prop_assert_eq!(earlier.checked_add_signed(row.change.expect("compared")), Some(row.sockets));
        }
        for group in &before.groups {
            let later = compared.groups.iter().find(|later| later.key == group.key).expect("stays in the list");
            prop_assert_eq!(group.sockets.checked_add_signed(later.change.expect("compared")), Some(later.sockets));
            prop_assert_eq!(Some(sum(&later.states)), later.change);
        }
    }

    #[test]
    fn filters_only_take_away(census in census(), state in 1..13_u8, port in select(PORTS.to_vec()), pid in 10..13_u32) {
        let filters = [
            SocketFilter { states: vec![state.into()], ..SocketFilter::default() },
            SocketFilter { local_ports: vec![port], ..SocketFilter::default() },
            SocketFilter { remote_ports: vec![port], ..SocketFilter::default() },
            SocketFilter { pids: vec![pid], ..SocketFilter::default() },
            SocketFilter { family: Some(Family::Inet6), ..SocketFilter::default() },
            SocketFilter { local_net: "10.0.0.1/32".parse().ok(), ..SocketFilter::default() },
            SocketFilter { cgroups: Some([1].into()), ..SocketFilter::default() },
        ];
        let matches: [&dyn Fn(&ListedSocket) -> bool; 7] = [
            &|socket| socket.state == state.into(),
            &|socket| socket.local.port == port,
            &|socket| socket.remote.port == port,
            &|socket| holders(&census, socket).iter().any(|&(_, index)| index == pid - 10),
            &|socket| socket.family == Family::Inet6,
            &|socket| socket.local.addr.to_canonical().to_string() == "10.0.0.1",
            &|socket| socket.cgroup.is_some_and(|id| id.get() == 1),
        ];
        for (filter, matches) in filters.iter().zip(matches) {
            let counts = count(&census, filter, Some(By::Remote), MonotonicNs(1));
            prop_assert_eq!(counts.sockets, all(&census).filter(|(_, socket)| matches(socket)).count() as u64, "{:?}", filter);
        }
    }
}

proptest! {
    /// What is left out of a census that is kept is in no count with the same filter.
    #[test]
    fn what_is_kept_is_enough(
        census in census(), by in option::of(by()), state in 1..13_u8, port in select(PORTS.to_vec()), pid in 10..13_u32, kind in 0..5_u8
    ) {
        let filter = match kind {
            0 => SocketFilter::default(),
            1 => SocketFilter { states: vec![state.into()], ..SocketFilter::default() },
            2 => SocketFilter { local_ports: vec![port], ..SocketFilter::default() },
            3 => SocketFilter { pids: vec![pid], ..SocketFilter::default() },
            _ => SocketFilter { remote_ports: vec![port], local_net: "10.0.0.1/32".parse().ok(), ..SocketFilter::default() },
        };
        let kept = census.clone().kept(&filter);
        let whole = count(&census, &filter, by, MonotonicNs(1));
        for again in [&filter, &SocketFilter::default()] {
            prop_assert_eq!(&count(&kept, again, by, MonotonicNs(1)), &whole);
        }
        let sockets: usize = kept.namespaces.iter().map(|namespace| namespace.sockets.len()).sum();
        prop_assert_eq!(sockets as u64, whole.sockets);
        prop_assert!(kept.processes.iter().all(|found| whole.processes.iter().any(|row| row.process.pid == found.pid)));
    }
}

#[test]
fn near_is_above_four_fifths() {
    assert!(!is_near(80, 100) && is_near(81, 100) && is_near(1, 0) && !is_near(0, 0));
    assert!(is_near(u64::MAX, u64::MAX));
}
