//! All that reads a stack, in this process: the worker, the tracer's part, and the broker.

use std::{collections::HashMap, fs::File, ops::Range, os::fd::OwnedFd, path::Path, sync::Arc};

use tcpstate_broker::{AskBroker, Broker, Lost, Relay};
use tcpstate_common::leak::Registers;
use tcpstate_core::model::stack::{Frame, Source};
use tcpstate_stacks::{Supplier, worker::Worker};
use tcpstate_wire::{
    Asked, Backing, FrameWords, Function, InterpretedFrame, Interpreter, ModuleId, Need, Region, Request, StackCopy,
    Subject, Supply, Task, UnwoundStack, WorkerAnswer,
};

/// A copy of a stack, and whose it is.
#[derive(Clone, Debug)]
pub(crate) struct Copied {
    pub(crate) pid: u32,
    pub(crate) start_stack: Option<u64>,
    pub(crate) registers: Registers,
    pub(crate) bytes: Vec<u8>,
    pub(crate) missing: Vec<Range<u64>>,
    pub(crate) may_go_on: bool,
}

/// Unwinds stacks, and names them.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    worker: Worker,
    relay: Relay,
    broker: Here,
}

#[derive(Debug, Default)]
struct Here(Broker);

impl AskBroker for Here {
    fn ask(&mut self, request: &Request) -> Result<(Supply, Vec<OwnedFd>), Lost> {
        Ok(self.0.answer(request))
    }
}

struct Supplies<'a> {
    subject: Subject,
    relay: &'a mut Relay,
    broker: &'a mut Here,
}

impl Supplier for Supplies<'_> {
    fn supply(&mut self, need: Need) -> (Supply, Vec<File>) {
        let (supply, files) = self.relay.supply(self.subject, need, self.broker).expect("a broker in this process");
        (supply, files.into_iter().map(File::from).collect())
    }
}

impl Reader {
    fn perform(&mut self, subject: Subject, task: Task) -> WorkerAnswer {
        let Self { worker, relay, broker } = self;
        worker.perform(task, &mut Supplies { subject, relay, broker })
    }

    pub(crate) fn unwind(&mut self, copied: &Copied) -> UnwoundStack {
        let Copied { pid, start_stack, registers, bytes, missing, may_go_on } = copied.clone();
        let copy = StackCopy { registers, bytes, missing, may_go_on };
        match self.perform(Subject { start_stack, ..Subject::numbered(pid) }, Task::Unwind { pid, start_stack, copy }) {
            WorkerAnswer::Unwound { stack, unreadable } => {
                for file in unreadable {
                    self.relay.vault.give_up(file.module, &file.why);
                }
                stack
            }
            other => panic!("no stack: {other:?}"),
        }
    }

    /// The frames of a stack of process `pid`.
    pub(crate) fn name(&mut self, pid: u32, stack: &UnwoundStack) -> Vec<Frame> {
        let mut frames = Vec::new();
        for address in &stack.frames {
            let behind_call = u64::from(address.is_return);
            let (module, offset, functions) = match address.backing {
                Backing::Module { module, address } => {
                    (self.path(module), address + behind_call, self.functions(module, address))
                }
                Backing::Unreadable { module, offset } => (self.path(module), offset + behind_call, Vec::new()),
                Backing::Jit => (None, address.ip, self.jit(pid, address.ip - behind_call)),
                Backing::Unknown => (None, address.ip, Vec::new()),
            };
            let frame = |function: Option<&Function>| Frame {
                function: function.map(|function| function.name.clone()),
                source: function.and_then(|function| {
                    let source = function.source.clone()?;
                    Some(Source { file: source.file, line: source.line })
                }),
                module: module.clone(),
                offset,
                inlined: function.is_some_and(|function| function.inlined),
                runtime: false,
            };
            if functions.is_empty() {
                frames.push(frame(None));
            }
            frames.extend(functions.iter().map(|function| frame(Some(function))));
        }
        frames
    }

    fn functions(&mut self, module: ModuleId, address: u64) -> Vec<Function> {
        let subject = self.relay.vault.get(module).expect("a module of a stack").subject();
        match self.perform(subject, Task::Name { module, addresses: vec![address] }) {
            WorkerAnswer::Named { mut functions, .. } if functions.len() == 1 => functions.remove(0),
            other => panic!("no names: {other:?}"),
        }
    }

    pub(crate) fn jit(&mut self, pid: u32, address: u64) -> Vec<Function> {
        let subject = Subject::numbered(pid);
        match self.perform(subject, Task::NameJit { addresses: vec![address] }) {
            WorkerAnswer::NamedJit { functions } => functions.into_iter().flatten().collect(),
            other => panic!("no names: {other:?}"),
        }
    }

    pub(crate) fn path(&self, module: ModuleId) -> Option<Arc<Path>> {
        Some(Arc::clone(&self.relay.vault.get(module)?.path))
    }

    pub(crate) fn why_unreadable(&self, module: ModuleId) -> Option<Arc<str>> {
        self.relay.vault.get(module)?.unreadable.clone()
    }

    /// The number of the module that a process calls so.
    pub(crate) fn module(&self, stack: &UnwoundStack, path: &Path) -> Option<ModuleId> {
        let modules: HashMap<ModuleId, _> = stack
            .frames
            .iter()
            .filter_map(|address| match address.backing {
                Backing::Module { module, .. } | Backing::Unreadable { module, .. } => {
                    Some((module, self.path(module)?))
                }
                Backing::Jit | Backing::Unknown => None,
            })
            .collect();
        modules.into_iter().find(|(_, its)| **its == *path).map(|(module, _)| module)
    }

    pub(crate) fn close_files(&mut self) {
        let subject = Subject::numbered(0);
        assert_eq!(self.perform(subject, Task::CloseFiles), WorkerAnswer::Closed);
    }

    /// What the module is that a process maps at a region.
    pub(crate) fn interpreter(&mut self, pid: u32, region: u64) -> Interpreter {
        let task = Task::FindInterpreter { pid, start_stack: None, region };
        match self.perform(Subject::numbered(pid), task) {
            WorkerAnswer::Interpreter(interpreter) => interpreter,
            other => panic!("no interpreter: {other:?}"),
        }
    }

    /// Names frames of an interpreter.
    pub(crate) fn interpreted(&mut self, pid: u32, frames: Vec<FrameWords>) -> Vec<InterpretedFrame> {
        let task = Task::NameInterpreted { pid, start_stack: None, region: 0, frames };
        match self.perform(Subject::numbered(pid), task) {
            WorkerAnswer::NamedInterpreted(frames) => frames,
            other => panic!("no names: {other:?}"),
        }
    }

    /// Where a process has its code, as the broker reads it.
    pub(crate) fn regions(&mut self, pid: u32) -> Vec<Region> {
        let (supply, _) = self.broker.0.answer(&Request {
            subject: Subject::numbered(pid),
            path: Vec::new(),
            asked: Asked::Need(Need::Mappings),
        });
        match supply {
            Supply::Mappings(mappings) => mappings.regions,
            other => panic!("no mappings: {other:?}"),
        }
    }

    /// Memory of a process, as the broker reads it.
    pub(crate) fn memory(&mut self, pid: u32, address: u64, limit: usize) -> Vec<u8> {
        let need = Need::Memory { address, length: u32::try_from(limit).expect("little") };
        let (supply, _) = self.broker.0.answer(&Request {
            subject: Subject::numbered(pid),
            path: Vec::new(),
            asked: Asked::Need(need),
        });
        match supply {
            Supply::Memory(bytes) => bytes,
            other => panic!("no memory: {other:?}"),
        }
    }
}
