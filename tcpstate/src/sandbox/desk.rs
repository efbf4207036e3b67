//! Where the thread has what it is asked for done, and remembers what came of it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};

use tcpstate_broker::{Entry, Lost, process::start};
use tcpstate_core::model::{ProcessId, activity::WokenBy, leak::PlaceId, stack::Stack};
use tcpstate_wire::{
    Backing, CodeAddress, ModuleId, Need, StackCopy, StackEnd, Subject, Task, Truncation, UnwoundStack, Waker,
    WorkerAnswer,
};

use super::{
    aside::Aside,
    interpreters::{Interpretable, Interpreters, real_user},
    naming::{JitNames, KnownNames, at},
    patience::Patience,
    question::{BusyProcess, NamedStack, Question, SleeperStack, Wakers},
    staff::{Staff, TaskFailure},
    taken::{Interpreted, TakenCopy, TakenStack, Unwound, is_cut},
};

/// Addresses that are named at a time.
const ADDRESSES: usize = 64;
/// Most programs whose users are remembered.
const MOST_USERS: usize = 4096;

/// What the thread has.
#[derive(Debug, Default)]
pub(super) struct Desk {
    pub(super) staff: Staff,
    pub(super) aside: Aside,
    pub(super) patience: Patience,
    names: KnownNames,
    pub(super) interpreters: Interpreters,
    pub(super) interpretable: Interpretable,
    /// By number and start of the stack, of programs whose copies came: they may have ended since.
    users: HashMap<(u32, u64), u32>,
}

impl Desk {
    /// One that has no time left as soon as that is said.
    pub(super) fn new(hurry: Arc<AtomicBool>) -> Self {
        Self { staff: Staff::new(hurry), ..Self::default() }
    }

    /// Has those started who read, which takes a moment.
    pub(super) fn open(&mut self) {
        self.staff.start();
    }

    pub(super) fn answer(&mut self, ask: Question) {
        match ask {
            // An answer that nobody waits for is none too many.
            Question::Name { stacks, deadline, answer } => drop(answer.send(self.name(&stacks, deadline))),
            Question::Sleepers { threads, deadline, answer } => drop(answer.send(self.sleepers(threads, deadline))),
            Question::Wakers { processes, deadline, answer } => drop(answer.send(self.wakers(processes, deadline))),
        }
    }

    pub(super) fn unwound(&mut self, place: PlaceId, taken: TakenCopy) -> Unwound {
        let TakenCopy { subject, user, is_largest, program, copy, interpreted: (frames, end), kernel } = taken;
        self.remember(subject, user);
        let mut stack = self.taken(subject, copy, kernel);
        let recipe = self.recipe(subject).map(|recipe| (program, recipe));
        if !frames.is_empty() {
            stack.interpreted = Interpreted { frames: self.name_interpreted(subject, frames), end };
        }
        let code = self.staff.relay.program(stack.subject).and_then(|program| program.code);
        let is_cut = !is_largest && is_cut(&stack.stack);
        Unwound { place, stack, is_cut, code, recipe }
    }

    /// Follows a stack, which tells more of its process.
    fn taken(&mut self, subject: Subject, copy: StackCopy, kernel: Vec<u64>) -> TakenStack {
        let stack = self.unwind(subject, copy);
        let subject = self.staff.relay.program(subject).map_or(subject, |program| program.subject);
        let interpreted = Interpreted::default();
        TakenStack { subject, stack, varying: false, was_cut: false, interpreted, kernel, asleep: false }
    }

    /// Follows a stack. Where that fails, it is known where it begins.
    fn unwind(&mut self, subject: Subject, copy: StackCopy) -> UnwoundStack {
        let Subject { pid, start_stack, .. } = subject;
        let first = CodeAddress { ip: copy.registers.ip, is_return: false, backing: Backing::Unknown };
        let given_up = |why: &str| UnwoundStack {
            frames: vec![first],
            end: StackEnd::Truncated(Truncation::GivenUp(format!("reading it {why}"))),
        };
        if let Some(why) = self.aside.why_process(pid) {
            return given_up(&why);
        }
        match self.perform(subject, &Task::Unwind { pid, start_stack, copy }) {
            Ok(WorkerAnswer::Unwound { stack, unreadable }) if !stack.frames.is_empty() => {
                for file in unreadable {
                    self.staff.relay.vault.give_up(file.module, &file.why);
                }
                stack
            }
            Ok(_) => given_up("failed"),
            Err(TaskFailure { module: Some(module), why }) => {
                self.aside.module(module, &why);
                given_up(&why)
            }
            Err(TaskFailure { module: None, why }) => {
                self.aside.process(pid, &why);
                given_up(&why)
            }
        }
    }

    pub(super) fn perform(&mut self, subject: Subject, task: &Task) -> Result<WorkerAnswer, TaskFailure> {
        let user = self.user(subject);
        let limits = self.patience.limits(user, Instant::now());
        let result = self.staff.perform(subject, task, limits, &mut self.aside);
        if let Err(failure) = &result {
            self.patience.failed(user, Instant::now());
            tracing::debug!(pid = subject.pid, module = ?failure.module, "given up: reading it {}", failure.why);
        }
        result
    }

    fn remember(&mut self, Subject { pid, start_stack, .. }: Subject, user: u32) {
        let Some(start_stack) = start_stack else { return };
        if self.users.len() >= MOST_USERS {
            self.users.clear();
        }
        self.users.insert((pid, start_stack), user);
    }

    /// Whose a program is, or was.
    fn user(&self, Subject { pid, start_stack, .. }: Subject) -> Option<u32> {
        if let Some(&user) = start_stack.and_then(|start_stack| self.users.get(&(pid, start_stack))) {
            return Some(user);
        }
        real_user(pid)
    }

    /// Names stacks, as far as time allows.
    fn name(&mut self, stacks: &[TakenStack], deadline: Instant) -> Vec<NamedStack> {
        self.names.make_room();
        let is_whole = self.ask_for_names(stacks, deadline);
        let jit = self.jit_names(stacks, deadline);
        let Self { names, staff, aside, interpreters, .. } = self;
        let name = |stack: &TakenStack| {
            let found = interpreters.get(stack.subject).map(|known| &known.interpreter);
            NamedStack { stack: names.name(stack, &jit, &staff.relay, aside, found, is_whole), is_whole }
        };
        stacks.iter().map(name).collect()
    }

    /// Returns whether all were asked for.
    fn ask_for_names(&mut self, stacks: &[TakenStack], deadline: Instant) -> bool {
        let mut missing = Vec::new();
        for (module, addresses) in self.names.missing(stacks, &self.aside) {
            if let Some(subject) = self.staff.relay.vault.get(module).map(Entry::subject) {
                let addresses: Vec<u64> = addresses.into_iter().collect();
                missing.push((self.user(subject), (subject, module, addresses)));
            }
        }
        for (subject, module, addresses) in in_turns(missing) {
            for addresses in addresses.chunks(ADDRESSES) {
                if Instant::now() >= deadline || self.names.is_full() {
                    return false;
                }
                if !self.name_addresses(subject, module, addresses) {
                    break;
                }
            }
        }
        true
    }

    /// Returns whether the module can be asked for more.
    fn name_addresses(&mut self, subject: Subject, module: ModuleId, addresses: &[u64]) -> bool {
        let task = Task::Name { module, addresses: addresses.to_vec() };
        match self.perform(subject, &task) {
            Ok(WorkerAnswer::Named { functions, is_whole }) if functions.len() == addresses.len() => {
                if !is_whole {
                    self.aside.too_much(module);
                }
                for (&address, functions) in addresses.iter().zip(functions) {
                    self.names.insert(module, address, functions);
                }
                true
            }
            Ok(_) => {
                self.aside.nameless(module, "failed");
                false
            }
            Err(TaskFailure { why, .. }) => {
                self.aside.nameless(module, &why);
                false
            }
        }
    }

    /// The functions of code that was made at run time, by process.
    fn jit_names(&mut self, stacks: &[TakenStack], deadline: Instant) -> JitNames {
        let mut wanted: BTreeMap<Subject, BTreeSet<u64>> = BTreeMap::new();
        for stack in stacks {
            let jit = stack.stack.frames.iter().filter(|frame| frame.backing == Backing::Jit);
            wanted.entry(stack.subject).or_default().extend(jit.map(at));
        }
        let mut names = JitNames::new();
        for (subject, addresses) in wanted.into_iter().filter(|(_, addresses)| !addresses.is_empty()) {
            let pid = subject.pid;
            if Instant::now() >= deadline || self.aside.why_process(pid).is_some() {
                continue;
            }
            let addresses: Vec<u64> = addresses.into_iter().collect();
            let task = Task::NameJit { addresses: addresses.clone() };
            match self.perform(subject, &task) {
                Ok(WorkerAnswer::NamedJit { functions }) if functions.len() == addresses.len() => {
                    let named = addresses.into_iter().zip(functions);
                    names.extend(named.filter_map(|(address, function)| Some(((subject, address), function?))));
                }
                Ok(_) => self.aside.process(pid, "failed"),
                Err(TaskFailure { why, .. }) => self.aside.process(pid, &why),
            }
        }
        names
    }

    /// Where threads sleep. They run on meanwhile: if one wakes up, what is read does not hold together, and its stack says so.
    fn sleepers(&mut self, threads: Vec<SleeperStack>, deadline: Instant) -> Vec<Option<Stack>> {
        let taken: Vec<Option<TakenStack>> = threads
            .into_iter()
            .map(|thread| if Instant::now() < deadline { self.sleeper(thread) } else { None })
            .collect();
        let stacks: Vec<TakenStack> = taken.iter().flatten().cloned().collect();
        let mut named = self.name(&stacks, deadline).into_iter();
        taken.into_iter().map(|taken| taken.and_then(|_| Some(named.next()?.stack))).collect()
    }

    fn sleeper(&mut self, thread: SleeperStack) -> Option<TakenStack> {
        let SleeperStack { process, tid, registers, thread_pointer, cpu_ns, kernel } = thread;
        let pid = process.pid;
        if self.aside.why_process(pid).is_some() {
            return None;
        }
        let bytes = match self.staff.memory(Subject::numbered(pid), registers.sp, Need::MOST_MEMORY) {
            Ok(bytes) if bytes.is_empty() => return None,
            Ok(bytes) => bytes,
            Err(lost) => {
                self.aside.process(pid, &lost.0);
                return None;
            }
        };
        let may_go_on = bytes.len() >= Need::MOST_MEMORY as usize;
        let copy = StackCopy { registers, bytes, missing: Vec::new(), may_go_on };
        let mut stack = TakenStack { asleep: true, ..self.taken(Subject::numbered(pid), copy, kernel) };
        if thread_pointer != 0 {
            let interpreted = self.walk_interpreted(stack.subject, thread_pointer);
            // One that has run since may be elsewhere, and have been so while the list was followed.
            stack.interpreted = interpreted.filter(|_| start::cpu_ns(pid, tid) == Some(cpu_ns)).unwrap_or_default();
        }
        // Asked last, it holds of what was read before.
        start::is_still(process).then_some(stack)
    }

    /// What wakes processes, as far as time allows.
    fn wakers(&mut self, processes: Vec<BusyProcess>, deadline: Instant) -> Wakers {
        let in_time = |_: &BusyProcess| Instant::now() < deadline;
        processes.into_iter().take_while(in_time).filter_map(|busy| self.waker(busy)).collect()
    }

    fn waker(&mut self, BusyProcess { process, sockets }: BusyProcess) -> Option<(ProcessId, WokenBy)> {
        let subject = Subject::numbered(process.pid);
        let user = self.user(subject);
        // Each broker that never comes back is left behind, and a user may start any number of processes.
        if self.aside.why_process(process.pid).is_some() || self.patience.is_used_up(user, Instant::now()) {
            return None;
        }
        match self.staff.waker(subject, sockets) {
            // Asked last, it holds of what was read before.
            Ok(waker) => waker
                .filter(|_| start::is_still(process))
                .map(|Waker { epoll, sockets }| (process, WokenBy { epoll, sockets })),
            Err(Lost(why)) => {
                tracing::debug!(pid = process.pid, "given up: reading what its epoll descriptors watch {why}");
                self.patience.failed(user, Instant::now());
                self.aside.process(process.pid, &why);
                None
            }
        }
    }

    /// Has memory given back that was needed for names.
    pub(super) fn rest(&mut self) {
        self.names.close_files();
        let limits = self.patience.limits(None, Instant::now());
        self.staff.rest(limits, &mut self.aside);
    }
}

/// Users take turns, so that whoever has ever so many names read delays his own.
fn in_turns<T>(theirs: Vec<(Option<u32>, T)>) -> impl Iterator<Item = T> {
    let mut turns: HashMap<Option<u32>, usize> = HashMap::new();
    let with_turn = |(user, item)| {
        let turn = turns.entry(user).or_default();
        *turn += 1;
        (*turn, item)
    };
    let mut items: Vec<_> = theirs.into_iter().map(with_turn).collect();
    items.sort_by_key(|&(turn, _)| turn);
    items.into_iter().map(|(_, item)| item)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_take_turns() {
        let theirs = [(7, "a1"), (7, "a2"), (7, "a3"), (8, "b1"), (9, "c1"), (9, "c2")];
        let in_turns = in_turns(theirs.map(|(user, item)| (Some(user), item)).into());
        assert_eq!(in_turns.collect::<Vec<_>>(), ["a1", "b1", "c1", "a2", "c2", "a3"]);
    }
}
