//! Every socket of the machine and who holds it, at one moment: by netlink in every network namespace that can be entered, and by `/proc`.

mod dump;
mod namespace;
mod processes;
mod rings;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context as _, Result, anyhow};
use tcpstate_core::model::census::{Census, FoundNamespace, Gaps};

use self::{namespace::Inside, processes::Pass};
use crate::{
    host::{
        Host,
        namespaces::{OnlyNetns, in_network_namespace},
        netns_mounts::{self, NetnsMount},
        nsfs::netns_of,
        privileges::Privileges,
    },
    report::escape::Escaped,
};

/// Processes that are named of those that were refused.
const REFUSED: usize = 10;

/// A way into a network namespace, and what it is called.
#[derive(Debug)]
struct Entrance {
    way: Way,
    names: Vec<Vec<u8>>,
}

#[derive(Debug)]
enum Way {
    Path(PathBuf),
    /// In whatever mount namespace.
    Mount(NetnsMount),
}

impl From<Way> for Entrance {
    fn from(way: Way) -> Self {
        Self { way, names: Vec::new() }
    }
}

/// Lists the sockets of one network namespace, or of all; without the paths of cgroups.
///
/// # Errors
///
/// When the one namespace that was asked for, or one's own, cannot be looked into.
pub(crate) fn take(only: Option<&OnlyNetns>, host: &Host) -> Result<Census> {
    let own = host.own_netns()?;
    let wants = |inode| only.is_none_or(|only| only.inode == inode);
    // Side by side, as each takes the kernel long where there are many sockets.
    let (pass, own_inside) = thread::scope(|scope| {
        let pass = scope.spawn(|| processes::scan(&host.proc));
        let own_inside = wants(own).then(namespace::read).transpose();
        (pass.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), own_inside)
    });
    let own_inside = own_inside?;
    let pass = pass.with_context(|| format!("failed to read `{}`", host.proc.display()))?;
    let mut census = Census { gaps: gaps(&pass, host), ..Census::default() };
    let mut entrances: BTreeMap<u32, Entrance> = BTreeMap::new();
    for (inode, path) in pass.namespaces {
        entrances.insert(inode, Way::Path(path).into());
    }
    add_names(&host.netns_names, &mut entrances);
    add_given(only, &mut entrances);
    for mount in netns_mounts::find(&host.proc) {
        entrances.entry(mount.inode).or_insert_with(|| Way::Mount(mount).into());
    }

    if let Some(inside) = own_inside {
        let names = entrances.remove(&own).map(|entrance| entrance.names).unwrap_or_default();
        census.namespaces.push(FoundNamespace { own: true, ..found(own, names, inside) });
    }
    entrances.remove(&own);
    entrances.retain(|&inode, _| wants(inode));
    for (inode, entrance) in entrances {
        match enter(&entrance.way) {
            Ok(inside) => census.namespaces.push(found(inode, entrance.names, inside)),
            Err(error) => {
                let name = entrance.names.first().map(|name| Escaped(name).to_string());
                census.gaps.namespaces.push((name.unwrap_or_else(|| inode.to_string()), format!("{error:#}")));
            }
        }
    }
    if census.namespaces.is_empty()
        && let Some(only) = only
    {
        let why = census.gaps.namespaces.pop().map_or_else(
            || {
                anyhow!(
                    "no process, no name in `{}` and no mount leads to it; give its path",
                    host.netns_names.display()
                )
            },
            |(_, reason)| anyhow!(reason),
        );
        return Err(why.context(format!("failed to look into network namespace `{}`", only.given)));
    }
    census.processes = pass.processes;
    census.holders = pass.holders;
    Ok(census)
}

/// Processes that `/proc` does not show, or does not let be looked into.
fn gaps(pass: &Pass, host: &Host) -> Gaps {
    let refused = !pass.refused.is_empty();
    Gaps {
        processes: pass.refused.len() as u64,
        refused: pass.refused.iter().copied().take(REFUSED).collect(),
        why: refused.then(|| Privileges::read().why_refused(pass.refused_others)),
        hidden: host.hidden_processes(),
        namespaces: Vec::new(),
    }
}

fn add_names(directory: &Path, entrances: &mut BTreeMap<u32, Entrance>) {
    let entries = fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
    let mut names: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    names.sort();
    for path in names {
        // What is left of a name whose mount is gone is an ordinary file.
        if let Some(inode) = File::open(&path).ok().and_then(|file| netns_of(&file)) {
            let name = path.file_name().map(|name| name.as_bytes().to_vec()).unwrap_or_default();
            let entrance = entrances.entry(inode).or_insert_with(|| Way::Path(path).into());
            entrance.names.push(name);
        }
    }
}

/// The namespace may have neither a process nor a name, only the path that the user gave.
fn add_given(only: Option<&OnlyNetns>, entrances: &mut BTreeMap<u32, Entrance>) {
    if let Some(OnlyNetns { inode, path: Some(path), .. }) = only {
        entrances.entry(*inode).or_insert_with(|| Way::Path(path.clone()).into());
    }
}

fn enter(way: &Way) -> Result<Inside> {
    let file = match way {
        Way::Path(path) => File::open(path).with_context(|| format!("failed to open `{}`", path.display()))?,
        Way::Mount(mount) => mount.open().context("failed to open its mount")?,
    };
    let entered = in_network_namespace(&file, namespace::read);
    entered.with_context(|| format!("failed to enter it{}", Privileges::read().unless_held("CAP_SYS_ADMIN")))?
}

fn found(inode: u32, names: Vec<Vec<u8>>, inside: Inside) -> FoundNamespace {
    FoundNamespace {
        inode,
        own: false,
        names,
        sockets: inside.sockets,
        listening: Vec::new(),
        listen_overflows: inside.listen_overflows,
        listen_drops: inside.listen_drops,
        ports: inside.ports,
    }
}
