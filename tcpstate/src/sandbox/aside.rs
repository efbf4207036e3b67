//! What is not read any more, since reading it failed.

use std::{collections::HashMap, sync::Arc};

use tcpstate_broker::process::start;
use tcpstate_wire::ModuleId;

/// Most of each kind that are remembered; beyond that all are tried once more.
const MOST: usize = 4096;

/// What is set aside, and why, in words that follow "reading it".
#[derive(Debug, Default)]
pub(super) struct Aside {
    /// Files that are not to be followed through.
    modules: HashMap<ModuleId, Arc<str>>,
    /// Files that are not to be asked for names.
    nameless: HashMap<ModuleId, Arc<str>>,
    /// Files whose debug info was not read to its end.
    too_much: HashMap<ModuleId, ()>,
    /// With when they began: a number may be another's later.
    processes: HashMap<u32, (Option<u64>, Arc<str>)>,
}

impl Aside {
    /// A file is not to be followed through.
    pub(super) fn module(&mut self, module: ModuleId, why: &str) {
        insert(&mut self.modules, module, why.into());
        self.nameless(module, why);
    }

    /// A file is not to be asked for names.
    pub(super) fn nameless(&mut self, module: ModuleId, why: &str) {
        insert(&mut self.nameless, module, why.into());
    }

    /// Debug info of a file is too much to read: it has names without it.
    pub(super) fn too_much(&mut self, module: ModuleId) {
        insert(&mut self.too_much, module, ());
    }

    /// Whether debug info of a file was too much to read.
    pub(super) fn is_too_much(&self, module: ModuleId) -> bool {
        self.too_much.contains_key(&module)
    }

    /// Nothing of the process that has this number now is to be read.
    pub(super) fn process(&mut self, pid: u32, why: &str) {
        insert(&mut self.processes, pid, (start::ticks(pid), why.into()));
    }

    /// Why a file is not followed through, if it is not.
    pub(super) fn why_module(&self, module: ModuleId) -> Option<Arc<str>> {
        self.modules.get(&module).cloned()
    }

    /// Why a file is not asked for names, if it is not.
    pub(super) fn why_nameless(&self, module: ModuleId) -> Option<Arc<str>> {
        self.nameless.get(&module).cloned()
    }

    /// Why nothing of a process is read, if nothing is.
    pub(super) fn why_process(&self, pid: u32) -> Option<Arc<str>> {
        let (began, why) = self.processes.get(&pid)?;
        (start::ticks(pid) == *began).then(|| Arc::clone(why))
    }
}

fn insert<K: std::hash::Hash + Eq, V>(map: &mut HashMap<K, V>, key: K, value: V) {
    if map.len() >= MOST {
        map.clear();
    }
    map.insert(key, value);
}
