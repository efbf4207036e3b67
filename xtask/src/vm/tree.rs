//! The files of a guest. Those of the host are at the same paths, with their symbolic links, so that a program finds in the
//! guest what it found on the host.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::unix::fs::PermissionsExt as _,
    path::{Component, Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};

use super::cpio::Archive;

/// Links that lead to links that lead to …
const MOST_LINKS: usize = 40;

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Directory,
    /// With the target as it is written.
    Link(PathBuf),
    /// A file of the host.
    Copy(PathBuf),
    Text {
        content: String,
        executable: bool,
    },
    Device(u32, u32),
}

/// Files by absolute path.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    nodes: BTreeMap<PathBuf, Node>,
}

impl Tree {
    /// An empty directory, with its parents.
    pub(crate) fn directory(&mut self, path: impl AsRef<Path>) {
        for directory in path.as_ref().ancestors().filter(|path| path.parent().is_some()) {
            self.nodes.entry(directory.to_owned()).or_insert(Node::Directory);
        }
    }

    /// A file that is made here.
    pub(crate) fn text(&mut self, path: impl AsRef<Path>, content: impl Into<String>) {
        self.put(path.as_ref(), Node::Text { content: content.into(), executable: false });
    }

    /// A copy of a file of the host at another path.
    pub(crate) fn copy(&mut self, path: impl AsRef<Path>, from: &Path) {
        self.put(path.as_ref(), Node::Copy(from.to_owned()));
    }

    pub(crate) fn link(&mut self, path: impl AsRef<Path>, target: impl AsRef<Path>) {
        self.put(path.as_ref(), Node::Link(target.as_ref().to_owned()));
    }

    pub(crate) fn device(&mut self, path: impl AsRef<Path>, major: u32, minor: u32) {
        self.put(path.as_ref(), Node::Device(major, minor));
    }

    /// A file or an empty directory of the host, with the links on the way to it. Where it really is.
    ///
    /// # Errors
    ///
    /// It is not there, is neither, or its links do not end.
    pub(crate) fn host(&mut self, path: &Path) -> anyhow::Result<PathBuf> {
        let mut real = PathBuf::from("/");
        let mut rest: Vec<PathBuf> = components(path);
        let mut links = 0;
        while let Some(next) = rest.pop() {
            if next == Path::new("..") {
                real.pop();
                continue;
            }
            let here = real.join(next);
            let metadata = fs::symlink_metadata(&here).with_context(|| format!("`{}`", path.display()))?;
            if metadata.is_symlink() {
                links += 1;
                ensure!(links <= MOST_LINKS, "the links of `{}` do not end", path.display());
                let target = fs::read_link(&here)?;
                self.link(&here, &target);
                if target.is_absolute() {
                    real = PathBuf::from("/");
                }
                rest.extend(components(&target));
            } else if metadata.is_dir() {
                self.directory(&here);
                real = here;
            } else if metadata.is_file() && rest.is_empty() {
                self.copy(&here, &here);
                real = here;
            } else {
                bail!("`{}` is neither a file nor a directory", here.display());
            }
        }
        Ok(real)
    }

    /// A directory of the host with all that is in it, except what `wanted` refuses.
    ///
    /// # Errors
    ///
    /// As [`Tree::host`], or it cannot be read.
    pub(crate) fn host_directory(&mut self, path: &Path, wanted: &dyn Fn(&Path) -> bool) -> anyhow::Result<()> {
        let real = self.host(path)?;
        let mut directories = vec![real];
        while let Some(directory) = directories.pop() {
            self.directory(&directory);
            let entries = fs::read_dir(&directory).with_context(|| format!("`{}`", directory.display()))?;
            for entry in entries {
                let path = entry?.path();
                let metadata = fs::symlink_metadata(&path)?;
                if !wanted(&path) {
                } else if metadata.is_dir() {
                    directories.push(path);
                } else if metadata.is_symlink() {
                    self.link(&path, fs::read_link(&path)?);
                } else if metadata.is_file() {
                    self.copy(&path, &path);
                }
            }
        }
        Ok(())
    }

    /// The files of the host in it.
    pub(crate) fn copies(&self) -> impl Iterator<Item = &Path> {
        self.nodes.values().filter_map(|node| match node {
            Node::Copy(from) => Some(from.as_path()),
            _ => None,
        })
    }

    /// # Errors
    ///
    /// A file cannot be read, or the archive not be written.
    pub(crate) fn write(&self, output: impl Write) -> anyhow::Result<()> {
        let mut archive = Archive::new(output);
        for (path, node) in &self.nodes {
            let name = path.to_str().with_context(|| format!("`{}` is no UTF-8", path.display()))?;
            let name = name.trim_start_matches('/');
            match node {
                Node::Directory => archive.directory(name)?,
                Node::Link(target) => {
                    archive.link(name, target.to_str().with_context(|| format!("`{name}` leads to no UTF-8"))?)?;
                }
                Node::Copy(from) => {
                    let content = fs::read(from).with_context(|| format!("`{}`", from.display()))?;
                    archive.file(name, fs::metadata(from)?.permissions().mode() & 0o111 != 0, &content)?;
                }
                Node::Text { content, executable } => archive.file(name, *executable, content.as_bytes())?,
                Node::Device(major, minor) => archive.device(name, *major, *minor)?,
            }
        }
        archive.finish()?;
        Ok(())
    }

    fn put(&mut self, path: &Path, node: Node) {
        if let Some(parent) = path.parent() {
            self.directory(parent);
        }
        self.nodes.insert(path.to_owned(), node);
    }
}

/// Of a path, the last first.
fn components(path: &Path) -> Vec<PathBuf> {
    let components = path.components().rev();
    components
        .filter(|component| matches!(component, Component::Normal(_) | Component::ParentDir))
        .map(|component| PathBuf::from(component.as_os_str()))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::symlink,
        path::{Path, PathBuf},
    };

    use super::{Node, Tree};

    /// A directory of this test's own, removed with the result.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).expect("made");
            Self(path.canonicalize().expect("there"))
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn a_file_of_the_host_comes_with_the_links_to_it() {
        let scratch = Scratch::new("links");
        let root = &scratch.0;
        fs::create_dir_all(root.join("usr/lib")).expect("made");
        fs::write(root.join("usr/lib/libc.so.6"), "ELF").expect("written");
        symlink("usr/lib", root.join("lib")).expect("linked");
        symlink("../lib/libc.so.6", root.join("usr/libc.so")).expect("linked");

        let mut tree = Tree::default();
        assert_eq!(tree.host(&root.join("usr/libc.so")).expect("there"), root.join("usr/lib/libc.so.6"));
        assert_eq!(tree.nodes[&root.join("lib")], Node::Link("usr/lib".into()));
        assert_eq!(tree.nodes[&root.join("usr/libc.so")], Node::Link("../lib/libc.so.6".into()));
        assert_eq!(tree.nodes[&root.join("usr/lib")], Node::Directory);
        assert_eq!(tree.copies().collect::<Vec<_>>(), [root.join("usr/lib/libc.so.6")]);
    }

    #[test]
    fn links_that_do_not_end_are_an_error() {
        let scratch = Scratch::new("endless");
        symlink("b", scratch.0.join("a")).expect("linked");
        symlink("a", scratch.0.join("b")).expect("linked");
        let error = Tree::default().host(&scratch.0.join("a")).expect_err("endless");
        assert!(error.to_string().ends_with("do not end"), "{error}");
    }

    #[test]
    fn parents_come_first() {
        let mut tree = Tree::default();
        tree.text("/a/b/c", "text");
        tree.device("/dev/console", 5, 1);
        let paths: Vec<_> = tree.nodes.keys().map(PathBuf::as_path).collect();
        assert_eq!(paths, ["/a", "/a/b", "/a/b/c", "/dev", "/dev/console"].map(Path::new));
    }
}
