//! `-o text`.

use std::{io, str};

use jiff::tz::TimeZone;
use proptest::{collection::vec, prelude::*};
use tcpstate::report::{
    clock::{TimeFormat, TimeStyle},
    trace_text::TraceText,
};
use tcpstate_core::model::Transition;
use unicode_width::UnicodeWidthChar;

use crate::{
    golden::assert_golden,
    sample::{CLOCK, START, transitions},
    strategy::transition,
};

fn format(style: TimeStyle) -> TimeFormat {
    let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a POSIX zone");
    TimeFormat { style, clock: CLOCK, start: START, zone }
}

fn render(style: TimeStyle, color: bool, transitions: &[Transition]) -> String {
    let mut text = TraceText::new(format(style), color);
    let mut out = Vec::new();
    text.header(&mut out).expect("a Vec takes it");
    transitions.iter().for_each(|transition| text.transition(&mut out, transition).expect("a Vec takes it"));
    String::from_utf8(out).expect("text is UTF-8")
}

#[test]
fn golden_of_every_time_style() {
    assert_golden("trace.txt", &render(TimeStyle::Local, false, &transitions()));
    assert_golden("trace-rfc3339.txt", &render(TimeStyle::Rfc3339, false, &transitions()));
    assert_golden("trace-relative.txt", &render(TimeStyle::Relative, false, &transitions()));
    assert_golden("trace-no-time.txt", &render(TimeStyle::None, false, &transitions()));
}

#[test]
fn golden_of_colors() {
    assert_golden("trace-color.txt", &render(TimeStyle::Local, true, &transitions()));
}

#[test]
fn colors_change_nothing_but_colors() {
    let mut plain = String::new();
    let colored = render(TimeStyle::Local, true, &transitions());
    assert!(colored.contains("\x1b[1m\x1b[37m\x1b[41mCLOSE_WAIT\x1b[0m"), "the loudest state is not loud");
    for part in colored.split('\x1b') {
        let rest = part.strip_prefix('[').and_then(|rest| rest.split_once('m')).map(|(_, rest)| rest);
        plain.push_str(rest.unwrap_or(part));
    }
    assert_eq!(plain, render(TimeStyle::Local, false, &transitions()));
}

#[test]
fn errors_of_the_writer_reach_the_caller() {
    struct Closed;
    impl io::Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut text = TraceText::new(format(TimeStyle::Local), false);
    let header = text.header(&mut Closed).map_err(|error| error.kind());
    assert_eq!(header, Err(io::ErrorKind::BrokenPipe));
    let line = text.transition(&mut Closed, &transitions()[0]).map_err(|error| error.kind());
    assert_eq!(line, Err(io::ErrorKind::BrokenPipe));
}

#[test]
fn nothing_is_allocated_once_columns_have_grown() {
    let transitions = transitions();
    let mut text = TraceText::new(format(TimeStyle::Local), true);
    let mut out = Vec::with_capacity(1 << 20);
    let mut round = || transitions.iter().for_each(|transition| text.transition(&mut out, transition).expect("a Vec"));
    round();
    let info = allocation_counter::measure(|| (0..10).for_each(|_| round()));
    assert_eq!(info.count_total, 0);
}

/// Where the words of a line begin and end, in columns of a terminal.
fn words(line: &str) -> Vec<(usize, usize)> {
    let mut words = Vec::new();
    let mut column = 0;
    let mut begin = None;
    for c in line.chars().chain([' ']) {
        match (begin, c) {
            (None, ' ') | (Some(_), '!'..) => {}
            (None, _) => begin = Some(column),
            (Some(start), _) => {
                words.push((start, column));
                begin = None;
            }
        }
        column += c.width().expect("no control characters");
    }
    words
}

/// Where the eleven columns of a line are: the edge to which each is aligned, and how wide its cell is.
fn edges(line: &str) -> Vec<(usize, usize)> {
    let right = [0, 1, 9];
    let words = words(line);
    let columns = words.iter().enumerate().take(11);
    columns.map(|(index, &(begin, end))| (if right.contains(&index) { end } else { begin }, end - begin)).collect()
}

proptest! {
    /// A column stands where it stood in the line before, unless a cell in the new line is wider than every one before it;
    /// it never moves back; and endpoints move the rest at most twice.
    #[test]
    fn columns_stay_aligned(transitions in vec(transition(), 1..40)) {
        let without_spaces = |transition: &Transition| {
            transition.owner.is_none_or(|owner| !owner.comm.bytes().contains(&b' ') && !owner.comm.bytes().is_empty())
        };
        let transitions: Vec<_> = transitions.into_iter().filter(without_spaces).collect();
        let text = render(TimeStyle::Local, false, &transitions);
        let mut widest = [12, 7, 15, 1, 21, 21, 11, 1, 11, 9];
        let mut before: Option<Vec<usize>> = None;
        let mut endpoint_moves = 0;
        for line in text.lines().skip(1) {
            let edges = edges(line);
            prop_assert_eq!(edges.len(), 11, "{}", line);
            let grown = |range: std::ops::Range<usize>| range.into_iter().any(|index| edges[index].1 > widest[index]);
            let at: Vec<usize> = edges.iter().map(|&(edge, _)| edge).collect();
            if let Some(before) = before.filter(|before| *before != at) {
                prop_assert!(grown(0..10), "columns moved without need:\n{}", text);
                prop_assert!(before.iter().zip(&at).all(|(before, at)| before <= at), "a column moved back:\n{}", text);
                endpoint_moves += usize::from(before[5] - before[4] != at[5] - at[4]);
            }
            widest.iter_mut().zip(&edges).for_each(|(widest, &(_, width))| *widest = width.max(*widest));
            before = Some(at);
        }
        prop_assert!(endpoint_moves <= 2, "endpoints moved {endpoint_moves} times:\n{text}");
    }

    #[test]
    fn nothing_reaches_the_terminal_but_one_line_of_text(transition in transition()) {
        let text = render(TimeStyle::Rfc3339, false, &[transition]);
        prop_assert_eq!(text.lines().count(), 2);
        prop_assert!(text.chars().all(|c| c == '\n' || c.width().is_some_and(|width| width > 0)), "{:?}", text);
        prop_assert!(text.lines().all(|line| !line.ends_with(' ')));
    }
}
