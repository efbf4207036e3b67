//! Every path in the code of a module.

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Item, ItemUse, Macro, MetaList, Path, UseTree, VisRestricted, Visibility,
    ext::IdentExt as _,
    visit::{Visit, visit_path},
};

/// The paths of one module.
#[derive(Debug, Default)]
pub(super) struct Paths {
    pub(super) uses: Vec<Use>,
    /// In code, in arguments of macros and of attributes: two words or more.
    pub(super) paths: Vec<Vec<String>>,
}

/// One name that a `use` brings.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Use {
    pub(super) path: Vec<String>,
    pub(super) leaf: Leaf,
    /// Others can have it from here.
    pub(super) is_public: bool,
}

/// What it is called here.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Leaf {
    Named(String),
    /// All that is there, `*`.
    All,
}

impl Paths {
    pub(super) fn of(items: &[Item]) -> Self {
        let mut paths = Self::default();
        for item in items {
            paths.visit_item(item);
        }
        paths
    }

    fn add_use(&mut self, tree: &UseTree, path: &[String], is_public: bool) {
        let beyond = |name: &syn::Ident| [path, &[name.unraw().to_string()]].concat();
        let mut add = |path: Vec<String>, leaf| self.uses.push(Use { path, leaf, is_public });
        match tree {
            UseTree::Path(one) => self.add_use(&one.tree, &beyond(&one.ident), is_public),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.add_use(tree, path, is_public)),
            UseTree::Name(one) if one.ident == "self" => {
                let name = path.last().cloned().unwrap_or_default();
                add(path.to_vec(), Leaf::Named(name));
            }
            UseTree::Name(one) => add(beyond(&one.ident), Leaf::Named(one.ident.unraw().to_string())),
            UseTree::Rename(one) => {
                let path = if one.ident == "self" { path.to_vec() } else { beyond(&one.ident) };
                add(path, Leaf::Named(one.rename.unraw().to_string()));
            }
            UseTree::Glob(_) => add(path.to_vec(), Leaf::All),
        }
    }

    /// Paths among tokens that only a macro understands.
    fn scan(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(name) => {
                    if colons != 2 {
                        self.add(&mut path);
                    }
                    path.push(name.unraw().to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                other => {
                    self.add(&mut path);
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.scan(group.stream());
                    }
                }
            }
        }
        self.add(&mut path);
    }

    fn add(&mut self, path: &mut Vec<String>) {
        let path = std::mem::take(path);
        if path.len() > 1 {
            self.paths.push(path);
        }
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_use(&mut self, one: &'ast ItemUse) {
        if one.leading_colon.is_none() {
            self.add_use(&one.tree, &[], !matches!(one.vis, Visibility::Inherited));
        }
    }

    fn visit_path(&mut self, path: &'ast Path) {
        if path.leading_colon.is_none() {
            self.add(&mut path.segments.iter().map(|segment| segment.ident.unraw().to_string()).collect());
        }
        visit_path(self, path);
    }

    fn visit_macro(&mut self, one: &'ast Macro) {
        self.visit_path(&one.path);
        self.scan(one.tokens.clone());
    }

    fn visit_meta_list(&mut self, list: &'ast MetaList) {
        self.visit_path(&list.path);
        self.scan(list.tokens.clone());
    }

    /// `pub(in crate::a)` needs nothing of `a`.
    fn visit_vis_restricted(&mut self, _: &'ast VisRestricted) {}
}
