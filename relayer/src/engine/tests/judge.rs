//! Models that the canonical judge runs, each in a process of its own.

use super::*;
use crate::protocol::card::Agreement;

fn named(name: &str) -> ModelFile {
    ModelFile::of_path(&models_folder().join(name).join("model.onnx")).unwrap()
}

fn flower() -> Bytes {
    pack(&[Tensor::f32(vec![1, 4], &[5.1, 3.5, 1.4, 0.2]).unwrap()])
}

#[tokio::test]
async fn the_judge_answers_as_native_onnx_runtime_does_but_for_rounding() {
    let engine = cpu().await;
    let judged = engine.load(Source::judged(named("iris"))).await.unwrap().id;
    let by_the_judge = engine.run(judged, flower(), NATIVE).await.unwrap();
    assert_eq!(by_the_judge.outcome, Outcome::Ok);
    let other = cpu().await;
    let native = other.load(Source::file(named("iris"))).await.unwrap().id;
    let native = other.run(native, flower(), NATIVE).await.unwrap();
    let tolerance = |text: &str| text.parse().unwrap();
    let agreement = [Agreement::Elementwise { atol: tolerance("0.00001"), rtol: tolerance("0.0001") }];
    assert_eq!(compare(&native.output, &by_the_judge.output, &agreement, NATIVE), Verdict::Agree);
}

#[tokio::test]
async fn a_judgement_gives_the_bytes_of_a_session_that_serves_and_the_same_trace_each_time() {
    let engine = cpu().await;
    let id = engine.load(Source::judged(named("iris"))).await.unwrap().id;
    let seed = B256::repeat_byte(7);
    let mut served = Vec::new();
    for _ in 0..3 {
        served.push(engine.run(id, flower(), NATIVE).await.unwrap().output);
    }
    let [first, again] =
        [engine.judge(id, flower(), NATIVE, Some(seed)), engine.judge(id, flower(), NATIVE, Some(seed))];
    let (first, again) = (first.await.unwrap(), again.await.unwrap());
    assert!(served.iter().all(|output| *output == first.output));
    let trace = first.trace.unwrap();
    assert!(trace.bytes.len() > 50 && trace.reason.is_none());
    assert_eq!(Some(&trace), again.trace.as_ref());
    let other = engine.judge(id, flower(), NATIVE, Some(B256::ZERO)).await.unwrap().trace.unwrap();
    assert_ne!(other.digest, trace.digest);
    assert_eq!(engine.judge(id, flower(), NATIVE, None).await.unwrap().trace, None);
}

#[tokio::test]
async fn more_than_a_hundred_runs_pass_the_check_against_a_fresh_session() {
    let engine = cpu().await;
    let id = engine.load(Source::judged(named("iris"))).await.unwrap().id;
    let first = engine.run(id, flower(), NATIVE).await.unwrap().output;
    for _ in 0..130 {
        assert_eq!(engine.run(id, flower(), NATIVE).await.unwrap().output, first);
    }
}

#[tokio::test]
async fn an_input_on_which_the_judge_fails_is_bad_input() {
    let engine = cpu().await;
    let id = engine.load(Source::judged(ModelFile::in_memory(gather()))).await.unwrap().id;
    assert_eq!(engine.run(id, gather_input(1), NATIVE).await.unwrap().outcome, Outcome::Ok);
    let Inference { outcome, failure, .. } = engine.run(id, gather_input(5), NATIVE).await.unwrap();
    assert_eq!(outcome, Outcome::BadInput, "{failure:?}");
}

/// A loop of 10⁹ steps meets the profile's fuel, on every machine at the same step; nobody answers it.
#[tokio::test]
async fn a_run_that_meets_a_limit_of_the_profile_costs_itself_only() {
    let limits = Limits { run: Duration::from_secs(300), ..Limits::default() };
    let options = EngineOptions { provider: Provider::Cpu, limits, ..EngineOptions::default() };
    let engine = OnnxEngine::start(options).await.unwrap();
    let file = ModelFile::of_path(&models_folder().join("bad/slow.onnx")).unwrap();
    let id = engine.load(Source::judged(file)).await.unwrap().id;
    let count = |count: i64| pack(&[Tensor::i64(vec![1], &[count]).unwrap()]);
    assert_eq!(engine.run(id, count(3), NATIVE).await.unwrap().outcome, Outcome::Ok);
    let error = engine.run(id, count(1_000_000_000), NATIVE).await.unwrap_err();
    assert_eq!((error.metrics_label(), error.fault()), ("limit", Fault::Request), "{error}");
    assert_eq!(engine.run(id, count(3), NATIVE).await.unwrap().outcome, Outcome::Ok);
}

#[tokio::test]
async fn a_judge_that_is_another_file_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let wasm = folder.path().join("another.wasm");
    std::fs::write(&wasm, b"\0asm\x01\0\0\0").unwrap();
    let options = EngineOptions { provider: Provider::Cpu, judge: Some(wasm.clone()), ..EngineOptions::default() };
    let engine = OnnxEngine::start(options).await.unwrap();
    let Err(error) = engine.load(Source::judged(named("iris"))).await else { panic!("it is not the judge") };
    assert!(matches!(&error, LoadError::Judge(reason) if reason.contains("is not the judge")), "{error}");
    let missing = EngineOptions { judge: Some(wasm.join("none")), provider: Provider::Cpu, ..EngineOptions::default() };
    let Err(error) = OnnxEngine::start(missing).await.unwrap().load(Source::judged(named("iris"))).await else {
        panic!("there is no such file")
    };
    assert!(matches!(error, LoadError::JudgeFiles(JudgeFilesError::NoFile { .. })), "{error}");
}

#[tokio::test]
async fn a_model_that_the_judge_does_not_load_is_refused_with_its_reason() {
    let engine = cpu().await;
    let newer = std::fs::read(models_folder().join("bad/newer-opset.onnx")).unwrap();
    let Err(error) = engine.load(Source::judged(ModelFile::in_memory(newer))).await else { panic!("opset 99") };
    assert!(matches!(&error, LoadError::TooNew(reason) if reason.starts_with("its opset is 99")), "{error}");
}

#[tokio::test]
async fn weights_in_another_file_are_refused_with_what_to_do() {
    let engine = cpu().await;
    let file = ModelFile::of_path(&models_folder().join("bad/external.onnx")).unwrap();
    let Err(error) = engine.load(Source::judged(file)).await else { panic!("the judge reads no files") };
    assert!(matches!(error, LoadError::WeightsBeside) && error.to_string().contains("--lane native"), "{error}");
}
