//! From the embedded object to maps and programs.

use std::io;

use anyhow::{Context as _, Result, anyhow};
use aya::{Btf, Ebpf, EbpfError, EbpfLoader, VerifierLogLevel};
use rustix::time::{ClockId, clock_getres};
use tcpstate_common::{config::Config, layout::Layout};

use super::{helpers::Helpers, object};

/// Sizes of maps that are known only at start.
pub(super) struct Sizes {
    /// Ring buffer of events.
    pub(super) buffer_bytes: u32,
    /// Ring buffer of stacks.
    pub(super) stacks_bytes: u32,
    /// Stories of sockets.
    pub(super) sockets: u32,
}

/// The maps, and what this kernel offers to the programs.
pub(super) struct Loaded {
    pub(super) ebpf: Ebpf,
    pub(super) helpers: Helpers,
}

/// Creates the maps. Programs are loaded one by one later, since one that this kernel refuses must not take the others with it.
///
/// What the programs are told of the kernel is frozen together with the maps, so a kernel without some helper takes two rounds. Of
/// one loader: a new one parses all of the kernel's types, which nothing here needs.
pub(super) fn load(btf: &Btf, config: &Config, layout: &Layout, sizes: &Sizes, log_level: u8) -> Result<Loaded> {
    let object = object::embedded().context(FAILED)?;
    let every = Helpers::every();
    let tick_frequency = tick_frequency();
    let found;
    let mut loader = EbpfLoader::new();
    loader
        .btf(Some(btf))
        .verifier_log_level(VerifierLogLevel::DEBUG)
        .override_global("CONFIG", config, true)
        .override_global("LAYOUT", layout, true)
        .override_global("TICK_FREQUENCY", &tick_frequency, true)
        .override_global(aya_log::LEVEL, &log_level, true)
        .map_max_entries("EVENTS", sizes.buffer_bytes)
        .map_max_entries("STACKS", sizes.stacks_bytes)
        .map_max_entries("SOCKETS", sizes.sockets);
    let mut ebpf = loader.override_global("HELPERS", &every, true).load(object).map_err(explain)?;
    let helpers = Helpers::try_each(&mut ebpf, btf);
    if helpers.bits() != every {
        drop(ebpf);
        found = helpers.bits();
        ebpf = loader.override_global("HELPERS", &found, true).load(object).map_err(explain)?;
    }
    Ok(Loaded { ebpf, helpers })
}

/// Jiffies a second (`CONFIG_HZ`): the coarse clocks are advanced by ticks and say how long one is (`KTIME_LOW_RES`,
/// `include/linux/hrtimer_defs.h`, `posix_get_coarse_res()`, `kernel/time/posix-timers.c`).
fn tick_frequency() -> u32 {
    let tick = clock_getres(ClockId::MonotonicCoarse);
    let tick_ns = tick.tv_sec * NS_PER_SECOND + tick.tv_nsec;
    // `TICK_NSEC` is rounded.
    u32::try_from((NS_PER_SECOND + tick_ns / 2) / tick_ns.max(1)).unwrap_or(u32::MAX)
}

const NS_PER_SECOND: i64 = 1_000_000_000;

/// What every error here begins with.
const FAILED: &str = "failed to load the BPF programs";

fn explain(error: EbpfError) -> anyhow::Error {
    let is_malformed = matches!(error, EbpfError::ParseError(_));
    let error = anyhow!(error);
    let errno = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>()?.raw_os_error());
    let hint = if is_malformed {
        Some(
            "the embedded BPF object does not fit this program; rebuild it with `cargo clean -p tcpstate && cargo xtask build`",
        )
    } else {
        errno.and_then(remedy)
    };
    match hint {
        Some(hint) => error.context(format!("{FAILED}: {hint}")),
        None => error.context(FAILED),
    }
}

/// What helps where the kernel refuses a map (`map_create()`, `kernel/bpf/syscall.c`, Linux 6.18).
fn remedy(errno: i32) -> Option<&'static str> {
    match errno {
        // Before 5.11 also what `bpf_charge_memlock()` returns.
        libc::EPERM => Some(
            "the kernel does not let this process make a map; `tcpstate doctor` says what it may, and before Linux 5.11 `ulimit -l` \
             may be too low",
        ),
        libc::ENOMEM => Some("the kernel has no memory for a map; with `--buffer` set, try a smaller one"),
        libc::E2BIG => Some("a map is larger than this kernel allows; with `--buffer` set, try a smaller one"),
        libc::EMFILE => Some("this process may not open more files; see `ulimit -n`"),
        libc::ENFILE => Some("the system may not open more files; see `fs.file-max`"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use aya::maps::MapError;

    use super::*;

    #[test]
    fn jiffies_are_as_long_as_they_take() {
        // Of the frequencies that a kernel can be built with (kernel/Kconfig.hz, and those of other processors).
        assert!([24, 48, 100, 128, 200, 250, 256, 300, 500, 1000, 1024, 1200].contains(&tick_frequency()));
    }

    #[test]
    fn the_remedy_is_for_the_error() {
        for (errno, remedy) in [
            (libc::EPERM, "tcpstate doctor"),
            (libc::ENOMEM, "--buffer"),
            (libc::EMFILE, "ulimit -n"),
            (libc::EINVAL, "BPF"),
        ] {
            let io_error = io::Error::from_raw_os_error(errno);
            let error = EbpfError::MapError(MapError::CreateError { name: "EVENTS".to_owned(), io_error });
            let said = format!("{:#}", explain(error));
            assert!(said.starts_with("failed to load the BPF programs: ") && said.contains(remedy), "{said}");
            assert_eq!(said.contains("--buffer"), errno == libc::ENOMEM, "{said}");
        }
    }
}
