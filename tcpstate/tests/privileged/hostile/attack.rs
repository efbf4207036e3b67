//! What the attackers do: the list of it.

use anyhow::Result;

pub(crate) use super::elf::links::DIRECTORY;
use super::{
    elf::{self, Elf, Hostile},
    stage::{ATTACKER, server},
};
use crate::support::fuse::{Mounted, Served, Stops};

type Make = fn(&Elf) -> Result<Vec<u8>>;

/// One process that attacks.
#[derive(Clone, Default)]
pub(crate) struct Attack {
    pub(crate) name: String,
    /// Of the program of attacks.
    arguments: Vec<String>,
    environment: Vec<String>,
    /// In the directory of the stage.
    pub(crate) files: Vec<(String, Make)>,
    pub(crate) directories: Vec<String>,
    pub(crate) served: Option<Served>,
    /// Has a `/tmp` of its own.
    own_tmp: bool,
    /// Becomes another user by itself.
    begins_as_root: bool,
    /// Sockets that it leaks, and keeps.
    pub(crate) sockets: usize,
    /// The names that its functions have, where these are not the truth's alone.
    pub(crate) own_names: bool,
    /// Processes that are gone soon: nothing is to be said of them.
    pub(crate) short_lived: bool,
}

/// Stands for where the code is in the library, whose headers nobody reads to run it.
const ENTRY: &str = "ENTRY";

/// How many sockets most of them leak.
const FEW: usize = 2;

impl Attack {
    fn new(name: &str, sockets: usize, mode: &str, arguments: &[&str]) -> Self {
        let arguments = [&[mode], arguments].concat().into_iter().map(str::to_owned).collect();
        Self { name: name.into(), sockets, arguments, ..Self::default() }
    }

    /// By the file that is mapped.
    fn of_file(hostile: &Hostile) -> Self {
        let file = format!("{}.so", hostile.name);
        let arguments = [&FEW.to_string(), ENTRY, &format!("{DIRECTORY}/{file}")];
        let own_names =
            ["symbols-", "dwarf-", "headers-", "compressed-"].iter().any(|kind| hostile.name.starts_with(kind));
        Self {
            files: vec![(file.clone(), hostile.make)],
            own_names,
            ..Self::new(hostile.name, FEW, "mapped", &arguments)
        }
    }

    fn with_file(mut self, name: &str, make: Make) -> Self {
        self.files.push((name.into(), make));
        self
    }

    fn with_directory(mut self, name: &str) -> Self {
        self.directories.push(name.into());
        self
    }

    /// On a file system that stops answering.
    fn served(mut self, mounted: Mounted, stops: Stops) -> Self {
        let at = format!("{DIRECTORY}/{}", self.name);
        self.directories.push(self.name.clone());
        self.environment.push(format!("HOSTILE_STOP={at}/stop"));
        let content = format!("{DIRECTORY}/library.so");
        self.served = Some(Served { at, content, mounted, stops, uid: ATTACKER, device: format!("{DIRECTORY}/fuse") });
        self
    }

    /// The file whose names are at stake.
    pub(crate) fn module(&self) -> Option<&str> {
        self.files.first().map(|(name, _)| name.as_str())
    }

    /// What root has to execute, where the code of the library is at `entry`.
    pub(crate) fn command_line(&self, entry: u64) -> Result<Vec<String>> {
        let mut line = Vec::new();
        let mut add = |words: &[&str]| line.extend(words.iter().map(|&word| word.to_owned()));
        if self.own_tmp {
            let script = "mount -t tmpfs -o mode=1777,size=512M none /tmp && exec \"$@\"";
            add(&["/usr/bin/unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]);
        }
        add(&["/usr/bin/env"]);
        self.environment.iter().for_each(|variable| add(&[variable]));
        // As many descriptors as a service has that expects them.
        add(&["prlimit", "--nofile=8192:8192"]);
        let user = ATTACKER.to_string();
        let setpriv = ["setpriv", "--reuid", &user, "--regid", &user, "--clear-groups"];
        match &self.served {
            Some(served) => add(&[&server()?, "fuse", &serde_json::to_string(served)?]),
            None if self.begins_as_root => {}
            None => add(&setpriv),
        }
        add(&[&format!("{DIRECTORY}/hostile")]);
        let entry = format!("{entry:#x}");
        self.arguments.iter().for_each(|argument| add(&[if argument == ENTRY { &entry } else { argument }]));
        Ok(line)
    }

    /// The same as a command that ends so many milliseconds after its sockets have leaked.
    pub(crate) fn ending_after(mut self, ms: u32) -> Self {
        self.environment.push(format!("HOSTILE_EXITS_AFTER_MS={ms}"));
        self
    }
}

/// Those of files whose name begins so.
pub(crate) fn files(prefix: &str) -> Vec<Attack> {
    elf::all().iter().filter(|hostile| hostile.name.starts_with(prefix)).map(Attack::of_file).collect()
}

/// By files that change while they are read, or that wait.
pub(crate) fn changing_files() -> Vec<Attack> {
    let large: Make = |elf| elf::symbols::many_symbols(elf);
    let plain: Make = |elf| elf.clone().build();
    let at = |name: &str| format!("{DIRECTORY}/{name}");
    let attacks = [
        Attack::new("truncated-soon", FEW, "truncated", &["2", ENTRY, &at("soon.so"), "1"]).with_file("soon.so", large),
        Attack::new("truncated-later", FEW, "truncated", &["2", ENTRY, &at("later.so"), "20000"])
            .with_file("later.so", large),
        Attack::new("truncated-always", FEW, "truncated", &["2", ENTRY, &at("always.so"), "0"])
            .with_file("always.so", large),
        Attack::new("replaced", 40, "changing", &["40", ENTRY, &at("one.so"), &at("two.so")])
            .with_file("one.so", plain)
            .with_file("two.so", large),
    ];
    // What is left of a large one may name anything.
    attacks.map(|attack| Attack { own_names: true, ..attack }).into()
}

/// By a lease, which whoever opens the file waits for.
pub(crate) fn lease() -> Attack {
    let path = format!("{DIRECTORY}/leased.so");
    Attack::new("lease", FEW, "lease", &["2", ENTRY, &path]).with_file("leased.so", |elf| elf.clone().build())
}

/// By file systems that stop answering.
pub(crate) fn unanswered_files() -> Vec<Attack> {
    use Mounted::{ByTheUser, ForEverybody};
    use Stops::{Everything, Opens, Reads};
    let mapped =
        |name: &str| Attack::new(name, FEW, "mapped", &["2", ENTRY, &format!("{DIRECTORY}/{name}/library.so")]);
    let stack = |name: &str| Attack::new(name, FEW, "stack", &["2", &format!("{DIRECTORY}/{name}/library.so")]);
    vec![
        mapped("served-user-open").served(ByTheUser, Opens),
        mapped("served-user-read").served(ByTheUser, Reads),
        mapped("served-open").served(ForEverybody, Opens),
        mapped("served-read").served(ForEverybody, Reads),
        mapped("served-nothing").served(ForEverybody, Everything),
        stack("served-user-stack").served(ByTheUser, Reads),
        stack("served-stack").served(ForEverybody, Everything),
    ]
}

/// By stacks that are none.
pub(crate) fn stacks() -> Vec<Attack> {
    let kinds =
        ["2", "null", "end", "non-canonical", "kernel", "vsyscall", "wrapping", "guard", "device", "beyond-the-end"];
    let mut unanswered = Attack::new("stack-unanswered", FEW, "stack", &["2", "unanswered"]);
    unanswered.begins_as_root = true;
    unanswered.environment.push(format!("HOSTILE_UID={ATTACKER}"));
    vec![
        Attack::new("stack-elsewhere", FEW * (kinds.len() - 1), "stack", &kinds),
        unanswered,
        Attack::new("stack-deep", FEW, "deep", &["2", "512"]),
        Attack::new("stack-very-deep", FEW, "deep", &["2", "20000"]),
    ]
}

/// By how much memory there is, and who holds its lock.
pub(crate) fn mappings() -> Vec<Attack> {
    vec![
        Attack::new("mappings", FEW, "mappings", &["2", "65000", &format!("{DIRECTORY}/maps")]).with_directory("maps"),
        Attack::new("mappings-locked", FEW, "locked", &["2"]),
    ]
}

/// By the files that are to name code made at run time.
pub(crate) fn perf_maps() -> Vec<Attack> {
    let secret = format!("{DIRECTORY}/secret");
    let sparse = format!("{DIRECTORY}/sparse");
    let map = |name: &str, arguments: &[&str]| {
        let arguments = [&["2"], arguments].concat();
        Attack { own_names: true, own_tmp: true, ..Attack::new(name, FEW, "perf_map", &arguments) }
    };
    vec![
        map("perf-map-large-1", &["large", "130000000"]),
        map("perf-map-large-2", &["large", "130000000"]),
        map("perf-map-large-3", &["large", "130000000"]),
        map("perf-map-changing", &["changing"]),
        map("perf-map-name", &["name", "\u{1b}[2J\u{202e}<&>\"\r%s"]),
        map("perf-map-fifo", &["fifo"]),
        map("perf-map-directory", &["directory"]),
        map("perf-map-secret", &["link", &secret]),
        map("perf-map-sparse", &["link", &sparse]),
    ]
}

/// Those that are links.
pub(crate) fn perf_maps_that_link() -> Vec<Attack> {
    perf_maps().into_iter().filter(|attack| attack.arguments.contains(&"link".to_owned())).collect()
}

/// By how many files there are.
pub(crate) fn copies(count: usize) -> Attack {
    slow_copies(count, 0)
}

/// The same, one every so many microseconds.
pub(crate) fn slow_copies(count: usize, pause_us: u32) -> Attack {
    let path = format!("{DIRECTORY}/library.so");
    let copies = format!("{DIRECTORY}/copies");
    let arguments = [&count.to_string(), ENTRY, &path, &copies, &pause_us.to_string()];
    Attack::new("copies", count, "copies", &arguments).with_directory("copies")
}

/// By how many processes there are.
pub(crate) fn children(count: usize) -> Attack {
    let file = "unwinding-many-fdes.so";
    let make = elf::unwinding::UNWINDING.iter().find(|hostile| file.starts_with(hostile.name));
    let path = format!("{DIRECTORY}/{file}");
    let attack = Attack::new("children", count, "children", &[&count.to_string(), ENTRY, &path]);
    let files = make.map(|hostile| (file.to_owned(), hostile.make)).into_iter().collect();
    Attack { short_lived: true, files, ..attack }
}

/// By names of processes, threads and files.
pub(crate) fn names() -> Vec<Attack> {
    let odd = "\u{1b}[2J\n\u{202e}odd\u{2066}\t\"<&>`\\.so";
    let plain: Make = |elf| elf.clone().build();
    vec![
        Attack { own_names: true, ..Attack::new("names", FEW, "names", &["2"]) },
        Attack::new("name-of-file", FEW, "mapped", &["2", ENTRY, &format!("{DIRECTORY}/{odd}")]).with_file(odd, plain),
    ]
}

/// Some of each kind, for what takes longer.
pub(crate) struct Set {
    pub(crate) name: &'static str,
    /// By name.
    attacks: &'static [&'static str],
}

/// Together these have one of each kind that a tracer did not survive before it had a sandbox.
pub(crate) const SETS: &[Set] = &[
    Set {
        name: "linked_files",
        attacks: &["debuglink-fifo", "debuglink-sparse", "altlink-device", "altlink-secret", "sup-fifo", "sup-secret"],
    },
    Set {
        name: "tables",
        attacks: &[
            "compressed-claims-64-tib",
            "compressed-claims-all",
            "compressed-bomb",
            "dwarf-nested-inlined",
            "dwarf-shared-ranges",
            "lines-no-range",
            "unwinding-endless-cie",
            "symbols-cpp",
        ],
    },
    Set {
        name: "waiting",
        attacks: &["truncated-later", "truncated-always", "lease", "served-open", "served-stack", "stack-unanswered"],
    },
    Set { name: "much", attacks: &["mappings", "perf-map-large-1", "copies", "stack-elsewhere", "names"] },
];

impl Set {
    pub(crate) fn attacks(&self) -> Vec<Attack> {
        all().into_iter().filter(|attack| self.attacks.contains(&attack.name.as_str())).collect()
    }
}

/// All of them, by name.
pub(crate) fn all() -> Vec<Attack> {
    let single = vec![lease(), copies(1200), children(2000)];
    [files(""), changing_files(), unanswered_files(), stacks(), mappings(), perf_maps(), names(), single].concat()
}
