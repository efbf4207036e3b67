//! `tcpstate states`: from what the kernel lists to standard output, once or again and again.

use anyhow::Result;
use tcpstate_core::aggregate::states::{By, SocketCounts, count};
use tokio::time::{Instant, sleep_until};

use crate::{
    census,
    command::render::states::StatesRenderer,
    host::Host,
    report::clock::{TimeFormat, TimeStyle},
    session::{
        Clock,
        ending::{Endings, WatchEnd},
        followed::Followed,
        is_broken_pipe,
        output::Output,
        pages::Pages,
    },
    settings::states::StatesSettings,
};

/// Runs the command to its end.
///
/// # Errors
///
/// When the sockets cannot be listed, or the output cannot be written; a closed pipe is no error.
pub async fn run(settings: &StatesSettings, host: &Host) -> Result<()> {
    let clock = Clock::start()?;
    let zone = jiff::tz::TimeZone::system();
    let time = TimeFormat { style: TimeStyle::Local, clock: clock.wall, start: clock.start, zone };
    let pages = Pages::new(settings.watch.is_some());
    let renderer = StatesRenderer::new(settings.output, time, settings.top, settings.color, pages);
    let mut output = Output::to_stdout()?;
    match watch(settings, host, &clock, renderer, &mut output).await {
        Err(error) if is_broken_pipe(&error) => Ok(()),
        other => other,
    }
}

async fn watch(
    settings: &StatesSettings,
    host: &Host,
    clock: &Clock,
    mut renderer: StatesRenderer,
    output: &mut Output,
) -> Result<()> {
    let mut endings = Endings::new(settings.duration, Followed::new(&[], false)?)?;
    let mut before: Option<SocketCounts> = None;
    let mut left = settings.count.map(u64::from);
    let mut next = Instant::now();
    let end = loop {
        let mut found = census::take(settings.netns.as_ref(), host)?;
        if settings.by == Some(By::Cgroup) {
            // Without a cgroup2 mount the ids have to do.
            found.cgroups = host.cgroup_paths().unwrap_or_default();
        }
        let mut now = count(&found, &settings.filter, settings.by, clock.now());
        if let Some(before) = &before {
            now.compare(before);
        }
        let mut buffer = tokio::select! {
            biased;
            buffer = output.buffer() => buffer?,
            end = endings.next() => break end,
        };
        renderer.report(&mut buffer, &now)?;
        output.write(buffer)?;
        before = Some(now);
        left = left.map(|left| left - 1);
        let Some(interval) = settings.watch.filter(|_| left != Some(0)) else {
            break WatchEnd::Counted;
        };
        // A census that takes longer than the interval is followed by the next at once, not by those that were missed.
        next = (next + interval).max(Instant::now());
        tokio::select! {
            () = sleep_until(next) => {}
            end = endings.next() => break end,
        }
    };
    let progress = output.progress();
    endings.finish(end, &progress, async { Ok(output.finish().await?) }).await
}
