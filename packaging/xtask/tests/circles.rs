//! Finds circular dependencies between files.
//!
//! Files in a circle cannot be read one after the other, and none of them can be tested or taken out alone. A name is
//! followed through re-exports (`pub use`) to the file that defines it, so a `mod.rs` that is only a table of contents
//! is in no circle. Tests and the contents of macros are ignored.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use petgraph::{algo::tarjan_scc, graphmap::DiGraphMap};
use syn::{
    Attribute, Item, UseTree, Visibility,
    visit::{self, Visit},
};
use xtask::command::root;

/// Source folders, one for each crate.
const CRATES: [&str; 11] = [
    "ctl/src",
    "daemon/api/src",
    "daemon/fuzz/src",
    "daemon/src",
    "daemon/supervise/src",
    "daemon/text/src",
    "packaging/bench/src",
    "packaging/boot-test/src",
    "packaging/corpus/src",
    "packaging/testbed/src",
    "packaging/xtask/src",
];

/// Path of a module in its crate: `["engine", "prompt"]`.
type Module = Vec<String>;

/// Maximum length of a chain of aliases.
const MOST_ALIASES: usize = 16;

/// A path used in a module.
#[derive(Debug)]
struct Use {
    /// Its name in that module; `None`: it is mentioned but not imported.
    name: Option<String>,
    /// Whether it is re-exported.
    is_shown: bool,
    path: Vec<String>,
}

/// A file of a crate.
#[derive(Debug)]
struct Source {
    file: PathBuf,
    uses: Vec<Use>,
    /// Modules that exist only for tests.
    for_tests: Vec<String>,
}

/// The files of a crate.
#[derive(Debug, Default)]
struct Crate(BTreeMap<Module, Source>);

impl Crate {
    fn read(folder: &Path) -> Result<Self> {
        let mut files = Self::default();
        files.add(folder, &Vec::new())?;
        // `main` and `lib` are the roots of two crates that share a folder.
        let tests: Vec<_> = files.0.iter().flat_map(Source::tests).collect();
        files
            .0
            .retain(|module, _| !tests.iter().any(|test| module.starts_with(test)));
        Ok(files)
    }

    fn add(&mut self, folder: &Path, place: &Module) -> Result<()> {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            let mut module = place.clone();
            if path.is_dir() {
                module.push(name.into_owned());
                self.add(&path, &module)?;
            } else if path.extension().is_some_and(|it| it == "rs") {
                if !["mod", "lib"].contains(&&*name) {
                    module.push(name.into_owned());
                }
                self.0.insert(module, Source::read(&path)?);
            }
        }
        Ok(())
    }

    /// Groups of files in which every file depends on every other.
    fn circles(&self) -> Vec<String> {
        let mut needs: BTreeMap<(&Module, &Module), BTreeSet<&str>> = BTreeMap::new();
        for (module, source) in &self.0 {
            for used in &source.uses {
                let found = self.definition(module, &used.path, MOST_ALIASES);
                // A module as a whole is no dependency; the names used from it are, where they are mentioned.
                let Some((target, Some(name))) = found else {
                    continue;
                };
                let is_own_part = used.is_shown && target.starts_with(module);
                if target != module && !is_own_part {
                    needs.entry((module, target)).or_default().insert(name);
                }
            }
        }
        let graph = DiGraphMap::<_, ()>::from_edges(needs.keys());
        let groups = tarjan_scc(&graph).into_iter();
        let circles = groups.filter(|group| group.len() > 1);
        let show = |group: Vec<&Module>| {
            let inside = needs
                .iter()
                .filter(|((from, to), _)| group.contains(from) && group.contains(to));
            let lines = inside.map(|((from, to), names)| {
                let names: Vec<_> = names.iter().copied().collect();
                format!(
                    "{} needs {} ({})",
                    self.file(from),
                    self.file(to),
                    names.join(", ")
                )
            });
            lines.collect::<Vec<_>>().join("\n")
        };
        circles.map(show).collect()
    }

    fn file(&self, module: &Module) -> String {
        let file = self.0.get(module).map(|source| source.file.as_path());
        let file = file.unwrap_or(Path::new(""));
        file.strip_prefix(root())
            .unwrap_or(file)
            .display()
            .to_string()
    }

    /// The module that defines the item of `path`, as used in `module`, and the item's name there; no name if the item
    /// is a module. `None`: it is from another crate.
    fn definition<'a>(
        &'a self,
        module: &Module,
        path: &'a [String],
        aliases: usize,
    ) -> Option<(&'a Module, Option<&'a str>)> {
        let aliases = aliases.checked_sub(1)?;
        let mut place = module.clone();
        let mut rest = path;
        while let Some((first, after)) = rest.split_first() {
            match first.as_str() {
                "crate" => place.clear(),
                "super" => drop(place.pop()),
                "self" => {}
                _ => break,
            }
            rest = after;
        }
        let is_relative = rest.len() < path.len();
        while let Some((first, after)) = rest.split_first() {
            place.push(first.clone());
            if !self.0.contains_key(&place) {
                place.pop();
                break;
            }
            rest = after;
        }
        let (found, source) = self.0.get_key_value(&place)?;
        let Some((first, after)) = rest.split_first() else {
            return Some((found, None));
        };
        let mut named = source.uses.iter();
        if let Some(alias) = named.find(|it| it.name.as_ref() == Some(first)) {
            let (target, name) = self.definition(found, &alias.path, aliases)?;
            // The alias may name a module, in which the rest of the path is resolved.
            return match name {
                None if !after.is_empty() => self.definition(target, after, aliases),
                name => Some((target, name)),
            };
        }
        (is_relative || found != module).then_some((found, Some(first)))
    }
}

impl Source {
    fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file)?;
        let syntax = syn::parse_file(&text);
        let syntax = syntax.with_context(|| format!("{} is no Rust", file.display()))?;
        let mut reader = Reader::default();
        reader.visit_file(&syntax);
        Ok(Self {
            file: file.to_owned(),
            uses: reader.uses,
            for_tests: reader.for_tests,
        })
    }

    /// Modules below `module` that exist only for tests.
    fn tests((module, source): (&Module, &Self)) -> Vec<Module> {
        let names = source.for_tests.iter();
        names
            .map(|name| [module.as_slice(), std::slice::from_ref(name)].concat())
            .collect()
    }
}

#[derive(Default)]
struct Reader {
    uses: Vec<Use>,
    for_tests: Vec<String>,
}

impl Reader {
    fn add(&mut self, tree: &UseTree, before: &[String], is_shown: bool) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        let mut push = |name: String, path: Vec<String>| {
            // `{self}` is the module itself.
            let path = match path.split_last() {
                Some((last, module)) if last == "self" && !module.is_empty() => module.to_vec(),
                _ => path,
            };
            let name = Some(name);
            self.uses.push(Use {
                name,
                is_shown,
                path,
            });
        };
        match tree {
            UseTree::Path(path) => self.add(&path.tree, &with(&path.ident), is_shown),
            UseTree::Name(name) => push(name.ident.to_string(), with(&name.ident)),
            UseTree::Rename(name) => push(name.rename.to_string(), with(&name.ident)),
            UseTree::Glob(_) => push("*".into(), before.to_vec()),
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.add(tree, before, is_shown);
                }
            }
        }
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            Item::Mod(module) if is_for_tests(&module.attrs) => {
                self.for_tests.push(module.ident.to_string());
            }
            Item::Use(used) => {
                let is_shown = !matches!(used.vis, Visibility::Inherited);
                self.add(&used.tree, &[], is_shown);
            }
            Item::Fn(function) if is_for_tests(&function.attrs) => {}
            Item::Impl(block) if is_for_tests(&block.attrs) => {}
            item => visit::visit_item(self, item),
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let path_of = path.segments.iter().map(|it| it.ident.to_string());
        let path_of: Vec<_> = path_of.collect();
        if path_of.len() > 1 {
            self.uses.push(Use {
                name: None,
                is_shown: false,
                path: path_of,
            });
        }
        visit::visit_path(self, path);
    }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let condition = attribute.parse_args::<syn::Ident>();
        attribute.path().is_ident("cfg") && condition.is_ok_and(|it| it == "test")
    })
}

#[test]
fn no_two_files_of_this_repository_need_each_other() {
    let read = |folder| Crate::read(&root().join(folder)).unwrap();
    let circles = CRATES.map(read).map(|files| files.circles()).concat();
    assert!(circles.is_empty(), "\n\n{}\n", circles.join("\n\n"));
}

fn circles(files: &[(&str, &str)]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    let circles = Crate::read(folder.path()).unwrap().circles();
    let folder = format!("{}/", folder.path().display());
    circles.iter().map(|it| it.replace(&folder, "")).collect()
}

#[test]
fn files_that_need_each_other_are_a_circle_also_by_way_of_others_and_of_paths() {
    let found = circles(&[
        ("lib.rs", "mod a; mod b; mod c; mod d;"),
        ("a.rs", "use crate::b::{self, B as Other};"),
        ("b.rs", "fn f() -> super::c::C { todo!() }"),
        ("c.rs", "use super::a::A; use super::d::D;"),
        ("d.rs", "use std::io; struct D;"),
    ]);
    let lines = [
        "a.rs needs b.rs (B)",
        "b.rs needs c.rs (C)",
        "c.rs needs a.rs (A)",
    ];
    assert_eq!(found, [lines.join("\n")]);
}

#[test]
fn a_table_of_contents_is_in_no_circle_and_what_it_shows_is_where_it_is_defined() {
    let contents = "mod one; mod two; pub use one::One; pub(crate) use two::Two;";
    let none = circles(&[
        ("lib.rs", "mod room;"),
        ("room/mod.rs", contents),
        ("room/one.rs", "use super::Two;"),
        ("room/two.rs", "struct Two;"),
    ]);
    assert_eq!(none, [""; 0]);
    let found = circles(&[
        ("lib.rs", "mod room;"),
        ("room/mod.rs", contents),
        ("room/one.rs", "use super::Two;"),
        ("room/two.rs", "use crate::room::One;"),
    ]);
    let lines = [
        "room/one.rs needs room/two.rs (Two)",
        "room/two.rs needs room/one.rs (One)",
    ];
    assert_eq!(found, [lines.join("\n")]);
    let parent = circles(&[
        ("lib.rs", "mod room;"),
        ("room.rs", "mod one; struct Limit; fn f() { one::g() }"),
        ("room/one.rs", "use super::Limit;"),
    ]);
    let lines = [
        "room.rs needs room/one.rs (g)",
        "room/one.rs needs room.rs (Limit)",
    ];
    assert_eq!(parent, [lines.join("\n")]);
}

#[test]
fn tests_may_need_anything() {
    let none = circles(&[
        ("lib.rs", "mod a; mod b; #[cfg(test)] mod sounds;"),
        ("a.rs", "#[cfg(test)] mod tests { use crate::b::B; }"),
        ("b.rs", "use super::a::A;"),
        ("sounds.rs", "use super::a::A; use super::b::B;"),
    ]);
    assert_eq!(none, [""; 0]);
}
