//! Flame graphs of a real leak: what they weigh, and whose it is.

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::Trial;
use quick_xml::{Reader, events::Event};

use crate::{
    scenarios::{leaks::hunt::Hunt, named, truth},
    support::{clock, protocol::Span, run::trials},
};

pub(crate) fn trials() -> Vec<Trial> {
    trials!["hunts::flame"; weights_of_a_leak]
}

/// From the outermost function on.
const OPENED: [&str; 3] = ["main", "serve_one", "upstream_connect"];
/// Whole seconds show the difference between seconds and sockets.
const AGE_NS: u64 = 1_500_000_000;

fn weights_of_a_leak() -> Result<()> {
    let scenario = named("relay")?;
    let mut running = (scenario.start)()?;
    let filters = running.scene.filters();
    let start = |format: &[&str]| attached(&filters, format);
    let by_sockets = start(&["-o", "folded", "--weight", "sockets"])?;
    let by_seconds = start(&["-o", "folded"])?;
    let picture = start(&["-o", "svg", "--weight", "sockets"])?;
    let from_ns = clock::monotonic_ns();
    running.leak()?;
    let listed = truth::settle(&mut running, &scenario.expected)?;
    let leaked = Span { from_ns, to_ns: clock::monotonic_ns() };
    let sockets = listed.iter().filter(|socket| socket.state == "CLOSE_WAIT").count() as u64;
    clock::sleep_until_ns(leaked.to_ns + AGE_NS);

    let asked_ns = clock::monotonic_ns();
    let by_sockets = Folded::of(by_sockets, running.scene.program.pid)?;
    ensure!(by_sockets.sum == sockets, "{} sockets instead of {sockets}", by_sockets.sum);
    let by_seconds = Folded::of(by_seconds, running.scene.program.pid)?;
    let ended_ns = clock::monotonic_ns();
    let least = sockets * (asked_ns - leaked.to_ns) / 1_000_000_000;
    // Each line is rounded up to a whole second.
    let most = sockets * (ended_ns - leaked.from_ns) / 1_000_000_000 + by_seconds.lines;
    let sum = by_seconds.sum;
    ensure!((least..=most).contains(&sum), "{sum} socket-seconds, not between {least} and {most}");
    ensure!(sum > sockets, "{sum} socket-seconds of {sockets} sockets older than a second");

    let svg = picture.finish()?.stdout;
    let titles = titles(&svg)?;
    for function in OPENED {
        let of_all = format!("{function} ({sockets} sockets, 100.00%)");
        let named = titles.iter().any(|title| title.contains(&of_all));
        ensure!(named, "`{of_all}` is not among {titles:?}");
    }
    Ok(())
}

/// Attached when this returns; such a hunt says nothing before its end.
fn attached(filters: &[String], format: &[&str]) -> Result<Hunt> {
    let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
    let hunt = super::spawn(&[&["-v", "--older-than", "500ms"], format, &filters].concat())?;
    hunt.wait_until_said("the hooks", |_, stderr| stderr.contains("accept"))?;
    Ok(hunt)
}

struct Folded {
    lines: u64,
    sum: u64,
}

impl Folded {
    /// Ends a hunt and takes its lines apart: process, functions, verdict, weight.
    fn of(hunt: Hunt, pid: u32) -> Result<Self> {
        let said = hunt.finish()?.stdout;
        let mut folded = Self { lines: 0, sum: 0 };
        for line in said.lines() {
            let (stack, weight) = line.rsplit_once(' ').with_context(|| format!("no weight: {line}"))?;
            let frames: Vec<&str> = stack.split(';').collect();
            let [process, opened @ .., verdict] = &frames[..] else { bail!("too short: {line}") };
            ensure!(*process == format!("relay[{pid}]") && *verdict == "eof-read", "{line}");
            let mut rest = opened.iter();
            for function in OPENED {
                ensure!(rest.any(|name| *name == function), "no `{function}` in its place: {line}");
            }
            folded.lines += 1;
            folded.sum += weight.parse::<u64>().with_context(|| format!("weight of {line}"))?;
        }
        ensure!(folded.lines > 0, "no lines");
        Ok(folded)
    }
}

/// Of a picture that is well-formed to its end.
fn titles(svg: &str) -> Result<Vec<String>> {
    let mut reader = Reader::from_str(svg);
    let (mut titles, mut depth, mut elements) = (Vec::new(), 0_u32, 0);
    let mut in_title = false;
    loop {
        match reader.read_event().context("not well-formed")? {
            Event::Start(element) => {
                depth += 1;
                elements += 1;
                in_title = element.name().as_ref() == b"title";
                if in_title {
                    titles.push(String::new());
                }
            }
            Event::End(_) => {
                depth -= 1;
                in_title = false;
            }
            Event::Text(text) if in_title => {
                let text = text.decode().context("not UTF-8")?;
                titles.last_mut().context("no title")?.push_str(&text);
            }
            Event::Eof => break,
            _ => {}
        }
    }
    ensure!(depth == 0 && elements > 0, "{elements} elements, {depth} not closed");
    Ok(titles)
}
