//! What the desk has done about programs that an interpreter runs.

use std::time::Instant;

use tcpstate_broker::{Lost, process::program};
use tcpstate_common::interpreted::{Recipe, program as program_of};
use tcpstate_wire::{FrameWords, InterpretedFrame, Interpreter, Subject, Task, WorkerAnswer};

use super::{
    beginning::{Look, Looked},
    desk::Desk,
    interpreters::{self, InterpreterOf},
    staff::TaskFailure,
    taken::Interpreted,
};

impl Desk {
    /// How the frames of the programs are found that an interpreter runs in this process, if there is one. A stack of it has come.
    pub(super) fn recipe(&mut self, subject: Subject) -> Option<Recipe> {
        let tries = match self.interpreters.get(subject) {
            Some(known) if !known.is_due() => return self.known_recipe(subject),
            Some(known) => known.tries.saturating_add(1),
            None => 1,
        };
        self.look_for_interpreter(subject, tries)
    }

    fn known_recipe(&self, subject: Subject) -> Option<Recipe> {
        match &self.interpreters.get(subject)?.interpreter {
            Interpreter::Walked { recipe, .. } => interpreters::for_kernel(recipe),
            Interpreter::None | Interpreter::Unfit(_) => None,
        }
    }

    fn look_for_interpreter(&mut self, subject: Subject, tries: u32) -> Option<Recipe> {
        let regions = interpreters::regions(self.staff.relay.program(subject)?);
        let (region, interpreter) = self.find_interpreter(subject, &regions)?;
        self.interpreters.insert(subject, InterpreterOf::new(region, interpreter, tries));
        self.known_recipe(subject)
    }

    /// The same of a process that no stack has come of, with what tells its program from others; and whether another look may find more.
    pub(super) fn look(&mut self, Look { begun, start_stack }: Look) -> (Looked, Option<(u64, Recipe)>) {
        let pid = begun.tgid;
        let over = (Looked::Over, None);
        let Some(start) = program::start_stack(pid) else { return over };
        // Another program is told of by itself. A name may have changed, too.
        if start_stack.is_some_and(|before| before != start) || !self.interpretable.leaves_in(pid) {
            return over;
        }
        let subject = Subject { start_stack: Some(start), ..Subject::numbered(pid) };
        let user = Some(begun.uid);
        // Each broker that never comes back is left behind, and a user may start any number of processes.
        if self.aside.why_process(pid).is_some() || self.patience.is_used_up(user, Instant::now()) {
            return over;
        }
        if let Err(Lost(why)) = self.staff.ask_for_mappings(subject) {
            self.patience.failed(user, Instant::now());
            self.aside.process(pid, &why);
            return over;
        }
        let (is_known, tries) =
            self.interpreters.get(subject).map_or((false, 0), |known| (known.is_walked(), known.tries));
        let recipe = if is_known { self.known_recipe(subject) } else { self.look_for_interpreter(subject, tries) };
        let found = recipe.and_then(|recipe| Some((program_of(start, program::end_code(pid)?), recipe)));
        (if found.is_some() { Looked::Over } else { Looked::NotYet(start) }, found)
    }

    /// The interpreter at one of these regions.
    fn find_interpreter(&mut self, subject: Subject, regions: &[u64]) -> Option<(u64, Interpreter)> {
        let Subject { pid, start_stack, .. } = subject;
        let mut found = None;
        for &region in regions {
            let task = Task::FindInterpreter { pid, start_stack, region };
            let interpreter = match self.perform(subject, &task) {
                Ok(WorkerAnswer::Interpreter(interpreter)) => interpreter,
                Ok(_) => Interpreter::Unfit("reading it failed".to_owned()),
                Err(TaskFailure { why, module }) => {
                    if module.is_none() {
                        self.aside.process(pid, &why);
                    }
                    Interpreter::Unfit(format!("reading it {why}"))
                }
            };
            if let Interpreter::Unfit(why) = &interpreter {
                tracing::debug!(pid, "its interpreter is not looked into: {why}");
            }
            let is_one = interpreter != Interpreter::None;
            found = Some((region, interpreter));
            if is_one {
                break;
            }
        }
        found
    }

    /// Names frames at once: what they were made of may be gone soon. None where nobody can.
    pub(super) fn name_interpreted(&mut self, subject: Subject, frames: Vec<FrameWords>) -> Vec<InterpretedFrame> {
        let Some(&InterpreterOf { region, .. }) = self.interpreters.get(subject) else { return Vec::new() };
        let Subject { pid, start_stack, .. } = subject;
        match self.perform(subject, &Task::NameInterpreted { pid, start_stack, region, frames }) {
            Ok(WorkerAnswer::NamedInterpreted(frames)) => frames,
            _ => Vec::new(),
        }
    }

    /// The frames of a thread that sleeps, if an interpreter is known that runs its program.
    pub(super) fn walk_interpreted(&mut self, subject: Subject, thread_pointer: u64) -> Option<Interpreted> {
        self.recipe(subject)?;
        let InterpreterOf { region, .. } = *self.interpreters.get(subject)?;
        let Subject { pid, start_stack, .. } = subject;
        match self.perform(subject, &Task::WalkInterpreted { pid, start_stack, region, thread_pointer }) {
            Ok(WorkerAnswer::WalkedInterpreted(frames, end)) => Some(Interpreted { frames, end }),
            _ => None,
        }
    }
}
