//! The page of errors lists what every contract can revert with.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The first cell of each row of the tables in `docs/errors.md`, which declares an error as Solidity does.
fn listed() -> BTreeSet<String> {
    let page = fs::read_to_string(root().join("docs/errors.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    rows.map(|(declaration, rest)| {
        let cells: Vec<_> = rest.trim_end_matches('|').split('|').map(str::trim).collect();
        assert!(cells.len() == 2 && cells.iter().all(|cell| !cell.is_empty()), "{declaration}: {cells:?}");
        declaration.to_owned()
    })
    .collect()
}

/// The errors of an artifact's ABI, in the words of their declarations.
fn errors_of(artifact: &Path) -> Vec<String> {
    let artifact: Value = serde_json::from_slice(&fs::read(artifact).unwrap()).unwrap();
    let errors = artifact["abi"].as_array().unwrap().iter().filter(|entry| entry["type"] == "error");
    errors
        .map(|entry| {
            let inputs = entry["inputs"].as_array().unwrap().iter().map(|input| {
                // `enum LendingDesk.Status` is declared as `Status`.
                let ty = input["internalType"].as_str().unwrap().rsplit([' ', '.']).next().unwrap();
                format!("{ty} {}", input["name"].as_str().unwrap())
            });
            let inputs: Vec<_> = inputs.collect();
            format!("{}({})", entry["name"].as_str().unwrap(), inputs.join(", "))
        })
        .collect()
}

fn files(folder: &Path, extension: &str, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, extension, into);
        } else if path.extension().is_some_and(|one| one == extension) {
            into.push(path);
        }
    }
}

#[test]
fn the_page_lists_every_error_of_every_artifacts_abi() {
    let mut artifacts = Vec::new();
    files(&root().join("contracts/artifacts"), "json", &mut artifacts);
    let abi: BTreeSet<_> = artifacts.iter().flat_map(|artifact| errors_of(artifact)).collect();
    assert!(abi.len() > 80, "{abi:?}");
    let missing: Vec<_> = abi.difference(&listed()).cloned().collect();
    assert!(missing.is_empty(), "write a row in docs/errors.md for each of {missing:#?}");
}

/// Contracts to inherit from and to test against have errors, too, and no artifacts.
#[test]
fn the_page_lists_what_the_sources_declare_and_nothing_else() {
    let mut sources = Vec::new();
    files(&root().join("contracts/src"), "sol", &mut sources);
    let mut declared = BTreeSet::new();
    for source in sources {
        let text = fs::read_to_string(source).unwrap();
        let declarations = text.lines().filter_map(|line| line.trim().strip_prefix("error ")?.strip_suffix(';'));
        declared.extend(declarations.map(str::to_owned));
    }
    let listed = listed();
    let missing: Vec<_> = declared.difference(&listed).collect();
    let stale: Vec<_> = listed.difference(&declared).collect();
    assert!(missing.is_empty() && stale.is_empty(), "docs/errors.md lacks {missing:#?}, and has in excess {stale:#?}");
}
