//! What is tried, and what follows where it is not, or cannot be.

use super::*;

/// A model that takes five numbers and their count, which random inputs never give.
fn particular(name: &str) -> Vec<u8> {
    let reshape = Node { attribute: vec![number("allowzero", 1)], ..node("Reshape", &["x", "s"], &[name]) };
    let nodes = vec![reshape, node("Neg", &[name], &["y"])];
    with_ports(nodes, vec![port("x", 1, &[5]), port("s", 7, &[1])], vec![port("y", 1, &[-1])])
}

#[tokio::test]
async fn a_model_that_was_run_on_nothing_has_no_lane_whatever_else_it_is_refused_for() {
    let (exact, tolerance) = refusals(particular("guard:1"), &[]).await;
    assert_eq!((exact, tolerance), (vec!["no-inputs"], vec!["not-guarded", "no-inputs"]));
}

#[tokio::test]
async fn an_output_that_no_answer_can_hold_is_no_run() {
    let logarithm = || file(vec![node("Log", &["x"], &["y"])]);
    let (exact, _) = refusals(logarithm(), &[x(&[1.0]), x(&[-1.0])]).await;
    assert_eq!(exact, ["fails"]);
    let none = vec![node("Abs", &["x"], &["a"]), node("Neg", &["a"], &["n"]), node("Log", &["n"], &["y"])];
    let certificate = of(file(none), &[]).await;
    assert_eq!(codes(&certificate, Lane::Exact), ["no-inputs"]);
    // Two were wanted, and four times as many were drawn.
    assert_eq!((certificate.tried.random, certificate.tried.left_out), (0, 8));
    assert!(certificate.tried.shortfall.unwrap().contains("NaN"));
    // What is left out is in none of the later runs.
    let certificate = of(logarithm(), &[x(&[1.0])]).await;
    assert_eq!((codes(&certificate, Lane::Exact), certificate.tried.shortfall), (vec![], None));
}

#[tokio::test]
async fn an_answer_has_no_more_bytes_than_the_card_allows() {
    let mut draft = Draft::iris();
    draft.card["maxOutputBytes"] = json!(20);
    let folder = draft.write();
    let card = Model::open(folder.path()).unwrap();
    let certificate = certified(&TrialRequest { card: Some(&card), ..request(card.onnx()) }).await;
    assert!(codes(&certificate, Lane::Exact).contains(&"fails"), "{:?}", certificate.refusals);
}

#[tokio::test]
async fn a_card_with_a_profile_that_no_node_knows_is_not_certified() {
    let mut draft = Draft::iris();
    draft.card["profile"] = json!(Profile::EXACT.to_string().replace("lane=exact", "lane=exakt"));
    let folder = draft.write();
    let card = Model::open(folder.path()).unwrap();
    let request = TrialRequest { card: Some(&card), ..request(card.onnx()) };
    let error = certify(&engine().await, &request, &mut |_| {}).await.unwrap_err();
    assert!(matches!(&error, CertifyError::Load(crate::engine::LoadError::UnknownProfile { .. })), "{error}");
}

#[tokio::test]
async fn runs_of_sizes_that_chance_chose_are_told_apart() {
    let exp =
        |size| with_ports(vec![node("Exp", &["x"], &["y"])], vec![port("x", 1, &[size])], vec![port("y", 1, &[size])]);
    assert!(of(exp(-1), &[]).await.open_sizes);
    assert!(!of(exp(-1), &[x(&[1.0])]).await.open_sizes);
    assert!(!of(exp(4), &[]).await.open_sizes);
}

#[tokio::test]
async fn where_native_onnx_runtime_does_not_run_only_the_tolerance_lane_is_lost() {
    let ports = vec![port("a", 2, &[-1, 4]), port("b", 3, &[4, 2])];
    let product = with_ports(vec![node("MatMulInteger", &["a", "b"], &["y"])], ports, vec![port("y", 6, &[-1, 2])]);
    // No native model loads in no time.
    let limits = crate::engine::Limits { load: Duration::ZERO, ..Default::default() };
    let options = EngineOptions { limits, provider: Provider::Cpu, ..EngineOptions::default() };
    let engine = OnnxEngine::start(options).await.unwrap();
    let certificate = certify(&engine, &request(ModelFile::in_memory(product)), &mut |_| {}).await.unwrap();
    assert_eq!(codes(&certificate, Lane::Exact), NONE);
    assert_eq!(codes(&certificate, Lane::Tolerance), ["mixed-products-unknown"]);
}

#[test]
fn no_one_is_told_to_widen_what_no_tolerance_would_allow() {
    let amplifier = |share| Refusal::Amplifier(Origin::Random(1), "y".to_owned(), share).to_string();
    assert!(amplifier(3.0).contains("3.0 times the tolerance") && amplifier(3.0).contains("widen"));
    assert!(!amplifier(f64::INFINITY).contains("widen") && !amplifier(f64::INFINITY).contains("inf"));
}
