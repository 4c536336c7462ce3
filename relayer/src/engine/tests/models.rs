//! Cards and the models behind them.

use super::*;
use crate::model::tests::Draft;

async fn load(engine: &OnnxEngine, draft: &Draft) -> Result<Arc<LoadedModel>, LoadError> {
    let folder = draft.write();
    let model = Model::open(folder.path())?;
    engine.load(Source::card(&model)).await
}

#[tokio::test]
async fn a_model_whose_probes_leave_the_tolerance_is_refused() {
    let engine = cpu().await;
    let mut draft = Draft::iris();
    assert!(load(&engine, &draft).await.is_ok());
    let output = draft.details["probes"][1]["output"].as_str().unwrap().to_owned();
    // The second probability, 0.9822…, becomes 0.9824….
    let changed = output.replace("3f7b7311", "3f7b8000");
    assert_ne!(output, changed);
    draft.details["probes"][1]["output"] = changed.into();
    let Err(error) = load(&engine, &draft).await else { panic!("the probe differs") };
    assert!(matches!(error, LoadError::Probe { index: 1, .. }), "{error}");
    // A laxer card accepts the same.
    draft.card["agreement"][0]["atol"] = "0.001".into();
    assert!(load(&engine, &draft).await.is_ok());
}

#[tokio::test]
async fn a_probe_that_is_bad_input_is_refused() {
    let mut draft = Draft::iris();
    draft.details["probes"][0]["input"] = "0x00".into();
    let Err(error) = load(&cpu().await, &draft).await else { panic!("the probe fails") };
    assert!(matches!(&error, LoadError::Probe { index: 0, found } if found == "BadInput"), "{error}");
}

#[tokio::test]
async fn a_card_that_does_not_describe_its_model_is_refused() {
    let engine = cpu().await;
    let mut draft = Draft::iris();
    draft.card["agreement"] = serde_json::json!([{ "kind": "exact" }, { "kind": "exact" }]);
    assert!(matches!(load(&engine, &draft).await, Err(LoadError::AgreementCount { rules: 2, outputs: 1 })));
    let mut draft = Draft::iris();
    draft.details["inputs"][0]["name"] = "flowers".into();
    assert!(matches!(load(&engine, &draft).await, Err(LoadError::DetailsDiffer(_))));
    let mut draft = Draft::iris();
    draft.card["profile"] = "onnxruntime=1.30.0;provider=cuda".into();
    assert!(matches!(load(&engine, &draft).await, Err(LoadError::UnknownProfile(_))));
}

#[tokio::test]
async fn a_failure_under_another_runtime_than_the_cards_is_not_signed() {
    let engine = cpu().await;
    let mut draft = Draft::bare(gather(), "x", "y");
    draft.details["inputs"]
        .as_array_mut()
        .unwrap()
        .push(serde_json::json!({"datatype":"INT64","name":"i","shape":[-1]}));
    draft.card["profile"] = format!("onnxruntime=1.99.0;{SETTINGS}").into();
    let id = load(&engine, &draft).await.unwrap().id;
    assert_eq!(engine.run(id, gather_input(1), NATIVE).await.unwrap().outcome, Outcome::Ok);
    let error = engine.run(id, gather_input(5), NATIVE).await.unwrap_err();
    assert!(matches!(&error, EngineError::Unconfirmed { reference, .. } if reference == "1.99.0"), "{error}");
    // What the protocol's own rules decide needs no runtime.
    assert_eq!(engine.run(id, Bytes::new(), NATIVE).await.unwrap().outcome, Outcome::BadInput);
}

#[tokio::test]
async fn an_altered_file_is_not_loaded() {
    let draft = Draft::iris();
    let folder = draft.write();
    let model = Model::open(folder.path()).unwrap();
    std::fs::write(&model.file, gather()).unwrap();
    let Err(error) = cpu().await.load(Source::card(&model)).await else { panic!("the file was altered") };
    assert!(matches!(error, LoadError::Model(crate::model::ModelError::Altered { .. })), "{error}");
}

#[tokio::test]
async fn what_the_runtime_cannot_load_is_an_error_with_its_reason() {
    let engine = cpu().await;
    let nonsense = model(
        graph(vec![node("NoSuchOperator", &["x"], &["y"])], vec![port("x", 1, &[1])], vec![port("y", 1, &[1])]),
        vec![],
    );
    let Err(error) = engine.load(in_memory(nonsense)).await else { panic!("there is no such operator") };
    assert!(matches!(&error, LoadError::Session(reason) if reason.contains("NoSuchOperator")), "{error}");
    for name in ["external", "custom-op", "random", "sequence", "not-onnx"] {
        let file = std::fs::read(models_folder().join(format!("bad/{name}.onnx"))).unwrap();
        assert!(matches!(engine.load(in_memory(file)).await, Err(LoadError::Refused(_))), "{name}");
    }
}
