//! Plans for the machines that people have. The machine is a value: a step changes it as the real one would.

use std::collections::BTreeMap;

use super::{
    DISTRIBUTION_COMPILERS, LINKER_LIBRARIES, Need, Plan, Step, Tried, is_ready, linker_packages, may_ask_for, plan,
};
use crate::setup::{
    facts::{Apt, AptPackage, Compiler, Linker, Offers, Present, Release},
    tools,
};

#[derive(Clone, Debug, Default)]
struct Machine {
    present: Present,
    offers: Offers,
    tried: Tried,
    rustup_hangs: bool,
    /// What apt's lists say after an update.
    mirror: Apt,
    /// What rustup would install.
    newest_nightly: Option<Compiler>,
}

fn compiler(sysroot: &str, llvm: u32, complete: bool) -> Compiler {
    Compiler { sysroot: sysroot.into(), release: Release(1, 97), llvm, complete }
}

/// A Debian with LLVM 14 and 22, and a compiler that matches 22.
fn debian(compiler: &[&str]) -> Apt {
    let llvm = ["llvm-14-dev", "libpolly-14-dev", "llvm-22-dev", "libpolly-22-dev"];
    let tools: Vec<_> = tools::all().map(|tool| tool.package).collect();
    let names = [compiler, &LINKER_LIBRARIES[..], &llvm[..], &tools].concat();
    let package = AptPackage { installed: false, candidate: Some("1.96.0+dfsg1-1".to_owned()) };
    Apt { packages: names.into_iter().map(|name| (name.to_owned(), package.clone())).collect() }
}

/// Debian 12 with its security suite, where `rustc` is of 2022.
fn bookworm() -> Apt {
    let mut apt = debian(DISTRIBUTION_COMPILERS.as_flattened());
    for name in DISTRIBUTION_COMPILERS[1] {
        apt.offer(name, "1.63.0+dfsg1-2");
    }
    apt
}

impl Apt {
    fn offer(&mut self, name: &str, version: &str) {
        self.packages.insert(name.to_owned(), AptPackage { installed: false, candidate: Some(version.to_owned()) });
    }
}

impl Machine {
    /// Nothing but stable Rust and apt with empty lists.
    fn bare() -> Self {
        Self {
            present: Present { lacks_cargo_deny: true, tools_missing: tools::all().collect(), ..Present::default() },
            offers: Offers { apt: Some(Apt::default()), ..Offers::default() },
            mirror: bookworm(),
            ..Self::default()
        }
    }

    fn plan(&self) -> Plan {
        plan(&self.present, &self.offers, self.tried)
    }

    /// Does `step` as the real machine would.
    fn apply(&mut self, step: &Step) {
        match step {
            Step::AptUpdate => {
                self.tried.apt_update = true;
                self.offers.apt = Some(self.mirror.clone());
            }
            Step::AptInstall(names) => self.install(names),
            rustup if rustup.is_rustup() && self.rustup_hangs => self.tried.rustup_failed = true,
            Step::StableComponents(_) => self.present.stable_lacks.clear(),
            Step::CargoDeny => self.present.lacks_cargo_deny = false,
            Step::NightlyComponents => {
                if let Some(nightly) = &mut self.offers.nightly {
                    nightly.complete = true;
                }
            }
            Step::Nightly => self.offers.nightly = self.newest_nightly.clone(),
            Step::Link(sysroot) => {
                let installed = [&self.offers.nightly, &self.offers.distribution];
                self.present.linked =
                    installed.into_iter().flatten().find(|compiler| compiler.sysroot == *sysroot).cloned();
            }
            Step::BpfLinker { llvm } => {
                let apt = self.offers.apt.as_ref().map(|apt| &apt.packages);
                let installed = |name: &String| apt.and_then(|apt| apt.get(name)).is_some_and(|found| found.installed);
                if linker_packages(*llvm).all(|name| installed(&name)) {
                    self.present.linker = Some(Linker { path: "bpf-linker".into(), llvm: *llvm });
                }
            }
        }
    }

    fn install(&mut self, names: &[String]) {
        let packages: &mut BTreeMap<_, _> = match &mut self.offers.apt {
            Some(apt) => &mut apt.packages,
            None => return,
        };
        for name in names {
            if let Some(package) = packages.get_mut(name) {
                package.installed = package.candidate.is_some();
            }
        }
        let installed = |name: &str| packages.get(name).is_some_and(|package| package.installed);
        if DISTRIBUTION_COMPILERS.iter().any(|compiler| compiler.iter().all(|name| installed(name))) {
            self.offers.distribution = Some(compiler("/usr", 22, true));
        }
        self.present.tools_missing.retain(|tool| !installed(tool.package));
    }

    /// Plans and does the first step until nothing is left to do; returns what was done. As in the real loop, doing the
    /// same again is an error.
    fn set_up(&mut self) -> Vec<Step> {
        let mut done = Vec::new();
        while let Some(step) = self.plan().steps.into_iter().next() {
            assert!(!done.contains(&step), "`{step}` again after {done:?}");
            self.apply(&step);
            done.push(step);
        }
        done
    }
}

#[test]
fn nothing_is_done_where_all_is_there() {
    let present = Present {
        linked: Some(compiler("/usr", 22, true)),
        linker: Some(Linker { path: "bpf-linker".into(), llvm: 22 }),
        ..Present::default()
    };
    assert!(is_ready(&present));
    let machine = Machine { present, ..Machine::bare() };
    assert_eq!(plan(&machine.present, &Offers::default(), Tried::default()), Plan::default());
}

#[test]
fn a_complete_nightly_is_linked_and_given_a_linker() {
    let mut machine = Machine::bare();
    machine.present.tools_missing.clear();
    machine.offers.nightly = Some(compiler("/nightly", 22, true));
    let done = machine.set_up();
    let packages = ["g++", "libpolly-22-dev", "libzstd-dev", "llvm-22-dev", "zlib1g-dev"].map(str::to_owned);
    let packages = Step::AptInstall(packages.into());
    let built = [Step::Link("/nightly".into()), Step::BpfLinker { llvm: 22 }, Step::CargoDeny];
    assert_eq!(done, [&[Step::AptUpdate, packages], &built[..]].concat());
    assert!(is_ready(&machine.present));
}

#[test]
fn a_nightly_without_sources_gets_them() {
    let mut machine = Machine::bare();
    machine.offers.nightly = Some(compiler("/nightly", 22, false));
    let done = machine.set_up();
    assert_eq!(done.get(1), Some(&Step::NightlyComponents));
    assert!(done.contains(&Step::Link("/nightly".into())));
    assert!(is_ready(&machine.present));
}

#[test]
fn the_distributions_compiler_replaces_a_nightly_whose_sources_are_out_of_reach() {
    let mut machine = Machine::bare();
    machine.rustup_hangs = true;
    machine.offers.nightly = Some(compiler("/nightly", 22, false));
    let done = machine.set_up();
    assert_eq!(done.iter().filter(|step| step.is_rustup()).count(), 1, "{done:?}");
    assert!(done.contains(&Step::Link("/usr".into())), "{done:?}");
    assert!(is_ready(&machine.present));
}

#[test]
fn the_distributions_compiler_replaces_a_nightly_that_no_llvm_here_can_follow() {
    let mut machine = Machine::bare();
    machine.offers.nightly = Some(compiler("/nightly", 23, true));
    let done = machine.set_up();
    assert!(done.contains(&Step::Link("/usr".into())), "{done:?}");
    assert!(done.contains(&Step::BpfLinker { llvm: 22 }), "{done:?}");
    assert!(is_ready(&machine.present));
}

#[test]
fn without_a_nightly_the_distributions_compiler_needs_no_rustup() {
    let mut machine = Machine::bare();
    let done = machine.set_up();
    assert!(done.iter().all(|step| !step.is_rustup()), "{done:?}");
    assert!(is_ready(&machine.present));
}

#[test]
fn the_newer_of_two_distribution_compilers_is_installed() {
    let installed = |mirror| {
        let mut machine = Machine { mirror, ..Machine::bare() };
        let done = machine.set_up();
        assert!(is_ready(&machine.present));
        done.into_iter().find_map(|step| match step {
            Step::AptInstall(packages) => Some(packages),
            _ => None,
        })
    };
    let has = |packages: Option<Vec<String>>, name: &str| packages.is_some_and(|all| all.iter().any(|one| one == name));
    assert!(has(installed(bookworm()), "rustc-web"));
    assert!(has(installed(debian(&DISTRIBUTION_COMPILERS[1])), "rustc"));
}

#[test]
fn a_distribution_with_an_old_compiler_gets_a_nightly() {
    let mut machine = Machine::bare();
    for name in DISTRIBUTION_COMPILERS.as_flattened() {
        machine.mirror.offer(name, "1.85.0+dfsg3-1");
    }
    machine.newest_nightly = Some(compiler("/nightly", 22, true));
    let done = machine.set_up();
    assert!(done.contains(&Step::Nightly), "{done:?}");
    assert!(is_ready(&machine.present));
}

#[test]
fn a_compiler_with_a_newer_llvm_gets_a_newer_linker() {
    let mut machine = Machine::bare();
    machine.set_up();
    machine.tried = Tried::default();
    machine.present.linker = Some(Linker { path: "bpf-linker".into(), llvm: 21 });
    assert!(!is_ready(&machine.present));
    assert_eq!(machine.set_up(), [Step::BpfLinker { llvm: 22 }]);
}

#[test]
fn a_linker_on_a_newer_llvm_reads_older_bitcode() {
    let present = Present {
        linked: Some(compiler("/nightly", 22, true)),
        linker: Some(Linker { path: "bpf-linker".into(), llvm: 23 }),
        ..Present::default()
    };
    assert!(is_ready(&present));
}

#[test]
fn an_old_compiler_is_not_used() {
    let old = Compiler { release: Release(1, 60), ..compiler("/nightly", 22, true) };
    let mut machine = Machine::bare();
    machine.present.linked = Some(old.clone());
    machine.offers.nightly = Some(old);
    assert!(!is_ready(&machine.present));
    machine.set_up();
    assert_eq!(machine.present.linked.as_ref().map(|compiler| compiler.llvm), Some(22));
    assert!(is_ready(&machine.present));
}

#[test]
fn without_apt_everything_is_listed() {
    let machine = Machine { offers: Offers::default(), rustup_hangs: true, ..Machine::bare() };
    let mut machine = machine;
    machine.present.stable_lacks = vec!["clippy"];
    machine.set_up();
    let by_hand = machine.plan().by_hand;
    assert!(by_hand.contains(&Need::Compiler), "{by_hand:?}");
    assert!(by_hand.contains(&Need::StableComponents(vec!["clippy"])), "{by_hand:?}");
    for tool in tools::all() {
        assert!(by_hand.contains(&Need::Tool(tool)), "{by_hand:?}");
    }
}

#[test]
fn without_apt_rustup_still_does_its_part() {
    let mut machine = Machine { offers: Offers::default(), ..Machine::bare() };
    machine.newest_nightly = Some(compiler("/nightly", 23, true));
    assert_eq!(machine.set_up(), [Step::Nightly, Step::Link("/nightly".into()), Step::CargoDeny]);
    assert!(machine.plan().by_hand.contains(&Need::Linker(23)));
}

#[test]
fn a_tool_off_the_path_is_not_installed_again() {
    let mut machine = Machine::bare();
    machine.set_up();
    machine.present.tools_missing = tools::all().filter(|tool| tool.command == "ip").collect();
    let plan = machine.plan();
    assert_eq!(plan.steps, []);
    assert_eq!(plan.by_hand.len(), 1);
}

#[test]
fn what_is_ever_asked_of_apt_is_looked_up() {
    for name in bookworm().packages.keys() {
        assert!(may_ask_for(name), "{name}");
    }
    for name in ["llvm-dev", "llvm-22", "libpolly-22-doc", "rustc-doc"] {
        assert!(!may_ask_for(name), "{name}");
    }
}
