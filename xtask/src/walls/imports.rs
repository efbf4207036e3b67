//! Which files of a crate need each other.
//!
//! A file imports another when it names something that is defined there, by `use` or by a path in its code: `crate::a::B` in any
//! file but `a.rs` is an import from `a.rs`, and `super::B` in `a/b.rs` is one, too. What a module hands on by `pub use` counts as
//! its own. `mod b;` in `a.rs` names nothing in `a/b.rs`; `b::f()` does. Tests are left out.

mod paths;

use std::collections::{BTreeMap, BTreeSet};

use self::paths::{Leaf, Paths, Use};
use super::{cycles::Graph, tree::Tree};

/// Every cycle of imports that is to be broken, with what each file imports from the next.
pub(super) fn cycles(tree: &Tree) -> Vec<String> {
    let mut graph = Graph::default();
    for module in 0..tree.modules.len() {
        let from = &tree.modules[module].file;
        for (to, name) in imports(tree, module) {
            graph.add(from, &tree.modules[to].file, name);
        }
    }
    let cycles = graph.into_cycles();
    cycles.into_iter().map(|steps| steps.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")).collect()
}

/// What a module names: the module that it belongs to, and its name there.
fn imports(tree: &Tree, module: usize) -> Vec<(usize, String)> {
    let paths = Paths::of(&tree.modules[module].items);
    let mut scope = Scope { tree, module, modules: BTreeMap::new() };
    // One may build on another that comes later.
    while paths.uses.iter().filter(|one| scope.bind(one)).count() > 0 {}
    let mut imports = Vec::new();
    let mut entered = BTreeSet::new();
    for path in paths.uses.iter().map(|one| &one.path).chain(&paths.paths) {
        if let Some((to, Some(item))) = scope.resolve(path) {
            imports.push((to, item.clone()));
            entered.insert(&path[0]);
        } else if path.len() > 1 && scope.modules.contains_key(&path[0]) {
            entered.insert(&path[0]);
        }
    }
    for Use { path, leaf, is_public } in &paths.uses {
        let Some((to, None)) = scope.resolve(path) else { continue };
        match leaf {
            Leaf::All => imports.push((to, "*".to_owned())),
            // A module that is only a way to others is none that is needed.
            Leaf::Named(name) if *is_public || !entered.contains(name) => imports.push((to, name.clone())),
            Leaf::Named(_) => {}
        }
    }
    imports
}

/// What the first words of paths in a module mean.
struct Scope<'a> {
    tree: &'a Tree,
    module: usize,
    /// Modules that `use` has given a name here.
    modules: BTreeMap<String, usize>,
}

impl Scope<'_> {
    /// Makes known which modules a `use` gives names to, and tells whether any was not known before.
    fn bind(&mut self, one: &Use) -> bool {
        let Some((to, None)) = self.resolve(&one.path) else { return false };
        let before = self.modules.len();
        match &one.leaf {
            Leaf::Named(name) => {
                self.modules.insert(name.clone(), to);
            }
            Leaf::All => self.modules.extend(self.tree.modules[to].children.clone()),
        }
        self.modules.len() > before
    }

    /// The module that a path leads to, and which item of it, if it goes on. `None` when it leads to another crate.
    fn resolve<'p>(&self, path: &'p [String]) -> Option<(usize, Option<&'p String>)> {
        let module = |id: usize| &self.tree.modules[id];
        let (first, mut rest) = path.split_first()?;
        let mut at = match first.as_str() {
            "crate" => 0,
            "self" => self.module,
            "super" => module(self.module).parent?,
            name => *module(self.module).children.get(name).or_else(|| self.modules.get(name))?,
        };
        while let Some((next, after)) = rest.split_first() {
            at = match next.as_str() {
                "super" => module(at).parent?,
                name => match module(at).children.get(name) {
                    Some(&child) => child,
                    None => return Some((at, Some(next))),
                },
            };
            rest = after;
        }
        Some((at, None))
    }
}
