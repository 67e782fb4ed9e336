//! Imports point down: cli -> archive -> codec -> predict -> models -> nn -> ops.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Layers from the bottom; `error` and `profile` are visible to all.
const LAYERS: [&str; 6] = ["ops", "nn", "models", "predict", "codec", "archive"];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.flat_map(|p| if p.is_dir() { sources(&p) } else { vec![p] });
    files.filter(|path| path.extension().is_some_and(|e| e == "rs")).collect()
}

/// The layers that a source file names after `crate::`, group imports included; doc links are not
/// imports.
fn imports(source: &str) -> Vec<String> {
    let code: Vec<&str> = source.lines().filter(|line| !line.trim().starts_with("//")).collect();
    let code = code.join("\n");
    let names = code.split("crate::").skip(1).flat_map(|after| match after.strip_prefix('{') {
        Some(group) => members(group).into_iter().filter(|name| !name.is_empty()).collect(),
        None => vec![after],
    });
    let first = |path: &str| {
        path.split(|c: char| !c.is_alphanumeric() && c != '_').next().map(str::to_owned)
    };
    names.filter_map(first).collect()
}

/// What stands between commas up to the brace that closes the group, with the groups in it.
fn members(group: &str) -> Vec<&str> {
    let (mut depth, mut from, mut members) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            '}' | ',' if depth == 0 => {
                members.push(group[from..at].trim());
                from = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => (),
        }
    }
    members
}

#[test]
fn imports_point_down() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let layers = [&LAYERS[..], &["cli"]].concat();
    let mut seen = 0;
    for (height, layer) in layers.iter().enumerate() {
        for file in sources(&root.join(layer)) {
            for import in imports(&std::fs::read_to_string(&file).unwrap()) {
                if let Some(other) = layers.iter().position(|layer| *layer == import) {
                    seen += 1;
                    assert!(other <= height, "{}: imports {import} above it", file.display());
                }
            }
        }
    }
    assert!(seen > 20, "only {seen} imports were found: the search is broken");
}

/// The hub knows models, and no layer knows the hub: what is read from an archive cannot lead to it.
#[test]
fn the_hub_stands_beside() {
    stands_beside("hub", &["models", "error"], &LAYERS, 5);
}

/// Training knows models and kernels, and no layer knows it.
#[test]
fn training_stands_beside() {
    stands_beside(
        "train",
        &["train", "codec", "models", "nn", "ops", "error"],
        &[&LAYERS[..], &["hub"]].concat(),
        5,
    );
}

/// What runs on a device knows kernels' dimensions, and is known by the models that run on it and by what chooses.
#[test]
fn the_device_stands_beside() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let imports_of = |room: &str| -> BTreeSet<String> {
        let files = sources(&root.join(room)).into_iter();
        files.flat_map(|file| imports(&std::fs::read_to_string(file).unwrap())).collect()
    };
    assert_eq!(imports_of("cuda"), ["error", "ops"].map(str::to_owned).into());
    for room in ["ops", "nn", "predict", "codec", "archive", "hub", "train", "equalinfo"] {
        assert!(!imports_of(room).contains("cuda"), "{room}: imports cuda");
    }
    assert!(imports_of("models").contains("cuda"));
}

/// Equal-information windows know models and their predictions, and nothing but the program knows them.
#[test]
fn windows_stand_beside() {
    stands_beside(
        "equalinfo",
        &["equalinfo", "predict", "models", "error"],
        &[&LAYERS[..], &["hub", "train", "local"]].concat(),
        5,
    );
}

/// The page of costs knows models and how chunks have them, and nothing but programs knows it.
#[test]
fn explaining_stands_beside() {
    stands_beside(
        "explain",
        &["codec", "models", "error"],
        &[&LAYERS[..], &["hub", "train", "local", "equalinfo"]].concat(),
        2,
    );
}

/// Models are found by what archives and the hub know of them, and no layer knows how.
#[test]
fn local_models_stand_beside() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let allowed = ["archive", "cuda", "hub", "models", "ops", "train", "error"];
    for file in sources(&root.join("local")) {
        for import in imports(&std::fs::read_to_string(&file).unwrap()) {
            let is_allowed = allowed.contains(&import.as_str());
            assert!(is_allowed, "{}: imports {import}", file.display());
        }
    }
    for file in LAYERS.iter().chain(&["hub", "train"]).flat_map(|room| sources(&root.join(room))) {
        let imports = imports(&std::fs::read_to_string(&file).unwrap());
        let is_named =
            ["local", "LocalModels"].iter().any(|name| imports.contains(&name.to_string()));
        assert!(!is_named, "{}: imports local", file.display());
    }
}

/// `module` imports nothing but what is `allowed`, more than `least` times, and none of `others` imports it.
fn stands_beside(module: &str, allowed: &[&str], others: &[&str], least: usize) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut seen = 0;
    for file in sources(&root.join(module)) {
        for import in imports(&std::fs::read_to_string(&file).unwrap()) {
            seen += 1;
            let is_allowed = allowed.contains(&import.as_str());
            assert!(is_allowed, "{}: imports {import}", file.display());
        }
    }
    assert!(seen > least, "only {seen} imports were found: the search is broken");
    for file in others.iter().flat_map(|layer| sources(&root.join(layer))) {
        let imports = imports(&std::fs::read_to_string(&file).unwrap());
        assert!(!imports.contains(&module.to_owned()), "{}: imports {module}", file.display());
    }
}

/// What all layers may import knows none of them.
#[test]
fn what_all_see_sees_nothing() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in ["error.rs", "profile.rs"] {
        let imports = imports(&std::fs::read_to_string(root.join(file)).unwrap());
        assert!(imports.is_empty(), "{file}: imports {imports:?}");
    }
}

/// The paths of an import, its groups written out.
fn paths(import: &str) -> Vec<String> {
    let Some((head, group)) = import.split_once('{') else { return vec![import.trim().to_owned()] };
    let inner = members(group).into_iter().filter(|member| !member.is_empty()).flat_map(paths);
    inner.map(|path| format!("{head}{path}")).collect()
}

/// Rooms in which files may import the `mod.rs` above them, which holds what they all speak of.
const VOCABULARIES: [&str; 5] = ["ops", "models", "codec", "archive", "hub"];

/// Rooms in which a `mod.rs` calls the files below it, so that none of them may import it.
const CALLERS: [&str; 4] = ["cli", "nn", "predict", "train"];

/// The one pair of files that import each other: sums take their blocks from `lanewise`, whose macro
/// expands, where it is called, to the last step of a sum.
const PAIR: [&str; 2] = ["ops::lanewise", "ops::sum"];

/// The name of a source file's module, `cli::bench` for `cli/bench/mod.rs`.
fn module_of(file: &Path, root: &Path) -> String {
    let path = file.strip_prefix(root).unwrap().with_extension("");
    let path = path.to_str().unwrap().replace('/', "::");
    path.strip_suffix("::mod").map_or(path.clone(), str::to_owned)
}

/// The paths in `source` that may lead to another module: those of imports, and those that begin with
/// `crate` or `super` anywhere in the code.
fn mentions(source: &str) -> Vec<String> {
    let code = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let code: Vec<&str> = code.lines().filter(|line| !line.trim().starts_with("//")).collect();
    let code = format!("\n{}", code.join("\n"));
    let starts = ["\nuse ", "\npub use "].map(|start| code.split(start).skip(1));
    let statements = starts.into_iter().flatten().filter_map(|after| after.split(';').next());
    let is_path = |c: char| c.is_alphanumeric() || "_:".contains(c);
    let words = code.split(|c| !is_path(c)).filter(|word| {
        ["crate::", "super::"].iter().any(|start| word.starts_with(start)) && !word.ends_with("::")
    });
    statements.flat_map(paths).chain(words.map(str::to_owned)).collect()
}

/// The modules that `module` needs: those of the paths it mentions and, where it calls the files below
/// it, these.
fn dependencies(module: &str, source: &str, modules: &[String]) -> BTreeSet<String> {
    let room = module.split("::").next().unwrap();
    let calls = CALLERS.contains(&room);
    let absolute = |path: String| {
        let (mut base, mut rest) = (module.to_owned(), path.as_str());
        while let Some(after) = rest.strip_prefix("super::") {
            base.truncate(base.rfind("::").unwrap_or(0));
            rest = after;
        }
        rest.strip_prefix("crate::").map_or(format!("{base}::{rest}"), str::to_owned)
    };
    let is_inside =
        |path: &str, module: &str| format!("{path}::").starts_with(&format!("{module}::"));
    let owner = |path: String| {
        modules.iter().filter(|module| is_inside(&path, module)).max_by_key(|m| m.len()).cloned()
    };
    let owners = mentions(source).into_iter().map(absolute).filter_map(owner);
    let owners = owners.filter(|owner| owner != module && (calls || !is_inside(module, owner)));
    let parent =
        |child: &&String| child.rsplit_once("::").is_some_and(|(above, _)| above == module);
    let called = modules.iter().filter(parent).filter(|_| calls).cloned();
    owners.chain(called).collect()
}

/// The imports among `modules` that lie on a circle: whose target leads back to where they are.
fn circles(modules: &BTreeMap<String, BTreeSet<String>>) -> Vec<(&str, &str)> {
    let leads_to = |from: &str, to: &str| {
        let (mut reached, mut left) = (BTreeSet::new(), vec![from]);
        while let Some(name) = left.pop() {
            if reached.insert(name) {
                left.extend(modules.get(name).into_iter().flatten().map(String::as_str));
            }
        }
        reached.contains(to)
    };
    let imports =
        modules.iter().flat_map(|(from, needs)| needs.iter().map(|to| (&from[..], &to[..])));
    imports.filter(|(from, to)| leads_to(to, from)).collect()
}

/// No file of these rooms imports, through whatever others, one that imports it.
#[test]
fn imports_make_no_circles() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let rooms = VOCABULARIES.iter().chain(&CALLERS);
    let files: Vec<PathBuf> = rooms
        .flat_map(|room| sources(&root.join(room)))
        .chain(sources(&root.join("local")))
        .chain(["error.rs", "profile.rs"].map(|file| root.join(file)))
        .filter(|file| !file.ends_with("tests.rs"))
        .collect();
    let modules: Vec<String> = files.iter().map(|file| module_of(file, &root)).collect();
    let needs = |(file, module): (&PathBuf, &String)| {
        let source = std::fs::read_to_string(file).unwrap();
        (module.clone(), dependencies(module, &source, &modules))
    };
    let graph: BTreeMap<_, _> = files.iter().zip(&modules).map(needs).collect();
    let n_imports: usize = graph.values().map(BTreeSet::len).sum();
    assert!(n_imports > 500, "only {n_imports} imports were found: the search is broken");
    let mut circles = circles(&graph);
    circles.retain(|(from, to)| !(PAIR.contains(from) && PAIR.contains(to)));
    assert!(circles.is_empty(), "circles among {circles:#?}");
}

#[test]
fn circles_are_found() {
    let graph = [("a", "b"), ("b", "c"), ("c", "b c d"), ("d", "")].map(|(name, needs)| {
        (name.to_owned(), needs.split_whitespace().map(str::to_owned).collect())
    });
    assert_eq!(circles(&graph.into()), [("b", "c"), ("c", "b"), ("c", "c")]);

    let modules = ["cli", "cli::a", "cli::b", "ops", "ops::c"].map(str::to_owned);
    let needs = |module: &str, source: &str| {
        let needs = dependencies(module, source, &modules);
        needs.into_iter().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(needs("cli", "mod a;\n"), "cli::a cli::b");
    assert_eq!(needs("cli::a", "use super::{Plan, b};\n"), "cli cli::b");
    assert_eq!(needs("cli::a", "//! [`super::b::f`]\nfn f() { super::b::f() }\n"), "cli::b");
    assert_eq!(needs("ops::c", "use super::Isa;\nuse crate::cli::a::A;\n"), "cli::a");
}

#[test]
fn group_imports_are_seen() {
    let source = "use crate::{archive::Summary, ops};\n// crate::cli\nuse crate::error::Result;";
    assert_eq!(imports(source), ["archive", "ops", "error"]);
    let nested =
        "use crate::{ops::{Isa, arch::{Simd}}, cli::Plan,\n    error};\nfn f() { g(a, b) }";
    assert_eq!(imports(nested), ["ops", "cli", "error"]);
}

#[test]
fn only_the_command_line_knows_the_terminal() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for layer in LAYERS.into_iter().chain(["hub", "train"]) {
        for file in sources(&root.join(layer)) {
            let source = std::fs::read_to_string(&file).unwrap();
            let source = source.split("#[cfg(test)]").next().unwrap();
            for word in ["anyhow", "clap::", "indicatif", "println!", "std::env", "process::exit"] {
                let place = file.display();
                assert!(!source.contains(word), "{place}: {word} belongs to the command line");
            }
        }
    }
}

/// So that the search above finds what is imported: nobody climbs to the root by `super`.
#[test]
fn other_layers_are_named_from_the_root() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in sources(&root) {
        let inside = file.strip_prefix(&root).unwrap();
        let is_mod = inside.ends_with("mod.rs");
        let depth = inside.components().count() - usize::from(is_mod);
        let climbs = "super::".repeat(depth.max(2));
        let source = std::fs::read_to_string(&file).unwrap();
        assert!(!source.contains(&climbs), "{}: {climbs} leaves its layer", file.display());
    }
}

/// A line on standard output may find it closed or full, which is an error, and one on standard error
/// that nobody hears it, which is none; these macros panic.
#[test]
fn the_command_line_never_panics_where_it_speaks() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = sources(&root.join("cli")).into_iter().chain([root.join("main.rs")]);
    for file in files {
        let source = std::fs::read_to_string(&file).unwrap();
        let code = source.lines().filter(|line| !line.trim().starts_with("//"));
        for (line, word) in code.flat_map(|line| ["print!", "println!"].map(|word| (line, word))) {
            assert!(!line.contains(word), "{}: {line}: say! or writeln!", file.display());
        }
    }
}

/// Doc comments begin with a noun or a verb.
#[test]
fn no_doc_comment_begins_with_what() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut comments = 0;
    for file in sources(&root) {
        let source = std::fs::read_to_string(&file).unwrap();
        for line in source.lines().map(str::trim_start) {
            let text = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"));
            let Some(text) = text else { continue };
            comments += 1;
            assert!(!text.starts_with(" What "), "{}: {line}", file.display());
        }
    }
    assert!(comments > 1000, "only {comments} comments were found: the search is broken");
}
