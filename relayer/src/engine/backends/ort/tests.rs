//! Weights in other files, ports that are no tensors and operators of the runtime's own, through the whole engine.

use std::{fs, path::Path};

use alloy::primitives::{B256, Bytes};
use prost::Message;

use crate::{
    engine::{
        Abilities, Engine, EngineError, EngineOptions, LoadError, OnnxEngine, Provider, Source,
        tests::{
            build::{graph, node, port},
            models_folder,
        },
    },
    model::{
        Model, ModelFile,
        graph::proto::{self, Graph, Holder, OperatorSet, Type, ValueInfo},
        tests::{Draft, weights},
    },
    protocol::{
        Outcome, OutputFormat,
        cast::{BadInput, Failure},
        tensor::{self, Tensor},
    },
};

async fn engine() -> OnnxEngine {
    // Without Landlock a process of a model is given no files.
    let trust_models = Abilities::try_out().landlock.is_err();
    if trust_models {
        eprintln!("not tried in a process of its own: this system has no Landlock");
    }
    let options = EngineOptions { provider: Provider::Cpu, trust_models, ..EngineOptions::default() };
    OnnxEngine::start(options).await.unwrap()
}

/// Opens and loads a model's folder; what is wrong with it, in words.
async fn load(engine: &OnnxEngine, folder: &Path) -> Result<B256, LoadError> {
    Ok(engine.load(Source::card(&Model::open(folder)?)).await?.id)
}

fn floats(shape: &[u32], values: &[f32]) -> Tensor {
    Tensor::f32(shape.to_vec(), values).unwrap()
}

fn ints(shape: &[u32], values: &[i64]) -> Tensor {
    Tensor::i64(shape.to_vec(), values).unwrap()
}

fn one() -> Bytes {
    tensor::encode(&[floats(&[1, 1], &[1.0])]).unwrap()
}

#[tokio::test]
async fn a_model_runs_with_the_weights_that_lie_beside_it() {
    let engine = engine().await;
    let two = tensor::encode(&[floats(&[1, 1], &[2.0])]).unwrap();
    let folder = weights::external(&Draft::external(), |_| {});
    let listed = load(&engine, folder.path()).await.unwrap();
    let bare = Source::file(ModelFile::of_path(&models_folder().join("bad/external.onnx")).unwrap());
    let bare = engine.load(bare).await.unwrap().id;
    for id in [listed, bare] {
        assert_eq!(engine.run(id, one(), OutputFormat::NATIVE).await.unwrap().output, two);
    }
}

/// F15: whatever is wrong with its weights, a model is not loaded, and one line says why.
#[tokio::test]
async fn a_model_is_not_loaded_with_weights_that_are_not_as_listed() {
    let engine = engine().await;
    for (name, folder, says) in weights::wrong() {
        let told = load(&engine, folder.path()).await.expect_err(name).to_string();
        assert!(told.contains(says) && told.lines().count() == 1, "{name}: {told}");
    }
    let missing = weights::external(&Draft::external(), |folder| fs::remove_file(folder.join("external.bin")).unwrap());
    let bare = Source::file(ModelFile::of_path(&missing.path().join("model.onnx")).unwrap());
    let Err(error) = engine.load(bare).await else { panic!("there are no weights") };
    assert!(error.to_string().contains("external.bin is missing"), "{error}");
    let nowhere = fs::read(missing.path().join("model.onnx")).unwrap();
    let Err(error) = engine.load(Source::file(ModelFile::in_memory(nowhere))).await else {
        panic!("there is no folder")
    };
    assert!(error.to_string().contains("save the model as one file"), "{error}");
}

/// The runtime reads weights where they lie, so what is written there later would be another model's answer.
#[tokio::test]
async fn weights_that_are_changed_under_a_session_give_no_answer() {
    let engine = engine().await;
    let folder = weights::external(&Draft::external(), |_| {});
    let id = load(&engine, folder.path()).await.unwrap();
    fs::write(folder.path().join("external.bin"), 5f32.to_le_bytes()).unwrap();
    let error = engine.run(id, one(), OutputFormat::NATIVE).await.unwrap_err();
    assert!(matches!(&error, EngineError::Runtime(reason) if reason.contains("external.bin was changed")), "{error}");
    // The session is opened anew, which finds other weights than the card's.
    let error = engine.run(id, one(), OutputFormat::NATIVE).await.unwrap_err();
    assert!(matches!(&error, EngineError::Stopped(reason) if reason.contains("external.bin")), "{error}");
}

#[tokio::test]
async fn a_model_that_is_removed_is_served_on() {
    let engine = engine().await;
    let folder = weights::external(&Draft::external(), |_| {});
    let id = load(&engine, folder.path()).await.unwrap();
    folder.close().unwrap();
    for _ in 0..2 {
        assert_eq!(engine.run(id, one(), OutputFormat::NATIVE).await.unwrap().outcome, Outcome::Ok);
    }
}

fn sequence(name: &str) -> ValueInfo {
    let tensor = port("", 1, &[-1]).r#type.unwrap();
    let sequence = Holder { elem_type: Some(Box::new(tensor)) };
    ValueInfo { name: name.into(), r#type: Some(Type { sequence: Some(Box::new(sequence)), ..Default::default() }) }
}

async fn model(engine: &OnnxEngine, domain: &str, graph: Graph) -> B256 {
    let opset = |domain: &str, version| OperatorSet { domain: domain.into(), version };
    let opset_import = vec![opset("", 17), opset(domain, 1)];
    let file = proto::Model { ir_version: 8, graph: Some(graph), opset_import, functions: vec![] }.encode_to_vec();
    engine.load(Source::file(ModelFile::in_memory(file))).await.unwrap().id
}

#[tokio::test]
async fn a_sequence_goes_in_and_comes_out_as_two_tensors() {
    let engine = engine().await;
    let nodes = vec![node("SequenceInsert", &["xs", "x"], &["ys"]), node("SequenceLength", &["ys"], &["length"])];
    let graph = graph(nodes, vec![sequence("xs"), port("x", 1, &[-1])], vec![sequence("ys"), port("length", 7, &[])]);
    let id = model(&engine, "local", graph).await;
    // What lies beside an element is not read.
    let (data, shapes) = (floats(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 9.0, 9.0]), ints(&[2, 1], &[3, 1]));
    let input = tensor::encode(&[data.clone(), shapes, floats(&[2], &[5.0, 6.0])]).unwrap();
    let joined = floats(&[3, 3], &[1.0, 2.0, 3.0, 4.0, 0.0, 0.0, 5.0, 6.0, 0.0]);
    let sizes = ints(&[3, 1], &[3, 1, 2]);
    for (mask, expected) in [
        (0, vec![joined.clone(), sizes.clone(), ints(&[], &[3])]),
        (2, vec![sizes]),
        (5, vec![joined, ints(&[], &[3])]),
    ] {
        let ran = engine.run(id, input.clone(), OutputFormat { mask, ..OutputFormat::NATIVE }).await.unwrap();
        assert_eq!(tensor::decode(&ran.output).unwrap(), expected, "{mask}");
    }
    for (shapes, says) in [(ints(&[2, 1], &[4, 1]), "element 0 does not fit"), (ints(&[1, 1], &[1]), "need [2, 1]")] {
        let input = tensor::encode(&[data.clone(), shapes, floats(&[1], &[1.0])]).unwrap();
        let ran = engine.run(id, input, OutputFormat::NATIVE).await.unwrap();
        let Some(Failure::BadInput(BadInput::Run(reason))) = ran.failure else { panic!("{:?}", ran.failure) };
        assert!(reason.contains("`xs`") && reason.contains(says), "{reason}");
    }
}

#[tokio::test]
async fn an_operator_of_the_runtimes_own_runs() {
    let engine = engine().await;
    let own =
        |operator: &str, input, output| proto::Node { domain: "com.microsoft".into(), ..node(operator, input, output) };
    let nodes = vec![own("Gelu", &["x"], &["g"]), own("FusedMatMul", &["g", "x"], &["y"])];
    let graph = graph(nodes, vec![port("x", 1, &[1, 1])], vec![port("y", 1, &[1, 1])]);
    let id = model(&engine, "com.microsoft", graph).await;
    let ran = engine.run(id, one(), OutputFormat { mask: 0, width: 4, decimals: 3 }).await.unwrap();
    assert_eq!(ran.outcome, Outcome::Ok);
    // gelu(1) = (1 + erf(√½)) / 2
    assert_eq!(tensor::decode(&ran.output).unwrap()[0].data(), &841i32.to_be_bytes()[..]);
}

/// F15: a pipeline of scikit-learn's TF-IDF, which needs operators of the runtime's own, answers as scikit-learn does.
#[tokio::test]
async fn a_text_classifier_of_scikit_learn_answers() {
    let engine = engine().await;
    let file = Source::file(ModelFile::of_path(&models_folder().join("bad/text.onnx")).unwrap());
    let id = engine.load(file).await.unwrap().id;
    let texts = Tensor::strings(vec![2, 1], &["BUY cheap money now", "the meeting tomorrow"]).unwrap();
    let input = tensor::encode(&[texts]).unwrap();
    let ran = engine.run(id, input, OutputFormat { mask: 0, width: 4, decimals: 3 }).await.unwrap();
    let outputs = tensor::decode(&ran.output).unwrap();
    assert_eq!(outputs[0].iter_strings().collect::<Vec<_>>(), ["spam", "ham"]);
    let thousandths: Vec<_> =
        outputs[1].data().chunks(4).map(|bytes| i32::from_be_bytes(bytes.try_into().unwrap())).collect();
    assert_eq!(thousandths, [326, 674, 653, 347]);
}

/// The runtime takes two inputs of one symbolic size with two sizes, and so does the engine.
#[tokio::test]
async fn inputs_that_declare_one_symbolic_size_may_differ_in_it() {
    let engine = engine().await;
    let named = |name: &str| {
        let mut port = port(name, 1, &[-1]);
        let shape = port.r#type.as_mut().and_then(|kind| kind.tensor.as_mut()).and_then(|tensor| tensor.shape.as_mut());
        shape.unwrap().dim[0].size = Some(proto::Size::Param("N".into()));
        port
    };
    let nodes = vec![node("Identity", &["a"], &["x"]), node("Identity", &["b"], &["y"])];
    let graph = graph(nodes, vec![named("a"), named("b")], vec![named("x"), named("y")]);
    let id = model(&engine, "local", graph).await;
    let input = tensor::encode(&[floats(&[1], &[1.0]), floats(&[2], &[2.0, 3.0])]).unwrap();
    assert_eq!(engine.run(id, input.clone(), OutputFormat::NATIVE).await.unwrap().output, input);
}
