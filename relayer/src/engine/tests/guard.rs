//! Judgements in the tolerance lane, with the guard beside them.

use serde_json::{Value, json};

use super::{build::number, *};
use crate::model::{graph::proto::Node, tests::Draft};

/// A card of the tolerance lane for a model of x and y, FP32 [N], which agree within a tolerance.
fn tolerant(nodes: Vec<Node>, atol: &str) -> (tempfile::TempDir, Model) {
    let file = model(graph(nodes, vec![port("x", 1, &[-1])], vec![port("y", 1, &[-1])]), vec![]);
    card(Draft::bare(file, "x", "y"), json!({ "kind": "elementwise", "atol": atol, "rtol": "0" }))
}

fn card(mut draft: Draft, rule: Value) -> (tempfile::TempDir, Model) {
    draft.card["profile"] = json!(oraculum_judge::Profile::TOLERANCE.to_string());
    draft.card["agreement"] = json!([rule]);
    let folder = draft.write();
    let model = Model::open(folder.path()).unwrap();
    (folder, model)
}

fn floats(values: &[f32]) -> Bytes {
    pack(&[Tensor::f32(vec![u32::try_from(values.len()).unwrap()], values).unwrap()])
}

async fn judged(model: &Model, input: Bytes) -> Inference {
    let engine = cpu().await;
    let id = engine.load(Source::judged_card(model)).await.unwrap().id;
    engine.judge(id, input, NATIVE, None).await.unwrap()
}

fn speaks(inference: &Inference) -> &str {
    match inference.guard.as_ref() {
        Some(GuardReport::Speaks(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_judgement_in_the_tolerance_lane_says_that_the_guard_is_silent_and_one_in_the_exact_lane_has_none() {
    let (_folder, tolerant) =
        card(Draft::iris(), json!({ "kind": "elementwise", "atol": "0.00001", "rtol": "0.0001" }));
    let input = pack(&[Tensor::f32(vec![1, 4], &[5.1, 3.5, 1.4, 0.2]).unwrap()]);
    let engine = cpu().await;
    let id = engine.load(Source::judged_card(&tolerant)).await.unwrap().id;
    let seed = Some(B256::repeat_byte(7));
    let guarded = engine.judge(id, input.clone(), NATIVE, seed).await.unwrap();
    assert_eq!(guarded.guard, Some(GuardReport::Silent));
    let exact = Model::open(&models_folder().join("iris")).unwrap();
    let exact = engine.load(Source::judged_card(&exact)).await.unwrap().id;
    assert_ne!(exact, id);
    let plain = engine.judge(exact, input, NATIVE, seed).await.unwrap();
    assert_eq!(plain.guard, None);
    assert_eq!((plain.output, plain.trace), (guarded.output, guarded.trace));
}

#[tokio::test]
async fn a_model_that_is_served_natively_is_judged_by_its_reference_with_the_guard() {
    let (_folder, model) = tolerant(vec![node("Exp", &["x"], &["y"])], "0.001");
    let engine = cpu().await;
    let id = engine.load(Source::card(&model)).await.unwrap().id;
    assert_eq!(engine.run(id, floats(&[0.5]), NATIVE).await.unwrap().profile.device, Device::Cpu);
    let judged = engine.judge(id, floats(&[0.5]), NATIVE, None).await.unwrap();
    assert_eq!((judged.profile.device, judged.guard), (Device::Judge, Some(GuardReport::Silent)));
    let failing = engine.judge(id, Bytes::from_static(&[9]), NATIVE, None).await.unwrap();
    assert_eq!((failing.outcome, failing.guard), (Outcome::BadInput, None));
}

#[tokio::test]
async fn the_guard_speaks_where_a_step_lies_within_the_rounding_and_the_card_decides_how_large_a_step_may_be() {
    let steps = || vec![node("Exp", &["x"], &["e"]), node("Floor", &["e"], &["y"])];
    let (_folder, model) = tolerant(steps(), "0.5");
    let at_the_step = judged(&model, floats(&[0.0])).await;
    assert!(speaks(&at_the_step).contains("change the answer"), "{}", speaks(&at_the_step));
    assert_eq!(at_the_step.outcome, Outcome::Ok);
    assert_eq!(judged(&model, floats(&[0.3])).await.guard, Some(GuardReport::Silent));
    let (_folder, model) = tolerant(steps(), "1.5");
    assert_eq!(judged(&model, floats(&[0.0])).await.guard, Some(GuardReport::Silent));
}

#[tokio::test]
async fn the_guard_speaks_of_a_float_that_becomes_an_integer_which_the_type_does_not_have() {
    let cast =
        |to, input: &str, output: &str| Node { attribute: vec![number("to", to)], ..node("Cast", &[input], &[output]) };
    let (_folder, model) = tolerant(vec![cast(6, "x", "i"), cast(1, "i", "y")], "0.5");
    let beyond = judged(&model, floats(&[1.5, 3e9])).await;
    assert!(speaks(&beyond).starts_with("element 1 of what \"Cast\""), "{}", speaks(&beyond));
    assert_eq!(judged(&model, floats(&[1.5, 20_000.5])).await.guard, Some(GuardReport::Silent));
}

#[tokio::test]
async fn a_model_that_cannot_be_guarded_gets_no_verdict() {
    let (_folder, model) = tolerant(vec![node("Exp", &["x"], &["guard:1"]), node("Neg", &["guard:1"], &["y"])], "0.5");
    let judged = judged(&model, floats(&[0.5])).await;
    assert!(speaks(&judged).starts_with("the model cannot be guarded: "), "{}", speaks(&judged));
}

#[tokio::test]
async fn nothing_judges_a_bare_file() {
    let engine = cpu().await;
    let id = bare(
        &engine,
        model(graph(vec![node("Exp", &["x"], &["y"])], vec![port("x", 1, &[-1])], vec![port("y", 1, &[-1])]), vec![]),
    )
    .await;
    let error = engine.judge(id, floats(&[0.5]), NATIVE, None).await.unwrap_err();
    assert!(matches!(error, EngineError::NotJudged) && error.fault() == Fault::Request, "{error}");
}

#[tokio::test]
async fn a_card_is_judged_by_its_own_limits_and_must_have_a_rule_for_each_output() {
    let rule = || json!({ "kind": "elementwise", "atol": "0.00001", "rtol": "0.0001" });
    let input = pack(&[Tensor::f32(vec![1, 4], &[5.1, 3.5, 1.4, 0.2]).unwrap()]);
    for (key, outcome) in [("maxOutputBytes", Outcome::Unrepresentable), ("maxInputBytes", Outcome::BadInput)] {
        let mut draft = Draft::iris();
        draft.card[key] = json!(20);
        draft.details["probes"] = json!([]);
        let (_folder, model) = card(draft, rule());
        assert_eq!(judged(&model, input.clone()).await.outcome, outcome, "{key}");
    }
    let mut draft = Draft::iris();
    draft.card["profile"] = json!(oraculum_judge::Profile::TOLERANCE.to_string());
    draft.card["agreement"] = json!([rule(), rule()]);
    let folder = draft.write();
    let model = Model::open(folder.path()).unwrap();
    let error = cpu().await.load(Source::judged_card(&model)).await.err().unwrap();
    assert!(matches!(error, LoadError::AgreementCount { rules: 2, outputs: 1 }), "{error}");
}
