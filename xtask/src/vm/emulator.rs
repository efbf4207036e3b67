//! QEMU: the machine's own, or one that is kept beside the kernels.
//!
//! Installing it may not be possible: a part of another release's QEMU that is installed already would have to go. One of our
//! own needs neither root nor anything of the machine's, not even its C library.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{self, Command, Output, Stdio},
};

use anyhow::ensure;

use super::{apt::Suite, fetch};

/// The emulator of x86-64 machines.
const PROGRAM: &str = "qemu-system-x86_64";
/// Debian's package of it.
const PACKAGE: &str = "qemu-system-x86";
/// The release of Debian that it is taken from.
const SUITE: &str = "bookworm";
/// Where its libraries are, the dynamic linker among them.
const LIBRARIES: [&str; 2] = ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"];
const LINKER: &str = "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2";
/// Where its modules are, one of them the emulation of processors.
const MODULES: &str = "usr/lib/x86_64-linux-gnu/qemu";
/// Where its firmware is.
const FIRMWARE: [&str; 2] = ["usr/share/qemu", "usr/share/seabios"];

/// A QEMU that can be run.
#[derive(Clone, Debug)]
pub(crate) enum Emulator {
    /// The machine's own.
    Installed,
    /// Unpacked below this directory.
    Kept(PathBuf),
}

impl Emulator {
    /// The machine's own if it has one, else ours, which is fetched unless it is there.
    ///
    /// # Errors
    ///
    /// It cannot be fetched or unpacked, or does not run.
    pub(crate) fn find() -> anyhow::Result<Self> {
        if which::which(PROGRAM).is_ok() {
            return Ok(Self::Installed);
        }
        let cache = fetch::cache()?;
        let target = cache.join("qemu");
        if !target.exists() {
            let suite = Suite::open(&cache, SUITE, true)?;
            let unfinished = target.with_extension(format!("{}.unfinished", process::id()));
            fs::create_dir_all(&unfinished)?;
            suite.unpack_with_dependencies(PACKAGE, &unfinished)?;
            let output = Self::Kept(unfinished.clone()).empty_machine()?;
            ensure!(
                output.status.success(),
                "the QEMU that was fetched does not emulate ({}): install `{PACKAGE}`; it says {}",
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            );
            fetch::keep(&unfinished, &target)?;
        }
        Ok(Self::Kept(target))
    }

    /// Starts a machine without a processor and ends it: that takes the emulating module, which `--version` does not.
    fn empty_machine(&self) -> anyhow::Result<Output> {
        let mut command = self.command();
        command.args(["-nodefaults", "-display", "none", "-machine", "none", "-accel", "tcg", "-monitor", "stdio"]);
        let mut machine = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        // Of one that has ended already its exit code tells.
        drop(machine.stdin.take().map(|mut monitor| monitor.write_all(b"quit\n")));
        Ok(machine.wait_with_output()?)
    }

    /// Its command, without arguments for a machine.
    pub(crate) fn command(&self) -> Command {
        match self {
            Self::Installed => Command::new(PROGRAM),
            Self::Kept(root) => {
                let below = |path: &&str| root.join(path).display().to_string();
                let mut command = Command::new(root.join(LINKER));
                command.env("QEMU_MODULE_DIR", root.join(MODULES));
                command.arg("--library-path").arg(LIBRARIES.iter().map(below).collect::<Vec<_>>().join(":"));
                command.arg(Path::new(root).join("usr/bin").join(PROGRAM));
                FIRMWARE.iter().for_each(|directory| {
                    command.arg("-L").arg(root.join(directory));
                });
                command
            }
        }
    }
}
