//! What the binary says of lanes: judgements with the guard.

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
    assert_eq!(json_of(&silent)["guard"], json!({ "speaks": false }));
    assert!(told(&silent).contains("the guard is silent"), "{}", told(&silent));
    let speaks = judged("[0]");
    let answer = json_of(&speaks);
    assert_eq!((answer["guard"]["speaks"].clone(), answer["outputs"][0]["data"].clone()), (json!(true), json!([1.0])));
    let reason = answer["guard"]["reason"].as_str().unwrap();
    assert!(reason.contains("change the answer"), "{reason}");
    assert!(told(&speaks).contains(&format!("no verdict: the guard speaks, for {reason}")), "{}", told(&speaks));
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../onnx-models");
    let exact = oraculum(&shipped, &["judge", "iris", "--input", "[[5.1,3.5,1.4,0.2]]"]);
    assert_eq!(json_of(&exact).get("guard"), None);
}
