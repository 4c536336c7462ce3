//! Examinations: what is found of a model, and what a process may do to whoever asks it.

use std::os::unix::fs::PermissionsExt;

use oraculum_judge::Limits as JudgeLimits;

use super::*;
use crate::protocol::cast::{Elements, ModelTensor};

const TIME: Duration = Duration::from_secs(600);

async fn examiner(file: ModelFile) -> Examiner {
    cpu().await.examine(&file, JudgeLimits::DEFAULT, TIME).await.unwrap()
}

fn shipped_file(name: &str) -> ModelFile {
    ModelFile::of_path(&models_folder().join(name)).unwrap()
}

fn flower() -> Vec<ModelTensor> {
    vec![ModelTensor { shape: vec![1, 4], elements: Elements::F32(vec![5.1, 3.5, 1.4, 0.2]) }]
}

#[tokio::test]
async fn a_models_facts_are_those_of_its_file_and_a_run_is_the_judges() {
    let mut examiner = examiner(shipped_file("iris/model.onnx")).await;
    let facts = examiner.facts().await.unwrap();
    let loaded = cpu().await.load(Source::judged(shipped_file("iris/model.onnx"))).await.unwrap();
    assert_eq!((&facts.inputs, &facts.outputs), (&loaded.signature.inputs, &loaded.signature.outputs));
    assert!(facts.refusals.is_empty() && facts.not_loaded.is_none() && facts.not_guarded.is_none(), "{facts:?}");
    assert_eq!((facts.depth, facts.rounded), (0, vec![true]));
    let run = examiner.run(&flower()).await.unwrap().unwrap();
    let Elements::F32(probabilities) = &run.outputs[0].elements else { panic!("{run:?}") };
    assert!(probabilities[0] > 0.99 && run.fuel > 10_000 && facts.load_fuel > 1_000_000);
    // Fuel is the same in every fresh session.
    assert_eq!(examiner.run(&flower()).await.unwrap().unwrap().fuel, run.fuel);
    let wrong = vec![ModelTensor { shape: vec![1, 3], elements: Elements::F32(vec![1.0; 3]) }];
    assert!(matches!(examiner.run(&wrong).await.unwrap(), Err(RunFailure::Input(_))));
}

#[tokio::test]
async fn draws_and_the_guards_runs_go_over_all_inputs_that_gave_outputs() {
    let mut examiner = examiner(shipped_file("digits/model.onnx")).await;
    examiner.facts().await.unwrap();
    let image = |value| vec![ModelTensor { shape: vec![1, 1, 8, 8], elements: Elements::F32(vec![value; 64]) }];
    let mut plain = Vec::new();
    for value in [1.0, 7.0] {
        plain.push(examiner.run(&image(value)).await.unwrap().unwrap().outputs);
    }
    let mut heard = Vec::new();
    let draws = examiner.draws(&mut |draw, of| heard.push((draw, of))).await.unwrap();
    assert_eq!((draws.draws, heard), (2, vec![(1, 2), (2, 2)]));
    assert_eq!((draws.failure, draws.differs, draws.proof.candidates), (None, None, 9));
    for (sign, runs) in [(JitterSign::None, 0), (JitterSign::Plus, 4), (JitterSign::Minus, 4)] {
        let mut seen = Vec::new();
        examiner.jitter(sign, &mut |run| seen.push(run)).await.unwrap().unwrap();
        // It makes no integers of floats, so nothing is looked at without jitter.
        assert_eq!(seen.len(), 2 * runs, "{sign:?}");
        for JitteredRun { input, outputs, cast } in seen {
            assert_eq!(cast, None);
            assert_ne!(outputs.unwrap(), plain[input], "{sign:?}");
        }
    }
}

#[tokio::test]
async fn a_file_that_was_altered_is_not_examined() {
    let file = ModelFile::with_hash(models_folder().join("iris/model.onnx"), B256::ZERO, Vec::new());
    let error = cpu().await.examine(&file, JudgeLimits::DEFAULT, TIME).await.err().unwrap();
    assert!(error.to_string().contains("SHA-256") && !error.to_string().contains("load the model"), "{error}");
    assert!(matches!(error, ExamineError::Load(LoadError::File(_))), "{error:?}");
}

/// An examination by a program that says what it likes: each word is a byte, in octal.
async fn examined_by(says: &str, time: Duration) -> Result<ModelFacts, ExamineError> {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("worker");
    std::fs::write(&program, format!("#!/bin/sh\nprintf '{says}' >&0\nexec sleep 600\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let options = EngineOptions { worker: Some(program), provider: Provider::Cpu, ..EngineOptions::default() };
    let engine = OnnxEngine::start(options).await.unwrap();
    engine.examine(&shipped_file("iris/model.onnx"), JudgeLimits::DEFAULT, time).await?.facts().await
}

/// A report that the model is loaded.
const LOADED: &str = r"\002\000\000\000\022\000";

#[tokio::test]
async fn a_process_that_says_what_it_should_not_costs_the_examination_and_nothing_else() {
    for (says, told) in [
        // No report, one that is far too long, one of another kind, and an end without any facts.
        (r"\001\000\000\000\377", "the model's process failed"),
        (r"\002\000\000\000\022\000\377\377\377\377", "4294967295 bytes"),
        (r"\002\000\000\000\022\000\002\000\000\000\022\000", "no finding"),
        (r"\002\000\000\000\022\000\004\000\000\000\172\002\062\000", "found nothing"),
        // A draw where facts were asked for.
        (r"\002\000\000\000\022\000\004\000\000\000\172\002\032\000", "another finding than facts"),
    ] {
        let error = examined_by(says, TIME).await.unwrap_err();
        assert!(error.to_string().contains(told), "{error}");
    }
}

#[tokio::test]
async fn a_process_that_says_nothing_is_ended_when_the_time_is_up() {
    let error = examined_by(LOADED, Duration::from_secs(1)).await.unwrap_err();
    assert!(matches!(error, ExamineError::Timeout(_)) && error.to_string().contains("--time-limit"), "{error}");
    // Also where it is not even ready.
    assert!(matches!(examined_by("", Duration::from_secs(1)).await, Err(ExamineError::Timeout(_))));
}

#[tokio::test]
async fn more_inputs_or_outputs_than_a_model_may_have_are_refused_of_a_process_that_lies() {
    // Facts with 65 inputs, each a message of no bytes.
    let facts = format!(r"\012\202\001{}", r"\022\000".repeat(65));
    let says = format!(r"{LOADED}\210\000\000\000\172\205\001{facts}");
    let error = examined_by(&says, TIME).await.unwrap_err();
    assert!(error.to_string().contains("more inputs or outputs"), "{error}");
}

#[tokio::test]
async fn inputs_that_are_forgotten_are_in_no_later_run() {
    let mut examiner = examiner(shipped_file("iris/model.onnx")).await;
    examiner.facts().await.unwrap();
    for forgotten in [false, true] {
        examiner.run(&flower()).await.unwrap().unwrap();
        if forgotten {
            examiner.forget().await.unwrap();
        }
    }
    let mut seen = Vec::new();
    examiner.jitter(JitterSign::Plus, &mut |run| seen.push(run.input)).await.unwrap().unwrap();
    assert_eq!(seen, [0; 4]);
}
