//! One name is of one type.

use std::collections::BTreeMap;

use syn::{Ident, Item, Visibility};

use super::tree::Tree;

/// Names that more than one type has which others than its own module can name, each with the files.
pub(super) fn defined_twice<'a>(trees: impl IntoIterator<Item = &'a Tree>) -> Vec<String> {
    let mut files: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for module in trees.into_iter().flat_map(|tree| &tree.modules) {
        for name in module.items.iter().filter_map(public_type) {
            files.entry(name.to_string()).or_default().push(&module.file);
        }
    }
    let twice = files.into_iter().filter(|(_, files)| files.len() > 1);
    twice.map(|(name, files)| format!("`{name}`: {}", files.join(", "))).collect()
}

/// The name of a type that others can name.
fn public_type(item: &Item) -> Option<&Ident> {
    let (visibility, name) = match item {
        Item::Struct(one) => (&one.vis, &one.ident),
        Item::Enum(one) => (&one.vis, &one.ident),
        Item::Union(one) => (&one.vis, &one.ident),
        Item::Trait(one) => (&one.vis, &one.ident),
        Item::Type(one) => (&one.vis, &one.ident),
        _ => return None,
    };
    (!matches!(visibility, Visibility::Inherited)).then_some(name)
}
