//! `tcpstate doctor -o text`: findings first, then what they rest on.

use std::{fmt, io};

use anstyle::Style;
use tcpstate_core::{
    aggregate::doctor::{Diagnosis, Facts, Help, SettingRow, Severity},
    model::doctor::Reading,
};

use super::{
    doctor::{completeness, limit, memlock, sentence},
    page::{Page, Paragraph},
    probes_text,
    style::{BAD, BOLD, DIM, WARNING},
};

/// Renders a diagnosis for people.
#[derive(Clone, Copy, Debug)]
pub struct DoctorText {
    /// Whether it is coloured.
    pub color: bool,
    /// Columns of the terminal; without them lines are as long as what is in them.
    pub width: Option<usize>,
}

impl DoctorText {
    /// Writes it.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn write(&self, out: &mut impl io::Write, facts: &Facts, diagnosis: &Diagnosis) -> io::Result<()> {
        self.findings(out, diagnosis)?;
        self.machine(out, facts)?;
        self.settings(out, facts, diagnosis)
    }

    fn findings(&self, out: &mut impl io::Write, diagnosis: &Diagnosis) -> io::Result<()> {
        let mut page = Page::new(out, self.width, self.color);
        title(&mut page, "FINDINGS")?;
        if diagnosis.findings.iter().all(|finding| finding.severity == Severity::Note) {
            page.labelled("ok", &Paragraph::new().text("nothing is wrong with what could be looked at"))?;
        }
        for finding in &diagnosis.findings {
            let style = match finding.severity {
                Severity::Error => BAD,
                Severity::Warning => WARNING,
                Severity::Note => Style::new(),
            };
            page.labelled(finding.severity.name(), &Paragraph::new().styled(style, sentence(finding)))?;
            page.labelled("", &Paragraph::new().text(finding.kind.advice()))?;
        }
        Ok(())
    }

    fn machine(&self, out: &mut impl io::Write, facts: &Facts) -> io::Result<()> {
        let machine = &facts.machine;
        let mut page = Page::new(out, self.width, self.color);
        page.blank()?;
        title(&mut page, "WHAT THIS KERNEL AND USER ALLOW")?;
        let mut line = |label: &str, text: &dyn fmt::Display| page.labelled(label, &Paragraph::new().text(text));
        let lockdown = machine.lockdown.as_deref().unwrap_or("not known");
        line("kernel", &format_args!("{}, lockdown {lockdown}", machine.kernel))?;
        line("btf", &if machine.btf { "yes" } else { "not found, and nothing can be traced without it: see above" })?;
        let pids = if machine.initial_pids { "initial" } else { "nested: `--pid` means other processes to the kernel" };
        line("uid", &format_args!("{}, pid namespace {pids}", machine.uid))?;
        for capability in &machine.capabilities {
            let has = if capability.effective { "yes" } else { "no " };
            line("", &format_args!("{has} {} ({})", capability.name, capability.purpose))?;
        }
        line("memlock", &format_args!("{}: {}", limit(machine.memlock), memlock(machine)))?;
        line(
            "nofile",
            &format_args!("{}: of tcpstate itself, not of the processes it looks at", limit(machine.nofile)),
        )?;
        line(
            "tracefs",
            &if machine.tracefs {
                "mounted"
            } else {
                "not mounted, or not to be entered; tcpstate mounts one for itself where it needs it and may"
            },
        )?;
        match &machine.sandbox {
            Ok(sandbox) => line(
                "sandbox",
                &format_args!("what parses other programs' files is confined {}", completeness(sandbox)),
            )?,
            Err(why) => line("sandbox", &format_args!("none: {why}"))?,
        }
        for (label, name, meaning) in [
            ("jit", "net.core.bpf_jit_enable", "1 compiles BPF programs, 0 interprets them"),
            ("bpf users", "kernel.unprivileged_bpf_disabled", "tcpstate needs CAP_BPF whatever it says"),
            ("ptrace", "kernel.yama.ptrace_scope", "3 keeps even root from reading the stacks of sleeping threads"),
        ] {
            line(label, &format_args!("`{name}` {}: {meaning}", is(facts.settings.get(name))))?;
        }
        writeln!(out)?;
        match &machine.hooks {
            Ok(hooks) => probes_text::table(out, hooks),
            Err(why) => writeln!(out, "hooks were not tried: {why}"),
        }
    }

    fn settings(&self, out: &mut impl io::Write, facts: &Facts, diagnosis: &Diagnosis) -> io::Result<()> {
        let mut page = Page::new(out, self.width, self.color);
        page.blank()?;
        let whose = if facts.own_netns { ", that of tcpstate itself" } else { "" };
        title(&mut page, &format!("TCP SETTINGS of network namespace {}{whose}", facts.netns))?;
        page.labelled("", &Paragraph::new().text("none of them closes a socket in CLOSE_WAIT: only its program can"))?;
        for row in &diagnosis.settings {
            setting(&mut page, row)?;
        }
        Ok(())
    }
}

fn title<W: io::Write>(page: &mut Page<'_, W>, text: &str) -> io::Result<()> {
    page.headline(&Paragraph::new().styled(BOLD, text))
}

fn is(reading: Option<&Reading>) -> String {
    match reading {
        Some(Reading::Value(value)) => format!("is {value}"),
        Some(Reading::Unreadable(why)) => format!("cannot be read ({why})"),
        Some(Reading::Absent) | None => "is not shown here".to_owned(),
    }
}

fn setting<W: io::Write>(page: &mut Page<'_, W>, row: &SettingRow) -> io::Result<()> {
    let value = match &row.reading {
        Reading::Value(value) => format!("= {value}"),
        Reading::Absent => "absent".to_owned(),
        Reading::Unreadable(_) => "unreadable".to_owned(),
    };
    let line = Paragraph::new().styled(BOLD, format_args!("{} {value}", row.setting.name));
    page.headline(&line.styled(DIM, format_args!("(default: {})", row.default)))?;
    page.labelled("governs", &Paragraph::new().text(row.setting.governs))?;
    let help = match row.relevance.help {
        Help::No => "cannot help:",
        Help::Perhaps => "concerned:",
        Help::Absent => "not here:",
    };
    page.labelled("now", &Paragraph::new().text(help).text(&row.relevance.why))?;
    page.labelled("source", &Paragraph::new().styled(DIM, row.setting.source))
}
