//! Debian's packages of any release, without changing what apt knows of this machine.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, bail, ensure};

use super::kernels::{Kernel, Packages};
use crate::{process, setup::facts};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Where the packages of Debian are when apt of this machine does not say, because it is another distribution's.
pub(crate) const MIRROR: &str = "TCPSTATE_DEBIAN_MIRROR";
/// The newest kernel of a day ago is new enough.
const LISTS_AGE: Duration = Duration::from_secs(24 * 3600);
/// For lists or a kernel.
const PATIENCE: Duration = Duration::from_secs(300);

/// A release of Debian, with apt's files for it in a directory of its own.
#[derive(Debug)]
pub(crate) struct Suite {
    directory: PathBuf,
}

impl Suite {
    /// Has the lists of this release below `cache`; `security` says whether it has security updates.
    ///
    /// # Errors
    ///
    /// There are none, and they cannot be fetched.
    pub(crate) fn open(cache: &Path, name: &str, security: bool) -> anyhow::Result<Self> {
        let suite = Self { directory: cache.join("apt").join(name) };
        for directory in ["lists/partial", "cache/archives/partial"] {
            let path = suite.directory.join(directory);
            fs::create_dir_all(&path).with_context(|| format!("`{}`", path.display()))?;
        }
        let fetched = suite.directory.join("fetched");
        let age = fetched.metadata().and_then(|metadata| metadata.modified()).ok();
        let age = age.and_then(|modified| SystemTime::now().duration_since(modified).ok());
        if age.is_some_and(|age| age < LISTS_AGE) {
            return Ok(suite);
        }
        let sources = sources(name, security, &mirrors()?);
        fs::write(suite.directory.join("sources.list"), sources)?;
        let mut update = suite.command("apt-get");
        update.args(["--quiet", "update", "--error-on=any"]);
        let updated = process::step(&format!("fetch the package lists of {name}"), update, Some(PATIENCE));
        match updated {
            Ok(()) => fs::write(fetched, "")?,
            // Without a network, what is there will do.
            Err(error) if age.is_some() => eprintln!("    going on with lists of yesterday or before: {error:#}"),
            Err(error) => return Err(error),
        }
        Ok(suite)
    }

    /// The packages of the newest kernel of the series.
    ///
    /// # Errors
    ///
    /// There is none, or apt fails.
    pub(crate) fn newest(&self, kernel: &Kernel) -> anyhow::Result<Packages> {
        let names = output(self.command("apt-cache").arg("pkgnames").arg("linux-"))?;
        // Names alone may be of packages that others only mention.
        let wanted =
            names.lines().filter(|name| kernel.release_in(name).is_some() || name.starts_with("linux-modules-"));
        let policy = output(self.command("apt-cache").arg("policy").args(wanted))?;
        let packages = facts::parse_policy(&policy);
        let offered: Vec<&str> = packages
            .iter()
            .filter_map(|(name, package)| package.candidate.is_some().then_some(name.as_str()))
            .collect();
        let newest = kernel.newest(offered.iter().copied());
        newest.with_context(|| {
            format!("Debian {} has no kernel {}: `KERNELS` in xtask needs another suite", kernel.suite, kernel.name)
        })
    }

    /// Fetches `packages` and unpacks them to `target`.
    ///
    /// # Errors
    ///
    /// A command failed.
    pub(crate) fn unpack(&self, packages: &Packages, target: &Path) -> anyhow::Result<()> {
        let downloads = self.directory.join("downloads");
        fs::create_dir_all(&downloads)?;
        let mut download = self.command("apt-get");
        // `download` would warn root that it cannot become `_apt` in a directory of root's.
        download.args(["--quiet", "-o", "APT::Sandbox::User=root", "download"]).args(&packages.names);
        download.current_dir(&downloads);
        process::step(&format!("fetch Linux {}", packages.release), download, Some(PATIENCE))?;
        extract(&downloads, target)?;
        Ok(fs::remove_dir_all(&downloads)?)
    }

    /// Fetches a package with all that it depends on, whatever the machine has of it, and unpacks it to `target`.
    ///
    /// # Errors
    ///
    /// A command failed.
    pub(crate) fn unpack_with_dependencies(&self, package: &str, target: &Path) -> anyhow::Result<()> {
        let nothing = self.directory.join("nothing-installed");
        fs::write(&nothing, "")?;
        let mut download = self.command("apt-get");
        download.args(["--quiet", "-o", &format!("Dir::State::status={}", nothing.display())]);
        // Nothing is changed that would have to be locked.
        download.args(["-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User=root"]);
        download.args(["install", "--yes", "--download-only", "--no-install-recommends", package]);
        process::step(&format!("fetch {package}, to be kept beside the kernels"), download, Some(PATIENCE))?;
        let archives = self.directory.join("cache/archives");
        extract(&archives, target)?;
        fs::remove_dir_all(&archives)?;
        Ok(fs::create_dir_all(archives.join("partial"))?)
    }

    /// apt that knows this suite and nothing else.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let options = [
            format!("Dir::Etc::sourcelist={}", self.directory.join("sources.list").display()),
            "Dir::Etc::sourceparts=-".to_owned(),
            format!("Dir::State::Lists={}", self.directory.join("lists").display()),
            format!("Dir::Cache={}", self.directory.join("cache").display()),
            "APT::Architecture=amd64".to_owned(),
            "Acquire::Languages=none".to_owned(),
        ];
        for option in options {
            command.args(["-o", &option]);
        }
        command.env("LC_ALL", "C");
        command
    }
}

/// Unpacks the packages in a directory to `target`.
fn extract(packages: &Path, target: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(packages)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            let status = Command::new("dpkg-deb").arg("--extract").arg(&path).arg(target).status();
            ensure!(status.context("failed to run `dpkg-deb`")?.success(), "`{}` cannot be unpacked", path.display());
        }
    }
    Ok(())
}

/// Where packages are fetched from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Mirrors {
    main: Option<String>,
    security: Option<String>,
}

/// Those that apt of this machine has, if it is a Debian's, or the one in the environment.
fn mirrors() -> anyhow::Result<Mirrors> {
    if let Ok(mirror) = std::env::var(MIRROR) {
        let mirror = mirror.trim_end_matches('/');
        return Ok(Mirrors { main: Some(mirror.to_owned()), security: Some(format!("{mirror}-security")) });
    }
    let mut targets = Command::new("apt-get");
    targets.args(["indextargets", "--format", "$(LABEL)\t$(SITE)", "Created-By: Packages"]);
    let mirrors = parse_targets(&output(&mut targets)?);
    if mirrors.main.is_none() {
        bail!(
            "apt of this machine does not know Debian: name a mirror of it in the environment, {MIRROR}=http://…/debian"
        );
    }
    Ok(mirrors)
}

/// Reads lines of label and site.
fn parse_targets(text: &str) -> Mirrors {
    let site = |wanted| {
        let mut lines = text.lines().filter_map(|line| line.split_once('\t'));
        lines.find_map(|(label, site)| (label == wanted).then(|| site.trim_end_matches('/').to_owned()))
    };
    Mirrors { main: site("Debian"), security: site("Debian-Security") }
}

/// The list of sources of a suite.
fn sources(name: &str, has_security: bool, mirrors: &Mirrors) -> String {
    let line =
        |mirror: &String, suite: &str| format!("deb [signed-by={KEYRING} target=Packages] {mirror} {suite} main\n");
    let main = mirrors.main.iter().map(|mirror| line(mirror, name));
    let security = mirrors.security.iter().filter(|_| has_security);
    main.chain(security.map(|mirror| line(mirror, &format!("{name}-security")))).collect()
}

/// What a command says that succeeds.
fn output(command: &mut Command) -> anyhow::Result<String> {
    let shown = process::display(command);
    let output = command.output().with_context(|| format!("failed to run `{shown}`"))?;
    ensure!(output.status.success(), "`{shown}` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::{Mirrors, parse_targets, sources};
    use crate::vm::kernels::{KERNELS, Kernel};

    #[test]
    fn the_mirrors_are_those_of_the_machine() {
        let text = "Other\thttp://other.invalid\nDebian-Security\thttp://near.invalid/security\n\
                    Debian\thttp://near.invalid/debian/\nDebian\thttp://far.invalid/debian\n";
        let mirrors = parse_targets(text);
        assert_eq!(mirrors.main.as_deref(), Some("http://near.invalid/debian"));
        assert_eq!(mirrors.security.as_deref(), Some("http://near.invalid/security"));
        assert_eq!(parse_targets("Ubuntu\thttp://near.invalid/ubuntu\n"), Mirrors::default());
    }

    #[test]
    fn a_suite_has_its_security_updates() {
        let mirrors = Mirrors { main: Some("http://m.invalid/d".into()), security: Some("http://m.invalid/s".into()) };
        let sources = |kernel: &Kernel| sources(kernel.suite, kernel.security, &mirrors);
        let lines = |index: usize| sources(&KERNELS[index]).lines().map(str::to_owned).collect::<Vec<_>>();
        assert!(lines(0)[0].ends_with(" http://m.invalid/d bullseye main"), "{:?}", lines(0));
        assert!(lines(0)[1].ends_with(" http://m.invalid/s bullseye-security main"), "{:?}", lines(0));
        assert_eq!(lines(3).len(), 1, "testing has none");
    }
}
