//! `oraculum doctor` as its users meet it.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::process::{Command, Output};

use serde_json::Value;

const ADDRESS: &str = "0x5FbDB2315678afecb367f032d93F642f64180aa3";

fn doctor(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oraculum"));
    command.arg("doctor").args(arguments).env_remove("ORACULUM_CONFIG").output().unwrap()
}

/// The exit code, and the state of each check by its name; of several with one name, the last.
fn checked(arguments: &[&str]) -> (Option<i32>, Value, Vec<(String, String)>) {
    let output = doctor(&[arguments, &["--json"]].concat());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let field = |check: &Value, name: &str| check[name].as_str().unwrap().to_owned();
    let checks = report["checks"].as_array().unwrap();
    let states = checks.iter().map(|check| (field(check, "name"), field(check, "state"))).collect();
    assert_eq!(report["usable"].as_bool(), Some(output.status.success()));
    (output.status.code(), report, states)
}

fn configuration(engine: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = format!("[chain]\ncoordinator = \"{ADDRESS}\"\n[node]\nowner = \"{ADDRESS}\"\n[engine]\n{engine}\n");
    std::fs::write(file.path(), text).unwrap();
    file
}

fn has(states: &[(String, String)], name: &str, state: &str) -> bool {
    states.iter().any(|(found, is)| found == name && is == state)
}

#[test]
fn a_sound_machine_has_all_that_a_node_needs() {
    let (code, report, states) = checked(&[]);
    assert_eq!(code, Some(0), "{report}");
    for name in ["ONNX Runtime", "canonical judge", "seccomp"] {
        assert!(has(&states, name, "ok"), "{name}: {report}");
    }
    let lines = String::from_utf8(doctor(&[]).stdout).unwrap();
    assert_eq!(lines.lines().count(), states.len(), "{lines}");
}

#[test]
fn a_gpu_that_is_missing_counts_only_where_it_is_asked_for() {
    if std::path::Path::new("/proc/driver/nvidia").exists() {
        eprintln!("skipped: this machine has a GPU");
        return;
    }
    let (code, report, states) = checked(&["--gpu"]);
    assert_eq!(code, Some(1), "{report}");
    assert!(has(&states, "NVIDIA driver", "missing") && has(&states, "cuda 0", "missing"), "{report}");
    let told = String::from_utf8(doctor(&["--gpu"]).stderr).unwrap();
    assert!(told.starts_with("error: ") && told.contains("things are missing"), "{told}");
    for (engine, code, state) in [
        ("provider = \"cpu\"", 0, "absent"),
        ("provider = \"auto\"", 0, "absent"),
        ("provider = \"cuda\"\ndevice_ids = [2]", 1, "missing"),
        ("provider = \"tensorrt\"", 1, "missing"),
    ] {
        let file = configuration(engine);
        let (found, report, states) = checked(&["--gpu", "--config", file.path().to_str().unwrap()]);
        assert_eq!(found, Some(code), "{engine}: {report}");
        assert!(has(&states, "NVIDIA driver", state) && has(&states, "configuration", "ok"), "{engine}: {report}");
    }
}

#[test]
fn what_a_configuration_asks_for_is_looked_at_without_a_flag() {
    let file = configuration("provider = \"plugin\"\n[engine.plugin]\nlibrary = \"/none/libplugin.so\"");
    let (code, report, states) = checked(&["--config", file.path().to_str().unwrap()]);
    assert_eq!(code, Some(1), "{report}");
    assert!(has(&states, "provider library", "missing") && has(&states, "plugin 0", "missing"), "{report}");
    assert!(!states.iter().any(|(name, _)| name == "NVIDIA driver"), "{report}");
}

#[test]
fn the_configuration_in_the_working_folder_counts_unless_a_flag_says_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(configuration("provider = \"cpu\"").path(), folder.path().join("oraculum.toml")).unwrap();
    let named = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_oraculum"));
        // Beside the folder there are no files of the judge's or the runtime's: they are found above the program.
        command.arg("doctor").args(arguments).env_remove("ORACULUM_CONFIG").current_dir(folder.path());
        String::from_utf8(command.output().unwrap().stdout).unwrap().contains("configuration")
    };
    assert!(named(&[]));
    assert!(!named(&["--provider", "cpu"]));
}

#[test]
fn a_configuration_or_a_runtime_that_cannot_be_used_is_one_missing_thing() {
    let file = configuration("queue = 0");
    let (code, report, states) = checked(&["--config", file.path().to_str().unwrap()]);
    assert_eq!(code, Some(1), "{report}");
    assert!(has(&states, "configuration", "missing") && has(&states, "ONNX Runtime", "ok"), "{report}");
    let (code, report, states) = checked(&["--runtime", "/none/libonnxruntime.so"]);
    assert_eq!(code, Some(1), "{report}");
    assert!(has(&states, "ONNX Runtime", "missing") && has(&states, "canonical judge", "ok"), "{report}");
}
