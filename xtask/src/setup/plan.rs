//! What to do about what is missing: decided here from facts alone, done in `step`.

use std::path::PathBuf;

use super::{
    facts::{Apt, Compiler, Offers, Present, Release},
    tools::{self, Tool},
};

/// Debian's compilers, the compiler itself first, each with matching sources and an LLVM that Debian has too. A stable
/// release keeps its own `rustc` and gets a newer one, for its browsers, beside it.
const DISTRIBUTION_COMPILERS: [[&str; 5]; 2] = [
    ["rustc-web", "cargo-web", "rust-web-src", "rust-web-llvm", "rust-web-clippy"],
    ["rustc", "cargo", "rust-src", "rust-llvm", "rust-clippy"],
];

/// What linking against LLVM needs besides its own development files.
const LINKER_LIBRARIES: [&str; 3] = ["g++", "libzstd-dev", "zlib1g-dev"];

/// One thing to do, in an order that works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Bring apt's package lists up to date.
    AptUpdate,
    /// Install these packages.
    AptInstall(Vec<String>),
    /// Add these components to the compiler of the host crates.
    StableComponents(Vec<&'static str>),
    /// Add library sources and clippy to the installed nightly.
    NightlyComponents,
    /// Install a nightly with its library sources.
    Nightly,
    /// Make the compiler in this sysroot the one that builds the BPF programs.
    Link(PathBuf),
    /// Build `bpf-linker` on this LLVM.
    BpfLinker {
        /// Its major version.
        llvm: u32,
    },
    /// Build `cargo-deny`.
    CargoDeny,
}

impl Step {
    /// Whether it downloads through rustup, which may be out of reach while apt is not.
    pub(crate) fn is_rustup(&self) -> bool {
        matches!(self, Self::StableComponents(_) | Self::NightlyComponents | Self::Nightly)
    }
}

/// Something missing that no step can bring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// A compiler for the BPF programs.
    Compiler,
    /// A `bpf-linker` built on this LLVM or a newer one.
    Linker(u32),
    /// Components of the compiler of the host crates.
    StableComponents(Vec<&'static str>),
    /// A program that is run.
    Tool(&'static Tool),
}

/// What has become known while setting up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tried {
    /// apt's lists are as new as they get.
    pub(crate) apt_update: bool,
    /// rustup cannot download here.
    pub(crate) rustup_failed: bool,
}

/// The steps foreseen, and what they will leave missing. Neither means that all is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    pub(crate) by_hand: Vec<Need>,
}

/// Whether the compiler in use will do.
pub(crate) fn usable(compiler: &Compiler) -> bool {
    compiler.complete && compiler.release >= Release::oldest()
}

/// Whether nothing is missing.
pub(crate) fn is_ready(present: &Present) -> bool {
    present.linked.as_ref().is_some_and(|compiler| usable(compiler) && links(present, compiler.llvm))
        && !present.lacks_cargo_deny
        && present.stable_lacks.is_empty()
        && present.tools_missing.is_empty()
}

/// Whether setup ever asks apt for the package of this name.
pub(crate) fn may_ask_for(name: &str) -> bool {
    DISTRIBUTION_COMPILERS.as_flattened().contains(&name)
        || LINKER_LIBRARIES.contains(&name)
        || tools::all().any(|tool| tool.package == name)
        || llvm_of(name, "llvm-").is_some()
        || llvm_of(name, "libpolly-").is_some()
}

/// Plans from what is there and what could be had. A step may reveal more (the LLVM of a compiler is known once it is
/// installed): after each step, plan again.
pub(crate) fn plan(present: &Present, offers: &Offers, tried: Tried) -> Plan {
    let mut plan = Plan::default();
    let mut packages = Vec::new();
    let mut link = None;
    let mut llvm = None;

    if !present.stable_lacks.is_empty() {
        if tried.rustup_failed {
            plan.by_hand.push(Need::StableComponents(present.stable_lacks.clone()));
        } else {
            plan.steps.push(Step::StableComponents(present.stable_lacks.clone()));
        }
    }
    match choose(present, offers, tried) {
        Choice::Linked(compiler) => llvm = Some(compiler.llvm),
        Choice::Installed(compiler) => {
            link = Some(compiler.sysroot.clone());
            llvm = Some(compiler.llvm);
        }
        Choice::NightlyComponents(compiler) => {
            plan.steps.push(Step::NightlyComponents);
            link = Some(compiler.sysroot.clone());
            llvm = Some(compiler.llvm);
        }
        Choice::Distribution(compiler) => {
            packages.extend(compiler.map(str::to_owned));
            link = Some("/usr".into());
        }
        Choice::Nightly => plan.steps.push(Step::Nightly),
        Choice::None => plan.by_hand.push(Need::Compiler),
    }
    for tool in &present.tools_missing {
        if offers.apt.as_ref().is_some_and(|apt| can_install(apt, tool.package)) {
            packages.push(tool.package.to_owned());
        } else {
            plan.by_hand.push(Need::Tool(tool));
        }
    }
    let mut linker = None;
    if let Some(wanted) = llvm.filter(|&llvm| !links(present, llvm)) {
        linker = llvm_offered(offers, wanted);
        match linker {
            Some(llvm) => packages.extend(linker_packages(llvm)),
            None => plan.by_hand.push(Need::Linker(wanted)),
        }
    }
    install(&mut plan, packages, offers.apt.as_ref());
    plan.steps.extend(link.map(Step::Link));
    plan.steps.extend(linker.map(|llvm| Step::BpfLinker { llvm }));
    plan.steps.extend(present.lacks_cargo_deny.then_some(Step::CargoDeny));

    // Old or empty lists may hide what is missing: only new ones tell what is to be done by hand.
    let asks_apt = plan.steps.iter().any(|step| matches!(step, Step::AptInstall(_) | Step::Nightly));
    if offers.apt.is_some() && !tried.apt_update && (asks_apt || !plan.by_hand.is_empty()) {
        plan.steps.insert(0, Step::AptUpdate);
        plan.by_hand.clear();
    }
    plan
}

/// Where the compiler for the BPF programs shall come from.
enum Choice<'a> {
    Linked(&'a Compiler),
    Installed(&'a Compiler),
    NightlyComponents(&'a Compiler),
    Distribution([&'static str; 5]),
    Nightly,
    None,
}

/// The first that will do, from what changes nothing to what downloads most.
fn choose<'a>(present: &'a Present, offers: &'a Offers, tried: Tried) -> Choice<'a> {
    let has_linker =
        |compiler: &&Compiler| links(present, compiler.llvm) || llvm_offered(offers, compiler.llvm).is_some();
    let linked = present.linked.as_ref().filter(|compiler| usable(compiler));
    let installed = [&offers.nightly, &offers.distribution].into_iter().flatten().filter(|compiler| usable(compiler));
    let nightly = offers.nightly.as_ref().filter(|compiler| compiler.release >= Release::oldest());

    if let Some(compiler) = linked.filter(has_linker) {
        return Choice::Linked(compiler);
    }
    if let Some(compiler) = installed.clone().find(has_linker) {
        return Choice::Installed(compiler);
    }
    if let Some(compiler) =
        nightly.filter(|compiler| !tried.rustup_failed && !compiler.complete && has_linker(compiler))
    {
        return Choice::NightlyComponents(compiler);
    }
    if let Some(packages) = offers.apt.as_ref().and_then(compiler_offered) {
        return Choice::Distribution(packages);
    }
    if offers.nightly.is_none() && !tried.rustup_failed {
        return Choice::Nightly;
    }
    // None of them can be given a linker by us; perhaps by hand.
    match linked.map(Choice::Linked).or_else(|| installed.clone().next().map(Choice::Installed)) {
        Some(choice) => choice,
        None => match nightly.filter(|_| !tried.rustup_failed) {
            Some(compiler) => Choice::NightlyComponents(compiler),
            None => Choice::None,
        },
    }
}

/// Whether the linker that is there reads the bitcode of an LLVM of this version.
fn links(present: &Present, llvm: u32) -> bool {
    present.linker.as_ref().is_some_and(|linker| linker.llvm >= llvm)
}

/// The LLVM to build a linker on: the oldest that apt offers and that is not older than the compiler's.
fn llvm_offered(offers: &Offers, wanted: u32) -> Option<u32> {
    let apt = offers.apt.as_ref()?;
    let offered = apt.packages.keys().filter_map(|name| llvm_of(name, "llvm-"));
    offered.filter(|&llvm| llvm >= wanted && linker_packages(llvm).all(|package| is_offered(apt, &package))).min()
}

fn linker_packages(llvm: u32) -> impl Iterator<Item = String> {
    let own = [format!("llvm-{llvm}-dev"), format!("libpolly-{llvm}-dev")];
    own.into_iter().chain(LINKER_LIBRARIES.map(str::to_owned))
}

/// `22` of `llvm-22-dev`.
fn llvm_of(package: &str, prefix: &str) -> Option<u32> {
    package.strip_prefix(prefix)?.strip_suffix("-dev")?.parse().ok()
}

/// The packages of the first compiler that apt offers and that is new enough.
fn compiler_offered(apt: &Apt) -> Option<[&'static str; 5]> {
    DISTRIBUTION_COMPILERS.into_iter().find(|packages| {
        let compiler = apt.packages.get(packages[0]).and_then(|package| package.candidate.as_deref());
        compiler.and_then(Release::parse).is_some_and(|release| release >= Release::oldest())
            && packages.iter().all(|package| is_offered(apt, package))
    })
}

fn is_offered(apt: &Apt, package: &str) -> bool {
    apt.packages.get(package).is_some_and(|package| package.installed || package.candidate.is_some())
}

/// A tool that is missing although its package is installed is somewhere off `PATH`: installing cannot help.
fn can_install(apt: &Apt, package: &str) -> bool {
    is_offered(apt, package) && !apt.packages.get(package).is_some_and(|package| package.installed)
}

/// Adds one installation of those of `packages` that are not there yet.
fn install(plan: &mut Plan, mut packages: Vec<String>, apt: Option<&Apt>) {
    packages.retain(|name| !apt.and_then(|apt| apt.packages.get(name)).is_some_and(|package| package.installed));
    packages.sort();
    packages.dedup();
    if !packages.is_empty() {
        plan.steps.push(Step::AptInstall(packages));
    }
}

#[cfg(test)]
mod tests;
