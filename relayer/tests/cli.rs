//! The binary as its users meet it: what it prints, where, and with which exit code.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};

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

/// A failure: nothing on standard output, an exit code of the table, and these words on standard error.
fn fails(code: i32, arguments: &[&str], input: &str, words: &[&str]) {
    let output = oraculum(arguments, input);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{told}");
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
    fails(1, &["infer", "iris", "--inputs", "/nowhere.json"], "", &["--inputs /nowhere.json"]);
}

#[test]
fn infer_says_what_is_wrong_with_an_input() {
    let infer = ["infer", "iris", "--inputs", "-"];
    fails(1, &infer, "{", &["Open Inference Protocol"]);
    fails(1, &infer, &flower(json!([1, 3]), json!([1, 2, 3])), &["BadInput", "[1, 3]", "[?, 4]"]);
    fails(1, &infer, &flower(json!([1, 4]), json!([1, 2, 3])), &["`features`", "[1, 4]"]);
    fails(1, &infer, &iris().replace("features", "feature"), &["no input `feature`", "features"]);
    fails(1, &infer, &iris().replace("5.1", "\"NaN\""), &["Unrepresentable", "NaN"]);
}

#[test]
fn infer_says_what_is_wrong_with_a_model_or_a_runtime() {
    let bad = |name: &str| models().join("bad").join(name).to_str().unwrap().to_owned();
    let infer = |model: &str, words: &[&str]| fails(7, &["infer", model, "--inputs", "-"], &iris(), words);
    infer("nothing", &["no model `nothing`", "oraculum model list"]);
    infer(&bad("external.onnx"), &["another file"]);
    infer(&bad("custom-op.onnx"), &["com.example.Oracle"]);
    infer(&bad("random.onnx"), &["RandomNormal"]);
    infer(&bad("sequence.onnx"), &["a sequence"]);
    infer(&bad("not-onnx.onnx"), &["not an ONNX file"]);
    let runtime = ["infer", "iris", "--inputs", "-", "--runtime"];
    fails(7, &[&runtime[..], &["/nowhere.so"]].concat(), &iris(), &["/nowhere.so", "--runtime", "ORT_DYLIB_PATH"]);
    let other = models().join("iris/card.json");
    fails(7, &[&runtime[..], &[other.to_str().unwrap()]].concat(), &iris(), &["is not ONNX Runtime"]);
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
    fails(7, &[&["model", "inspect", "iris"], &at[..]].concat(), "", &["altered", "SHA-256"]);
    fails(7, &[&["infer", "iris", "--inputs", "-"], &at[..2]].concat(), &iris(), &["altered", "SHA-256"]);
}

/// A node's home as `init` makes it, for a chain on which nothing listens.
fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("password"), "correct horse battery staple").unwrap();
    let (folder, password) = (home.path().join("node"), home.path().join("password"));
    let made = oraculum(
        &[
            "init",
            folder.to_str().unwrap(),
            "--rpc-url",
            "http://127.0.0.1:9",
            "--chain-id",
            "31337",
            "--coordinator",
            "0x5FbDB2315678afecb367f032d93F642f64180aa3",
            "--password-file",
            password.to_str().unwrap(),
        ],
        "",
    );
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    home
}

#[test]
fn exit_codes_say_what_is_wrong() {
    let home = home();
    let config = home.path().join("node/oraculum.toml");
    let (config, password) = (config.to_str().unwrap(), home.path().join("password"));
    let password = password.to_str().unwrap();
    let run = ["run", "--config", config, "--password-file", password];

    assert_eq!(oraculum(&["run", "--no-such-flag"], "").status.code(), Some(2));
    fails(3, &["run", "--config", "/nowhere.toml"], "", &["/nowhere.toml", "oraculum init"]);
    std::fs::write(home.path().join("wrong"), "wrong").unwrap();
    let wrong = home.path().join("wrong");
    fails(4, &["run", "--config", config, "--password-file", wrong.to_str().unwrap()], "", &["password"]);
    let text = std::fs::read_to_string(config).unwrap();
    std::fs::write(config, text.replace("start_timeout = 60", "start_timeout = 0")).unwrap();
    fails(5, &run, "", &["chain.rpc_urls"]);
    fails(5, &["node", "status", "--config", config], "", &["127.0.0.1:9"]);
    std::fs::write(config, text.replace("[chain]\n", "[chain]\nca_file = \"nowhere.pem\"\n")).unwrap();
    for asks in [&run[..], &["node", "status", "--config", config], &["model", "register", "iris", "--config", config]]
    {
        fails(3, asks, "", &["nowhere.pem", "correct `chain.ca_file`"]);
    }
    std::fs::write(config, text).unwrap();
    fails(6, &["jobs", "list", "--config", config], "", &["there is no journal"]);
    fails(6, &["journal", "export", "-", "--config", config], "", &["there is no journal"]);
    fails(7, &["model", "inspect", "nothing"], "", &["no model `nothing`"]);
    let help = String::from_utf8(oraculum(&["--help"], "").stdout).unwrap();
    for code in 0..10 {
        assert!(help.contains(&format!("\n  {code}  ")), "{code} is not in the table");
    }
}

#[test]
fn a_journal_is_carried_from_one_folder_to_another_as_lines() {
    let home = home();
    let config = home.path().join("node/oraculum.toml");
    let config = config.to_str().unwrap();
    let head = json!({"journal": {"version": oraculum::journal::VERSION, "identity": {
        "chain_id": 31337, "coordinator": format!("0x{}", "11".repeat(20)), "signer": format!("0x{}", "22".repeat(20)),
    }}});
    let cursor = json!({"cursor": {"number": 7, "hash": format!("0x{}", "33".repeat(32))}});
    let lines = format!("{head}\n{cursor}\n");
    let imported = oraculum(&["journal", "import", "-", "--config", config], &lines);
    let told = String::from_utf8_lossy(&imported.stderr).into_owned();
    assert!(imported.status.success() && told.contains("2 records") && told.contains("block 7"), "{told}");
    let exported = oraculum(&["journal", "export", "-", "--config", config], "");
    assert_eq!(String::from_utf8(exported.stdout).unwrap(), lines);
    fails(6, &["journal", "import", "-", "--config", config], &lines, &["there is a journal"]);
    let page = stdout(&oraculum(&["jobs", "list", "--json", "--config", config], ""));
    assert_eq!(page, json!({"jobs": [], "next": null}));
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
    fails(2, &["jobs", "show", "0x12"], "", &["0x12", "0x and 64 hex digits"]);
    assert_eq!(oraculum(&["--log", "oraculum=loud", "model", "list"], "").status.code(), Some(1));
}
