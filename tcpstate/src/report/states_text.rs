//! `tcpstate states -o text`: how many sockets are in each state, and what is about to run out.

mod limits;
mod table;

use std::io;

use anstyle::Style;
use tcpstate_core::{
    aggregate::states::{By, GroupKey, GroupRow, NamespaceRow, SocketCounts, StateRow},
    model::Age,
};

use self::{
    limits::{descriptors, listeners, ports},
    table::Table,
};
use super::{
    clock::TimeFormat,
    columns::Align,
    escape::{Escaped, Phrase},
    page::{Page, Paragraph},
    style::{BAD, BOLD, DIM, PLAIN, WARNING},
    words::{AgeText, Count, PeerText, RefusedText, because},
};

/// Renders counts of sockets for people.
#[derive(Clone, Debug)]
pub struct StatesText {
    /// How the moment of a report is shown.
    pub time: TimeFormat,
    /// Whether it is coloured.
    pub color: bool,
    /// Columns of the terminal; without them lines are as long as what is in them.
    pub width: Option<usize>,
    /// Rows of each table at most.
    pub top: usize,
}

impl StatesText {
    /// Writes a report.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn report(&self, out: &mut impl io::Write, counts: &SocketCounts) -> io::Result<()> {
        let mut page = Page::new(out, self.width, self.color);
        page.headline(&self.headline(counts))?;
        for gap in gaps(counts) {
            page.headline(&Paragraph::new().word(WARNING, "incomplete:").text(gap))?;
        }
        states(counts).write(out, self.color, usize::MAX)?;
        if let Some(by) = counts.by {
            groups(counts, by).write(out, self.color, self.top)?;
            if by == By::Process && counts.shared > 0 {
                let text = format!("{} counted for each of the processes that hold it", Count(counts.shared, "socket"));
                Page::new(out, self.width, self.color).headline(&Paragraph::new().styled(DIM, text))?;
            }
        }
        listeners(counts).write(out, self.color, self.top)?;
        self.dropped(out, counts)?;
        descriptors(counts).write(out, self.color, self.top)?;
        ports(counts).write(out, self.color, self.top)
    }

    fn headline(&self, counts: &SocketCounts) -> Paragraph {
        let mut line = Paragraph::new();
        let time = self.time.at(counts.now).to_string();
        if !time.is_empty() {
            line = line.word(DIM, time);
        }
        let sockets = Count(counts.sockets, "TCP socket");
        let namespaces = Count(counts.namespaces.len() as u64, "network namespace");
        line = line.styled(BOLD, format_args!("{sockets} in {namespaces}"));
        match counts.change() {
            Some(change) => line.glue(",").text(format_args!("{} since the last report", signed(change))),
            None => line,
        }
    }

    /// What listeners have refused, where they have.
    fn dropped(&self, out: &mut impl io::Write, counts: &SocketCounts) -> io::Result<()> {
        let mut page = Page::new(out, self.width, self.color);
        for row in &counts.namespaces {
            let (Some(overflows), Some(drops)) = (row.listen_overflows, row.listen_drops) else { continue };
            if drops == 0 {
                continue;
            }
            let rising = row.overflows_change.max(row.drops_change).is_some_and(|change| change > 0);
            let change =
                |change: Option<i64>| change.map_or_else(String::new, |change| format!(" ({})", signed(change)));
            let text = format!(
                "listeners of {} have dropped {}{} since it began, {}{} of them because the backlog was full",
                namespace(row),
                Count(drops, "connection"),
                change(row.drops_change),
                overflows,
                change(row.overflows_change),
            );
            page.headline(&Paragraph::new().styled(if rising { BAD } else { PLAIN }, text))?;
        }
        Ok(())
    }
}

fn namespace(row: &NamespaceRow) -> String {
    match row.names.first() {
        Some(name) => format!("network namespace {}", Escaped(name)),
        None if row.own => "this network namespace".to_owned(),
        None => format!("network namespace {}", row.inode),
    }
}

/// What could not be looked at, and what that takes.
fn gaps(counts: &SocketCounts) -> Vec<String> {
    let mut gaps = Vec::new();
    gaps.extend(counts.gaps.hidden.clone());
    if counts.gaps.processes > 0 {
        gaps.push(format!(
            "{} could not be looked into, whose descriptors and network namespaces are not known: {}",
            RefusedText(&counts.gaps),
            because(&counts.gaps)
        ));
    }
    for (name, reason) in &counts.gaps.namespaces {
        gaps.push(format!("network namespace {name} is not counted: {reason}"));
    }
    gaps.iter().map(|gap| Phrase(gap).to_string()).collect()
}

fn states(counts: &SocketCounts) -> Table {
    let mut table = Table::new(vec![
        ("STATE", Align::Left),
        ("SOCKETS", Align::Right),
        (if counts.sockets_before.is_some() { "CHANGE" } else { "" }, Align::Right),
        ("OLDEST", Align::Right),
        ("MEDIAN", Align::Right),
        ("", Align::Left),
    ]);
    for row in &counts.states {
        let known =
            if row.aged > 0 && row.aged < row.sockets { format!("age known of {}", row.aged) } else { String::new() };
        table.row(vec![
            (state_style(row), row.state.to_string()),
            (state_style(row), row.sockets.to_string()),
            change(row.change),
            (PLAIN, age(row.oldest)),
            (PLAIN, age(row.median)),
            (DIM, known),
        ]);
    }
    table
}

fn state_style(row: &StateRow) -> Style {
    use tcpstate_common::state::TcpState::CloseWait;
    match row.state {
        tcpstate_core::model::State::Known(CloseWait) if row.sockets > 0 => BOLD,
        _ => PLAIN,
    }
}

fn age(age: Option<Age>) -> String {
    age.map_or_else(|| "-".to_owned(), |age| AgeText(age).to_string())
}

fn groups(counts: &SocketCounts, by: By) -> Table {
    let title = match by {
        By::Process => "PROCESS",
        By::Netns => "NETWORK NAMESPACE",
        By::Cgroup => "CGROUP",
        By::Lport => "LOCAL PORT",
        By::Remote => "REMOTE",
    };
    let mut table = Table::new(vec![
        (title, Align::Left),
        ("SOCKETS", Align::Right),
        (if counts.sockets_before.is_some() { "CHANGE" } else { "" }, Align::Right),
        ("STATES", Align::Left),
    ]);
    for row in &counts.groups {
        table.row(vec![
            (BOLD, group(row)),
            (PLAIN, row.sockets.to_string()),
            change(row.change),
            (PLAIN, in_states(row)),
        ]);
    }
    table
}

fn group(row: &GroupRow) -> String {
    let named = |number: String| match &row.name {
        Some(name) => format!("{} ({number})", Escaped(name)),
        None => number,
    };
    match row.key {
        GroupKey::Process(pid) => match &row.name {
            Some(name) => format!("{}[{pid}]", Escaped(name)),
            None => format!("pid {pid}"),
        },
        GroupKey::NoDescriptor => "no process".to_owned(),
        GroupKey::HolderUnknown => "process not known".to_owned(),
        GroupKey::Netns(inode) => named(inode.to_string()),
        GroupKey::Cgroup(id) => row.name.as_ref().map_or_else(|| id.to_string(), |name| Escaped(name).to_string()),
        GroupKey::CgroupUnknown => "cgroup not known".to_owned(),
        GroupKey::Port(port) => port.to_string(),
        GroupKey::GivenPort => "ephemeral".to_owned(),
        GroupKey::Remote(peer) => PeerText(peer).to_string(),
        GroupKey::NoRemote => "not connected".to_owned(),
    }
}

/// `203 CLOSE_WAIT (oldest ~41 s, +3), 10 ESTABLISHED`: most first.
fn in_states(row: &GroupRow) -> String {
    let mut states: Vec<_> = row.states.iter().collect();
    states.sort_by(|one, other| other.sockets.cmp(&one.sockets).then(one.state.cmp(&other.state)));
    let states = states.iter().map(|state| {
        let oldest = state.oldest.map(|oldest| format!("oldest {}", AgeText(oldest)));
        let change = state.change.filter(|&change| change != 0).map(signed);
        let aside = [change, oldest].into_iter().flatten().collect::<Vec<_>>().join(", ");
        let aside = if aside.is_empty() { aside } else { format!(" ({aside})") };
        format!("{} {}{aside}", state.sockets, state.state)
    });
    states.collect::<Vec<_>>().join(", ")
}

fn change(change: Option<i64>) -> (Style, String) {
    match change {
        None => (PLAIN, String::new()),
        Some(0) => (DIM, "0".to_owned()),
        Some(change) => (PLAIN, signed(change)),
    }
}

fn signed(change: i64) -> String {
    if change > 0 { format!("+{change}") } else { change.to_string() }
}
