use std::{path::Path, time::Duration};

use alloy::primitives::B256;
use oraculum_judge::Profile;
use prost::Message;
use serde_json::{Value, json};

use super::*;
use crate::{
    engine::{
        EngineOptions, ExamineError, Provider,
        tests::build::{attribute, graph, model, node, number, port},
    },
    model::{
        Model, ModelFile,
        graph::proto::{Graph, Model as OnnxModel, Node, OperatorSet, ValueInfo},
        tests::Draft,
    },
};

async fn engine() -> OnnxEngine {
    OnnxEngine::start(EngineOptions { provider: Provider::Cpu, ..EngineOptions::default() }).await.unwrap()
}

fn shipped(file: &str) -> ModelFile {
    ModelFile::of_path(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../onnx-models").join(file)).unwrap()
}

fn request(file: ModelFile) -> TrialRequest<'static> {
    let time_limit = Duration::from_secs(600);
    TrialRequest { file, card: None, inputs: Vec::new(), runs: 2, seed: 1, time_limit }
}

async fn certified(request: &TrialRequest<'_>) -> Certificate {
    certify(&engine().await, request, &mut |_| {}).await.unwrap()
}

fn codes(certificate: &Certificate, lane: Lane) -> Vec<&'static str> {
    certificate.refusals_of(lane).map(Refusal::code).collect()
}

/// Reasons for which a bare file may not have the lanes, tried on random inputs and given ones.
async fn refusals(file: Vec<u8>, inputs: &[Value]) -> (Vec<&'static str>, Vec<&'static str>) {
    let certificate = of(file, inputs).await;
    (codes(&certificate, Lane::Exact), codes(&certificate, Lane::Tolerance))
}

async fn of(file: Vec<u8>, inputs: &[Value]) -> Certificate {
    let named = |(place, json): (usize, &Value)| (format!("{place}.json"), json.to_string().into_bytes());
    let inputs = inputs.iter().enumerate().map(named).collect();
    let certificate = certified(&TrialRequest { inputs, ..request(ModelFile::in_memory(file)) }).await;
    for refusal in &certificate.refusals {
        let told = refusal.to_string();
        assert!(told.len() < 1_500 && !told.contains(['\n', '\r']), "{told}");
    }
    certificate
}

fn input(tensors: &[(&str, &str, &[usize], Value)]) -> Value {
    let tensor = |(name, datatype, shape, data): &(&str, &str, &[usize], Value)| json!({ "name": name, "datatype": datatype, "shape": shape, "data": data });
    json!({ "inputs": tensors.iter().map(tensor).collect::<Vec<_>>() })
}

fn x(values: &[f32]) -> Value {
    input(&[("x", "FP32", &[values.len()], json!(values))])
}

/// A file of x and y, FP32 [N].
fn file(nodes: Vec<Node>) -> Vec<u8> {
    model(graph(nodes, vec![port("x", 1, &[-1])], vec![port("y", 1, &[-1])]), vec![])
}

fn with_ports(nodes: Vec<Node>, inputs: Vec<ValueInfo>, outputs: Vec<ValueInfo>) -> Vec<u8> {
    model(graph(nodes, inputs, outputs), vec![])
}

fn cast(to: i64, from: &str, name: &str) -> Node {
    Node { attribute: vec![number("to", to)], ..node("Cast", &[from], &[name]) }
}

const NONE: [&str; 0] = [];

mod trials;

#[tokio::test]
async fn a_shipped_model_may_have_both_lanes_and_its_card_is_what_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../onnx-models/iris");
    let card = Model::open(&folder).unwrap();
    let certificate = certified(&TrialRequest { card: Some(&card), ..request(card.onnx()) }).await;
    assert!(certificate.may_have(Lane::Exact) && certificate.may_have(Lane::Tolerance), "{:?}", certificate.refusals);
    assert_eq!((certificate.card_lane, certificate.is_refused(true)), (Some(Lane::Exact), false));
    assert_eq!((certificate.tried.golden, certificate.tried.random), (card.details.probes.len(), 2));
    // The exact lane's card has no tolerance: that of a new card in the other lane is taken.
    let [spread] = &certificate.spreads[..] else { panic!("{:?}", certificate.spreads) };
    assert!(spread.golden.is_some_and(|share| share > 0.01 && share < 0.25), "{spread:?}");
    assert_eq!(certificate.proof.unwrap().candidates, 6);
    // The same seed gives the same certificate.
    let again = certified(&TrialRequest { card: Some(&card), ..request(card.onnx()) }).await;
    assert_eq!(format!("{again:?}"), format!("{certificate:?}"));
}

#[tokio::test]
async fn what_no_node_runs_has_no_lane_and_every_reason_is_told() {
    let oracle = Node { domain: "com.example".into(), ..node("Oracle", &["x"], &["a"]) };
    let nodes = vec![oracle, node("RandomNormalLike", &["x"], &["b"]), node("Dropout", &["x", "r", "t"], &["y"])];
    let certificate = of(file(nodes), &[]).await;
    assert_eq!(codes(&certificate, Lane::Exact), ["not-run"; 3]);
    let told: Vec<String> = certificate.refusals.iter().map(ToString::to_string).collect();
    for (told, says) in told.iter().zip(["com.example.Oracle", "draws random numbers", "Dropout is in training"]) {
        assert!(told.contains(says), "{told}");
    }
    assert!(certificate.is_refused(false) && certificate.spreads.is_empty());
    assert_eq!(refusals(b"no model".to_vec(), &[]).await.0, ["not-run"]);
}

#[tokio::test]
async fn what_the_judge_does_not_take_has_no_lane() {
    let refused = async |name: &str| codes(&certified(&request(shipped(name))).await, Lane::Exact);
    assert_eq!(refused("bad/external.onnx").await, ["weights-beside"]);
    assert_eq!(refused("bad/zipmap.onnx").await, ["no-tensor"]);
    assert_eq!(refused("bad/newer-opset.onnx").await, ["not-loaded"]);
    let many: Vec<String> = (0..17).map(|place| format!("y{place}")).collect();
    let outputs = many.iter().map(|name| port(name, 1, &[-1])).collect();
    let nodes = many.iter().map(|name| node("Relu", &["x"], &[name])).collect();
    assert_eq!(refusals(with_ports(nodes, vec![port("x", 1, &[-1])], outputs), &[]).await.0, ["too-many-outputs"]);
}

#[tokio::test]
async fn a_file_that_is_too_large_is_refused_unread() {
    let large = tempfile::NamedTempFile::new().unwrap();
    large.as_file().set_len(MAX_FILE_BYTES + 1).unwrap();
    let certificate = certified(&request(ModelFile::with_hash(large.path().into(), B256::ZERO, Vec::new()))).await;
    assert_eq!(certificate.refusals, [Refusal::TooLarge(MAX_FILE_BYTES + 1)]);
    assert!(certificate.is_refused(false));
}

/// A model whose branches have branches.
fn nested(depth: usize) -> Vec<u8> {
    let going = || port("going", 9, &[]);
    let inner = |level: usize, nodes: Vec<Node>| {
        let output = port(&format!("y{level}"), 1, &[-1]);
        Graph { name: format!("level{level}"), ..graph(nodes, vec![], vec![output]) }
    };
    let branches = |level: usize, inside: &dyn Fn(&str) -> Graph| {
        let named = |name: &str| {
            let holder = attribute(inside(name));
            crate::model::graph::proto::Attribute { name: name.into(), ..holder }
        };
        let attributes = vec![named("then_branch"), named("else_branch")];
        Node { attribute: attributes, ..node("If", &["going"], &[&format!("y{level}")]) }
    };
    let mut nodes = vec![node("Relu", &["x"], &[&format!("y{depth}")])];
    for level in (0..depth).rev() {
        let body = inner(level + 1, nodes);
        nodes = vec![branches(level, &|name| Graph { name: name.into(), ..body.clone() })];
    }
    with_ports(nodes, vec![going(), port("x", 1, &[-1])], vec![port("y0", 1, &[-1])])
}

#[tokio::test]
async fn graphs_may_be_nested_eight_deep() {
    let deepest = of(nested(8), &[]).await;
    assert_eq!((deepest.refusals.len(), deepest.tried.random, deepest.proof.unwrap().candidates), (0, 2, 1));
    let (exact, tolerance) = refusals(nested(9), &[]).await;
    assert_eq!((exact, tolerance), (vec!["too-deep"], vec!["too-deep", "not-guarded"]));
}

#[tokio::test]
async fn bits_of_floats_must_not_become_integers() {
    let bits = |nodes: Vec<Node>| {
        let holder = graph(nodes, vec![port("x", 1, &[-1])], vec![port("y", 6, &[-1])]);
        let opset_import = vec![OperatorSet { domain: String::new(), version: 26 }];
        OnnxModel { ir_version: 13, graph: Some(holder), opset_import, functions: vec![] }.encode_to_vec()
    };
    let bit_cast = |from: &str| Node { attribute: vec![number("to", 6)], ..node("BitCast", &[from], &["y"]) };
    assert_eq!(refusals(bits(vec![node("Exp", &["x"], &["e"]), bit_cast("e")]), &[]).await.0, ["bit-cast"]);
    // The judge knows that these are integers, whatever the file says of them.
    assert_eq!(refusals(bits(vec![cast(12, "x", "u"), bit_cast("u")]), &[]).await.0, NONE);
}

#[tokio::test]
async fn inputs_that_the_model_does_not_take_are_told_apart() {
    let reshape = Node { attribute: vec![number("allowzero", 1)], ..node("Reshape", &["x", "s"], &["y"]) };
    let ports = vec![port("x", 1, &[5]), port("s", 7, &[1])];
    let file = with_ports(vec![reshape], ports, vec![port("y", 1, &[-1])]);
    // Random whole numbers are 0 and 1, and five numbers fit neither.
    assert_eq!(refusals(file.clone(), &[]).await.0, ["no-inputs"]);
    let sized = |size: i64| input(&[("x", "FP32", &[5], json!([1, 2, 3, 4, 5])), ("s", "INT64", &[1], json!([size]))]);
    let certificate = of(file.clone(), &[sized(5)]).await;
    assert_eq!((codes(&certificate, Lane::Exact), certificate.tried.golden), (vec![], 1));
    // Like the golden one they are 5 now.
    assert_eq!((certificate.tried.random, certificate.tried.left_out), (2, 0));
    assert_eq!(refusals(file, &[sized(5), sized(4)]).await.0, ["fails"]);
}

/// A card for `bad/slow.onnx`, which takes so much fuel, probed with so many steps.
fn slow(fuel: u64, steps: i64) -> (tempfile::TempDir, Model) {
    let mut draft = Draft::iris();
    draft.file = shipped("bad/slow.onnx").open().unwrap().read().unwrap().to_vec();
    let limits = Limits { fuel, ..Limits::DEFAULT };
    draft.card["profile"] = json!(Profile { lane: Lane::Exact, limits }.to_string());
    let probe = format!("0x0104000100000001{steps:016x}");
    draft.details["probes"] = json!([{ "input": probe, "output": "0x01" }]);
    let folder = draft.write();
    let card = Model::open(folder.path()).unwrap();
    (folder, card)
}

#[tokio::test]
async fn a_run_over_the_fuel_of_the_profile_refuses_both_lanes() {
    let certify_with = async |steps| {
        let (_folder, card) = slow(60_000_000, steps);
        certified(&TrialRequest { card: Some(&card), runs: 0, ..request(card.onnx()) }).await
    };
    let over = certify_with(3).await;
    assert_eq!((codes(&over, Lane::Exact), codes(&over, Lane::Tolerance)), (vec!["limit"], vec!["limit"]));
    assert!(over.refusals[0].to_string().contains("raise `fuel=60000000`"), "{}", over.refusals[0]);
    // To load it takes more than this.
    let (_folder, card) = slow(1_000_000, 1);
    let unloaded = certified(&TrialRequest { card: Some(&card), ..request(card.onnx()) }).await;
    assert_eq!(codes(&unloaded, Lane::Exact), ["load-limit"]);
    // One step is within it.
    assert_eq!(codes(&certify_with(1).await, Lane::Exact), ["recorded"]);
}

#[tokio::test]
async fn a_card_that_records_other_answers_than_the_judges_is_refused() {
    let mut draft = Draft::iris();
    let probe = draft.details["probes"][0]["output"].as_str().unwrap().to_owned();
    let altered = probe[..probe.len() - 1].to_owned() + if probe.ends_with('0') { "1" } else { "0" };
    draft.details["probes"][0]["output"] = json!(altered);
    let folder = draft.write();
    let card = Model::open(folder.path()).unwrap();
    let certificate = certified(&TrialRequest { card: Some(&card), ..request(card.onnx()) }).await;
    assert_eq!(codes(&certificate, Lane::Exact), ["recorded"]);
    assert!(certificate.is_refused(true));
}

#[tokio::test]
async fn a_trace_must_prove_half_of_its_values_unless_the_run_is_small() {
    // As many multiplications as decide, and an output that an answer can hold.
    let ports = |inner: i64| vec![port("x", 1, &[64, inner]), port("w", 1, &[inner, 64])];
    let late = |inner: i64| {
        let nodes =
            vec![node("Relu", &["x"], &["a"]), node("Neg", &["a"], &["b"]), node("MatMul", &["b", "w"], &["y"])];
        with_ports(nodes, ports(inner), vec![port("y", 1, &[64, 64])])
    };
    let certificate = of(late(8_192), &[]).await;
    assert_eq!(codes(&certificate, Lane::Exact), ["proof"]);
    let proof = certificate.proof.unwrap();
    assert_eq!((proof.candidates, proof.published, proof.cheap), (3, 1, 2));
    assert!(certificate.run_fuel > SMALL_RUN);
    assert_eq!(codes(&of(late(16), &[]).await, Lane::Exact), NONE);
    // With its work near its inputs, the same model proves it.
    let nodes = vec![node("MatMul", &["x", "w"], &["a"]), node("Relu", &["a"], &["b"]), node("Neg", &["b"], &["y"])];
    let early = with_ports(nodes, ports(8_192), vec![port("y", 1, &[64, 64])]);
    assert_eq!(codes(&of(early, &[]).await, Lane::Exact), NONE);
}

#[tokio::test]
async fn what_the_guard_does_not_know_has_the_exact_lane_only() {
    let nodes = vec![node("Exp", &["x"], &["guard:1"]), node("Neg", &["guard:1"], &["y"])];
    assert_eq!(refusals(file(nodes), &[]).await, (vec![], vec!["not-guarded"]));
}

#[tokio::test]
async fn products_of_unsigned_and_signed_integers_need_a_processor_that_does_them_exactly() {
    let ports = vec![port("a", 2, &[-1, 4]), port("b", 3, &[4, 2])];
    let product = with_ports(vec![node("MatMulInteger", &["a", "b"], &["y"])], ports, vec![port("y", 6, &[-1, 2])]);
    let expected = if products::are_exact(&engine().await).await.unwrap() { vec![] } else { vec!["mixed-products"] };
    assert_eq!(refusals(product, &[]).await, (vec![], expected));
}

#[tokio::test]
async fn a_sum_of_many_numbers_must_not_be_an_output() {
    let sum = |count: i64| {
        with_ports(vec![node("ReduceSum", &["x"], &["y"])], vec![port("x", 1, &[count])], vec![port("y", 1, &[1])])
    };
    let long = of(sum(70_000), &[]).await;
    assert!(codes(&long, Lane::Tolerance).contains(&"long-sum"), "{:?}", long.refusals);
    assert_eq!(codes(&long, Lane::Exact), NONE);
    assert!(!codes(&of(sum(100), &[]).await, Lane::Tolerance).contains(&"long-sum"));
}

#[tokio::test]
async fn an_output_that_must_be_equal_must_not_be_made_of_rounded_numbers() {
    let winner = |nodes: Vec<Node>| with_ports(nodes, vec![port("x", 1, &[-1])], vec![port("y", 7, &[-1])]);
    let (exact, tolerance) =
        refusals(winner(vec![node("Exp", &["x"], &["e"]), node("ArgMax", &["e"], &["y"])]), &[]).await;
    assert_eq!((exact, tolerance), (vec![], vec!["exact-output"]));
    assert_eq!(refusals(winner(vec![node("ArgMax", &["x"], &["y"])]), &[x(&[1.0, 2.0])]).await.1, NONE);
}

#[tokio::test]
async fn a_probe_must_leave_room_for_the_guard_and_nothing_may_amplify_rounding() {
    // What b adds and takes away again is rounded at its size.
    let nodes = || vec![node("Add", &["x", "b"], &["s"]), node("Sub", &["s", "b"], &["y"])];
    let file = || with_ports(nodes(), vec![port("x", 1, &[-1]), port("b", 1, &[-1])], vec![port("y", 1, &[-1])]);
    let with = |b: f32| input(&[("x", "FP32", &[1], json!([1.0])), ("b", "FP32", &[1], json!([b]))]);
    assert_eq!(refusals(file(), &[with(1.0)]).await.1, NONE);
    let probed = of(file(), &[with(30.0)]).await;
    assert_eq!(codes(&probed, Lane::Tolerance), ["probe"], "{:?}", probed.spreads);
    let amplifying = of(file(), &[with(10_000.0)]).await;
    assert_eq!(codes(&amplifying, Lane::Tolerance), ["amplifier"], "{:?}", amplifying.spreads);
    assert_eq!(codes(&amplifying, Lane::Exact), NONE);
    // A step that lies within the rounding of an input.
    let step = vec![node("Exp", &["x"], &["e"]), node("Floor", &["e"], &["y"])];
    assert_eq!(refusals(super::tests::file(step), &[x(&[0.0])]).await.1, ["amplifier"]);
}

#[tokio::test]
async fn a_float_must_not_become_an_integer_that_its_type_does_not_have() {
    let nodes = || vec![cast(6, "x", "i"), cast(1, "i", "y")];
    assert_eq!(refusals(file(nodes()), &[x(&[1.5, 3e9])]).await.1, ["cast"]);
    assert_eq!(refusals(file(nodes()), &[x(&[1.5, 2.5])]).await.1, NONE);
}

#[tokio::test]
async fn a_model_must_not_fail_under_small_changes() {
    // An index of 0, which is rounded to 1 where there is only one element.
    let index = vec![node("Exp", &["x"], &["e"]), cast(7, "e", "i"), node("Gather", &["x", "i"], &["y"])];
    let (exact, tolerance) = refusals(file(index), &[x(&[-6e-8])]).await;
    assert_eq!((exact, tolerance), (vec![], vec!["guard-fails"]));
}

#[tokio::test]
async fn a_card_of_the_tolerance_lane_is_held_to_its_own_rules() {
    let certify_with = async |rule: Value| {
        let mut draft = Draft::iris();
        draft.card["profile"] = json!(Profile::TOLERANCE.to_string());
        draft.card["agreement"] = json!([rule]);
        let folder = draft.write();
        let card = Model::open(folder.path()).unwrap();
        let certificate = certified(&TrialRequest { card: Some(&card), ..request(card.onnx()) }).await;
        (codes(&certificate, Lane::Tolerance), certificate.is_refused(true))
    };
    let within = |atol: &str| json!({ "kind": "elementwise", "atol": atol, "rtol": "0" });
    assert_eq!(certify_with(within("0.001")).await, (vec![], false));
    assert_eq!(certify_with(within("0.000000001")).await, (vec!["amplifier"], true));
    assert_eq!(certify_with(json!({ "kind": "exact" })).await.0, ["exact-output"]);
    assert_eq!(certify_with(json!({ "kind": "argmax", "gap": "0.01" })).await, (vec![], false));
}

#[tokio::test]
async fn a_certification_ends_at_its_time_limit_whatever_the_model_does() {
    let (_folder, card) = slow(u64::MAX / 2, 1_000_000_000);
    let time_limit = Duration::from_secs(4);
    let request = TrialRequest { card: Some(&card), time_limit, ..request(card.onnx()) };
    let error = certify(&engine().await, &request, &mut |_| {}).await.unwrap_err();
    assert!(matches!(error, CertifyError::Examine(ExamineError::Timeout(_))), "{error}");
}
