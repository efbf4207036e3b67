//! What is attached to a release.

use std::{env, fs, path::Path, process::Command};

use anyhow::{Context as _, ensure};

use crate::{build, cargo, process, setup};

/// All packages of the workspace have one version.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What goes with the binary: the README, and what it links to.
const DOCUMENTS: [&str; 9] = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "LICENSE-APACHE",
    "LICENSE-GPL2",
    "LICENSE-MIT",
    "docs",
    "tcpstate/schema",
];

/// Builds the static binary and leaves in `target/dist` an archive of it, `SHA256SUMS` and, for a `tag`, `notes.md`.
///
/// # Errors
///
/// A step failed, `tag` is not that of the version, or the changelog has nothing about it.
pub(crate) fn task(tag: Option<&str>) -> anyhow::Result<()> {
    let notes = tag.map(notes_of).transpose()?;
    setup::ensure(setup::Scope::BUILD)?;
    let binary = build::static_release()?;
    let directory = cargo::target_dir()?.join("dist");
    if directory.exists() {
        fs::remove_dir_all(&directory).with_context(|| format!("`{}`", directory.display()))?;
    }
    let name = format!("tcpstate-{VERSION}-{}-linux", env::consts::ARCH);
    let contents = directory.join(&name);
    fs::create_dir_all(&contents)?;
    fs::copy(&binary, contents.join("tcpstate"))?;
    output(cargo::workspace(), Command::new("cp").args(["--recursive", "--parents"]).args(DOCUMENTS).arg(&contents))?;
    let archive = format!("{name}.tar.gz");
    // Nobody's user ids, and the same order everywhere.
    let tar = ["--create", "--gzip", "--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--file", &archive];
    output(&directory, Command::new("tar").args(tar).arg(&name))?;
    fs::remove_dir_all(&contents)?;
    fs::write(directory.join("SHA256SUMS"), output(&directory, Command::new("sha256sum").arg(&archive))?)?;
    if let Some(notes) = notes {
        fs::write(directory.join("notes.md"), notes)?;
    }
    println!("{}", directory.join(archive).display());
    Ok(())
}

/// What the changelog says of the version.
fn notes_of(tag: &str) -> anyhow::Result<String> {
    ensure!(tag == format!("v{VERSION}"), "the tag is `{tag}`, and the version in `Cargo.toml` is {VERSION}");
    let changelog = fs::read_to_string(cargo::workspace().join("CHANGELOG.md")).context("`CHANGELOG.md`")?;
    section(&changelog, VERSION).with_context(|| format!("`CHANGELOG.md` has nothing under `## [{VERSION}]`"))
}

/// What stands below `## [version]`, up to the next heading of this kind.
fn section(changelog: &str, version: &str) -> Option<String> {
    let heading = format!("## [{version}]");
    let below = changelog.lines().skip_while(|line| !line.starts_with(&heading)).skip(1);
    let lines: Vec<_> = below.take_while(|line| !line.starts_with("## ")).collect();
    let text = lines.join("\n").trim().to_owned();
    (!text.is_empty()).then(|| text + "\n")
}

/// What a command that succeeds says.
fn output(directory: &Path, command: &mut Command) -> anyhow::Result<Vec<u8>> {
    let output = command.current_dir(directory).output().context("failed to run it");
    let output = output.with_context(|| format!("`{}`", process::display(command)))?;
    ensure!(
        output.status.success(),
        "`{}` failed: {}",
        process::display(command),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::{notes_of, section};

    #[test]
    fn the_notes_are_the_section_of_the_version() {
        let changelog = "# Changelog\n\n## [Unreleased]\n\n- z\n\n## [0.2.0] - 2027-01-01\n\n### Added\n\n- a\n- b\n\n\
                         ## [0.1.0] - 2026-12-01\n\n- c\n";
        assert_eq!(section(changelog, "0.2.0").as_deref(), Some("### Added\n\n- a\n- b\n"));
        assert_eq!(section(changelog, "0.1.0").as_deref(), Some("- c\n"));
        assert_eq!(section(changelog, "0.3.0"), None);
        assert_eq!(section("## [0.3.0]\n\n## [0.2.0]\n", "0.3.0"), None);
    }

    #[test]
    fn a_tag_of_another_version_is_refused() {
        for tag in ["v0.0.0", "0.1.0", "main"] {
            let error = notes_of(tag).expect_err("no version of ours").to_string();
            assert!(error.starts_with(&format!("the tag is `{tag}`, and the version in `Cargo.toml` is ")), "{error}");
        }
    }
}
