//! Reads what is to be judged.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use tcpstate_core::{
    aggregate::{
        doctor::{
            Facts,
            settings::{KERNEL, NAMES},
        },
        states::{By, SocketFilter, count},
    },
    model::{
        census::Census,
        doctor::{Configured, Reading},
    },
};

use super::machine;
use crate::{
    census,
    host::{
        Host,
        namespaces::{OnlyNetns, in_network_namespace, other_network_namespaces},
    },
    session::Clock,
    settings::doctor::DoctorSettings,
};

/// Where `sysctl --system` looks (`sysctl.d(5)`).
const CONFIGURATION: [&str; 5] =
    ["/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d"];

/// Looks at the machine.
///
/// # Errors
///
/// When the sockets cannot be listed, or the network namespace that was asked for cannot be entered.
pub(super) fn facts(settings: &DoctorSettings, host: &Host) -> Result<Facts> {
    let clock = Clock::start()?;
    let own = host.own_netns()?;
    let netns = settings.netns.as_ref().map_or(own, |only| only.inode);
    let census = census::take(settings.netns.as_ref(), host)?;
    let now = clock.now();
    let judge = |census: &Census| count(census, &SocketFilter::default(), Some(By::Process), now);
    let sockets = judge(&census);
    let only_here = census.namespaces.iter().filter(|namespace| namespace.inode == netns).cloned().collect();
    let sockets_here = judge(&Census { namespaces: only_here, ..census });
    let mut here = match &settings.netns {
        Some(only) if only.inode != own => {
            in_network_namespace(&open(only, host)?, readings).context("failed to enter the network namespace")?
        }
        _ => readings(),
    };
    // What is the kernel's and no namespace's is read where it is more likely to be shown.
    here.extend(KERNEL.iter().map(|&name| (name, reading(Path::new("/proc/sys"), name))));
    Ok(Facts {
        machine: machine::read(host),
        netns,
        own_netns: netns == own,
        settings: here,
        configured: configured(),
        sockets,
        sockets_here,
    })
}

fn open(only: &OnlyNetns, host: &Host) -> Result<File> {
    let path = only.path.clone().unwrap_or_else(|| host.netns_names.join(&only.given));
    let is_it = |file: &File| file.metadata().is_ok_and(|metadata| metadata.ino() == u64::from(only.inode));
    let given = File::open(&path).ok().filter(is_it);
    let found = given.or_else(|| other_network_namespaces().into_iter().find(is_it));
    found.with_context(|| format!("failed to open network namespace `{}`: give its path", only.given))
}

/// Sysctls of `net` are those of the network namespace of the thread that reads them.
fn readings() -> BTreeMap<&'static str, Reading> {
    NAMES.iter().map(|&name| (name, reading(Path::new("/proc/sys"), name))).collect()
}

fn reading(root: &Path, name: &str) -> Reading {
    match fs::read_to_string(root.join(name.replace('.', "/"))) {
        Ok(text) => Reading::Value(text.split_ascii_whitespace().collect::<Vec<_>>().join(" ")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Reading::Absent,
        Err(error) => Reading::Unreadable(error.to_string()),
    }
}

/// Settings that files name, each once a file.
fn configured() -> Vec<Configured> {
    let mut files = vec![PathBuf::from("/etc/sysctl.conf")];
    for directory in CONFIGURATION {
        let entries = fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
        files
            .extend(entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "conf")));
    }
    // `99-sysctl.conf` is often a link to `/etc/sysctl.conf`, `/lib` one to `/usr/lib`.
    let mut files: Vec<_> = files.iter().filter_map(|file| fs::canonicalize(file).ok()).collect();
    files.sort();
    files.dedup();
    let of_file = |file: PathBuf| {
        let text = fs::read_to_string(&file).unwrap_or_default();
        let file = file.display().to_string();
        names_in(&text).into_iter().map(move |name| Configured { file: file.clone(), name }).collect::<Vec<_>>()
    };
    files.into_iter().flat_map(of_file).collect()
}

/// Names that lines such as `-net/ipv4/tcp_tw_recycle = 1` set.
fn names_in(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';']));
    let names = lines.filter_map(|line| Some(line.split_once('=')?.0.trim_start_matches('-').trim().replace('/', ".")));
    let mut names: Vec<_> = names.collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_however_they_are_written() {
        let text =
            "# net.ipv4.a = 1\n; net.ipv4.b=1\nnet.ipv4.tcp_tw_recycle = 1\n-net/ipv4/tcp_fin_timeout=15\nnonsense\n";
        assert_eq!(names_in(text), ["net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_tw_recycle"]);
    }

    #[test]
    fn a_setting_is_a_file() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        fs::create_dir(root.path().join("net"))?;
        fs::write(root.path().join("net/range"), "32768\t60999\n")?;
        assert_eq!(reading(root.path(), "net.range"), Reading::Value("32768 60999".to_owned()));
        assert_eq!(reading(root.path(), "net.none"), Reading::Absent);
        assert!(matches!(reading(root.path(), "net"), Reading::Unreadable(_)));
        Ok(())
    }
}
