//! `tcpstate probes`: a table.

use std::{fmt, io};

use anstyle::Style;
use tcpstate_core::model::probes::{HookAttempt, Hooks, Refusal, RoleProbe};

use super::{
    columns::{Align, Column, Columns},
    errno::Errno,
};

const ROLE: usize = 0;
const HOOK: usize = 1;
const STATUS: usize = 2;
const WHY: usize = 3;

/// Writes the hooks by role, then what is lost.
///
/// # Errors
///
/// Those of `out`.
pub fn write(out: &mut impl io::Write, hooks: &Hooks) -> io::Result<()> {
    let lockdown = hooks.lockdown.as_deref().unwrap_or("not known");
    writeln!(out, "kernel {}, lockdown {lockdown}\n", hooks.kernel)?;
    table(out, hooks)
}

/// The table without what stands above it.
pub(super) fn table(out: &mut impl io::Write, hooks: &Hooks) -> io::Result<()> {
    let column = |title, group| Column { title, align: Align::Left, group, width: 0, steps: &[] };
    let mut columns =
        Columns::new(vec![column("ROLE", ROLE), column("HOOK", HOOK), column("", STATUS), column("WHY NOT", WHY)]);
    for probe in &hooks.roles {
        for (index, attempt) in probe.attempts.iter().enumerate() {
            set(&mut columns, probe, index, attempt).map_err(io::Error::other)?;
            columns.grow();
        }
    }
    columns.write_titles(out, Style::new())?;
    for probe in &hooks.roles {
        for (index, attempt) in probe.attempts.iter().enumerate() {
            set(&mut columns, probe, index, attempt).map_err(io::Error::other)?;
            columns.write_line(out)?;
        }
    }
    let mut blank = "\n";
    for role in hooks.missing() {
        writeln!(out, "{blank}no hook for {}: {}", role.name(), role.lost())?;
        blank = "";
    }
    Ok(())
}

fn set(columns: &mut Columns, probe: &RoleProbe, index: usize, attempt: &HookAttempt) -> fmt::Result {
    let plain = Style::new();
    columns.set(ROLE, plain, if index == 0 { probe.role.name() } else { "" })?;
    columns.set(HOOK, plain, &attempt.hook)?;
    let status = match &attempt.refused {
        Some(_) => "refused",
        None if probe.chosen() == Some(attempt.hook.as_str()) => "chosen",
        None => "allowed",
    };
    columns.set(STATUS, plain, status)?;
    match &attempt.refused {
        Some(Refusal { errno: Some(errno), reason }) => {
            columns.set(WHY, plain, format_args!("{}: {reason}", Errno(*errno)))
        }
        Some(Refusal { errno: None, reason }) => columns.set(WHY, plain, reason),
        None => columns.set(WHY, plain, ""),
    }
}
