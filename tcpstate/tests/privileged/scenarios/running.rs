//! A scenario and its life: started, round after round of leaks, ended.

use std::{
    any::Any,
    net::{SocketAddr, TcpStream},
    path::PathBuf,
};

use anyhow::Result;

use super::{expected::Expected, interpreter::Interpreter, peers::localhost, proc::PerfMap, program::Program};
use crate::support::protocol::Span;

/// A program, what makes it leak, and what is true then.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) expected: Expected,
    /// Starts everything; nothing has leaked when it returns, and a tracer may be attached.
    pub(crate) start: fn() -> Result<Running>,
}

/// Which sockets of the scenario may leak.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ends {
    /// Those that the program accepted here, or should have.
    Local(SocketAddr),
    /// Those that the program connected to this peer.
    Remote(SocketAddr),
}

/// What plays in a scenario.
pub(crate) struct Scene {
    pub(crate) program: Program,
    pub(crate) ends: Ends,
    /// Processes that open the sockets.
    pub(crate) openers: Vec<u32>,
    /// Processes that hold their descriptors in the end.
    pub(crate) holders: Vec<u32>,
    /// Whether the program tells the addresses of the functions that it interprets.
    pub(crate) perf_map: bool,
    /// Whether functions of the interpreted language have names: by a perf map, or since the interpreter is known.
    pub(crate) names_functions: bool,
    /// Connections that the peers keep.
    pub(crate) peers: Vec<TcpStream>,
    /// Stays in `CLOSE_WAIT` as peer and program measured them.
    pub(crate) stays: Vec<MeasuredStay>,
    /// Whatever else has to live as long as the scenario.
    pub(crate) kept: Vec<Box<dyn Any>>,
}

/// A stay in `CLOSE_WAIT` by the clocks of the two programs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MeasuredStay {
    pub(crate) peer_port: u16,
    /// How long it was to be.
    pub(crate) asked_ms: u64,
    /// From before the peer's `close()` until the program had seen the FIN.
    pub(crate) fin: Span,
    /// Around the program's own `close()`.
    pub(crate) close: Span,
}

/// What makes a program leak.
type Round = dyn FnMut(&mut Scene) -> Result<()>;

/// A scenario that has been started; everything ends when it is dropped.
pub(crate) struct Running {
    pub(crate) scene: Scene,
    round: Box<Round>,
    /// Rounds played.
    pub(crate) rounds: usize,
}

impl Running {
    /// A program that opens and holds its sockets itself; `round` makes it leak.
    pub(crate) fn new(program: Program, ends: Ends, round: impl FnMut(&mut Scene) -> Result<()> + 'static) -> Self {
        let (openers, holders) = (vec![program.pid], vec![program.pid]);
        let scene = Scene {
            program,
            ends,
            openers,
            holders,
            perf_map: false,
            names_functions: false,
            peers: Vec::new(),
            stays: Vec::new(),
            kept: Vec::new(),
        };
        Self { scene, round: Box::new(round), rounds: 0 }
    }

    /// The same for a server on 127.0.0.1, which says its port next; what is accepted there leaks.
    pub(crate) fn server(
        program: Program,
        mut round: impl FnMut(&mut Scene, SocketAddr) -> Result<()> + 'static,
    ) -> Result<Self> {
        let address = localhost(program.port()?);
        Ok(Self::new(program, Ends::Local(address), move |scene| round(scene, address)))
    }

    /// The program is a script of this interpreter.
    pub(crate) fn interpreted_by(mut self, interpreter: &Interpreter) -> Self {
        self.scene.perf_map = interpreter.writes_perf_map;
        self.scene.names_functions = interpreter.names_functions;
        let map = interpreter.writes_perf_map.then(|| PerfMap::of(self.scene.program.pid));
        self.keep(map)
    }

    pub(crate) fn opened_by(mut self, openers: Vec<u32>) -> Self {
        self.scene.openers = openers;
        self
    }

    pub(crate) fn held_by(mut self, holders: Vec<u32>) -> Self {
        self.scene.holders = holders;
        self
    }

    pub(crate) fn keep(mut self, what: impl Any) -> Self {
        self.scene.kept.push(Box::new(what));
        self
    }

    /// Leaks once more.
    pub(crate) fn leak(&mut self) -> Result<()> {
        self.rounds += 1;
        (self.round)(&mut self.scene)
    }
}

impl Scene {
    /// The network namespace of its sockets.
    pub(crate) fn netns(&self) -> PathBuf {
        let pid = self.openers.first().unwrap_or(&self.program.pid);
        PathBuf::from(format!("/proc/{pid}/ns/net"))
    }

    /// Options of the tracer that nothing else on this machine satisfies.
    pub(crate) fn filters(&self) -> Vec<String> {
        let (address, [by_address, by_port]) = match self.ends {
            Ends::Local(address) => (address, ["--laddr", "--lport"]),
            Ends::Remote(address) => (address, ["--raddr", "--rport"]),
        };
        let netns = self.netns().display().to_string();
        let (ip, port) = (address.ip().to_string(), address.port().to_string());
        ["--netns", &netns, by_address, &ip, by_port, &port].map(str::to_owned).into()
    }
}
