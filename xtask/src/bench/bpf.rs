//! What BPF programs cost in the kernel, and what their maps take.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Result, ensure};

use super::{children::Running, programs::Programs};

/// While it lives the kernel takes the time of every run of a BPF program, as with `kernel.bpf_stats_enabled`. That ends with
/// this process at the latest, however it ends.
#[derive(Debug)]
pub(super) struct RunTimes(#[expect(dead_code, reason = "its life is its use")] Running);

impl RunTimes {
    /// # Errors
    ///
    /// When the kernel refuses (Linux 5.8, root).
    pub(super) fn take(programs: &Programs) -> Result<Self> {
        let mut command = Command::new(&programs.floor);
        command.arg("times").stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = Running::start(command)?;
        let mut said = String::new();
        BufReader::new(process.stdout()?).read_line(&mut said)?;
        ensure!(said == "ready\n", "the kernel does not take the time of BPF programs");
        Ok(Self(process))
    }
}

/// What the descriptors of a process tell of its BPF programs and maps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// Descriptors of programs and links, and others that attaching makes.
    pub(super) attached: u64,
    /// Time that its programs have run, nanoseconds; only while [`RunTimes`] lives.
    pub(super) run_ns: u64,
    /// Kernel memory of its maps, bytes.
    pub(super) maps: u64,
    /// Of these its largest hash map, which is where `tcpstate` keeps sockets.
    pub(super) largest_hash: u64,
}

impl Held {
    /// Reads `/proc/PID/fdinfo`. A process that has gone holds nothing.
    pub(super) fn by(pid: u32) -> Self {
        let mut held = Self::default();
        let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return held };
        let mut seen = Vec::new();
        for entry in entries.flatten() {
            let Ok(kind) = fs::read_link(entry.path()) else { continue };
            let info = Path::new("/proc").join(pid.to_string()).join("fdinfo").join(entry.file_name());
            let Ok(info) = fs::read_to_string(info) else { continue };
            held.add(&kind.to_string_lossy(), &info, &mut seen);
        }
        held
    }

    /// Adds what one descriptor tells; several may be of one program or map.
    fn add(&mut self, kind: &str, info: &str, seen: &mut Vec<(bool, u64)>) {
        let field = |name: &str| {
            let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            value.trim().parse::<u64>().ok()
        };
        let mut is_new = |is_map, id| {
            let id = (is_map, id);
            let new = !seen.contains(&id);
            seen.push(id);
            new
        };
        if kind.contains("bpf-prog") {
            self.attached += 1;
            if field("prog_id").is_some_and(|id| is_new(false, id)) {
                self.run_ns += field("run_time_ns").unwrap_or(0);
            }
        } else if kind.contains("bpf-map") {
            if field("map_id").is_some_and(|id| is_new(true, id)) {
                let bytes = field("memlock").unwrap_or(0);
                self.maps += bytes;
                // `BPF_MAP_TYPE_HASH`
                if field("map_type") == Some(1) {
                    self.largest_hash = self.largest_hash.max(bytes);
                }
            }
        } else if kind.contains("bpf") || kind.contains("perf_event") {
            self.attached += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Held;

    const PROGRAM: &str = "pos:\t0\nprog_type:\t26\nprog_id:\t7\nrun_time_ns:\t1200\nrun_cnt:\t3\n";
    const MAP: &str = "map_type:\t1\nmax_entries:\t65536\nmemlock:\t8000000\nmap_id:\t9\n";
    const RING: &str = "map_type:\t27\nmemlock:\t9000000\nmap_id:\t10\n";

    #[test]
    fn a_program_or_map_counts_once_whatever_its_descriptors() {
        let (mut held, mut seen) = (Held::default(), Vec::new());
        for (kind, info) in [
            ("anon_inode:bpf-prog", PROGRAM),
            ("anon_inode:bpf-prog", PROGRAM),
            ("anon_inode:bpf_link", "link_type:\ttracing\nprog_id:\t7\n"),
            ("anon_inode:bpf-map", MAP),
            ("anon_inode:bpf-map", MAP),
            ("anon_inode:bpf-map", RING),
            ("/dev/null", ""),
        ] {
            held.add(kind, info, &mut seen);
        }
        assert_eq!(held, Held { attached: 3, run_ns: 1_200, maps: 17_000_000, largest_hash: 8_000_000 });
    }
}
