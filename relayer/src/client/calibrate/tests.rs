use std::path::Path;

use serde_json::json;

use std::time::Duration;

use super::*;
use crate::{
    engine::{
        EngineOptions, Provider,
        tests::build::{graph, model, node, port},
    },
    model::{Model, ModelFile, tests::Draft},
};

async fn calibrated(request: &TrialRequest<'_>) -> Result<Calibration, CalibrateError> {
    let options = EngineOptions { provider: Provider::Cpu, ..EngineOptions::default() };
    let engine = OnnxEngine::start(options).await.unwrap();
    calibrate(&engine, request, &mut |_| {}).await
}

fn request(file: ModelFile) -> TrialRequest<'static> {
    let time_limit = Duration::from_secs(600);
    TrialRequest { file, card: None, inputs: Vec::new(), runs: 4, seed: 1, time_limit }
}

fn shipped(name: &str) -> Model {
    Model::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../onnx-models").join(name)).unwrap()
}

/// A model of x and y, FP32 [N].
fn file(operator: &str) -> ModelFile {
    let nodes = vec![node(operator, &["x"], &["y"])];
    ModelFile::in_memory(model(graph(nodes, vec![port("x", 1, &[-1])], vec![port("y", 1, &[-1])]), vec![]))
}

#[tokio::test]
async fn native_differences_are_told_as_shares_and_a_rule_has_room_for_them_and_for_the_guard() {
    let card = shipped("digits");
    let calibration = calibrated(&TrialRequest { card: Some(&card), ..request(card.onnx()) }).await.unwrap();
    assert_eq!((calibration.tried.golden, calibration.tried.random), (card.details.probes.len(), 4));
    assert!(calibration.native.starts_with("onnxruntime=1.30.0;provider=cpu"), "{}", calibration.native);
    let [output] = &calibration.outputs[..] else { panic!("{calibration:?}") };
    let Distribution { count, median, p99, max } = output.native;
    assert!(count % 10 == 0 && count >= 10 * 9 && median <= p99 && p99 <= max, "{:?}", output.native);
    assert!(max < 0.1 && calibration.may_take_a_seat(), "{max}");
    let Ok(Agreement::Elementwise { atol, rtol }) = output.proposed else { panic!("{:?}", output.proposed) };
    assert!(atol.to_f64() <= 0.0001 && rtol.to_f64() <= 0.001, "{atol} {rtol}");
    // A card with the proposed rule leaves the room that certification wants.
    let mut draft = Draft {
        card: serde_json::from_slice(&std::fs::read(card.folder.join("card.json")).unwrap()).unwrap(),
        details: serde_json::from_slice(&std::fs::read(card.folder.join("details.json")).unwrap()).unwrap(),
        file: std::fs::read(&card.file).unwrap(),
    };
    draft.card["profile"] = json!(Profile::TOLERANCE.to_string());
    draft.card["agreement"] = json!([{ "kind": "elementwise", "atol": atol.to_string(), "rtol": rtol.to_string() }]);
    let folder = draft.write();
    let proposed = Model::open(folder.path()).unwrap();
    let again = calibrated(&TrialRequest { card: Some(&proposed), ..request(proposed.onnx()) }).await.unwrap();
    let output = &again.outputs[0];
    assert!(
        output.native.max <= 0.25 && output.guard_golden.unwrap() <= 0.25 && output.guard_random.unwrap() <= 0.5,
        "{output:?}"
    );
}

#[tokio::test]
async fn what_moves_nothing_gets_the_least_tolerances() {
    let calibration = calibrated(&request(file("Neg"))).await.unwrap();
    let output = &calibration.outputs[0];
    assert_eq!(output.native.max, 0.0);
    assert_eq!(
        (calibration.tried.golden, calibration.tried.random, &calibration.guard),
        (0, 4, &GuardAnswer::Measured)
    );
    assert!(output.guard_random.unwrap() > 0.0 && output.guard_golden.is_none(), "{output:?}");
    let Ok(Agreement::Elementwise { rtol, .. }) = output.proposed else { panic!("{output:?}") };
    assert_eq!(rtol.to_string(), "0.0001");
}

#[tokio::test]
async fn a_step_gets_no_proposal_where_it_is_within_the_rounding() {
    let nodes = vec![node("Exp", &["x"], &["e"]), node("Floor", &["e"], &["y"])];
    let file = ModelFile::in_memory(model(graph(nodes, vec![port("x", 1, &[-1])], vec![port("y", 1, &[-1])]), vec![]));
    let zero = json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1], "data": [0.0] }] }).to_string();
    let inputs = vec![("zero.json".to_owned(), zero.into_bytes())];
    let calibration = calibrated(&TrialRequest { inputs, ..request(file) }).await.unwrap();
    assert_eq!((calibration.outputs[0].proposed, calibration.card()), (Err(NoRule::TooWide), None));
}

#[tokio::test]
async fn an_output_that_must_be_equal_gets_no_proposal_where_it_is_made_of_rounded_numbers() {
    let winner =
        |nodes| ModelFile::in_memory(model(graph(nodes, vec![port("x", 1, &[-1])], vec![port("y", 7, &[-1])]), vec![]));
    let proposed = async |nodes| calibrated(&request(winner(nodes))).await.unwrap().outputs[0].proposed;
    assert_eq!(proposed(vec![node("ArgMax", &["x"], &["y"])]).await, Ok(Agreement::Exact));
    assert_eq!(proposed(vec![node("Exp", &["x"], &["e"]), node("ArgMax", &["e"], &["y"])]).await, Err(NoRule::Rounded));
}

#[tokio::test]
async fn what_the_judge_does_not_run_cannot_be_calibrated() {
    let bad = |name: &str| {
        ModelFile::of_path(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../onnx-models/bad").join(name)).unwrap()
    };
    for (name, says) in
        [("random.onnx", "random numbers"), ("external.onnx", "files beside"), ("zipmap.onnx", "`probabilities`")]
    {
        let error = calibrated(&request(bad(name))).await.unwrap_err();
        assert!(matches!(&error, CalibrateError::NotJudged(reason) if reason.contains(says)), "{name}: {error}");
    }
    let unknown = vec![node("Exp", &["x"], &["guard:1"]), node("Neg", &["guard:1"], &["y"])];
    let file = model(graph(unknown, vec![port("x", 1, &[-1])], vec![port("y", 1, &[-1])]), vec![]);
    let calibration = calibrated(&request(ModelFile::in_memory(file))).await.unwrap();
    assert!(matches!(&calibration.guard, GuardAnswer::NotAsked(reason) if reason.contains("guard:1")));
    assert_eq!(calibration.card(), None);
}

#[tokio::test]
async fn where_the_guard_speaks_it_is_told_on_which_input_and_no_card_is_proposed() {
    use crate::engine::tests::build::number;
    let cast = |to, from: &str, name: &str| crate::model::graph::proto::Node {
        attribute: vec![number("to", to)],
        ..node("Cast", &[from], &[name])
    };
    let nodes = vec![cast(6, "x", "i"), cast(1, "i", "y")];
    let file = ModelFile::in_memory(model(graph(nodes, vec![port("x", 1, &[-1])], vec![port("y", 1, &[-1])]), vec![]));
    let large = json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1], "data": [3e9] }] }).to_string();
    let inputs = vec![("large.json".to_owned(), large.into_bytes())];
    let calibration = calibrated(&TrialRequest { inputs, ..request(file) }).await.unwrap();
    let GuardAnswer::Speaks(origin, _) = &calibration.guard else { panic!("{:?}", calibration.guard) };
    assert_eq!((origin, calibration.card()), (&Origin::File("large.json".to_owned()), None));
}

#[tokio::test]
async fn a_proposed_card_keeps_the_limits_of_the_profile() {
    let limits = Limits { fuel: 5_000_000_000, ..Limits::DEFAULT };
    let mut draft = Draft::iris();
    draft.card["profile"] = json!(Profile { lane: Lane::Exact, limits }.to_string());
    let folder = draft.write();
    let card = Model::open(folder.path()).unwrap();
    let calibration = calibrated(&TrialRequest { card: Some(&card), ..request(card.onnx()) }).await.unwrap();
    let (profile, _) = calibration.card().unwrap();
    assert_eq!((profile.lane, profile.limits), (Lane::Tolerance, limits));
}

#[test]
fn a_distribution_has_its_middle_its_last_hundredth_and_its_end() {
    let shares = (1..=200).rev().map(f64::from).collect();
    assert_eq!(Distribution::of(shares), Distribution { count: 200, median: 100.0, p99: 198.0, max: 200.0 });
    assert_eq!(Distribution::of(vec![f64::INFINITY, 1.0]).max, f64::INFINITY);
    assert_eq!(Distribution::of(vec![]), Distribution::default());
}
