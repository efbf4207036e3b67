//! A stack gets its names: those that the worker has found are put together.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::Path,
    sync::Arc,
};

use tcpstate_broker::{Relay, Vault};
use tcpstate_core::model::stack::{Frame, Stack};
use tcpstate_wire::{Backing, CodeAddress, Function, Interpreter, MapState, ModuleId, Subject, shortened};

use super::{
    aside::Aside,
    calls::{self, Calls},
    interpreter::{self, Around},
    taken::TakenStack,
    truncation::truncated,
};
use crate::host::kallsyms::KernelSymbols;

/// Most bytes of names that are remembered when a request comes. Beyond that all are asked for again.
const MOST_BYTES: usize = 8 << 20;
/// Longest name of a file in a reason, bytes.
const LONGEST_NAME: usize = 64;

/// The names that were found.
#[derive(Debug, Default)]
pub(super) struct KnownNames {
    known: HashMap<(ModuleId, u64), Arc<[Function]>>,
    bytes: usize,
    kernel: KernelSymbols,
}

/// Functions of code that was made at run time, by process and the address in the call.
pub(super) type JitNames = HashMap<(Subject, u64), Function>;

impl KnownNames {
    /// The addresses of modules whose names are not known yet.
    pub(super) fn missing(&self, stacks: &[TakenStack], aside: &Aside) -> BTreeMap<ModuleId, BTreeSet<u64>> {
        let mut missing: BTreeMap<ModuleId, BTreeSet<u64>> = BTreeMap::new();
        for frame in stacks.iter().flat_map(|stack| &stack.stack.frames) {
            if let Backing::Module { module, address } = frame.backing
                && !self.known.contains_key(&(module, address))
                && aside.why_nameless(module).is_none()
            {
                missing.entry(module).or_default().insert(address);
            }
        }
        missing
    }

    /// Forgets all names where they are too many: not while stacks are being named, which need those that were found before.
    pub(super) fn make_room(&mut self) {
        if self.bytes > MOST_BYTES {
            self.known.clear();
            self.bytes = 0;
        }
    }

    /// Whether there is no room for the names that one request still wants.
    pub(super) fn is_full(&self) -> bool {
        self.bytes > 2 * MOST_BYTES
    }

    /// Keeps names of a module.
    pub(super) fn insert(&mut self, module: ModuleId, address: u64, functions: Vec<Function>) {
        self.bytes += size_of::<(ModuleId, u64, Arc<[Function]>)>() + functions.iter().map(size).sum::<usize>();
        self.known.insert((module, address), functions.into());
    }

    /// Gives back what was read of the kernel's names. Those that were found stay.
    pub(super) fn close_files(&mut self) {
        self.kernel.close();
    }

    /// Names a stack. Never fails: of an address without a name it is shown where it is. `is_whole`: all names were asked for.
    pub(super) fn name(
        &mut self,
        stack: &TakenStack,
        jit: &JitNames,
        relay: &Relay,
        aside: &Aside,
        found: Option<&Interpreter>,
        is_whole: bool,
    ) -> Stack {
        let mut frames = Vec::with_capacity(stack.stack.frames.len());
        let mut has_nameless_jit = false;
        let named: Vec<_> =
            stack.stack.frames.iter().map(|address| (address, self.functions(stack.subject, address, jit))).collect();
        let is = |functions: &[Function], is_one: fn(&str) -> bool| functions.iter().any(|one| is_one(&one.name));
        let evaluations = named.iter().filter(|(_, functions)| is(functions, interpreter::evaluates)).count();
        let mapped = relay.program(stack.subject).map_or(&[][..], |program| &program.mapped);
        let mut calls = Calls::of(stack, evaluations, mapped);
        let is_interpreted = !calls.is_empty();
        for (address, functions) in &named {
            has_nameless_jit |= address.backing == Backing::Jit && functions.is_empty();
            if is(functions, interpreter::evaluates) {
                calls.push_next(&mut frames);
            }
            // What leads to the function that evaluates a frame which is here already.
            if !(is_interpreted && is(functions, interpreter::leads)) {
                push(address, functions, &relay.vault, &mut frames);
            }
        }
        calls.push_rest(&mut frames);
        let hint = if is_whole {
            given_up(stack, &relay.vault, aside).or_else(|| hint(stack, &frames, relay, found)).or_else(|| cut(stack))
        } else {
            Some("names are still being read".to_owned())
        };
        // An interpreter's own functions say little where those that it runs have names.
        let has_name =
            |frame: &Frame| frame.function.is_some() && (frame.module.is_none() || frame.language().is_some());
        if frames.iter().any(has_name) {
            for frame in &mut frames {
                frame.runtime = frame.module.as_deref().is_some_and(interpreter::is_interpreter);
            }
        }
        Stack {
            frames,
            kernel: self.kernel.names(&stack.kernel, stack.asleep),
            truncated: truncated(stack, &relay.vault),
            hint,
            // Not where nothing is known of the code: of hundreds of short-lived processes that would be as many groups.
            process: has_nameless_jit.then_some(stack.subject.pid),
        }
    }

    fn functions(&self, subject: Subject, address: &CodeAddress, jit: &JitNames) -> Arc<[Function]> {
        match address.backing {
            Backing::Module { module, address } => self.known.get(&(module, address)).cloned().unwrap_or_default(),
            Backing::Jit => jit.get(&(subject, at(address))).cloned().into_iter().collect(),
            Backing::Unreadable { .. } | Backing::Unknown => [].into(),
        }
    }
}

/// The address within a call, for one that it returns to.
pub(super) fn at(address: &CodeAddress) -> u64 {
    address.ip.saturating_sub(u64::from(address.is_return))
}

/// Memory that a function takes, bytes.
fn size(function: &Function) -> usize {
    let source = function.source.as_ref().map_or(0, |source| source.file.as_os_str().len());
    size_of::<Function>() + function.name.len() + source
}

/// Functions that were inlined are frames of their own.
fn push(address: &CodeAddress, functions: &[Function], vault: &Vault, frames: &mut Vec<Frame>) {
    let behind_call = u64::from(address.is_return);
    let path = |module| vault.get(module).map_or_else(|| Path::new("?").into(), |entry| Arc::clone(&entry.path));
    let (module, offset) = match address.backing {
        Backing::Module { module, address } => (Some(path(module)), address.wrapping_add(behind_call)),
        Backing::Unreadable { module, offset } => (Some(path(module)), offset.wrapping_add(behind_call)),
        Backing::Jit | Backing::Unknown => (None, address.ip),
    };
    let frame = |function: Option<&Function>| Frame {
        function: function.map(|function| function.name.clone()),
        source: function.and_then(calls::source),
        module: module.clone(),
        offset,
        inlined: function.is_some_and(|function| function.inlined),
        runtime: false,
    };
    match functions {
        [] => frames.push(frame(None)),
        functions => frames.extend(functions.iter().map(|function| frame(Some(function)))),
    }
}

/// Why names are missing, where a file was given up.
fn given_up(stack: &TakenStack, vault: &Vault, aside: &Aside) -> Option<String> {
    stack.stack.frames.iter().find_map(|frame| {
        let (Backing::Module { module, .. } | Backing::Unreadable { module, .. }) = frame.backing else { return None };
        let why = aside.why_nameless(module);
        if why.is_none() && !aside.is_too_much(module) {
            return None;
        }
        let path = vault.get(module).map_or_else(|| Path::new("?").into(), |entry| Arc::clone(&entry.path));
        let name = shortened(&path.file_name().unwrap_or(path.as_os_str()).to_string_lossy(), LONGEST_NAME);
        Some(match why {
            Some(why) => format!("names of `{name}` given up: reading it {why}"),
            None => format!("some names of `{name}` are missing: its debug info is too much to read"),
        })
    })
}

/// What was not seen of the first stack of a place.
fn cut(stack: &TakenStack) -> Option<String> {
    let said = "less of this stack was copied the first time: of that socket the outer callers were not seen";
    stack.was_cut.then(|| said.to_owned())
}

fn hint(stack: &TakenStack, frames: &[Frame], relay: &Relay, found: Option<&Interpreter>) -> Option<String> {
    let program = relay.program(stack.subject);
    let mapped = program.map_or(&[][..], |program| &program.mapped);
    let perf_map = program.and_then(|program| program.perf_map.as_ref()).unwrap_or(&MapState::None);
    interpreter::hint(stack, frames, Around { vault: &relay.vault, mapped, perf_map, found })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_until_the_next_request() {
        let module = ModuleId(1);
        let mut names = KnownNames::default();
        let long = || vec![Function { name: "f".repeat(1 << 20), source: None, inlined: false }];
        let mut address = 0;
        while !names.is_full() {
            names.insert(module, address, long());
            address += 1;
        }
        assert!(address > 8 && names.known.contains_key(&(module, 0)), "what this request found is there");
        names.make_room();
        assert!(names.known.is_empty() && !names.is_full());
        names.insert(module, 0, long());
        names.make_room();
        assert!(names.known.contains_key(&(module, 0)), "nothing is forgotten for no need");
    }
}
