//! The modules stand on floors, and import only from below; no two files import each other. What unit tests use does not
//! count: they may look down on everything.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Every room of `src/`, from the ground up. A room imports only from floors below its own.
const FLOORS: &[&[&str]] = &[
    &["chance", "failpoint", "text"],
    &["chain", "protocol"],
    &["domain", "model", "oip"],
    &["coordinator", "engine", "journal", "pricing"],
    &["conditions", "config", "metrics"],
    &["client", "keys", "policy"],
    &["api", "dev", "node"],
    &["transactions"],
    &["stages"],
    &["supervisor", "testing"],
    &["cli"],
    &["lib", "main"],
];

/// A source file: its module path below the crate, and the paths that it imports, from the crate's root.
struct Module {
    path: Vec<String>,
    imports: Vec<(Vec<String>, String)>,
}

impl Module {
    fn read(root: &Path, file: &Path) -> Self {
        let relative = file.strip_prefix(root).unwrap().with_extension("");
        let mut path: Vec<String> = relative.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        if path.len() > 1 && path.last().is_some_and(|last| last == "mod") {
            path.pop();
        }
        let imports = imports(&path, &fs::read_to_string(file).unwrap());
        Self { path, imports }
    }
}

/// The code of a file without comments and unit tests.
fn code(text: &str) -> String {
    let tests = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let lines = text[..tests].lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n").replace("#[cfg(test)]\nmod testing;", "")
}

/// Every path that begins with `crate`, `super` or `self`, in full, with what the source says.
fn imports(module: &[String], text: &str) -> Vec<(Vec<String>, String)> {
    let code = code(text);
    let mut found = Vec::new();
    for root in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(root) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let tree: String = code[at..].chars().take_while(|c| !";()<>=".contains(*c)).collect();
            for path in expand(&tree) {
                let said = format!("use {}", path.join("::"));
                found.push((resolve(module, &path), said));
            }
        }
    }
    found
}

/// The paths of a use tree such as `a::{b, c::{d, e}}`.
fn expand(tree: &str) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    let mut prefixes: Vec<Vec<String>> = vec![Vec::new()];
    let mut path: Vec<String> = Vec::new();
    let mut word = String::new();
    let mut depth = 0;
    for c in tree.chars().chain([',']) {
        match c {
            c if c.is_alphanumeric() || c == '_' || c == '*' => word.push(c),
            ':' => {
                if !word.is_empty() {
                    path.push(std::mem::take(&mut word));
                }
            }
            '{' => {
                prefixes.push(path.clone());
                depth += 1;
            }
            ',' | '}' => {
                if !word.is_empty() {
                    path.push(std::mem::take(&mut word));
                    paths.push(path.clone());
                }
                if c == '}' {
                    prefixes.pop();
                    depth -= 1;
                }
                path = prefixes.last().cloned().unwrap_or_default();
                if depth == 0 {
                    return paths;
                }
            }
            c if c.is_whitespace() && depth > 0 => {}
            _ => {
                if !word.is_empty() {
                    path.push(std::mem::take(&mut word));
                    paths.push(path.clone());
                }
                return paths;
            }
        }
    }
    paths
}

fn resolve(module: &[String], path: &[String]) -> Vec<String> {
    let mut at = module.to_vec();
    let mut rest = path;
    if rest.first().is_some_and(|first| first == "crate") {
        at.clear();
        rest = &rest[1..];
    }
    while let [first, others @ ..] = rest {
        match first.as_str() {
            "super" => drop(at.pop()),
            "self" => {}
            _ => break,
        }
        rest = others;
    }
    at.extend(rest.iter().cloned());
    at
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// What a module imports from its own floor or above.
fn climbs(module: &Module) -> Vec<String> {
    let room = module.path[0].as_str();
    let name = module.path.join("::");
    let Some(own) = floor(room) else { return vec![format!("`{name}` stands on no floor: add it to FLOORS")] };
    let mut climbs = Vec::new();
    for (path, said) in &module.imports {
        let Some(target) = path.first().map(String::as_str).filter(|target| *target != room) else { continue };
        let Some(other) = floor(target) else { continue };
        if other >= own {
            climbs.push(format!("{name}: `{said}` climbs from floor {own} to floor {other}"));
        }
    }
    if room == "stages" && module.path.len() > 1 {
        for (path, said) in &module.imports {
            if path.first().is_some_and(|first| first == "stages")
                && path.get(1).is_some_and(|to| *to != module.path[1])
            {
                climbs.push(format!("{name}: `{said}` imports another stage"));
            }
        }
    }
    climbs
}

/// Files that import each other, in circles of any length. A parent and its child do not count: one names the other.
fn circles(modules: &[Module]) -> BTreeSet<String> {
    let known: BTreeSet<&[String]> = modules.iter().map(|module| module.path.as_slice()).collect();
    let mut edges: BTreeMap<&[String], BTreeSet<&[String]>> = BTreeMap::new();
    for module in modules {
        let from = module.path.as_slice();
        let targets = edges.entry(from).or_default();
        for (path, _) in &module.imports {
            let Some(to) = (1..=path.len()).rev().find_map(|end| known.get(&path[..end])) else { continue };
            if !from.starts_with(to) && !to.starts_with(from) {
                targets.insert(to);
            }
        }
    }
    // What imports nothing that is left is in no circle, and so is what nothing that is left imports.
    loop {
        let before = edges.len();
        let left: BTreeSet<&[String]> = edges.keys().copied().collect();
        edges.retain(|_, targets| targets.iter().any(|target| left.contains(target)));
        let imported: BTreeSet<&[String]> = edges.values().flatten().copied().collect();
        edges.retain(|from, _| imported.contains(from));
        if edges.len() == before {
            return edges.into_keys().map(|path| path.join("::")).collect();
        }
    }
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap_or_default().to_owned();
        if path.is_dir() && stem != "tests" {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && stem != "tests" {
            found.push(path);
        }
    }
}

fn house() -> Vec<Module> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    files.sort();
    files.iter().map(|file| Module::read(&root, file)).collect()
}

#[test]
fn no_module_imports_from_its_own_floor_or_above() {
    let climbs: Vec<_> = house().iter().flat_map(climbs).collect();
    assert!(climbs.is_empty(), "\n{}", climbs.join("\n"));
}

#[test]
fn no_two_files_import_each_other() {
    let circles = circles(&house());
    assert!(circles.is_empty(), "these files form a circle: {circles:?}");
}

#[test]
fn a_planted_climb_is_found_with_its_use() {
    let planted = |path: &str, text: &str| {
        let path: Vec<String> = path.split("::").map(str::to_owned).collect();
        let imports = imports(&path, text);
        Module { path, imports }
    };
    let module = planted("chain::client", "use crate::{\n    config::Settings,\n    protocol::Outcome,\n};\n");
    let expected = [
        "chain::client: `use crate::config::Settings` climbs from floor 1 to floor 4",
        "chain::client: `use crate::protocol::Outcome` climbs from floor 1 to floor 1",
    ];
    assert_eq!(climbs(&module), expected);
    let inline = planted("domain::job", "fn f() { let x = crate::node::Node::new(); } // crate::cli");
    assert_eq!(climbs(&inline).len(), 1);
    let stage = planted("stages::attester", "use super::claimer::Claimer;");
    assert_eq!(climbs(&stage), ["stages::attester: `use super::claimer::Claimer` imports another stage"]);
    let test = planted("chain::client", "#[cfg(test)]\nmod tests {\n    use crate::testing::block;\n}\n");
    assert!(climbs(&test).is_empty());
    let pair = [planted("chain::a", "use super::b::B;"), planted("chain::b", "use crate::chain::a::A;")];
    assert_eq!(circles(&pair).len(), 2);
}
