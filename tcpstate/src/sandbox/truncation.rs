//! Why a stack ends early, in words.

use std::path::Path;

use tcpstate_broker::Vault;
use tcpstate_wire::{ListEnd, ModuleId, StackEnd, Truncation};

use super::taken::TakenStack;

/// Why it could not be followed to its end, if so.
pub(super) fn truncated(stack: &TakenStack, vault: &Vault) -> Option<String> {
    match &stack.stack.end {
        _ if stack.varying => Some("callers further out vary".to_owned()),
        StackEnd::Complete => of_list(stack.interpreted.end).map(str::to_owned),
        StackEnd::Truncated(reason) => Some(in_words(reason, vault)),
    }
}

/// Why the list of an interpreter's frames ends early.
fn of_list(end: ListEnd) -> Option<&'static str> {
    match end {
        ListEnd::Complete => None,
        ListEnd::TooDeep => Some("more frames of Python than are taken"),
        ListEnd::NotInMemory => Some("a frame of Python is not in memory"),
    }
}

fn in_words(reason: &Truncation, vault: &Vault) -> String {
    let path = |module: &ModuleId| {
        let entry = vault.get(*module);
        entry.map_or_else(|| Path::new("?").display(), |entry| entry.path.display()).to_string()
    };
    match reason {
        Truncation::CopyEnded(bytes) if bytes % 1024 == 0 => {
            format!("the copy of the stack ended after {} KiB", bytes / 1024)
        }
        Truncation::CopyEnded(bytes) => format!("the copy of the stack ended after {bytes} bytes"),
        Truncation::OffStack => "a frame lies outside of the stack".to_owned(),
        Truncation::NotInMemory => "a frame lies in a page of the stack that was not in memory".to_owned(),
        Truncation::NoUnwindInfo(module) => format!("no unwind info and no frame pointer in `{}`", path(module)),
        Truncation::Unreadable(module) => {
            let why = vault.get(*module).and_then(|entry| entry.unreadable.clone());
            format!("`{}` could not be read: {}", path(module), why.as_deref().unwrap_or("it is not open any more"))
        }
        Truncation::NoFramePointer => "no frame pointer in code made at run time".to_owned(),
        Truncation::UnusableUnwindInfo(module) => format!("unusable unwind info in `{}`", path(module)),
        Truncation::Signal => "the frames that a signal interrupted are not followed".to_owned(),
        Truncation::NotCode(address) => format!("no code at the return address 0x{address:x}"),
        Truncation::TooManyMappings => "the process has more mappings than are read".to_owned(),
        Truncation::TooDeep(frames) => format!("more than {frames} frames"),
        Truncation::NoRegisters => "no registers of user space".to_owned(),
        Truncation::ProcessGone => "the process ended before its mappings were read".to_owned(),
        Truncation::ProgramGone => "the process executed another program before its mappings were read".to_owned(),
        Truncation::NoMappings(error) => error.clone(),
        Truncation::GivenUp(why) => format!("given up: {why}"),
    }
}
