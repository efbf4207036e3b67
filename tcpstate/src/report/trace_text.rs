//! `tcpstate trace -o text`: one line for each transition.

use std::{fmt, io};

use anstyle::{AnsiColor, Color, Style};
use tcpstate_common::state::TcpState;
use tcpstate_core::model::{Dwell, Family, Owner, Protocol, State, Transition};

use super::{
    clock::{TimeFormat, TimeStyle},
    columns::{Align, Column, Columns},
    escape::Escaped,
    words::EndpointText,
};

// Indices of the columns.
const TIME: usize = 0;
const PID: usize = 1;
const COMM: usize = 2;
const FAMILY: usize = 3;
const LOCAL: usize = 4;
const REMOTE: usize = 5;
const OLD: usize = 6;
const ARROW: usize = 7;
const NEW: usize = 8;
const IN_OLD: usize = 9;
const VIA: usize = 10;

/// The longest v4-mapped and the longest IPv6 endpoint: an endpoint's column grows at most twice.
const ENDPOINT_STEPS: &[usize] = &["[::ffff:255.255.255.255]:65535".len(), 47];

/// Renders transitions as lines for people.
///
/// Columns are separated by one space and start where the line before has them start. A value wider than its column
/// widens the column for good: IPv6 endpoints do so once (once more after v4-mapped ones), seven-digit pids, names
/// of threads and times fit from the start.
#[derive(Debug)]
pub struct TraceText {
    time: TimeFormat,
    color: bool,
    columns: Columns,
}

impl TraceText {
    /// A renderer that colours states when `color` is set.
    #[must_use]
    pub fn new(time: TimeFormat, color: bool) -> Self {
        let columns = Columns::new(columns(time.style));
        Self { time, color, columns }
    }

    /// Writes the titles of the columns.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn header(&mut self, out: &mut impl io::Write) -> io::Result<()> {
        let style = self.style(Style::new().bold());
        self.columns.write_titles(out, style)
    }

    /// Writes a transition.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn transition(&mut self, out: &mut impl io::Write, transition: &Transition) -> io::Result<()> {
        self.set_cells(transition).map_err(io::Error::other)?;
        self.columns.write_line(out)
    }

    fn set_cells(&mut self, transition: &Transition) -> fmt::Result {
        let plain = Style::new();
        let (old, new) = (self.style(state_style(transition.old)), self.style(state_style(transition.new)));
        let columns = &mut self.columns;
        columns.set(TIME, plain, self.time.at(transition.at))?;
        match &transition.owner {
            Some(owner) => {
                columns.set(PID, plain, owner.pid)?;
                columns.set(COMM, plain, Escaped(owner.comm.bytes()))?;
            }
            None => {
                columns.set(PID, plain, '-')?;
                columns.set(COMM, plain, '-')?;
            }
        }
        columns.set(FAMILY, plain, family(transition.family))?;
        columns.set(LOCAL, plain, EndpointText(transition.local))?;
        columns.set(REMOTE, plain, EndpointText(transition.remote))?;
        columns.set(OLD, old, transition.old)?;
        columns.set(ARROW, plain, '→')?;
        columns.set(NEW, new, transition.new)?;
        columns.set(IN_OLD, plain, Milliseconds(transition.in_old))?;
        columns.set(VIA, plain, Via(transition.owner.as_ref(), transition.protocol))
    }

    fn style(&self, style: Style) -> Style {
        if self.color { style } else { Style::new() }
    }
}

fn columns(time: TimeStyle) -> Vec<Column> {
    let time_width = match time {
        TimeStyle::Local | TimeStyle::Relative => "HH:MM:SS.mmm".len(),
        TimeStyle::Rfc3339 => "YYYY-MM-DDTHH:MM:SS.mmmuuu+HH:MM".len(),
        TimeStyle::None => 0,
    };
    let column = |title, align, group, width, steps| Column { title, align, group, width, steps };
    vec![
        column(if time_width == 0 { "" } else { "TIME" }, Align::Right, 0, time_width, &[]),
        column("PID", Align::Right, 1, "4194304".len(), &[]),
        column("COMM", Align::Left, 2, 15, &[]),
        column("V", Align::Left, 3, 1, &[]),
        column("LOCAL", Align::Left, 4, "255.255.255.255:65535".len(), ENDPOINT_STEPS),
        column("REMOTE", Align::Left, 4, 0, ENDPOINT_STEPS),
        column("OLD", Align::Left, 5, "ESTABLISHED".len(), &[]),
        column("", Align::Left, 6, 1, &[]),
        column("NEW", Align::Left, 5, 0, &[]),
        column("MS IN OLD", Align::Right, 7, "≥99999.999".len() - 2, &[]),
        column("VIA", Align::Left, 8, 1, &[]),
    ]
}

fn family(family: Family) -> char {
    match family {
        Family::Inet => '4',
        Family::Inet6 => '6',
    }
}

/// Colours of states: the one that names a leak is the loudest, the end is the quietest.
fn state_style(state: State) -> Style {
    let color = |color: AnsiColor| Style::new().fg_color(Some(Color::Ansi(color)));
    let State::Known(state) = state else { return color(AnsiColor::Magenta) };
    match state {
        TcpState::CloseWait => color(AnsiColor::White).bg_color(Some(Color::Ansi(AnsiColor::Red))).bold(),
        TcpState::Established => color(AnsiColor::Green),
        TcpState::Listen => color(AnsiColor::Blue),
        TcpState::SynSent | TcpState::SynRecv | TcpState::NewSynRecv => color(AnsiColor::Cyan),
        TcpState::FinWait1 | TcpState::FinWait2 | TcpState::Closing | TcpState::LastAck => color(AnsiColor::Yellow),
        TcpState::TimeWait | TcpState::Close | TcpState::BoundInactive => Style::new().dimmed(),
    }
}

/// Milliseconds, cut off after microseconds, so that a lower bound stays one.
struct Milliseconds(Dwell);

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bound, ns) = match self.0 {
            Dwell::Exact(ns) => ("", ns),
            Dwell::AtLeast(ns) => ("≥", ns),
            Dwell::Unknown => return f.write_str("-"),
        };
        write!(f, "{bound}{}.{:03}", ns / 1_000_000, ns / 1_000 % 1_000)
    }
}

/// How the owner is known, and what sets the socket apart from plain TCP.
struct Via<'a>(Option<&'a Owner>, Protocol);

impl fmt::Display for Via<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.map_or("-", |owner| owner.source.name()))?;
        match self.1 {
            Protocol::Tcp => Ok(()),
            Protocol::Mptcp => f.write_str(" mptcp"),
            Protocol::Other(number) => write!(f, " protocol-{number}"),
        }
    }
}
