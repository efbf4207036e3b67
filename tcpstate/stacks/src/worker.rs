//! The loop of the worker: a task comes, what it needs is asked for, an answer goes.

use std::{fs::File, os::fd::OwnedFd};

use tcpstate_wire::{
    Need, Supply, Task, WorkerAnswer,
    channel::{Channel, ChannelError},
};

use crate::{Modules, Namer, Supplier, Unwinder, interpreted::KnownInterpreters};

/// Does what comes until nothing comes any more.
///
/// # Errors
///
/// The tracer says what is no task, or the system refuses.
pub fn serve(channel: &Channel) -> Result<(), ChannelError> {
    let mut worker = Worker::default();
    let mut supplies = Supplies { channel };
    loop {
        let task = match channel.receive::<Task>(None) {
            Ok((task, _)) => task,
            Err(ChannelError::Closed) => return Ok(()),
            Err(error) => return Err(error),
        };
        let answer = worker.perform(task, &mut supplies);
        channel.send(&answer, &[], None)?;
    }
}

/// What is known of the processes and modules that tasks were about.
#[derive(Debug, Default)]
pub struct Worker {
    unwinder: Unwinder,
    namer: Namer,
    modules: Modules,
    interpreters: KnownInterpreters,
}

impl Worker {
    /// Performs a task.
    pub fn perform(&mut self, task: Task, supplier: &mut dyn Supplier) -> WorkerAnswer {
        let Self { unwinder, namer, modules, interpreters } = self;
        match task {
            Task::Unwind { pid, start_stack, copy } => {
                let stack = unwinder.unwind(pid, start_stack, &copy, modules, supplier);
                WorkerAnswer::Unwound { stack, unreadable: modules.unreadable() }
            }
            Task::Name { module, addresses } => match modules.again(module, supplier) {
                Some(module) => {
                    let name = |&address| namer.functions(&module, address, supplier).to_vec();
                    let functions = addresses.iter().map(name).collect();
                    WorkerAnswer::Named { functions, is_whole: !namer.was_too_much(module.id()) }
                }
                None => WorkerAnswer::Named { functions: vec![Vec::new(); addresses.len()], is_whole: true },
            },
            Task::NameJit { addresses } => {
                WorkerAnswer::NamedJit { functions: namer.jit_functions(&addresses, supplier) }
            }
            Task::FindInterpreter { pid, start_stack, region } => {
                let mapped = unwinder.module_at(pid, start_stack, region, modules, supplier);
                WorkerAnswer::Interpreter(interpreters.find(pid, mapped.as_ref(), supplier))
            }
            Task::NameInterpreted { pid, start_stack, region, frames } => {
                let memory = self.interpreter(pid, start_stack, region, supplier);
                WorkerAnswer::NamedInterpreted(self.interpreters.name(pid, memory, &frames, supplier))
            }
            Task::WalkInterpreted { pid, start_stack, region, thread_pointer } => {
                let memory = self.interpreter(pid, start_stack, region, supplier);
                let (frames, end) = self.interpreters.walk(pid, memory, thread_pointer, supplier);
                WorkerAnswer::WalkedInterpreted(frames, end)
            }
            Task::CloseFiles => {
                namer.close_files();
                WorkerAnswer::Closed
            }
        }
    }
}

impl Worker {
    /// Has the interpreter known that was found in a process: by the worker before this one, or long ago. Returns the broker's name for
    /// the memory that the process has now.
    fn interpreter(
        &mut self,
        pid: u32,
        start_stack: Option<u64>,
        region: u64,
        supplier: &mut dyn Supplier,
    ) -> Option<u64> {
        let Self { unwinder, modules, interpreters, .. } = self;
        let memory = unwinder.memory(pid, start_stack, supplier);
        if !interpreters.knows(pid, memory) {
            let mapped = unwinder.module_at(pid, start_stack, region, modules, supplier);
            interpreters.find(pid, mapped.as_ref(), supplier);
        }
        memory
    }
}

/// Asks the tracer.
struct Supplies<'a> {
    channel: &'a Channel,
}

impl Supplies<'_> {
    fn ask(&mut self, need: Need) -> Result<(Supply, Vec<OwnedFd>), ChannelError> {
        self.channel.send(&WorkerAnswer::Needs(need), &[], None)?;
        self.channel.receive(None)
    }
}

impl Supplier for Supplies<'_> {
    fn supply(&mut self, need: Need) -> (Supply, Vec<File>) {
        match self.ask(need) {
            Ok((supply, files)) => (supply, files.into_iter().map(File::from).collect()),
            // The next task will not come either.
            Err(_) => (Supply::Gone, Vec::new()),
        }
    }
}
