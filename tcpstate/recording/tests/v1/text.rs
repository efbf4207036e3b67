//! Contents as text: every field, a line for each frame, event, socket, stack and row.

use std::fmt::Write as _;

use tcpstate_core::model::{
    Age, Comm, Dwell, Endpoint, Owner, SocketId, Totals, Transition, Unseen,
    census::{Census, EphemeralPorts, FoundNamespace, FoundProcess, Gaps, ListedSocket},
    event::Event,
    leak::{
        Actor, FoundHolder, FoundListener, FoundSocket, Holder, LeakEvent, LeakLosses, PlaceId, Snapshot, SocketFacts,
        SocketLoad, Traffic,
    },
    probes::{HookAttempt, Hooks, Probes, Refusal, RoleProbe},
    stack::{Frame, Sleepers, Source, Stack},
};
use tcpstate_recording::{CensusPart, Checkpoint, Content, Counts, Names, RecordingEnd, Start};

/// The text of a whole recording.
pub(crate) fn of(contents: &[Content]) -> String {
    let mut text = Text::default();
    let mut parts = Vec::new();
    for content in contents {
        text.content(content, &mut parts);
    }
    text.out
}

#[derive(Default)]
struct Text {
    out: String,
}

macro_rules! line {
    ($text:expr, $($format:tt)*) => {{
        writeln!($text.out, $($format)*).expect("a String takes it");
    }};
}

impl Text {
    fn content(&mut self, content: &Content, parts: &mut Vec<CensusPart>) {
        match content {
            Content::Start(start) => self.start(start),
            Content::Events(events) => {
                line!(self, "events {}", events.len());
                events.iter().for_each(|event| self.event(event));
            }
            Content::Sockets(sockets) => {
                line!(self, "sockets {}", sockets.len());
                sockets.iter().for_each(|found| self.found(found));
            }
            Content::Traffic(traffic) => {
                line!(self, "traffic {}", traffic.len());
                for traffic in traffic {
                    let of = |&Traffic { received, sent }: &Traffic| format!("received {received} sent {sent}");
                    line!(self, "  {}", or_none(traffic.as_ref().map(of)));
                }
            }
            Content::Activities(activities) => {
                line!(self, "activities {}", activities.len());
                activities.iter().for_each(|(pid, activity)| line!(self, "  {pid} {activity:?}"));
            }
            Content::Checkpoint(checkpoint) => self.checkpoint(checkpoint),
            Content::Stacks(stacks) => {
                line!(self, "stacks {}", stacks.len());
                for (place, stack) in stacks {
                    line!(self, "  {}", self::place(*place));
                    self.stack(stack);
                }
            }
            Content::Names(names) => self.names(names),
            Content::Counts(Counts { at, totals }) => {
                let Totals { transitions, seen, lost, filtered, map_full, unknown_state } = totals;
                line!(
                    self,
                    "counts at {} transitions {transitions} seen {seen} lost {lost} filtered {filtered} map_full {map_full} unknown_state {unknown_state}",
                    at.0
                );
            }
            Content::Unseen(Unseen { transitions, sockets }) => {
                line!(self, "unseen at least {transitions} of {sockets}");
            }
            Content::CensusPart(part) => {
                line!(self, "part of a census");
                parts.push(part.clone());
            }
            Content::CensusGaps(gaps) => line!(self, "{gaps:?}"),
            Content::Census(rest) => {
                line!(self, "census at {}", rest.now.0);
                self.census(&rest.as_ref().clone().with(std::mem::take(parts), None).expect("whole"));
            }
            Content::End(RecordingEnd { at, rotated }) => line!(self, "end at {} rotated {rotated}", at.0),
        }
    }

    fn start(&mut self, start: &Start) {
        let Start { tcpstate, host, boot_id, at, wall_offset_ns, zone, zone_offset_s, .. } = start;
        let Start { filters, late_ns, stack_bytes, file, probes, .. } = start;
        line!(self, "start tcpstate {tcpstate} host {host} boot {boot_id} at {}", at.0);
        line!(self, "  wall_offset {wall_offset_ns} zone {zone:?} {zone_offset_s} s filters {filters:?}");
        line!(self, "  late_ns {late_ns} stack_bytes {stack_bytes} file {file}");
        let Probes { hooks: Hooks { kernel, lockdown, roles }, snapshot_sockets, snapshot_netns, buffer_bytes } =
            probes;
        line!(
            self,
            "  kernel {kernel} lockdown {lockdown:?} snapshot of {snapshot_sockets} sockets in {snapshot_netns} netns buffer {buffer_bytes}"
        );
        for RoleProbe { role, attempts } in roles {
            line!(self, "  role {}", role.name());
            for HookAttempt { hook, refused } in attempts {
                match refused {
                    None => line!(self, "    {hook}"),
                    Some(Refusal { errno, reason }) => line!(self, "    {hook} refused {errno:?} {reason:?}"),
                }
            }
        }
    }

    fn event(&mut self, event: &Event) {
        match event {
            Event::Transition(transition) => line!(self, "  {}", self::transition(transition)),
            Event::Entered { transition, opened } => {
                line!(self, "  {} opened {}", self::transition(transition), places(*opened));
            }
            Event::Beside(event) => self.beside(event),
        }
    }

    fn beside(&mut self, event: &LeakEvent) {
        let at = event.at().0;
        match event {
            LeakEvent::Accepted { at: _, socket, owner, opened } => {
                line!(self, "  {at} accepted {} by {} opened {}", id(*socket), self::owner(*owner), places(*opened));
            }
            LeakEvent::EofRead { at: _, socket, by, place } => {
                line!(self, "  {at} eof_read {} by {} at {}", id(*socket), actor(*by), places(*place));
            }
            LeakEvent::Left { at: _, socket, new, closed } => {
                let closed = closed.map(|(by, place)| format!("{} at {}", actor(by), places(place)));
                line!(self, "  {at} left {} to {new} closed by {}", id(*socket), or_none(closed));
            }
            LeakEvent::Destroyed { at: _, socket } => line!(self, "  {at} destroyed {}", id(*socket)),
            LeakEvent::Entered { .. } | LeakEvent::Closing(_) | LeakEvent::Closed { .. } => {
                panic!("not in recordings: {event:?}")
            }
        }
    }

    fn found(&mut self, found: &FoundSocket) {
        let FoundSocket { facts, state, owner, opened, since, eof_read, unaccepted, load, holders, awaited_by } = found;
        line!(
            self,
            "  {} {state} since {} owner {} opened {}",
            self::facts(facts),
            or_none(since.map(|since| since.0)),
            or_none(owner.map(self::owner)),
            places(*opened)
        );
        let load = load.map(|load| {
            let SocketLoad { recv_q, send_q, last_data_recv_ms, last_ack_recv_ms, last_data_sent_ms, traffic: _ } =
                load;
            format!(
                "{recv_q} {send_q} received {last_data_recv_ms} acked {last_ack_recv_ms} sent {last_data_sent_ms} ms"
            )
        });
        let holders: Vec<_> = holders.iter().map(|Holder { pid, fd }| format!("{pid}:{fd}")).collect();
        line!(
            self,
            "    eof_read {eof_read} unaccepted {unaccepted} queues {} holders {holders:?} awaited_by {}",
            or_none(load),
            or_none(*awaited_by)
        );
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint) {
        let Checkpoint { now, snapshot, in_send, sleepers, losses, unrepaired } = checkpoint;
        let LeakLosses { events, map_full, stacks_skipped, stacks_dropped } = losses;
        line!(
            self,
            "checkpoint at {} in_send {in_send:?} unrepaired {unrepaired} lost {events} {map_full} {stacks_skipped} {stacks_dropped}",
            now.0
        );
        if let Some(Snapshot { taken, complete, sockets, listeners, processes, starts: _ }) = snapshot {
            assert!(sockets.is_empty(), "they are in other frames");
            line!(self, "  snapshot taken {} complete {}", taken.0, complete.0);
            for FoundListener { facts, owner, holders: _, backlog, backlog_limit, dropped } in listeners {
                let owner = or_none(owner.map(self::owner));
                line!(
                    self,
                    "    listener {} owner {owner} {backlog} of {backlog_limit} dropped {dropped}",
                    self::facts(facts)
                );
            }
            for FoundHolder { pid, comm, descriptors, descriptor_limit } in processes {
                line!(self, "    process {pid} {} {descriptors} of {}", name(*comm), or_none(*descriptor_limit));
            }
        }
        for (pid, sleepers) in sleepers {
            line!(self, "  asleep in {pid}");
            for Sleepers { threads, tid, pid, comm, syscall, stack } in sleepers {
                line!(self, "    {threads} like {} {pid}/{tid} in {}", name(*comm), or_none(syscall.as_ref()));
                self.stack(stack);
            }
        }
    }

    fn stack(&mut self, stack: &Stack) {
        let Stack { frames, kernel, truncated, hint, process } = stack;
        assert_eq!(*process, None, "not in recordings");
        line!(self, "      truncated {truncated:?} hint {hint:?} kernel {kernel:?}");
        for Frame { function, source, module, offset, inlined, runtime } in frames {
            let source = source.as_ref().map(|Source { file, line }| format!("{file:?}:{}", or_none(*line)));
            line!(
                self,
                "      {function:?} {} {module:?}+{offset:#x}{}{}",
                or_none(source),
                if *inlined { " inlined" } else { "" },
                if *runtime { " runtime" } else { "" }
            );
        }
    }

    fn names(&mut self, Names { cgroups, netns, parents }: &Names) {
        line!(self, "names");
        for (id, path) in cgroups {
            line!(self, "  cgroup {id} {}", path.escape_ascii());
        }
        for (inode, name) in netns {
            line!(self, "  netns {inode} {}", name.escape_ascii());
        }
        for (child, parent) in parents {
            line!(self, "  parent of {child} {parent}");
        }
    }

    fn census(&mut self, Census { namespaces, processes, holders, cgroups, gaps }: &Census) {
        assert!(cgroups.is_empty(), "they are in other frames");
        for FoundNamespace { inode, own, names, sockets, listening, listen_overflows, listen_drops, ports } in
            namespaces
        {
            let names: Vec<_> = names.iter().map(|name| name.escape_ascii().to_string()).collect();
            line!(self, "  netns {inode} own {own} {names:?} listening {listening:?}");
            let EphemeralPorts { low, high, reserved } =
                ports.clone().unwrap_or(EphemeralPorts { low: 0, high: 0, reserved: Vec::new() });
            line!(
                self,
                "    overflows {} drops {} ports {low} to {high} but {reserved:?}",
                or_none(*listen_overflows),
                or_none(*listen_drops)
            );
            sockets.iter().for_each(|socket| self.listed(socket));
        }
        for FoundProcess { pid, comm, descriptors, limit } in processes {
            line!(self, "  process {pid} {} {descriptors} of {}", or_none(comm.map(name)), or_none(*limit));
        }
        line!(self, "  holders {holders:?}");
        let Gaps { namespaces, processes, refused, why, hidden } = gaps;
        line!(self, "  gaps {namespaces:?} {processes}");
        if !refused.is_empty() || why.is_some() || hidden.is_some() {
            line!(self, "  processes missing {refused:?} {why:?} {hidden:?}");
        }
    }

    fn listed(&mut self, socket: &ListedSocket) {
        let ListedSocket { cookie, family, state, local, remote, inode, cgroup, receive_queue, send_queue, age } =
            socket;
        let age = age.map(|Age { at_least_ns, at_most_ns }| format!("{at_least_ns} to {}", or_none(at_most_ns)));
        line!(
            self,
            "    {inode} {state} {family:?} {} {} cookie {cookie} cgroup {} queues {receive_queue} {send_queue} age {}",
            end(*local),
            end(*remote),
            or_none(*cgroup),
            or_none(age)
        );
    }
}

fn transition(transition: &Transition) -> String {
    let Transition { at, socket: _, id: story, old, new, in_old, owner, .. } = transition;
    let in_old = match in_old {
        Dwell::Exact(ns) => format!("{ns} ns"),
        Dwell::AtLeast(ns) => format!(">={ns} ns"),
        Dwell::Unknown => "?".to_owned(),
    };
    format!(
        "{} {old} -> {new} after {in_old} id {} {} owner {}",
        at.0,
        or_none(*story),
        facts(&SocketFacts::from(transition)),
        or_none(owner.map(self::owner))
    )
}

fn facts(facts: &SocketFacts) -> String {
    let SocketFacts { id: socket, family, protocol, local, remote, netns, cgroup, uid } = facts;
    let (local, remote) = (end(*local), end(*remote));
    let cgroup = or_none(*cgroup);
    format!("{} {family:?} {protocol:?} {local} {remote} netns {netns} cgroup {cgroup} uid {uid}", id(*socket))
}

fn id(SocketId { cookie, skaddr }: SocketId) -> String {
    format!("{}@{skaddr:x}", or_none(cookie))
}

fn end(Endpoint { addr, port }: Endpoint) -> String {
    format!("{addr}/{port}")
}

fn owner(Owner { pid, tid, comm, source, start: _ }: Owner) -> String {
    format!("{pid}/{tid} {} by {}", name(comm), source.name())
}

fn actor(Actor { pid, tid, comm, start: _ }: Actor) -> String {
    format!("{pid}/{tid} {}", name(comm))
}

fn name(comm: Comm) -> String {
    format!("{:?}", comm.0.escape_ascii().to_string().trim_end_matches("\\x00"))
}

fn place(PlaceId(place): PlaceId) -> String {
    format!("place {place:x}")
}

fn places(place: Option<PlaceId>) -> String {
    or_none(place.map(self::place))
}

fn or_none<T: std::fmt::Display>(value: Option<T>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| value.to_string())
}
