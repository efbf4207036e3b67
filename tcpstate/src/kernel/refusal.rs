//! Why the kernel refuses a hook, in one line.

use std::io;

use aya::programs::ProgramError;
use tcpstate_core::model::probes::Refusal;

/// A [`Refusal`] in the making: what `?` turns the errors of aya and of the system into.
#[derive(Clone, Debug)]
pub(super) struct Refused(pub(super) Refusal);

impl From<anyhow::Error> for Refused {
    /// The causes, without the verifier's log but for its verdict. `-vv` shows all of it.
    fn from(error: anyhow::Error) -> Self {
        tracing::debug!("{error:?}");
        let errno = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>()?.raw_os_error());
        let refused = error.chain().find_map(|cause| match cause.downcast_ref() {
            Some(ProgramError::LoadError { io_error, verifier_log }) => Some((io_error, verifier_log.to_string())),
            _ => None,
        });
        let reason = match refused {
            Some((io_error, log)) => refused_load(io_error, &log),
            None => error.chain().filter_map(first_line).collect::<Vec<_>>().join(": "),
        };
        // The number is told beside it.
        let number = errno.map(|errno| format!(" (os error {errno})")).unwrap_or_default();
        Self(Refusal { errno, reason: if number.is_empty() { reason } else { reason.replace(&number, "") } })
    }
}

impl From<ProgramError> for Refused {
    fn from(error: ProgramError) -> Self {
        anyhow::Error::from(error).into()
    }
}

fn refused_load(error: &io::Error, log: &str) -> String {
    match verdict(log) {
        Some(verdict) if !is_after_the_verifier(error) => format!("the verifier refuses it: {verdict}"),
        _ => format!("the kernel refuses to load it: {error}{}", remedy(error)),
    }
}

/// Whether a program was refused by something else than the verifier, whose last words are then those of a program that it allows
/// (`bpf_prog_load()`, `kernel/bpf/syscall.c`, Linux 6.18).
fn is_after_the_verifier(error: &io::Error) -> bool {
    const OTHERS: [i32; 6] = [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::EAGAIN, libc::EINTR, libc::ENOSPC];
    error.raw_os_error().is_some_and(|errno| OTHERS.contains(&errno))
}

fn remedy(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EMFILE) => "; see `ulimit -n`",
        Some(libc::ENFILE) => "; see `fs.file-max`",
        _ => "",
    }
}

fn first_line(cause: &(dyn std::error::Error + 'static)) -> Option<String> {
    cause.to_string().lines().next().map(str::to_owned)
}

/// The verifier's last words before its statistics.
fn verdict(log: &str) -> Option<&str> {
    const STATISTICS: [&str; 3] = ["processed ", "verification time", "stack depth"];
    log.lines()
        .map(|line| line.trim_end_matches('\0').trim())
        .rfind(|line| !line.is_empty() && !STATISTICS.iter().any(|start| line.starts_with(start)))
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn verdict_of_a_log() {
        let log = "0: (bf) r1 = r10\n2: (85) call bpf_get_socket_cookie#46\nunknown func bpf_get_socket_cookie#46\nprocessed 3 insns (limit 1000000)\n\0";
        assert_eq!(verdict(log), Some("unknown func bpf_get_socket_cookie#46"));
        assert_eq!(verdict("\0"), None);
    }

    #[test]
    fn who_has_the_last_word() {
        let reason = |errno| {
            let log = "0: (95) exit\nR0 !read_ok\nprocessed 1 insns (limit 1000000)\n";
            refused_load(&io::Error::from_raw_os_error(errno), log)
        };
        assert_eq!(reason(libc::EACCES), "the verifier refuses it: R0 !read_ok");
        assert_eq!(
            reason(libc::EMFILE),
            "the kernel refuses to load it: Too many open files (os error 24); see `ulimit -n`"
        );
    }

    #[test]
    fn causes_in_one_line_with_their_errno() {
        let cause = io::Error::from_raw_os_error(1);
        let Refused(refusal) = Refused::from(Err::<(), _>(cause).context("tracefs\nand more").expect_err("an error"));
        assert_eq!(refusal.errno, Some(1));
        assert!(refusal.reason.starts_with("tracefs: Operation not permitted"), "{}", refusal.reason);
        assert_eq!(Refused::from(anyhow::anyhow!("no such function")).0.errno, None);
    }
}
