//! What filters need to know beside events: paths of cgroups, names of network namespaces, parents of processes.

use std::{
    collections::HashSet,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
};

use tcpstate_core::model::Transition;
use tcpstate_recording::Names;

use crate::host::{Host, processes::parent};

/// Cgroups that are told of, at most, for each search.
const MAX_CGROUPS: usize = 50_000;
/// Processes that are remembered; when there are more, all are asked again.
const MAX_PROCESSES: usize = 65_536;
/// Cgroups, and network namespaces, that are remembered; when there are more, all are told of again.
const MOST_REMEMBERED: usize = 1 << 16;
/// Generations that are asked of a process.
const GENERATIONS: usize = 64;

/// What a census names, by number.
#[derive(Debug, Default)]
pub(super) struct CensusNames {
    pub(super) cgroups: Vec<u64>,
    pub(super) netns: Vec<u32>,
    pub(super) processes: Vec<u32>,
}

/// Keeps what was told already.
#[derive(Debug)]
pub(super) struct NameKeeper {
    host: Host,
    /// Those that were met, with or without a path.
    cgroups: HashSet<u64>,
    /// Those whose paths were told.
    told_cgroups: HashSet<u64>,
    netns: HashSet<u32>,
    processes: HashSet<u32>,
    wanted_cgroup: bool,
    wanted_netns: bool,
    parents: Vec<(u32, u32)>,
}

impl NameKeeper {
    pub(super) fn new(host: &Host) -> Self {
        Self {
            host: host.clone(),
            cgroups: HashSet::new(),
            told_cgroups: HashSet::new(),
            netns: HashSet::new(),
            processes: HashSet::new(),
            wanted_cgroup: false,
            wanted_netns: false,
            parents: Vec::new(),
        }
    }

    /// Notes what a transition names. A process is asked at once: it may not live long.
    pub(super) fn note(&mut self, transition: &Transition) {
        if let Some(cgroup) = transition.cgroup {
            self.cgroup(cgroup.get());
        }
        self.network(transition.netns);
        if let Some(owner) = &transition.owner {
            self.process(owner.pid);
        }
    }

    /// Notes what a census of all sockets names.
    pub(super) fn note_all(&mut self, named: &CensusNames) {
        for &cgroup in &named.cgroups {
            self.cgroup(cgroup);
        }
        for &netns in &named.netns {
            self.network(netns);
        }
        for &pid in &named.processes {
            self.process(pid);
        }
    }

    fn cgroup(&mut self, id: u64) {
        if self.cgroups.len() >= MOST_REMEMBERED {
            self.cgroups.clear();
            self.told_cgroups.clear();
        }
        self.wanted_cgroup |= self.cgroups.insert(id);
    }

    fn network(&mut self, inode: u32) {
        if self.netns.len() >= MOST_REMEMBERED {
            self.netns.clear();
        }
        self.wanted_netns |= self.netns.insert(inode);
    }

    fn process(&mut self, pid: u32) {
        if self.processes.len() >= MAX_PROCESSES {
            self.processes.clear();
        }
        let mut pid = pid;
        for _ in 0..GENERATIONS {
            if pid == 0 || !self.processes.insert(pid) {
                return;
            }
            let Some(parent) = fs::read(format!("/proc/{pid}/stat")).ok().as_deref().and_then(parent) else { return };
            self.parents.push((pid, parent));
            pid = parent;
        }
    }

    /// What has to be told before the events that name it.
    pub(super) fn news(&mut self) -> Option<Names> {
        let cgroups = if std::mem::take(&mut self.wanted_cgroup) { self.cgroups() } else { Vec::new() };
        let netns = if std::mem::take(&mut self.wanted_netns) { self.netns() } else { Vec::new() };
        let names = Names { cgroups, netns, parents: std::mem::take(&mut self.parents) };
        (names != Names::default()).then_some(names)
    }

    /// Forgets what was told: to another file.
    pub(super) fn forget(&mut self) {
        self.cgroups.clear();
        self.told_cgroups.clear();
        self.netns.clear();
        self.processes.clear();
    }

    /// Cgroups that were not told of yet, by id; the id of a cgroup is the inode number of its directory.
    fn cgroups(&mut self) -> Vec<(u64, Vec<u8>)> {
        // Where cgroup2 is not mounted, there are none.
        let mut found: Vec<_> = self.host.cgroup_paths().unwrap_or_default().into_iter().take(MAX_CGROUPS).collect();
        // Those are told with their paths; what is not among them is gone, or beyond the limit.
        self.cgroups.extend(found.iter().map(|&(id, _)| id));
        found.retain(|&(id, _)| self.told_cgroups.insert(id));
        found
    }

    fn netns(&self) -> Vec<(u32, Vec<u8>)> {
        let entries = fs::read_dir(&self.host.netns_names).into_iter().flatten().flatten();
        let named = entries.filter_map(|entry| {
            let inode = u32::try_from(fs::metadata(entry.path()).ok()?.ino()).ok()?;
            Some((inode, entry.file_name().as_bytes().to_vec()))
        });
        named.collect()
    }
}
