//! Every socket of the machine and who holds it, at one moment: by netlink in every network namespace that can be entered, and by `/proc`.

mod dump;
mod namespace;
mod processes;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context as _, Result, anyhow};
use tcpstate_core::model::census::{Census, FoundNamespace, Gaps};

use self::namespace::Inside;
use crate::{
    host::{
        Host,
        namespaces::{OnlyNetns, in_network_namespace, netns_of},
    },
    report::escape::Escaped,
};

/// A way into a network namespace, and what it is called.
#[derive(Debug, Default)]
struct Entrance {
    path: PathBuf,
    names: Vec<Vec<u8>>,
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
    let mut entrances: BTreeMap<u32, Entrance> = BTreeMap::new();
    for (inode, path) in pass.namespaces {
        entrances.insert(inode, Entrance { path, ..Entrance::default() });
    }
    add_names(&host.netns_names, &mut entrances);
    add_given(only, &mut entrances);

    let mut census = Census { gaps: Gaps { processes: pass.refused, ..Gaps::default() }, ..Census::default() };
    if let Some(inside) = own_inside {
        let entrance = entrances.remove(&own).unwrap_or_default();
        census.namespaces.push(FoundNamespace { own: true, ..found(own, entrance, inside) });
    }
    entrances.remove(&own);
    entrances.retain(|&inode, _| wants(inode));
    for (inode, entrance) in entrances {
        match enter(&entrance.path) {
            Ok(inside) => census.namespaces.push(found(inode, entrance, inside)),
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
            || anyhow!("no process and no name in `{}` leads to it; give its path", host.netns_names.display()),
            |(_, reason)| anyhow!(reason),
        );
        return Err(why.context(format!("failed to look into network namespace `{}`", only.given)));
    }
    census.processes = pass.processes;
    census.holders = pass.holders;
    Ok(census)
}

fn add_names(directory: &Path, entrances: &mut BTreeMap<u32, Entrance>) {
    let entries = fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
    let mut names: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    names.sort();
    for path in names {
        // What is left of a name whose mount is gone is an ordinary file.
        if let Some(inode) = File::open(&path).ok().and_then(|file| netns_of(&file)) {
            let name = path.file_name().map(|name| name.as_bytes().to_vec()).unwrap_or_default();
            let entrance = entrances.entry(inode).or_insert_with(|| Entrance { path, ..Entrance::default() });
            entrance.names.push(name);
        }
    }
}

/// The namespace may have neither a process nor a name, only the path that the user gave.
fn add_given(only: Option<&OnlyNetns>, entrances: &mut BTreeMap<u32, Entrance>) {
    if let Some(OnlyNetns { inode, path: Some(path), .. }) = only {
        entrances.entry(*inode).or_insert_with(|| Entrance { path: path.clone(), ..Entrance::default() });
    }
}

fn enter(path: &Path) -> Result<Inside> {
    let file = File::open(path).with_context(|| format!("failed to open `{}`", path.display()))?;
    in_network_namespace(&file, namespace::read).context("failed to enter it, which takes root (`CAP_SYS_ADMIN`)")?
}

fn found(inode: u32, entrance: Entrance, inside: Inside) -> FoundNamespace {
    FoundNamespace {
        inode,
        own: false,
        names: entrance.names,
        sockets: inside.sockets,
        listening: Vec::new(),
        listen_overflows: inside.listen_overflows,
        listen_drops: inside.listen_drops,
        ports: inside.ports,
    }
}
