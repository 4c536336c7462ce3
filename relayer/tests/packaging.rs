//! What packages are made of: the container's file names what exists, and manual pages tell of every command.

#![allow(missing_docs, clippy::unwrap_used)] // helpers of tests

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn oraculum(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oraculum"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ORACULUM_")) {
        command.env_remove(name);
    }
    command.args(arguments).envs(variables.iter().copied()).output().unwrap()
}

/// The instructions of the container's file, a line each, without comments.
fn instructions() -> Vec<String> {
    let text = fs::read_to_string(root().join("packaging/Containerfile")).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    lines.join("\n").replace("\\\n", " ").lines().map(str::to_owned).filter(|line| !line.is_empty()).collect()
}

#[test]
fn the_container_sets_variables_that_mean_something_and_runs_commands_that_exist() {
    let text = fs::read_to_string(root().join("packaging/Containerfile")).unwrap();
    let set: Vec<(&str, &str)> = text
        .split_whitespace()
        .filter(|word| word.starts_with("ORACULUM_"))
        .filter_map(|word| word.split_once('='))
        .collect();
    assert!(set.len() >= 7, "{set:?}");
    // A variable that means nothing ends every command.
    let checked = oraculum(&["completions", "bash"], &set);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    for name in ["HEALTHCHECK", "CMD"] {
        let line = instructions().into_iter().find(|line| line.starts_with(name)).unwrap();
        let words: Vec<String> = serde_json::from_str(&line[line.find('[').unwrap()..]).unwrap();
        let words: Vec<&str> = words.iter().map(String::as_str).filter(|word| *word != "oraculum").collect();
        assert!(oraculum(&[&words[..], &["--help"]].concat(), &[]).status.success(), "{words:?}");
    }
}

#[test]
fn the_container_copies_what_exists_runs_without_rights_and_leaves_out_no_source() {
    for line in instructions().iter().filter(|line| line.starts_with("COPY")) {
        let mut words: Vec<&str> = line.split_whitespace().skip(1).collect();
        words.pop();
        let is_built = words[0] == "--from=build";
        for path in words.iter().filter(|word| !word.starts_with("--") && !is_built) {
            let path = root().join(path.strip_prefix("/source/").unwrap_or(path));
            assert!(path.exists(), "{line}: there is no {}", path.display());
        }
    }
    let user = instructions().into_iter().rfind(|line| line.starts_with("USER")).unwrap();
    assert_eq!(user, "USER 10001:10001");
    // The patterns mean the same to git.
    let git = ["ls-files", "--cached", "--ignored", "--exclude-from=.dockerignore"];
    let hidden = Command::new("git").args(git).current_dir(root()).output().unwrap();
    assert_eq!(String::from_utf8(hidden.stdout).unwrap(), "", "tracked files that no image would be built from");
}

#[test]
fn the_gpu_runtime_is_locked_in_the_versions_that_were_chosen() {
    let read = |name: &str| fs::read_to_string(root().join("packaging/gpu-runtime").join(name)).unwrap();
    let lines = |text: &str| text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>();
    let (chosen, locked) = (lines(&read("requirements.in")), lines(&read("requirements.txt")));
    assert!(chosen.len() >= 8);
    let versions: Vec<_> = locked.iter().map(|line| line.split_once(" --hash=sha256:").unwrap()).collect();
    assert_eq!(versions.iter().map(|(version, _)| *version).collect::<Vec<_>>(), chosen);
    assert!(versions.iter().all(|(_, hash)| hash.len() == 64));
}

#[test]
fn manual_pages_tell_of_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    let made = oraculum(&["man", pages.to_str().unwrap()], &[]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    for (page, says) in [
        ("oraculum.1", "oraculum"),
        ("oraculum-node-rekey.1", "new signing key"),
        ("oraculum-run.1", "SIGHUP"),
        ("oraculum-init.1", "deployment"),
    ] {
        let text = fs::read_to_string(pages.join(page)).unwrap();
        assert!(text.contains(".TH ") && text.contains(says), "{page}: {text}");
    }
}
