//! What a tracer has to show of one socket, from its first transition to its last, and nothing else.

use anyhow::{Context, Result, ensure};

use super::{
    event::{Endpoint, Owner, Transition},
    process::Actor,
    protocol::Socket,
    sockets::nobody,
    tracer::Trace,
};

/// The expected transitions of a socket.
pub(crate) struct Story<'a> {
    cookie: u64,
    local: Endpoint,
    remote: Endpoint,
    /// Local port at `CLOSE→SYN_SENT`: 0 unless `bind()` came before.
    connecting_port: u16,
    actor: &'a Actor,
    netns: u64,
    steps: Vec<(Option<Owner>, String, String)>,
    first_at_least: bool,
}

impl<'a> Story<'a> {
    /// Of a socket of `actor`.
    pub(crate) fn of(actor: &'a Actor, socket: &Socket) -> Result<Self> {
        Ok(Self {
            cookie: socket.cookie,
            local: socket.local.into(),
            remote: socket.remote.unwrap_or_else(|| nobody(socket.local)).into(),
            connecting_port: 0,
            actor,
            netns: actor.netns()?,
            steps: Vec::new(),
            first_at_least: false,
        })
    }

    /// For a socket that cannot tell its peer any more, or that has no descriptor to ask.
    pub(crate) fn remote(mut self, remote: impl Into<Endpoint>) -> Self {
        self.remote = remote.into();
        self
    }

    pub(crate) fn bound_before_connect(mut self) -> Self {
        self.connecting_port = self.local.port;
        self
    }

    /// The socket is older than the tracer, so of the first state only a part was seen.
    pub(crate) fn older_than_tracer(mut self) -> Self {
        self.first_at_least = true;
        self
    }

    /// Goes through `states`, as `actor` owns it by `via`. A later call goes on where this one ends.
    pub(crate) fn owned(self, by: Owner, states: &str) -> Self {
        self.known(Some(by), states)
    }

    /// Goes through `states` without anybody known to own it.
    pub(crate) fn ownerless(self, states: &str) -> Self {
        self.known(None, states)
    }

    fn known(mut self, owner: Option<Owner>, states: &str) -> Self {
        let states: Vec<&str> = states.split_whitespace().collect();
        for pair in states.windows(2) {
            self.steps.push((owner.clone(), pair[0].to_owned(), pair[1].to_owned()));
        }
        self
    }

    /// Compares with what was shown, exactly.
    pub(crate) fn check(&self, trace: &Trace) -> Result<()> {
        let shown = trace.of(self.cookie);
        let told = |steps: Vec<(&str, &str)>| steps.iter().map(|(old, new)| format!("{old}→{new}")).collect::<Vec<_>>();
        let shown_steps = told(shown.iter().map(|t| (t.old.as_str(), t.new.as_str())).collect());
        let steps = told(self.steps.iter().map(|(_, old, new)| (old.as_str(), new.as_str())).collect());
        ensure!(shown_steps == steps, "socket {:x}: expected {steps:?}, shown {shown_steps:?}", self.cookie);
        let mut before = None;
        for (transition, (owner, ..)) in shown.into_iter().zip(&self.steps) {
            self.check_one(transition, owner.as_ref(), before).with_context(|| format!("at {transition}"))?;
            before = Some(transition);
        }
        Ok(())
    }

    fn check_one(&self, shown: &Transition, owner: Option<&Owner>, before: Option<&Transition>) -> Result<()> {
        ensure!(shown.owner.as_ref() == owner, "owner: expected {owner:?}");
        let local = if shown.is("CLOSE", "SYN_SENT") {
            Endpoint { port: self.connecting_port, ..self.local }
        } else {
            self.local
        };
        // That of a listener may be any address.
        let of_listener = shown.is_copy && shown.local.addr.is_unspecified() && shown.local.port == local.port;
        ensure!(shown.local == local || of_listener, "local end: expected {local}");
        let remote = if shown.is_copy { nobody((self.local.addr, 0).into()).into() } else { self.remote };
        ensure!(shown.remote == remote, "remote end: expected {remote}");
        let family = if self.local.addr.is_ipv4() { "inet" } else { "inet6" };
        ensure!(shown.family == family, "family: expected {family}, shown {}", shown.family);
        ensure!(shown.protocol == "tcp", "protocol: {}", shown.protocol);
        ensure!(shown.netns == self.netns, "netns: expected {}, shown {}", self.netns, shown.netns);
        ensure!(shown.uid == self.actor.uid, "uid: expected {}, shown {}", self.actor.uid, shown.uid);
        ensure!(shown.skaddr.starts_with("0x"), "skaddr: {}", shown.skaddr);
        self.check_time(shown, before)
    }

    /// The time in the old state is exactly the distance to the transition before.
    fn check_time(&self, shown: &Transition, before: Option<&Transition>) -> Result<()> {
        let times = (shown.in_old_ns, shown.in_old_at_least_ns);
        match before {
            Some(before) => {
                ensure!(shown.skaddr == before.skaddr, "skaddr changed from {}", before.skaddr);
                let since = shown.mono_ns.checked_sub(before.mono_ns).context("before its predecessor")?;
                let connects = shown.owner.as_ref().is_some_and(|owner| owner.via == "connect");
                if shown.old == "SYN_RECV" && !connects {
                    ensure!(times == (None, None), "a handshake waits elsewhere, yet a time in SYN_RECV: {times:?}");
                    return Ok(());
                }
                ensure!(times == (Some(since), None), "time in {}: expected {since} ns, {times:?}", shown.old);
            }
            None if self.first_at_least => {
                ensure!(matches!(times, (None, Some(_))), "time in {}: expected ≥, {times:?}", shown.old);
            }
            None => ensure!(times == (None, None), "a new socket with a time in {}: {times:?}", shown.old),
        }
        Ok(())
    }
}
