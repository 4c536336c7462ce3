//! The binary as its users meet it: `oraculum dev` becomes ready, answers, and leaves nothing behind.

#![cfg(unix)]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)] // helpers of tests

mod redeliver;
mod running;

use std::{
    io::{BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

fn oraculum() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oraculum"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ORACULUM_")) {
        command.env_remove(name);
    }
    // ONNX Runtime must be silenced by the binary itself.
    command.env_remove("ORT_DISABLE_TELEMETRY");
    command.current_dir(env!("CARGO_MANIFEST_DIR")).env("ORACULUM_LOG", "warn");
    command
}

/// A running `oraculum dev`, its temporary files in a folder of its own.
struct Dev {
    process: Child,
    deployment: Value,
    temporary: tempfile::TempDir,
}

impl Dev {
    fn start(arguments: &[&str]) -> Self {
        Self::start_by(oraculum(), arguments)
    }

    fn start_by(command: Command, arguments: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), command, arguments)
    }

    fn start_in(temporary: tempfile::TempDir, mut command: Command, arguments: &[&str]) -> Self {
        let mut process = command
            .args(["dev", "--json", "--port", "0"])
            .args(arguments)
            .env("TMPDIR", temporary.path())
            .env("HOME", temporary.path())
            // What the judge is compiled to is the same for all.
            .env("ORACULUM_CACHE", env!("CARGO_TARGET_TMPDIR"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // It prints one JSON object when it is ready, and nothing more.
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let deployment = serde_json::Deserializer::from_reader(output.by_ref()).into_iter().next();
        Self { process, deployment: deployment.expect("dev ended before it was ready").unwrap(), temporary }
    }

    fn url(&self) -> &str {
        self.deployment["rpcUrl"].as_str().unwrap()
    }

    fn request(&self, arguments: &[&str]) -> Output {
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../onnx-models");
        let mut command = oraculum();
        command.args(["request", "--json", "--rpc-url", self.url()]).args(arguments).env("ORACULUM_MODELS", models);
        command.output().unwrap()
    }

    /// Runs a command that has to find it by itself.
    fn beside(&self, arguments: &[&str]) -> Output {
        oraculum().args(arguments).env("TMPDIR", self.temporary.path()).output().unwrap()
    }

    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.process.id().to_string()]).status().unwrap().success());
    }

    /// Waits until nothing of it is left: no process that listens, no file.
    fn expect_nothing_left(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let port = self.url().rsplit_once(':').unwrap().1.parse::<u16>().unwrap();
        loop {
            let files: Vec<PathBuf> =
                std::fs::read_dir(self.temporary.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
            let listens = std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
            if files.is_empty() && !listens {
                return;
            }
            assert!(Instant::now() < deadline, "left behind: {files:?}, anvil listens: {listens}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What was said, and the exit code.
fn failure(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8(output.stderr.clone()).unwrap())
}

/// F7: a node whose log goes to a full device answers, and ends as it was told. A node whose log can be read says nothing
/// of an error when it is told to end.
#[test]
fn a_node_neither_dies_of_its_log_nor_ends_with_an_error_in_it() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let log = tempfile::NamedTempFile::new().unwrap();
    for stderr in [full, log.reopen().unwrap()] {
        let mut command = oraculum();
        command.stderr(stderr).env("ORACULUM_LOG", "debug");
        let mut dev = Dev::start_by(command, &[]);
        json(&dev.request(&["--model", "iris/v1", "--input", "[[5.1,3.5,1.4,0.2]]"]));
        dev.signal("-TERM");
        assert_eq!(dev.process.wait().unwrap().code(), Some(0));
        dev.expect_nothing_left();
    }
    let text = std::fs::read_to_string(log.path()).unwrap();
    assert!(text.contains("oraculum::supervisor: stopped"), "{text}");
    assert!(!text.contains(" ERROR ") && !text.contains(" WARN "), "{text}");
}

#[test]
fn dev_becomes_ready_answers_requests_and_ends_cleanly_when_told() {
    let mut dev = Dev::start(&[]);
    let answer = json(&dev.request(&["--model", "iris/v1", "--input", "[[5.1,3.5,1.4,0.2]]"]));
    assert_eq!(answer["outcome"], "Ok");
    let data = answer["outputs"][0]["data"].as_array().unwrap();
    assert_eq!(answer["outputs"][0]["name"], "probabilities");
    assert!(data.len() == 3 && data[0].as_f64().unwrap() > 0.9, "{data:?}");
    assert_eq!(answer["blocksWaited"], 1, "an automining chain answers in the next block");
    assert!(answer["gas"]["request"].as_u64().unwrap() > 21_000);

    // By id, prepaid, with floats kept; then packed by hand, with nothing known of the model.
    let id = answer["modelId"].as_str().unwrap();
    let floats =
        dev.request(&["--model", id, "--input", "[[5.1,3.5,1.4,0.2]]", "--prepaid", "--width", "0", "--decimals", "0"]);
    assert_eq!(json(&floats)["outputs"][0]["datatype"], "FP32");
    let packed = "0x010c0002000000010000000440b6666640266666406000003f800000";
    let packed = json(&dev.request(&["--model", id, "--input-hex", packed, "--models", "/nowhere"]));
    assert_eq!(packed["outputs"][0]["name"], "output0");

    // A failure is an answer: it is printed, and the exit code says that it is no result.
    let bad = dev.request(&["--model", "iris/v1", "--input-hex", "0x00"]);
    assert!(failure(&bad).1.contains("BadInput"));
    assert_eq!(serde_json::from_slice::<Value>(&bad.stdout).unwrap()["outcome"], "BadInput");

    dev.signal("-TERM");
    assert!(dev.process.wait().unwrap().success());
    dev.expect_nothing_left();
}

#[test]
fn dev_tells_of_requests_and_answers_as_they_come() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut command = oraculum();
    command.env_remove("ORACULUM_LOG").stderr(log.reopen().unwrap());
    let dev = Dev::start_by(command, &[]);
    let answer = json(&dev.request(&["--model", "iris/v1", "--input", "[[5.1,3.5,1.4,0.2]]"]));
    let id = answer["id"].as_str().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let told = std::fs::read_to_string(log.path()).unwrap();
        let tells = |word: &str| told.lines().any(|line| line.contains(word) && line.contains(id));
        if tells("a request") && tells("included") {
            return;
        }
        assert!(Instant::now() < deadline, "the request is not told of:\n{told}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn dev_leaves_nothing_behind_when_it_is_killed() {
    let mut dev = Dev::start(&["--block-time", "0.5"]);
    dev.signal("-KILL");
    assert!(!dev.process.wait().unwrap().success());
    dev.expect_nothing_left();
}

#[test]
fn what_a_user_types_wrongly_is_said_with_the_remedy() {
    let dev = Dev::start(&[]);
    let iris = |arguments: &[&str]| failure(&dev.request(&[&["--model", "iris/v1"], arguments].concat()));
    let input = ["--input", "[[5.1,3.5,1.4,0.2]]"];
    for ((code, told), says, expected) in [
        (iris(&["--input", "[[1,2]]"]), "but the model takes FP32 [-1,4]", 1),
        (iris(&[]), "write --input for each", 1),
        (iris(&[&input[..], &["--width", "3"]].concat()), "--width is 1, 2, 4, 8 or 16", 2),
        (iris(&[&input[..], &["--deadline", "1"]].concat()), "1 is not in 2..=8000", 2),
        (iris(&[&input[..], &["--models", "/nowhere"]].concat()), "--models", 1),
        (iris(&[&input[..], &["--keystore", "/nowhere/key.json"]].concat()), "there is no keystore at", 4),
        (
            iris(&[&input[..], &["--coordinator", "0x0000000000000000000000000000000000000007"]].concat()),
            "there is no contract at 0x0000000000000000000000000000000000000007",
            5,
        ),
        (failure(&dev.request(&["--model", "nothing/v1"])), "no model has the name `nothing/v1`", 1),
        (failure(&dev.request(&["--refund", &format!("0x{}", "07".repeat(32))])), "there is no request 0x0707", 1),
    ] {
        assert!(told.starts_with("error: ") && told.contains(says), "expected {says:?}: {told}");
        assert_eq!(code, Some(expected), "{told}");
    }
    let down = oraculum().args(["request", "--rpc-url", "http://127.0.0.1:1", "--model", "x"]).output().unwrap();
    let (code, told) = failure(&down);
    assert!(code == Some(5) && told.contains("cannot reach http://127.0.0.1:1"), "{code:?}: {told}");
}

#[test]
fn a_request_that_nobody_answers_is_refunded_after_its_deadline() {
    let dev = Dev::start(&[]);
    // The node is halted; Anvil is a process of its own and goes on.
    dev.signal("-STOP");
    let asked =
        dev.request(&["--model", "iris/v1", "--input", "[[5.1,3.5,1.4,0.2]]", "--deadline", "2", "--timeout", "1"]);
    let (code, told) = failure(&asked);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("no answer yet") && told.contains("oraculum request --refund 0x"), "{told}");
    let id = told.rsplit_once("--refund ").unwrap().1.split('`').next().unwrap().to_owned();
    let (_, early) = failure(&dev.request(&["--refund", &id]));
    assert!(early.contains("the deadline has not passed"), "{early}");
    mine(dev.url(), 3);
    let refunded = json(&dev.request(&["--refund", &id]));
    assert_eq!(refunded["wei"], "100000000000000");
    dev.signal("-CONT");
}

fn mine(url: &str, blocks: u64) {
    rpc(url, "anvil_mine", serde_json::json!([blocks]));
}

fn rpc(url: &str, method: &'static str, parameters: Value) -> Value {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = oraculum::client::Client::connect(url.parse().unwrap(), None, &Default::default()).await.unwrap();
        let call = alloy::providers::Provider::raw_request(client.provider(), method.into(), parameters);
        client.ask(call).await.unwrap()
    })
}

#[test]
fn an_owner_sees_and_collects_what_its_node_earned() {
    let dev = Dev::start(&[]);
    json(&dev.request(&["--model", "iris/v1", "--input", "[[5.1,3.5,1.4,0.2]]", "--fee", "0.25"]));
    // Halted, the node does not claim by itself.
    dev.signal("-STOP");
    let folder = tempfile::tempdir().unwrap();
    let (password, config) = (folder.path().join("password"), folder.path().join("oraculum.toml"));
    std::fs::write(&password, "x").unwrap();
    let owner = oraculum::dev::NodeKeys::new(0).owner;
    let secret = oraculum::keys::Password::from_file(&password).unwrap();
    oraculum::keys::store(&folder.path().join("keys/owner.json"), &owner, &secret, oraculum::keys::Cost::Light)
        .unwrap();
    let text = |value: &dyn std::fmt::Display| format!("\"{value}\"");
    let written = oraculum::config::example(&[
        ("chain.rpc_urls", format!("[\"{}\"]", dev.url())),
        ("chain.coordinator", text(&oraculum::dev::COORDINATOR)),
        ("node.owner", text(&owner.address())),
    ]);
    std::fs::write(&config, written).unwrap();
    let node = |arguments: &[&str]| {
        let mut command = oraculum();
        command.args(["node", "--json", "--config"]).arg(&config).arg("--password-file").arg(&password);
        json(&command.args(arguments).output().unwrap())
    };

    let fee = "250000000000000000";
    let status = node(&["status"]);
    assert_eq!((&status["vestingWei"], &status["claimable"]), (&fee.into(), &0.into()));
    assert_eq!(status["seats"].as_array().unwrap().len(), 4);
    mine(dev.url(), 33);
    let status = node(&["status"]);
    assert_eq!((&status["claimableWei"], &status["claimable"]), (&fee.into(), &1.into()));
    let claimed = node(&["claim", "--withdraw"]);
    assert_eq!((&claimed["claimedWei"], &claimed["withdrawnWei"]), (&fee.into(), &fee.into()));
    assert_eq!(node(&["status"])["claimable"], 0);
    dev.signal("-CONT");
}

/// Asks for the species of an iris, of the dev that runs.
const IRIS: [&str; 5] = ["request", "--json", "--model", "iris/v1", "--input=[[5.1,3.5,1.4,0.2]]"];
