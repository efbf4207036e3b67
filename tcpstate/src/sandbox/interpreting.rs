//! What the desk has done about programs that an interpreter runs.

use std::time::Instant;

use tcpstate_broker::process::program;
use tcpstate_common::interpreted::{Recipe, program as program_of};
use tcpstate_wire::{FrameWords, InterpretedFrame, Interpreter, Subject, Task, WorkerAnswer};

use super::{
    beginning::Look,
    desk::Desk,
    interpreters::{self, InterpreterOf},
    staff::TaskFailure,
    taken::Interpreted,
};

impl Desk {
    /// How the frames of the programs are found that an interpreter runs in this process, if there is one.
    pub(super) fn recipe(&mut self, subject: Subject) -> Option<Recipe> {
        if self.interpreters.get(subject).is_none_or(InterpreterOf::is_due) {
            let regions = interpreters::regions(self.staff.relay.program(subject)?);
            let (region, interpreter) = self.find_interpreter(subject, &regions)?;
            let known = InterpreterOf::new(region, interpreter, self.interpreters.get(subject));
            self.interpreters.insert(subject, known);
        }
        match &self.interpreters.get(subject)?.interpreter {
            Interpreter::Walked { recipe, .. } => interpreters::for_kernel(recipe),
            Interpreter::None | Interpreter::Unfit(_) => None,
        }
    }

    /// The same of a process that no stack has come of, with what tells its program from others. Where there is none yet, it is looked into
    /// again.
    pub(super) fn look(&mut self, look: Look) -> Option<(u64, Recipe)> {
        let found = self.recipe_of(look.begun.tgid);
        if found.is_none() {
            self.beginning.again(look, Instant::now());
        }
        found
    }

    fn recipe_of(&mut self, pid: u32) -> Option<(u64, Recipe)> {
        let start_stack = program::start_stack(pid)?;
        let subject = Subject { start_stack: Some(start_stack), ..Subject::numbered(pid) };
        self.staff.ask_for_mappings(subject).ok()?;
        let recipe = self.recipe(subject)?;
        Some((program_of(start_stack, program::end_code(pid)?), recipe))
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
                Err(TaskFailure { why, .. }) => Interpreter::Unfit(format!("reading it {why}")),
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
