//! The modules of a crate and their files, as `mod` items name them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use syn::{Attribute, Item, ItemMod, Meta, ext::IdentExt as _};

/// All modules of a crate but those of tests, the root first.
pub(super) struct Tree {
    pub(super) modules: Vec<Module>,
    /// Files are shown relative to it.
    base: PathBuf,
}

/// One module.
pub(super) struct Module {
    /// Where its items are, as findings show it; of one within a file, that file.
    pub(super) file: String,
    pub(super) parent: Option<usize>,
    pub(super) children: BTreeMap<String, usize>,
    /// All of them but modules.
    pub(super) items: Vec<Item>,
}

impl Tree {
    /// Reads a crate from its root, `lib.rs` or `main.rs`, somewhere below `base`.
    ///
    /// # Errors
    ///
    /// A file cannot be read, is not Rust, or is not where a module's file is by default.
    pub(super) fn read(base: &Path, root: &Path) -> Result<Self> {
        let mut tree = Self { modules: Vec::new(), base: base.to_owned() };
        let directory = root.parent().context("the root of a crate is in no directory")?;
        tree.add(root, directory, None, parse(root)?)?;
        Ok(tree)
    }

    /// Adds a module and those in it, whose files are in `directory`.
    fn add(&mut self, file: &Path, directory: &Path, parent: Option<usize>, items: Vec<Item>) -> Result<usize> {
        let id = self.modules.len();
        let file_shown = file.strip_prefix(&self.base).unwrap_or(file).display().to_string();
        let module = Module { file: file_shown, parent, children: BTreeMap::new(), items: Vec::new() };
        self.modules.push(module);
        for item in items {
            if let Item::Mod(child) = item {
                if is_test(&child.attrs) {
                    continue;
                }
                let name = child.ident.unraw().to_string();
                let child = self.add_child(file, directory, id, child)?;
                self.modules[id].children.insert(name, child);
            } else {
                self.modules[id].items.push(item);
            }
        }
        Ok(id)
    }

    fn add_child(&mut self, file: &Path, directory: &Path, parent: usize, child: ItemMod) -> Result<usize> {
        let directory = directory.join(child.ident.unraw().to_string());
        if let Some((_, items)) = child.content {
            return self.add(file, &directory, Some(parent), items);
        }
        let candidates = [directory.with_extension("rs"), directory.join("mod.rs")];
        let Some(file) = candidates.iter().find(|file| file.exists()) else {
            bail!("`mod {}` of `{}` is not in `{}`", child.ident, file.display(), candidates[0].display());
        };
        self.add(file, &directory, Some(parent), parse(file)?)
    }
}

/// Whether a module is there for tests alone. A test may use anything: nothing but the test runner needs it.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        _ => false,
    })
}

fn parse(file: &Path) -> Result<Vec<Item>> {
    let text = fs::read_to_string(file).with_context(|| format!("failed to read `{}`", file.display()))?;
    let parsed = syn::parse_file(&text).with_context(|| format!("failed to parse `{}`", file.display()))?;
    Ok(parsed.items)
}
