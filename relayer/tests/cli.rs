//! The binary as its users meet it: what it prints, where, and with which exit code.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../onnx-models")
}

/// Runs the command with a text on standard input.
fn oraculum(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_oraculum"))
        .args(arguments)
        .env("ORACULUM_MODELS", models())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that fails before it reads closes the pipe.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn stdout(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A failure: nothing on standard output, exit code 1, and these words on standard error.
fn fails(arguments: &[&str], input: &str, words: &[&str]) {
    let output = oraculum(arguments, input);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(output.stdout.is_empty());
    let error = told.lines().find(|line| line.starts_with("error: ")).unwrap_or_else(|| panic!("{told}"));
    for word in words {
        assert!(error.contains(word), "`{word}` in: {error}");
    }
    assert!(!told.contains("panicked"));
}

fn flower(shape: Value, data: Value) -> String {
    json!({"inputs": [{"name": "features", "shape": shape, "datatype": "FP32", "data": data}]}).to_string()
}

fn iris() -> String {
    flower(json!([1, 4]), json!([5.1, 3.5, 1.4, 0.2]))
}

#[test]
fn infer_prints_open_inference_protocol_outputs_and_nothing_else() {
    let file = models().join("iris/model.onnx");
    let folder = models().join("iris");
    for model in [file.to_str().unwrap(), folder.to_str().unwrap(), "iris", "iris/v1"] {
        let output = oraculum(&["infer", model, "--provider", "cpu", "--inputs", "-"], &iris());
        let answer = stdout(&output);
        assert_eq!(answer["outputs"][0]["name"], "probabilities");
        assert_eq!(answer["outputs"][0]["shape"], json!([1, 3]));
        assert_eq!(answer["outputs"][0]["datatype"], "FP32");
        assert!(answer["outputs"][0]["data"][0].as_f64().unwrap() > 0.99);
    }
}

#[test]
fn infer_reads_inputs_from_a_file() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(iris().as_bytes()).unwrap();
    stdout(&oraculum(&["infer", "iris", "--inputs", file.path().to_str().unwrap()], ""));
    fails(&["infer", "iris", "--inputs", "/nowhere.json"], "", &["--inputs /nowhere.json"]);
}

#[test]
fn infer_says_what_is_wrong_with_an_input() {
    let infer = ["infer", "iris", "--inputs", "-"];
    fails(&infer, "{", &["Open Inference Protocol"]);
    fails(&infer, &flower(json!([1, 3]), json!([1, 2, 3])), &["BadInput", "[1, 3]", "[?, 4]"]);
    fails(&infer, &flower(json!([1, 4]), json!([1, 2, 3])), &["`features`", "[1, 4]"]);
    fails(&infer, &iris().replace("features", "feature"), &["no input `feature`", "features"]);
    fails(&infer, &iris().replace("5.1", "\"NaN\""), &["Unrepresentable", "NaN"]);
}

#[test]
fn infer_says_what_is_wrong_with_a_model_or_a_runtime() {
    let bad = |name: &str| models().join("bad").join(name).to_str().unwrap().to_owned();
    let infer = |model: &str, words: &[&str]| fails(&["infer", model, "--inputs", "-"], &iris(), words);
    infer("nothing", &["no model `nothing`", "oraculum model list"]);
    infer(&bad("external.onnx"), &["another file"]);
    infer(&bad("custom-op.onnx"), &["com.example.Oracle"]);
    infer(&bad("random.onnx"), &["RandomNormal"]);
    infer(&bad("sequence.onnx"), &["a sequence"]);
    infer(&bad("not-onnx.onnx"), &["not an ONNX file"]);
    let runtime = ["infer", "iris", "--inputs", "-", "--runtime"];
    fails(&[&runtime[..], &["/nowhere.so"]].concat(), &iris(), &["/nowhere.so", "--runtime", "ORT_DYLIB_PATH"]);
    let other = models().join("iris/card.json");
    fails(&[&runtime[..], &[other.to_str().unwrap()]].concat(), &iris(), &["is not ONNX Runtime"]);
}

#[test]
fn the_models_of_a_store_are_listed_inspected_and_added() {
    let store = tempfile::tempdir().unwrap();
    let at = ["--models", store.path().to_str().unwrap(), "--json"];
    let source = models().join("iris");
    let added = stdout(&oraculum(&[&["model", "add", source.to_str().unwrap()], &at[..]].concat(), ""));
    assert_eq!(added["name"], "iris/v1");
    let list = stdout(&oraculum(&[&["model", "list"], &at[..]].concat(), ""));
    assert_eq!(list.as_array().unwrap().len(), 1);
    assert_eq!(list[0]["modelId"], added["modelId"]);
    let all = stdout(&oraculum(&[&["model", "inspect", "iris"], &at[..]].concat(), ""));
    assert_eq!(all["inputs"], json!(["features F32 [?, 4]"]));
    assert_eq!(all["modelId"], added["modelId"]);

    std::fs::write(store.path().join("iris/model.onnx"), "altered").unwrap();
    fails(&[&["model", "inspect", "iris"], &at[..]].concat(), "", &["altered", "SHA-256"]);
    fails(&[&["infer", "iris", "--inputs", "-"], &at[..2]].concat(), &iris(), &["altered", "SHA-256"]);
}

#[test]
fn every_command_has_help_with_an_example() {
    // Walks the commands that the help itself names.
    fn walk(path: &[String]) {
        let arguments: Vec<_> = path.iter().map(String::as_str).chain(["--help"]).collect();
        let output = oraculum(&arguments, "");
        assert!(output.status.success());
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(path.is_empty() || help.contains("Example"), "{path:?} has no example");
        let commands = help.split_once("\nCommands:\n").map(|(_, rest)| rest.lines()).into_iter().flatten();
        let named = commands
            .take_while(|line| !line.is_empty())
            .filter(|line| line.starts_with("  ") && !line.starts_with("   "));
        for name in named.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help") {
            walk(&[path, &[name.to_owned()]].concat());
        }
    }
    walk(&[]);
}

#[test]
fn a_mistyped_command_exits_with_two() {
    assert_eq!(oraculum(&["infre"], "").status.code(), Some(2));
    assert_eq!(oraculum(&["--log", "oraculum=loud", "model", "list"], "").status.code(), Some(1));
}
