//! `tcpstate run`: a command, traced from before its first instruction, and whether it left sockets behind.

mod clean_up;
mod command;
mod signals;
mod terminal;
mod watch;
mod write;

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use rustix::process::getpid;

use self::{
    command::{CannotRun, Running, Waiting},
    signals::{Signals, Watched},
    terminal::Terminal,
    watch::Watch,
};

use crate::{
    host::{Host, limits, preflight, stderr::complain},
    report::run::{CommandEnd, RunReport},
    settings::{SettingsError, run::RunSettings},
};

/// Exit code when tcpstate itself failed or its command line is wrong, as of `timeout` and `env`: others may be the command's own.
pub const FAILED: u8 = 125;

/// Runs the command to its end. The exit code says how that went.
#[must_use]
pub fn main(settings: Result<RunSettings, SettingsError>, host: &Host, debug: bool) -> ExitCode {
    let result = settings.map_err(Into::into).and_then(|settings| run(&settings, host, debug));
    match result {
        Ok(code) => code.into(),
        Err(error) => {
            complain(&error);
            error.downcast_ref::<CannotRun>().map_or(FAILED, |error| error.code).into()
        }
    }
}

fn run(settings: &RunSettings, host: &Host, debug: bool) -> Result<u8> {
    let traceable = preflight::check_descriptor_limit()
        .and_then(|()| preflight::check_capabilities())
        .and_then(|()| Ok(host.check_process(getpid_u32())?));
    if let Err(error) = traceable.as_ref().map_err(|error| format!("{error:#}"))
        && !settings.best_effort
    {
        anyhow::bail!("{error}; or run the command unchecked with `--best-effort`");
    }
    let reports = write::ReportFiles::create(settings)?;
    let terminal = Terminal::of_this_process();
    // Before there is a second thread, which they would find unblocked.
    let signals = Signals::block()?;
    let waiting = Waiting::fork(&settings.command, &signals)?;
    // Only now, since the command has to have the limits that we were given.
    limits::raise_nofile();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        let watch = match traceable.and_then(|()| Watch::start(settings, host, waiting.pid(), debug)) {
            Ok(watch) => Some(watch),
            Err(error) if settings.best_effort => {
                tracing::warn!("nothing is checked: {error:#}");
                None
            }
            Err(error) => return Err(error),
        };
        let signals = signals.watch()?;
        let running = waiting.start(&settings.command).await?;
        let (end, outcome) = to_its_end(running, &signals, watch).await?;
        if let Some(terminal) = &terminal {
            terminal.restore(end);
        }
        Ok((end, outcome))
    });
    runtime.shutdown_timeout(Duration::ZERO);
    let (end, outcome) = result?;
    let Some(report) = outcome? else {
        return Ok(end.code());
    };
    let code = exit_code(end, report.leaked(), settings.leak_exit_code);
    write::text(settings, &report, code);
    match reports.write(&report, code) {
        // That the command failed, or leaked, says more than that a report of it is missing.
        Err(error) if code != 0 => complain(&error),
        written => written?,
    }
    Ok(code)
}

/// Waits for the command's end, and then looks at what it left. The report is `None` where nothing was traced; that it failed must
/// not keep us from waiting.
async fn to_its_end(
    mut running: Running,
    signals: &Watched,
    mut watch: Option<Watch>,
) -> Result<(CommandEnd, Result<Option<RunReport>>)> {
    let mut failure = None;
    let status = loop {
        let watching = async {
            match &mut watch {
                Some(watch) => watch.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            status = &mut running.ended => break status.context("the thread of the command ended")?,
            signal = signals.next(running.pid) => running.signal(signal?),
            watched = watching => if let Err(error) = watched {
                // Its sockets can no longer be judged; the command is not to blame.
                failure = Some(error);
                watch = None;
            }
        }
    };
    let end = CommandEnd::from(status.context("failed to wait for the command")?);
    let report = match (failure, watch) {
        (Some(error), _) => Err(error.context("tracing failed while the command ran: nothing is known of its sockets")),
        (None, Some(watch)) => watch.finish(end).await.map(Some),
        (None, None) => Ok(None),
    };
    Ok((end, report))
}

/// That of the command, unless it succeeded and sockets leaked.
fn exit_code(end: CommandEnd, leaked: u64, leak_exit_code: u8) -> u8 {
    if end == CommandEnd::Exited(0) && leaked > 0 { leak_exit_code } else { end.code() }
}

fn getpid_u32() -> u32 {
    getpid().as_raw_nonzero().get().unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaks_change_the_exit_code_of_success_only() {
        assert_eq!(exit_code(CommandEnd::Exited(0), 0, 99), 0);
        assert_eq!(exit_code(CommandEnd::Exited(0), 1, 99), 99);
        assert_eq!(exit_code(CommandEnd::Exited(0), 1, 0), 0);
        assert_eq!(exit_code(CommandEnd::Exited(3), 1, 99), 3);
        assert_eq!(exit_code(CommandEnd::Killed(15), 1, 99), 143);
        assert_eq!(exit_code(CommandEnd::Killed(64), 0, 99), 192);
    }
}
