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

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oraculum"));
    command.args(arguments).env("ORACULUM_MODELS", models());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the command with a text on standard input.
fn oraculum(arguments: &[&str], input: &str) -> Output {
    output(command(arguments), input)
}

fn output(mut command: Command, input: &str) -> Output {
    let mut child = command.spawn().unwrap();
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
    fails(1, &["infer", "iris", "--inputs", "/nowhere.json"], "", &["--input /nowhere.json: "]);
}

#[test]
fn infer_says_what_is_wrong_with_an_input() {
    let infer = ["infer", "iris", "--inputs", "-"];
    fails(1, &infer, "{", &["Open Inference Protocol"]);
    fails(
        1,
        &infer,
        &flower(json!([1, 3]), json!([1, 2, 3])),
        &["`features` has shape [1,3], but the model takes FP32 [-1,4]"],
    );
    fails(1, &infer, &flower(json!([1, 4]), json!([1, 2, 3])), &["`features`", "[1,4]"]);
    fails(1, &infer, &iris().replace("features", "feature"), &["no input `feature`", "features"]);
    fails(
        1,
        &infer,
        &iris().replace("\"FP32\"", "\"FP64\"").replace("}]", "}],\"outputs\":[{\"name\":\"p\"}]"),
        &["no output `p`", "probabilities"],
    );
}

/// F12: a request as clients write it, NaN in and out, and what that would be on-chain.
#[test]
fn infer_takes_and_gives_what_the_protocol_has() {
    let request = iris().replace("5.1", "NaN").replacen(
        '{',
        r#"{"id":"a","parameters":{},"outputs":[{"name":"probabilities"}],"#,
        1,
    );
    let ran = oraculum(&["infer", "iris", "--inputs", "-"], &format!("\u{feff}{request}"));
    let told = String::from_utf8_lossy(&ran.stderr).into_owned();
    let answer = stdout(&ran);
    assert_eq!(answer["id"], "a");
    assert_eq!(answer["outputs"].as_array().unwrap().len(), 1);
    assert_eq!(answer["outputs"][0]["data"], json!(["NaN", "NaN", "NaN"]));
    assert!(told.contains("Unrepresentable"), "{told}");
}

#[test]
fn infer_says_what_is_wrong_with_a_model_or_a_runtime() {
    let bad = |name: &str| models().join("bad").join(name).to_str().unwrap().to_owned();
    let infer = |model: &str, words: &[&str]| fails(7, &["infer", model, "--inputs", "-"], &iris(), words);
    infer("nothing", &["no model `nothing`", "oraculum model list"]);
    infer(&bad("escaping.onnx"), &["no path to a file within"]);
    infer(&bad("custom-op.onnx"), &["com.example.Oracle"]);
    infer(&bad("random.onnx"), &["RandomNormal"]);
    infer(&bad("sequence.onnx"), &["a sequence"]);
    infer(&bad("not-onnx.onnx"), &["not an ONNX file"]);
    infer(&bad("newer-opset.onnx"), &["newer than this ONNX Runtime", "opset_version"]);
    infer(&bad("no-outputs.onnx"), &["no outputs"]);
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
    let shown = oraculum(&["model", "list", "--models", at[1]], "");
    assert!(String::from_utf8(shown.stdout).unwrap().contains("[setosa, versicolor, virginica]"));
    let all = stdout(&oraculum(&[&["model", "inspect", "iris"], &at[..]].concat(), ""));
    assert_eq!(all["inputs"], json!(["features FP32 [-1,4]"]));
    assert_eq!(all["modelId"], added["modelId"]);
    assert_eq!((&all["parameters"], &all["flops"], &all["operators"]["Gemm"]), (&json!(139), &json!(251), &json!(2)));
    let bare = models().join("bad/external.onnx");
    let told = oraculum(&["model", "inspect", bare.to_str().unwrap()], "");
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains("weights in external.bin (4 bytes)") && told.contains("operators  Add 1"), "{told}");
    fails(7, &["model", "inspect", models().join("bad/random.onnx").to_str().unwrap()], "", &["random numbers"]);

    std::fs::write(store.path().join("iris/model.onnx"), "altered").unwrap();
    fails(7, &[&["model", "inspect", "iris"], &at[..]].concat(), "", &["SHA-256", "it is text"]);
    fails(7, &[&["infer", "iris", "--inputs", "-"], &at[..2]].concat(), &iris(), &["SHA-256", "it is text"]);
    stdout(&oraculum(&[&["model", "add", source.to_str().unwrap(), "--replace"], &at[..]].concat(), ""));
    let removed = stdout(&oraculum(&[&["model", "remove", "iris/v1"], &at[..]].concat(), ""));
    assert_eq!(removed["modelId"], added["modelId"]);
    fails(7, &[&["model", "remove", "iris/v1"], &at[..]].concat(), "", &["no model `iris/v1`"]);
    fails(2, &[&["model", "new", "/dev/null", "--name", "A b"], &at[..]].concat(), "", &["--name"]);
}

/// F15: a clone without Git LFS, for a bare file and for one with a card.
#[test]
fn a_git_lfs_pointer_is_called_that() {
    let store = tempfile::tempdir().unwrap();
    let folder = store.path().join("iris");
    std::fs::create_dir(&folder).unwrap();
    for name in ["card.json", "details.json"] {
        std::fs::copy(models().join("iris").join(name), folder.join(name)).unwrap();
    }
    let file = folder.join("model.onnx");
    std::fs::write(&file, "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1119\n").unwrap();
    for model in [file.to_str().unwrap(), folder.to_str().unwrap()] {
        fails(7, &["infer", model, "--inputs", "-"], &iris(), &["a Git LFS pointer", "`git lfs pull`"]);
    }
}

/// F15: a classifier as skl2onnx exports it answers with its label alone, and says how to get the rest.
#[test]
fn infer_serves_a_zipmap_model_without_its_maps() {
    let model = models().join("bad/zipmap.onnx");
    let model = model.to_str().unwrap();
    let request = r#"{"inputs":[{"name":"x","shape":[1,1],"datatype":"FP32","data":[3]}]}"#;
    fails(
        1,
        &["infer", model, "--inputs", "-"],
        request,
        &["`probabilities` is a sequence", "options={'zipmap': False}"],
    );
    let label = request.replacen('{', r#"{"outputs":[{"name":"label"}],"#, 1);
    assert_eq!(stdout(&oraculum(&["infer", model, "--inputs", "-"], &label))["outputs"][0]["data"], json!([1]));
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
    for filter in ["oraculum=loud", "loud", "inof", "info,debig"] {
        fails(2, &["--log", filter, "model", "list"], "", &["--log", "`info`"]);
    }
    for filter in ["warn", "info,alloy_pubsub=off", "oraculum", "oraculum::engine=debug,error", "off"] {
        assert!(oraculum(&["--log", filter, "model", "list"], "").status.success(), "{filter}");
    }
    fails(2, &["request", "--model", "iris/v1", "--width", "3"], "", &["--width"]);
    fails(2, &["init", "--chain-id", "0"], "", &["0x1"]);
    fails(2, &["init", "--owner", "0x5fbDB2315678afecb367f032d93F642f64180aa3"], "", &["checksum"]);
    fails(
        2,
        &["request", "--model", "iris/v1", "--coordinator", "0x5fbDB2315678afecb367f032d93F642f64180aa3"],
        "",
        &["checksum"],
    );
}

/// F7: what cannot be logged or told is lost, and nothing else.
#[cfg(unix)]
#[test]
fn a_full_device_or_a_reader_that_left_ends_nothing() {
    let full = || Stdio::from(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    let left = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        Stdio::from(writer)
    };
    for form in ["text", "json"] {
        for stderr in [full(), left()] {
            let mut infer = command(&["infer", "iris", "--inputs", "-", "--log", "trace", "--log-format", form]);
            infer.stderr(stderr);
            let ran = output(infer, &iris());
            assert!(ran.status.success(), "{form}: {}", ran.status);
            assert!(ran.stdout.starts_with(b"{\"outputs\""));
        }
    }
    for stderr in [full(), left()] {
        let mut fails = command(&["model", "inspect", "nothing"]);
        fails.stderr(stderr);
        assert_eq!(output(fails, "").status.code(), Some(7));
    }
    // Data that cannot be written are an error; data that nobody wants are not.
    let mut list = command(&["model", "list"]);
    list.stdout(full());
    let lost = output(list, "");
    assert_eq!(lost.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&lost.stderr).starts_with("error: cannot write to standard output"));
    let mut list = command(&["model", "list"]);
    list.stdout(left());
    assert!(output(list, "").status.success());
}

/// F16: a variable with our prefix that means nothing ends every command but help.
#[test]
fn an_unknown_variable_is_refused() {
    let mut list = command(&["model", "list"]);
    list.env("ORACULUM_MODEL", "onnx-models");
    let refused = output(list, "");
    assert_eq!(refused.status.code(), Some(3));
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        told.contains("ORACULUM_MODEL means nothing") && told.contains("did you mean `ORACULUM_MODELS`?"),
        "{told}"
    );
    let mut help = command(&["--help"]);
    help.env("ORACULUM_MODEL", "onnx-models");
    assert!(output(help, "").status.success());
}

/// F16: a hexadecimal id, and addresses whose checksums are right, from the environment.
#[test]
fn the_environment_sets_a_chain_id_in_hexadecimal() {
    let home = home();
    let config = home.path().join("node/oraculum.toml");
    let check = |id: &str, coordinator: &str| {
        let mut check = command(&["config", "check", "--config", config.to_str().unwrap()]);
        check.env("ORACULUM_CHAIN_CHAIN_ID", id).env("ORACULUM_CHAIN_COORDINATOR", coordinator);
        output(check, "")
    };
    let right = "0x5FbDB2315678afecb367f032d93F642f64180aa3";
    assert_eq!(check("0x7a69", right).status.code(), Some(0));
    let wrong = check("31337", &right.replace('F', "f"));
    assert_eq!(wrong.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("checksum"));
}

#[test]
fn a_configuration_is_checked_without_being_run() {
    let home = home();
    let config = home.path().join("node/oraculum.toml");
    let config = config.to_str().unwrap();
    let good = oraculum(&["config", "check", "--config", config], "");
    assert!(good.status.success(), "{}", String::from_utf8_lossy(&good.stderr));
    assert!(String::from_utf8_lossy(&good.stderr).contains("can be used"));
    let text = std::fs::read_to_string(config).unwrap();
    std::fs::write(config, format!("\u{feff}{text}")).unwrap();
    assert!(oraculum(&["config", "check", "--config", config], "").status.success());
    std::fs::write(config, text.replace("reorg_depth = 64", "reorg_depth = 1")).unwrap();
    fails(3, &["config", "check", "--config", config], "", &["reorg_depth"]);
    std::fs::write(config, text).unwrap();
    std::fs::remove_file(home.path().join("node/keys/sender.json")).unwrap();
    fails(4, &["config", "check", "--config", config], "", &["there is no keystore", "sender.json"]);
}

#[test]
fn completions_are_written_for_every_shell() {
    for (shell, word) in [("bash", "complete -F"), ("zsh", "#compdef oraculum"), ("fish", "complete -c oraculum")] {
        let script = oraculum(&["completions", shell], "");
        assert!(script.status.success() && String::from_utf8(script.stdout).unwrap().contains(word), "{shell}");
    }
    assert_eq!(oraculum(&["completions", "cobol"], "").status.code(), Some(2));
}

#[test]
fn infer_takes_its_inputs_by_either_name() {
    for flag in ["--inputs", "--input"] {
        stdout(&oraculum(&["infer", "iris", flag, "-"], &iris()));
    }
}

#[test]
fn a_weak_password_makes_no_keys() {
    let home = tempfile::tempdir().unwrap();
    let password = home.path().join("password");
    std::fs::write(&password, "hunter2").unwrap();
    let folder = home.path().join("node");
    let init = ["init", folder.to_str().unwrap(), "--password-file", password.to_str().unwrap()];
    fails(4, &init, "", &["12 characters"]);
    assert!(!folder.exists());
}

#[cfg(unix)]
#[test]
fn a_keystore_that_others_can_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let home = home();
    let (config, key) = (home.path().join("node/oraculum.toml"), home.path().join("node/keys/signer.json"));
    let check = || {
        let checked = oraculum(&["config", "check", "--config", config.to_str().unwrap()], "");
        assert!(checked.status.success());
        String::from_utf8(checked.stderr).unwrap()
    };
    assert!(!check().contains("can be read by others"));
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let told = check();
    assert!(told.contains("keystore can be read by others") && told.contains("chmod 600"), "{told}");
}
