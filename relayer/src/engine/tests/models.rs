//! Cards and the models behind them.

use serde_json::json;

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
    draft.card["agreement"][0] = json!({ "kind": "elementwise", "atol": "0.001", "rtol": "0.0001" });
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
    for (place, key, value, told) in [
        ("inputs", "name", json!("flowers"), "inputs[0].name is `flowers`, and should be `features`"),
        ("inputs", "datatype", json!("FP64"), "inputs[0].datatype is FP64, and should be FP32"),
        ("inputs", "shape", json!([-1, 5]), "inputs[0].shape is [-1,5], and should be [-1,4]"),
        ("outputs", "shape", json!([-1, -1]), "outputs[0].shape is [-1,-1], and should be [-1,3]"),
        ("outputs", "shape", json!([3]), "outputs[0].shape is [3], and should be [-1,3]"),
    ] {
        let mut draft = Draft::iris();
        draft.details[place][0][key] = value;
        let Err(error @ LoadError::DetailsDiffer { .. }) = load(&engine, &draft).await else { panic!("{told}") };
        assert!(error.to_string().contains(told), "{error}");
    }
    draft.details["outputs"] = json!([]);
    let Err(error) = load(&engine, &draft).await else { panic!("there is an output") };
    assert!(error.to_string().contains("the number of outputs is 0, and should be 1 (probabilities)"), "{error}");
    let mut draft = Draft::iris();
    draft.card["profile"] = "onnxruntime=1.30.0;provider=cuda".into();
    assert!(matches!(load(&engine, &draft).await, Err(LoadError::UnknownProfile { .. })));
}

#[tokio::test]
async fn a_failure_under_another_runtime_than_the_cards_is_not_signed() {
    let engine = cpu().await;
    let mut draft = Draft::bare(gather(), "x", "y");
    draft.details["inputs"][0]["shape"] = json!([3]);
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
    for name in ["escaping", "custom-op", "random", "sequence", "not-onnx"] {
        let file = std::fs::read(models_folder().join(format!("bad/{name}.onnx"))).unwrap();
        assert!(matches!(engine.load(in_memory(file)).await, Err(LoadError::Refused(_))), "{name}");
    }
}

/// F15: valid files that were refused: they run, and give what they should.
#[tokio::test]
async fn valid_models_of_unusual_form_are_served() {
    let engine = cpu().await;
    let dropout = bad_folder(&engine, "dropout.onnx").await;
    let x = Tensor::f32(vec![2, 1], &[1.0, -2.5]).unwrap();
    let ran = engine.run(dropout, pack(std::slice::from_ref(&x)), NATIVE).await.unwrap();
    assert_eq!(tensor::decode(&ran.output).unwrap(), [x]);
    let sparse = bad_folder(&engine, "sparse-input.onnx").await;
    let x = Tensor::f32(vec![1, 3], &[1.0, 1.0, 1.0]).unwrap();
    let ran = engine.run(sparse, pack(&[x]), NATIVE).await.unwrap();
    assert_eq!(tensor::decode(&ran.output).unwrap(), [Tensor::f32(vec![1, 3], &[1.0, 3.0, 1.0]).unwrap()]);
}

/// F15: the maps of a ZipMap cannot be given, and a mask may leave them out.
#[tokio::test]
async fn a_model_with_a_zipmap_is_served_without_its_maps() {
    let engine = cpu().await;
    let id = bad_folder(&engine, "zipmap.onnx").await;
    let input = pack(&[Tensor::f32(vec![2, 1], &[3.0, -3.0]).unwrap()]);
    let label = engine.run(id, input.clone(), OutputFormat { mask: 1, ..NATIVE }).await.unwrap();
    assert_eq!(tensor::decode(&label.output).unwrap(), [Tensor::i64(vec![2], &[1, 0]).unwrap()]);
    let all = engine.run(id, input, NATIVE).await.unwrap();
    assert_eq!(all.outcome, Outcome::Unrepresentable);
    let told = all.failure.unwrap().to_string();
    assert!(told.contains("`probabilities` is a sequence") && told.contains("options={'zipmap': False}"), "{told}");
}

/// F15: what the runtime says of a file is one line, without places in its source, and has a remedy where there is one.
#[tokio::test]
async fn a_model_that_is_newer_than_the_runtime_says_so() {
    let engine = cpu().await;
    let refusal = async |name: &str| {
        let file = ModelFile::of_path(&models_folder().join("bad").join(name)).unwrap();
        match engine.load(Source::file(file)).await {
            Err(error @ LoadError::TooNew(_)) => error.to_string(),
            other => panic!("{:?}", other.err()),
        }
    };
    let told = refusal("newer-ir.onnx").await;
    assert!(told.contains("model IR version: 99") && told.contains("`ir_version`"), "{told}");
    let told = refusal("newer-opset.onnx").await;
    assert!(
        told.contains("its opset is 99") && told.contains("ai.onnx is till opset") && told.contains("export"),
        "{told}"
    );
    assert!(!told.contains("onnxruntime_src") && !told.contains("/proc/"), "{told}");
}

#[tokio::test]
async fn a_model_answers_the_same_in_this_process_and_in_its_own() {
    let (inside, outside) = (native(true, Limits::default()).await, native(false, Limits::default()).await);
    for name in ["iris", "digits", "credit", "language"] {
        let file = ModelFile::of_path(&models_folder().join(name).join("model.onnx")).unwrap();
        let loaded = inside.load(Source::file(file.clone())).await.unwrap();
        let id = outside.load(Source::file(file)).await.unwrap().id;
        let golden = std::fs::read(models_folder().join(name).join("golden.json")).unwrap();
        let Golden { cases } = serde_json::from_slice(&golden).unwrap();
        for case in cases {
            let input = oip::pack_inputs(&case.inputs, &loaded.signature.inputs).unwrap();
            let here = inside.run(id, input.clone(), NATIVE).await.unwrap();
            let there = outside.run(id, input, NATIVE).await.unwrap();
            assert_eq!((here.outcome, here.output), (Outcome::Ok, there.output), "{name}");
        }
    }
}
