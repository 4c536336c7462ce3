//! What the binary says of lanes: judgements with the guard, certification and calibration.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use oraculum::model::graph::proto::{Dimension, Graph, Model, Node, OperatorSet, Shape, TensorType, Type, ValueInfo};
use prost::Message;
use serde_json::{Value, json};

/// Runs the command with a folder of models.
fn oraculum(models: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_oraculum")).args(arguments).env("ORACULUM_MODELS", models).output().unwrap()
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", told(output)))
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A file of x and y, FP32 [N], with nodes between, each its operator, input and output.
fn file(nodes: &[(&str, &str, &str)]) -> Vec<u8> {
    let port = |name: &str| {
        let tensor = TensorType { elem_type: 1, shape: Some(Shape { dim: vec![Dimension { size: None }] }) };
        ValueInfo { name: name.into(), r#type: Some(Type { tensor: Some(tensor), ..Type::default() }) }
    };
    let node = |(operator, input, output): &(&str, &str, &str)| Node {
        op_type: (*operator).into(),
        input: vec![(*input).into()],
        output: vec![(*output).into()],
        ..Node::default()
    };
    let graph = Graph {
        node: nodes.iter().map(node).collect(),
        name: "test".into(),
        input: vec![port("x")],
        output: vec![port("y")],
        ..Graph::default()
    };
    let opset_import = vec![OperatorSet { domain: String::new(), version: 17 }];
    Model { ir_version: 8, graph: Some(graph), opset_import, functions: vec![] }.encode_to_vec()
}

/// A store with the model `steps/v1` of the tolerance lane, whose y is the whole part of eˣ.
fn steps() -> tempfile::TempDir {
    let store = tempfile::tempdir().unwrap();
    let path = store.path().join("steps.onnx");
    fs::write(&path, file(&[("Exp", "x", "e"), ("Floor", "e", "y")])).unwrap();
    let made = oraculum(store.path(), &["model", "new", path.to_str().unwrap(), "--lane", "tolerance", "--json"]);
    assert_eq!(json_of(&made)["name"], "steps/v1");
    store
}

#[test]
fn a_judgement_in_the_tolerance_lane_tells_whether_the_guard_speaks() {
    let store = steps();
    let judged = |input: &str| oraculum(store.path(), &["judge", "steps/v1", "--input", input]);
    let silent = judged("[0.3]");
    assert_eq!((json_of(&silent)["guard"].clone(), silent.status.code()), (json!({ "speaks": false }), Some(0)));
    assert!(told(&silent).contains("the guard is silent"), "{}", told(&silent));
    let speaks = judged("[0]");
    let answer = json_of(&speaks);
    assert_eq!(speaks.status.code(), Some(1));
    assert_eq!((answer["guard"]["speaks"].clone(), answer["outputs"][0]["data"].clone()), (json!(true), json!([1.0])));
    let reason = answer["guard"]["reason"].as_str().unwrap();
    assert!(reason.contains("change the answer"), "{reason}");
    assert!(told(&speaks).contains(&format!("no verdict: the guard speaks, for {reason}")), "{}", told(&speaks));
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../onnx-models");
    let exact = oraculum(&shipped, &["judge", "iris", "--input", "[[5.1,3.5,1.4,0.2]]"]);
    assert_eq!(json_of(&exact).get("guard"), None);
}

fn shipped() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../onnx-models")
}

#[test]
fn a_certificate_tells_the_lanes_and_the_seed_gives_it_again() {
    let certify = |arguments: &[&str]| oraculum(&shipped(), &[&["model", "certify", "iris"], arguments].concat());
    let certified = certify(&["--runs", "3", "--json"]);
    assert_eq!(certified.status.code(), Some(0));
    let certificate = json_of(&certified);
    assert_eq!((&certificate["name"], &certificate["cardLane"]), (&json!("iris/v1"), &json!("exact")));
    assert_eq!(certificate["lanes"]["exact"], json!({ "allowed": true, "refusals": [] }));
    assert_eq!(certificate["inputs"], json!({ "golden": 5, "random": 3, "leftOut": 0 }));
    assert_eq!(certificate["trace"]["candidates"], json!(6));
    assert!(certificate["guard"][0]["golden"].as_f64().unwrap() < 0.25);
    let seed = certificate["seed"].to_string();
    assert!(told(&certified).contains(&format!("certifying with --seed {seed}")), "{}", told(&certified));
    assert_eq!(json_of(&certify(&["--runs", "3", "--json", "--seed", &seed])), certificate);
    let lines = String::from_utf8(certify(&["--runs", "3", "--seed", &seed]).stdout).unwrap();
    assert!(lines.contains("  exact      allowed, which the card names\n  tolerance  allowed\n"), "{lines}");
}

#[test]
fn a_refused_lane_of_a_card_is_an_exit_code_and_reasons_that_say_what_to_do() {
    let store = steps();
    let zero = store.path().join("zero.json");
    fs::write(&zero, r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[0]}]}"#).unwrap();
    let certify = |arguments: &[&str]| {
        let arguments =
            [&["model", "certify", "steps/v1", "--seed", "1", "--inputs", zero.to_str().unwrap()], arguments];
        oraculum(store.path(), &arguments.concat())
    };
    let refused = certify(&["--json"]);
    assert_eq!(refused.status.code(), Some(1));
    let lanes = &json_of(&refused)["lanes"];
    assert_eq!(lanes["exact"]["allowed"], json!(true));
    let refusals = lanes["tolerance"]["refusals"].as_array().unwrap();
    assert_eq!(refusals[0]["code"], json!("amplifier"));
    assert!(
        told(&refused).contains("error: the tolerance lane, which the card names, is refused"),
        "{}",
        told(&refused)
    );
    let lines = String::from_utf8(certify(&[]).stdout).unwrap();
    let reason = lines.lines().find(|line| line.starts_with("    - ")).unwrap();
    assert!(reason.contains("amplifies rounding") && reason.contains("zero.json"), "{reason}");
    assert!(reason.contains("take the exact lane"), "{reason}");
}

#[test]
fn a_bare_file_without_any_lane_is_refused_and_what_cannot_be_found_is_another_code() {
    let random = shipped().join("bad/random.onnx");
    let refused = oraculum(&shipped(), &["model", "certify", random.to_str().unwrap(), "--json"]);
    assert_eq!(refused.status.code(), Some(1));
    let certificate = json_of(&refused);
    assert_eq!(certificate["lanes"]["exact"]["refusals"][0]["code"], json!("not-run"));
    // What was not measured is not told.
    assert_eq!(certificate["fuel"], json!({ "limit": 10_000_000_000u64 }));
    assert!(certificate.get("memoryBytes").is_none() && certificate.get("trace").is_none(), "{certificate}");
    assert_eq!(oraculum(&shipped(), &["model", "certify", "nothing"]).status.code(), Some(7));
    assert_eq!(oraculum(&shipped(), &["model", "certify", "iris", "--time-limit", "0"]).status.code(), Some(2));
}

#[test]
fn inputs_that_are_none_are_mistyped() {
    let folder = tempfile::tempdir().unwrap();
    let malformed = folder.path().join("malformed.json");
    fs::write(&malformed, "{").unwrap();
    let other = folder.path().join("other.json");
    fs::write(&other, r#"{"inputs":[{"name":"z","datatype":"FP32","shape":[1],"data":[0]}]}"#).unwrap();
    for command in ["certify", "calibrate"] {
        for file in [folder.path().join("missing.json"), malformed.clone(), other.clone()] {
            let ended = oraculum(&shipped(), &["model", command, "iris", "--inputs", file.to_str().unwrap()]);
            assert_eq!(ended.status.code(), Some(2), "{command} {}: {}", file.display(), told(&ended));
        }
    }
}

#[test]
fn a_calibration_tells_shares_and_proposes_a_card() {
    let calibrate = |arguments: &[&str]| {
        oraculum(&shipped(), &[&["model", "calibrate", "iris", "--seed", "1", "--provider", "cpu"], arguments].concat())
    };
    let calibration = json_of(&calibrate(&["--json"]));
    let output = &calibration["outputs"][0];
    assert_eq!((&output["output"], &calibration["mayTakeASeat"]), (&json!("probabilities"), &json!(true)));
    assert!(output["native"]["max"].as_f64().unwrap() < 0.1 && output["guardGolden"].as_f64().unwrap() > 0.0);
    assert!(calibration["card"]["profile"].as_str().unwrap().starts_with("lane=tolerance;guard=1;"));
    assert_eq!(calibration["card"]["agreement"], json!([output["proposed"]]));
    let lines = String::from_utf8(calibrate(&[]).stdout).unwrap();
    assert!(lines.contains("this machine is within half a tolerance"), "{lines}");
    assert!(lines.contains("card.json  \"profile\": \"lane=tolerance;guard=1;"), "{lines}");
    assert!(lines.contains(&format!("card.json  \"agreement\": [{}]", output["proposed"])), "{lines}");
}
