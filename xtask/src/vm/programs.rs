//! The programs of the host that a guest has, with all that they need to start.

use std::{
    collections::BTreeSet,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;

use super::tree::Tree;

/// What a guest has of these is what the host has. `sh` is there in any case.
const PROGRAMS: [&str; 77] = [
    "awk", "basename", "bash", "cat", "chmod", "chown", "chroot", "cmp", "comm", "cp", "curl", "cut", "date", "dd",
    "df", "dirname", "dmesg", "du", "echo", "env", "expr", "false", "find", "free", "grep", "head", "hostname", "id",
    "ip", "kill", "ln", "ls", "lsmod", "mkdir", "mkfifo", "mknod", "mktemp", "mount", "mv", "nc", "nm", "node",
    "nproc", "nsenter", "perl", "pgrep", "pidof", "printf", "prlimit", "ps", "pwd", "python3", "readlink", "rm",
    "rmdir", "sed", "seq", "setpriv", "sleep", "sort", "ss", "stat", "strace", "stty", "sysctl", "tail", "tc", "tee",
    "test", "timeout", "touch", "tr", "true", "umount", "uname", "unshare", "wc",
];

/// glibc loads this one when a thread is cancelled or exits, whoever asks: no program names it.
const THREADS: &str = "/lib/x86_64-linux-gnu/libgcc_s.so.1";

/// Where programs of the system are. A user's own come later in a search, if at all.
const DIRECTORIES: [&str; 6] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin"];

/// Adds the programs of the host.
///
/// # Errors
///
/// There is no shell, or something cannot be read.
pub(crate) fn add(tree: &mut Tree) -> anyhow::Result<()> {
    tree.host(Path::new("/bin/sh")).context("a guest needs a shell")?;
    for name in PROGRAMS {
        let paths = DIRECTORIES.iter().map(|directory| Path::new(directory).join(name));
        if let Some(path) = paths.into_iter().find(|path| path.is_file()) {
            tree.host(&path)?;
        }
    }
    if Path::new(THREADS).exists() {
        tree.host(Path::new(THREADS))?;
    }
    python(tree)
}

/// The standard library of the system's Python and its packages, without what nobody imports.
fn python(tree: &mut Tree) -> anyhow::Result<()> {
    let question = "import sys; print(*sys.path[1:], sep='\\n')";
    let Ok(output) = Command::new("/usr/bin/python3").args(["-c", question]).output() else { return Ok(()) };
    let unneeded = ["test", "idlelib", "ensurepip", "tkinter", "lib2to3", "turtledemo", "pydoc_data", "distutils"];
    for directory in String::from_utf8_lossy(&output.stdout).lines().map(Path::new) {
        if directory.starts_with("/usr/lib") && directory.is_dir() {
            let wanted = |path: &Path| {
                let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
                !unneeded.contains(&&*name) && !name.starts_with("config-")
            };
            tree.host_directory(directory, &wanted)?;
        }
    }
    Ok(())
}

/// Adds the shared libraries of all programs and libraries in the tree.
///
/// # Errors
///
/// `ldd` could not be run, or something cannot be read.
pub(crate) fn libraries(tree: &mut Tree) -> anyhow::Result<()> {
    let mut elf = Vec::new();
    for path in tree.copies().map(Path::to_owned).collect::<BTreeSet<_>>() {
        if is_elf(&path).with_context(|| format!("`{}`", path.display()))? {
            elf.push(path);
        }
    }
    // It fails where one of them is static, and tells about the others all the same.
    let output = Command::new("ldd").args(&elf).env("LC_ALL", "C").output().context("failed to run `ldd`")?;
    for library in needed(&String::from_utf8_lossy(&output.stdout)) {
        tree.host(&library)?;
    }
    Ok(())
}

fn is_elf(path: &Path) -> std::io::Result<bool> {
    let mut magic = Vec::new();
    File::open(path)?.take(4).read_to_end(&mut magic)?;
    Ok(magic == b"\x7fELF")
}

/// The paths in what `ldd` prints.
fn needed(text: &str) -> BTreeSet<PathBuf> {
    let words = text.lines().filter(|line| line.starts_with(char::is_whitespace)).flat_map(str::split_whitespace);
    words.filter(|word| word.starts_with('/')).map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::needed;

    #[test]
    fn reads_what_programs_need() {
        let text = "/usr/bin/ss:\n\tlinux-vdso.so.1 (0x00007ffd)\n\tlibelf.so.1 => /lib/x86_64-linux-gnu/libelf.so.1 (0x0)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n/usr/bin/static:\n\tnot a dynamic executable\n\
                    /usr/bin/odd:\n\tlibmissing.so => not found\n";
        let needed: Vec<_> = needed(text).into_iter().map(|path| path.display().to_string()).collect();
        assert_eq!(needed, ["/lib/x86_64-linux-gnu/libelf.so.1", "/lib64/ld-linux-x86-64.so.2"]);
    }
}
