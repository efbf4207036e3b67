//! Which kernels there are, and which of Debian's packages has the newest of each.

use std::cmp::Ordering;

/// What kind of kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flavour {
    /// For virtual machines.
    Cloud,
    /// With `PREEMPT_RT`.
    Realtime,
}

/// A kernel that tests can be run on.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// What the user calls it.
    pub(crate) name: &'static str,
    /// The release of Debian that has it.
    pub(crate) suite: &'static str,
    /// Whether the suite has security updates, where the newest patch levels are.
    pub(crate) security: bool,
    /// Its version, without the patch level.
    series: &'static str,
    flavour: Flavour,
    /// What is added to its command line.
    pub(crate) parameters: &'static str,
    /// Whether it is booted when nobody says which.
    pub(crate) usual: bool,
}

const fn cloud(name: &'static str, suite: &'static str, security: bool) -> Kernel {
    Kernel { name, suite, security, series: name, flavour: Flavour::Cloud, parameters: "", usual: true }
}

/// Oldest first.
pub(crate) const KERNELS: [Kernel; 7] = [
    cloud("5.10", "bullseye", true),
    cloud("6.1", "bookworm", true),
    cloud("6.12", "trixie", true),
    cloud("7.2", "forky", false),
    Kernel {
        name: "6.1-rt",
        series: "6.1",
        flavour: Flavour::Realtime,
        usual: false,
        ..cloud("6.1", "bookworm", true)
    },
    Kernel {
        name: "6.12-integrity",
        parameters: "lockdown=integrity",
        usual: false,
        series: "6.12",
        ..cloud("6.12", "trixie", true)
    },
    Kernel {
        name: "6.12-confidentiality",
        parameters: "lockdown=confidentiality",
        usual: false,
        series: "6.12",
        ..cloud("6.12", "trixie", true)
    },
];

/// The packages of a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packages {
    /// As `uname -r` says.
    pub(crate) release: String,
    pub(crate) names: Vec<String>,
}

impl Kernel {
    /// The release in the name of a package that has this kernel: `6.1.0-56-cloud-amd64`.
    pub(crate) fn release_in<'a>(&self, package: &'a str) -> Option<&'a str> {
        // The second has the modules elsewhere.
        let release = package.strip_prefix("linux-image-").or_else(|| package.strip_prefix("linux-binary-"))?;
        let flavour = match self.flavour {
            Flavour::Cloud => "-cloud-amd64",
            Flavour::Realtime => "-rt-amd64",
        };
        let version = release.strip_suffix(flavour)?;
        let patch = version.strip_prefix(self.series)?.strip_prefix('.')?;
        // Other suites' kernels are to be had elsewhere.
        let backported = version.contains(".deb") || version.contains("~bpo");
        (patch.starts_with(|c: char| c.is_ascii_digit()) && !backported).then_some(release)
    }

    /// The newest of what apt offers, whose `names` are of packages that can be had.
    pub(crate) fn newest<'a>(&self, names: impl IntoIterator<Item = &'a str> + Clone) -> Option<Packages> {
        let releases = names.clone().into_iter().filter_map(|name| self.release_in(name));
        let release = releases.max_by(|a, b| compare(a, b))?.to_owned();
        let has = |wanted: &str| names.clone().into_iter().any(|name| name == wanted);
        let parts = [format!("linux-binary-{release}"), format!("linux-modules-{release}")];
        let names =
            if parts.iter().all(|part| has(part)) { parts.into() } else { vec![format!("linux-image-{release}")] };
        Some(Packages { release, names })
    }
}

/// Orders releases of one flavour: numbers by their value.
pub(crate) fn compare(a: &str, b: &str) -> Ordering {
    let numbers = |text: &str| -> Vec<u64> {
        // The architecture has a number, too.
        let version = text.strip_suffix("amd64").unwrap_or(text);
        version.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
    };
    numbers(a).cmp(&numbers(b)).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::{KERNELS, Kernel};

    fn kernel(name: &str) -> &'static Kernel {
        KERNELS.iter().find(|kernel| kernel.name == name).expect("known")
    }

    fn newest(name: &str, packages: &[&str]) -> Option<(String, Vec<String>)> {
        let packages = kernel(name).newest(packages.iter().copied())?;
        Some((packages.release, packages.names))
    }

    #[test]
    fn the_workflow_boots_all_of_them() {
        let workflow = include_str!("../../../.github/workflows/kernels.yml");
        let listed = workflow.lines().find_map(|line| line.trim().strip_prefix("kernel: ")).expect("a matrix");
        let listed: Vec<&str> = serde_json::from_str(listed).expect("names");
        assert_eq!(listed, KERNELS.map(|kernel| kernel.name));
    }

    #[test]
    fn the_newest_is_by_number() {
        let names = [
            "linux-image-6.1.0-9-cloud-amd64",
            "linux-image-6.1.0-56-cloud-amd64",
            "linux-image-6.1.0-56-cloud-amd64-unsigned",
            "linux-image-6.1.0-57-rt-amd64",
            "linux-image-6.1.0-57-amd64",
            "linux-image-6.12.117+deb12-cloud-amd64",
            "linux-image-6.1-cloud-amd64",
        ];
        let image = |release: &str| Some((release.to_owned(), vec![format!("linux-image-{release}")]));
        assert_eq!(newest("6.1", &names), image("6.1.0-56-cloud-amd64"));
        assert_eq!(newest("6.1-rt", &names), image("6.1.0-57-rt-amd64"));
        assert_eq!(newest("6.12", &names), image("6.12.117+deb12-cloud-amd64"));
        assert_eq!(newest("5.10", &names), None);
    }

    #[test]
    fn a_point_release_of_a_package_is_newer() {
        let names = ["linux-image-6.12.115+deb13-cloud-amd64", "linux-image-6.12.115+deb13.1-cloud-amd64"];
        assert_eq!(newest("6.12", &names).expect("one").0, "6.12.115+deb13.1-cloud-amd64");
    }

    #[test]
    fn a_kernel_of_another_suite_is_not_this_one() {
        assert_eq!(newest("6.1", &["linux-image-6.1.0-0.deb11.52-cloud-amd64"]), None);
    }

    #[test]
    fn newer_kernels_come_in_parts() {
        let names = [
            "linux-image-7.2.12+deb14-cloud-amd64",
            "linux-binary-7.2.12+deb14-cloud-amd64",
            "linux-modules-7.2.12+deb14-cloud-amd64",
        ];
        let (release, parts) = newest("7.2", &names).expect("one");
        assert_eq!(release, "7.2.12+deb14-cloud-amd64");
        assert_eq!(parts, [format!("linux-binary-{release}"), format!("linux-modules-{release}")]);
    }
}
