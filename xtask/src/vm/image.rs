//! The initial file system of a guest: what all guests share, what its kernel needs, and what it is to do.

use std::{
    fs::{self, File},
    io::{self, BufWriter},
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use super::{fetch::Fetched, programs, tree::Tree};

/// What is the same in all guests.
#[derive(Debug, Default)]
pub(crate) struct Base {
    tree: Tree,
}

impl Base {
    /// The first process, programs of the host, and `tcpstate`.
    ///
    /// # Errors
    ///
    /// A file of the host cannot be read.
    pub(crate) fn new(init: &Path, tcpstate: &Path) -> anyhow::Result<Self> {
        let mut tree = Tree::default();
        for directory in ["/dev", "/proc", "/sys", "/run", "/tmp", "/root", "/var/tmp", "/mnt"] {
            tree.directory(directory);
        }
        // The kernel opens it before anything is mounted.
        tree.device("/dev/console", 5, 1);
        tree.copy("/init", init);
        tree.text("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n");
        tree.text("/etc/group", "root:x:0:\nnogroup:x:65534:\n");
        tree.text("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n");
        tree.text("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n");
        programs::add(&mut tree)?;
        // `/usr/local/bin` may be a link on the host; `/usr/bin` of the guest holds ours in any case.
        tree.copy("/usr/bin/tcpstate", tcpstate);
        Ok(Self { tree })
    }

    /// A file of the host, or a directory with all that is in it, at the same path.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub(crate) fn add(&mut self, path: &Path) -> anyhow::Result<()> {
        if path.is_dir() { self.tree.host_directory(path, &|_| true) } else { self.tree.host(path).map(drop) }
    }

    /// Writes the archive of all this.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or the archive not be written.
    pub(crate) fn write(mut self, path: &Path) -> anyhow::Result<()> {
        programs::libraries(&mut self.tree)?;
        write(&self.tree, path)
    }
}

/// What one guest does.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// A line for the shell.
    pub(crate) command: String,
    /// Somebody types.
    pub(crate) interactive: bool,
}

/// Writes the whole image of a guest to `path`: the archive at `base`, and that of its kernel and job.
///
/// # Errors
///
/// A file cannot be read, or the image not be written.
pub(crate) fn write_guest(path: &Path, base: &Path, kernel: &Fetched, job: &Job) -> anyhow::Result<()> {
    let mut tree = Tree::default();
    let mut modules = String::new();
    for module in &kernel.modules {
        let name = module.file_name().context("a module without a name")?;
        let inside = PathBuf::from("/guest/modules.d").join(name);
        modules.push_str(&format!("{}\n", inside.display()));
        tree.copy(&inside, module);
    }
    tree.text("/guest/modules", modules);
    tree.text("/guest/command", &job.command);
    if job.interactive {
        tree.text("/guest/interactive", "");
    }
    write(&tree, path)?;
    // The kernel unpacks archives in a row, whichever comes first.
    let mut image = fs::OpenOptions::new().append(true).open(path)?;
    let mut base = File::open(base).with_context(|| format!("`{}`", base.display()))?;
    io::copy(&mut base, &mut image).with_context(|| format!("`{}`", path.display()))?;
    Ok(())
}

fn write(tree: &Tree, path: &Path) -> anyhow::Result<()> {
    let file = File::create(path).with_context(|| format!("`{}`", path.display()))?;
    tree.write(BufWriter::new(file)).with_context(|| format!("to write `{}`", path.display()))
}
