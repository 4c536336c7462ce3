pub(crate) mod build;
mod examine;
mod guard;
mod judge;
mod limits;
mod memory;
mod models;
mod providers;
mod sessions;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

use self::build::{graph, model, node, number, port};
use super::*;
use crate::{
    model::{Model, ModelFile, graph::OutputSpec},
    oip::{self, OipTensor},
    protocol::{
        Outcome,
        agreement::{Verdict, compare},
        cast::{BadInput, Failure, TensorSpec, Unrepresentable},
        tensor::{self, DType, Tensor},
    },
};

const NATIVE: OutputFormat = OutputFormat::NATIVE;

pub(crate) fn models_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../onnx-models")
}

async fn start(provider: Provider) -> OnnxEngine {
    OnnxEngine::start(EngineOptions { provider, ..EngineOptions::default() }).await.unwrap()
}

async fn cpu() -> OnnxEngine {
    start(Provider::Cpu).await
}

/// An engine that runs native models in this process, or in processes of their own.
async fn native(trust_models: bool, limits: Limits) -> OnnxEngine {
    let provider = Provider::Cpu;
    OnnxEngine::start(EngineOptions { provider, limits, trust_models, ..EngineOptions::default() }).await.unwrap()
}

/// Loads one of the models that come with the project.
async fn shipped(engine: &OnnxEngine, name: &str) -> Arc<LoadedModel> {
    let model = Model::open(&models_folder().join(name)).unwrap();
    engine.load(Source::card(&model)).await.unwrap()
}

/// A model that exists in memory only.
fn in_memory(file: Vec<u8>) -> Source {
    Source::file(ModelFile::in_memory(file))
}

/// Loads a bare file; its id.
async fn bare(engine: &OnnxEngine, file: Vec<u8>) -> B256 {
    engine.load(in_memory(file)).await.unwrap().id
}

async fn bad_folder(engine: &OnnxEngine, name: &str) -> B256 {
    bare(engine, std::fs::read(models_folder().join("bad").join(name)).unwrap()).await
}

fn pack(tensors: &[Tensor]) -> Bytes {
    tensor::encode(tensors).unwrap()
}

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    inputs: Vec<OipTensor>,
    outputs: Vec<OipTensor>,
}

fn tensor_of(output: &OutputSpec) -> TensorSpec {
    let OutputSpec::Tensor(spec) = output else { panic!("{output} is no tensor") };
    spec.clone()
}

/// Runs a shipped model on its golden inputs; how many outputs agree to the bit, and how many there are.
async fn run_golden(engine: &OnnxEngine, name: &str) -> (usize, usize) {
    let agreement = Model::open(&models_folder().join(name)).unwrap().card.agreement;
    let loaded = shipped(engine, name).await;
    let golden = std::fs::read(models_folder().join(name).join("golden.json")).unwrap();
    let Golden { cases } = serde_json::from_slice(&golden).unwrap();
    assert!(!cases.is_empty());
    let mut same = 0;
    for case in &cases {
        let input = oip::pack_inputs(&case.inputs, &loaded.signature.inputs).unwrap();
        let outputs: Vec<_> = loaded.signature.outputs.iter().map(tensor_of).collect();
        let expected = oip::pack_inputs(&case.outputs, &outputs).unwrap();
        let inference = engine.run(loaded.id, input, NATIVE).await.unwrap();
        // Some batches exceed what the card lets a request ask for.
        if let Some(Failure::BadInput(BadInput::TooLong { .. })) = inference.failure {
            assert!(case.inputs.iter().any(|input| input.shape[0] > 16));
            continue;
        }
        assert_eq!(inference.outcome, Outcome::Ok, "{:?}", inference.failure);
        assert_eq!(compare(&inference.output, &expected, &agreement, NATIVE), Verdict::Agree, "{name}");
        same += usize::from(inference.output == expected);
    }
    (same, cases.len())
}

#[tokio::test]
async fn the_shipped_models_answer_as_recorded() {
    let engine = cpu().await;
    for name in ["iris", "digits", "credit", "language"] {
        let (same, all) = run_golden(&engine, name).await;
        eprintln!("{name}: {same} of {all} outputs equal to the bit, the rest within the card's tolerance");
    }
}

#[tokio::test]
async fn fixed_point_in_gives_the_same_as_floats_in_and_fixed_point_out() {
    let engine = cpu().await;
    let iris = shipped(&engine, "iris").await.id;
    let floats = pack(&[Tensor::f32(vec![1, 4], &[5.1, 3.5, 1.4, 0.2]).unwrap()]);
    let fixed = Tensor::new(DType::U8, 1, vec![1, 4], vec![51, 35, 14, 2].into()).unwrap();
    let a = engine.run(iris, floats, NATIVE).await.unwrap();
    let b = engine.run(iris, pack(std::slice::from_ref(&fixed)), NATIVE).await.unwrap();
    assert_eq!(a.output, b.output);
    let format = OutputFormat { width: 4, decimals: 6, mask: 1 };
    let written = engine.run(iris, pack(&[fixed]), format).await.unwrap();
    let tensors = tensor::decode(&written.output).unwrap();
    assert_eq!((tensors[0].dtype(), tensors[0].decimals(), tensors[0].shape()), (DType::I32, 6, &[1, 3][..]));
    let setosa = i32::from_be_bytes(tensors[0].data()[..4].try_into().unwrap());
    assert!((999_000..1_000_000).contains(&setosa), "{setosa}");
}

#[tokio::test]
async fn an_inference_says_what_it_was_run_with() {
    let engine = cpu().await;
    let file = std::fs::read(models_folder().join("iris/model.onnx")).unwrap();
    let (native, judged) = (in_memory(file.clone()), Source::judged(ModelFile::in_memory(file)));
    let input = pack(&[Tensor::f32(vec![1, 4], &[5.1, 3.5, 1.4, 0.2]).unwrap()]);
    let id = engine.load(native).await.unwrap().id;
    let Inference { profile, run_time, .. } = engine.run(id, input.clone(), NATIVE).await.unwrap();
    assert_eq!(profile.device, Device::Cpu);
    assert!(!profile.provider_fallback && run_time > Duration::ZERO);
    let version = engine.native_version().await.unwrap();
    assert_eq!(profile.to_string(), format!("onnxruntime={version};{SETTINGS}"));

    let engine = cpu().await;
    let id = engine.load(judged).await.unwrap().id;
    let Inference { profile, run_time, .. } = engine.run(id, input, NATIVE).await.unwrap();
    assert_eq!(profile.device, Device::Judge);
    assert!(run_time > Duration::ZERO && profile.to_string().starts_with("onnxruntime-wasm=1.30.0;sha256=3398"));
}

#[tokio::test]
async fn inputs_that_do_not_fit_the_model_are_bad_input() {
    let engine = cpu().await;
    let credit = shipped(&engine, "credit").await.id;
    let numeric = || Tensor::f32(vec![1, 7], &[1.0; 7]).unwrap();
    let categorical = || Tensor::i64(vec![1, 13], &[0; 13]).unwrap();
    let run = |input: Bytes, mask| engine.run(credit, input, OutputFormat { mask, ..NATIVE });
    let bad: Vec<(&str, Bytes, u16)> = vec![
        ("no tensors", Bytes::new(), 0),
        ("a missing tensor", pack(&[numeric()]), 0),
        ("a tensor too many", pack(&[numeric(), categorical(), categorical()]), 0),
        ("the wrong order", pack(&[categorical(), numeric()]), 0),
        ("a wrong rank", pack(&[Tensor::f32(vec![7], &[1.0; 7]).unwrap(), categorical()]), 0),
        ("a wrong shape", pack(&[Tensor::f32(vec![1, 8], &[1.0; 8]).unwrap(), categorical()]), 0),
        ("rows that differ in number", pack(&[Tensor::f32(vec![2, 7], &[1.0; 14]).unwrap(), categorical()]), 0),
        ("a fraction for an integer", pack(&[numeric(), Tensor::f32(vec![1, 13], &[0.5; 13]).unwrap()]), 0),
        ("text for numbers", pack(&[Tensor::strings(vec![1, 7], &["1"; 7]).unwrap(), categorical()]), 0),
        ("trailing bytes", [&pack(&[numeric(), categorical()])[..], &[0]].concat().into(), 0),
        ("too many bytes", vec![0; 20_504].into(), 0),
        ("an output that there is not", pack(&[numeric(), categorical()]), 0b10),
    ];
    for (what, input, mask) in bad {
        let inference = run(input, mask).await.unwrap();
        assert_eq!(inference.outcome, Outcome::BadInput, "{what}");
        assert!(inference.output.is_empty() && inference.failure.is_some(), "{what}");
    }
    assert_eq!(run(pack(&[numeric(), categorical()]), 1).await.unwrap().outcome, Outcome::Ok);
}

#[tokio::test]
async fn nan_and_infinity_cannot_be_written_in_any_format() {
    let engine = cpu().await;
    let nan = bad_folder(&engine, "nan.onnx").await;
    let input = |x: f32| pack(&[Tensor::f32(vec![1, 1], &[x]).unwrap()]);
    let run = |x, width, mask| engine.run(nan, input(x), OutputFormat { width, decimals: 0, mask });
    for width in [0, 8] {
        assert_eq!(run(1.0, width, 0).await.unwrap().outcome, Outcome::Ok);
        for x in [0.0, -1.0, f32::NAN] {
            assert_eq!(run(x, width, 0).await.unwrap().outcome, Outcome::Unrepresentable, "{x} in {width}");
        }
        // 1/−1 is fine, log(−1) is not; only what is asked for counts.
        assert_eq!(run(-1.0, width, 0b01).await.unwrap().outcome, Outcome::Ok);
        assert_eq!(run(-1.0, width, 0b10).await.unwrap().outcome, Outcome::Unrepresentable);
    }
    // 1/x of 1e-3 is 1,000: more than one byte.
    assert_eq!(run(1e-3, 1, 1).await.unwrap().outcome, Outcome::Unrepresentable);
    assert_eq!(run(1e-3, 2, 1).await.unwrap().outcome, Outcome::Ok);
}

#[tokio::test]
async fn an_output_over_the_cards_limit_cannot_be_written() {
    let engine = cpu().await;
    let iris = shipped(&engine, "iris").await.id;
    let rows = |n: u32| pack(&[Tensor::u8(vec![n, 4], &vec![1; 4 * n as usize]).unwrap()]);
    assert_eq!(engine.run(iris, rows(256), NATIVE).await.unwrap().outcome, Outcome::Ok);
    let long = engine.run(iris, rows(1000), NATIVE).await.unwrap();
    assert_eq!(long.outcome, Outcome::Unrepresentable);
    assert!(matches!(long.failure, Some(Failure::Unrepresentable(Unrepresentable::TooLong { max: 3084, .. }))));
}

#[tokio::test]
async fn other_types_pass_through_unchanged() {
    let engine = cpu().await;
    let mixed = bad_folder(&engine, "no-batch.onnx").await;
    let x = Tensor::f32(vec![2, 3], &[1.5, -0.0, 1e-45, 3.0, 4.0, 5.0]).unwrap();
    let small = Tensor::new(DType::I8, 0, vec![2, 3], vec![0x80, 0xff, 0, 1, 2, 0x7f].into()).unwrap();
    let flag = Tensor::new(DType::Bool, 0, vec![2, 3], vec![0, 1, 1, 0, 0, 1].into()).unwrap();
    let text = Tensor::strings(vec![2, 3], &["", "a", "né", "漢字", "🦊", " "]).unwrap();
    let input = pack(&[x, small, flag, text]);
    assert_eq!(engine.run(mixed, input.clone(), NATIVE).await.unwrap().output, input);
    // A mask takes outputs in the model's order.
    let some = engine.run(mixed, input, OutputFormat { mask: 0b1010, ..NATIVE }).await.unwrap();
    let dtypes: Vec<_> = tensor::decode(&some.output).unwrap().iter().map(Tensor::dtype).collect();
    assert_eq!(dtypes, [DType::I8, DType::String]);
}

#[tokio::test]
async fn every_number_type_goes_in_and_comes_out() {
    let engine = cpu().await;
    for (elem_type, dtype) in [
        (1, DType::F32),
        (2, DType::U8),
        (3, DType::I8),
        (4, DType::U16),
        (5, DType::I16),
        (6, DType::I32),
        (7, DType::I64),
        (10, DType::F16),
        (11, DType::F64),
        (12, DType::U32),
        (13, DType::U64),
        // bf16, which comes out as f32.
        (16, DType::F32),
    ] {
        let ports = |name| vec![port(name, elem_type, &[-1])];
        let id =
            bare(&engine, model(graph(vec![node("Identity", &["x"], &["y"])], ports("x"), ports("y")), vec![])).await;
        for values in [vec![0u8, 1, 2, 127], vec![]] {
            let input = pack(&[Tensor::u8(vec![values.len() as u32], &values).unwrap()]);
            let inference = engine.run(id, input, NATIVE).await.unwrap();
            let output = &tensor::decode(&inference.output).unwrap()[0];
            assert_eq!((output.dtype(), output.len()), (dtype, values.len()));
            let json = OipTensor::from_tensor("y", output).data;
            let numbers: Vec<_> = json.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect();
            assert_eq!(numbers, values.iter().map(|value| f64::from(*value)).collect::<Vec<_>>());
        }
    }
}

#[tokio::test]
async fn scalars_go_in_and_come_out() {
    let engine = cpu().await;
    let file =
        model(graph(vec![node("Neg", &["x"], &["y"])], vec![port("x", 1, &[])], vec![port("y", 1, &[])]), vec![]);
    let id = bare(&engine, file).await;
    let scalar = |value| pack(&[Tensor::f32(vec![], &[value]).unwrap()]);
    assert_eq!(engine.run(id, scalar(2.5), NATIVE).await.unwrap().output, scalar(-2.5));
}

/// y = x[i], which fails beyond the end.
fn gather() -> Vec<u8> {
    let gather = node("Gather", &["x", "i"], &["y"]);
    model(graph(vec![gather], vec![port("x", 1, &[3]), port("i", 7, &[-1])], vec![port("y", 1, &[-1])]), vec![])
}

fn gather_input(i: i64) -> Bytes {
    pack(&[Tensor::f32(vec![3], &[7.0, 8.0, 9.0]).unwrap(), Tensor::i64(vec![1], &[i]).unwrap()])
}

#[tokio::test]
async fn an_input_on_which_the_model_fails_is_bad_input_and_leaves_the_session_sound() {
    let engine = cpu().await;
    let id = bare(&engine, gather()).await;
    for _ in 0..3 {
        let failed = engine.run(id, gather_input(5), NATIVE).await.unwrap();
        assert_eq!(failed.outcome, Outcome::BadInput);
        assert!(matches!(failed.failure, Some(Failure::BadInput(BadInput::Run(_)))));
        let fine = engine.run(id, gather_input(2), NATIVE).await.unwrap();
        assert_eq!(fine.output, pack(&[Tensor::f32(vec![1], &[9.0]).unwrap()]));
    }
}

#[tokio::test]
async fn a_models_own_functions_run() {
    let engine = cpu().await;
    let call = crate::model::graph::proto::Node { domain: "local".into(), ..node("Twice", &["x"], &["y"]) };
    let twice = crate::model::graph::proto::Function {
        name: "Twice".into(),
        domain: "local".into(),
        node: vec![node("Add", &["a", "a"], &["b"])],
        ..Default::default()
    };
    // The functions' ports and operator sets are not among the fields read here.
    let extended = FunctionPorts {
        input: vec!["a".into()],
        output: vec!["b".into()],
        opset_import: vec![crate::model::graph::proto::OperatorSet { domain: String::new(), version: 17 }],
    };
    use prost::Message;
    let mut function = twice.encode_to_vec();
    function.extend(extended.encode_to_vec());
    let mut file = model(build::graph(vec![call], vec![port("x", 1, &[1])], vec![port("y", 1, &[1])]), vec![]);
    // Field 25 of the model, length-delimited.
    file.extend([0xca, 0x01, function.len() as u8]);
    file.extend(function);
    let id = bare(&engine, file).await;
    let number = |value| pack(&[Tensor::f32(vec![1], &[value]).unwrap()]);
    assert_eq!(engine.run(id, number(21.0), NATIVE).await.unwrap().output, number(42.0));
}

#[derive(Clone, PartialEq, prost::Message)]
struct FunctionPorts {
    #[prost(string, repeated, tag = "4")]
    input: Vec<String>,
    #[prost(string, repeated, tag = "5")]
    output: Vec<String>,
    #[prost(message, repeated, tag = "9")]
    opset_import: Vec<crate::model::graph::proto::OperatorSet>,
}

#[tokio::test]
async fn requests_the_engine_cannot_judge_are_errors() {
    let engine = cpu().await;
    let unknown = engine.run(B256::ZERO, Bytes::new(), NATIVE).await.unwrap_err();
    assert!(matches!(unknown, EngineError::UnknownModel(_)) && unknown.fault() == Fault::Backend);
    let iris = shipped(&engine, "iris").await.id;
    for format in [(3, 0), (0, 1), (32, 0), (4, 37)] {
        let format = OutputFormat { width: format.0, decimals: format.1, mask: 0 };
        let error = engine.run(iris, Bytes::new(), format).await.unwrap_err();
        assert!(matches!(error, EngineError::InvalidFormat(_)) && error.fault() == Fault::Request);
    }
}

#[tokio::test]
async fn a_thousand_requests_at_once_are_each_answered_with_their_own_output() {
    let engine = cpu().await;
    let file =
        model(graph(vec![node("Neg", &["x"], &["y"])], vec![port("x", 7, &[1])], vec![port("y", 7, &[1])]), vec![]);
    let id = bare(&engine, file).await;
    let number = |value| pack(&[Tensor::i64(vec![1], &[value]).unwrap()]);
    for wave in 0..4 {
        let runs = (0..250).map(|i| engine.run(id, number(wave * 250 + i), NATIVE));
        for (i, inference) in futures::future::join_all(runs).await.into_iter().enumerate() {
            assert_eq!(inference.unwrap().output, number(-(wave * 250 + i as i64)));
        }
    }
}

/// y = x, as another type.
fn cast(to: i32) -> Vec<u8> {
    let mut cast = node("Cast", &["x"], &["y"]);
    cast.attribute.push(number("to", to.into()));
    model(graph(vec![cast], vec![port("x", 1, &[1])], vec![port("y", to, &[1])]), vec![])
}

#[tokio::test]
async fn half_floats_come_out_in_their_own_type_or_as_fixed_point() {
    let engine = cpu().await;
    let input = pack(&[Tensor::f32(vec![1], &[0.1]).unwrap()]);
    for (to, dtype, tenth) in [(10, DType::F16, 99_976), (16, DType::F32, 100_098)] {
        let id = bare(&engine, cast(to)).await;
        let native = engine.run(id, input.clone(), NATIVE).await.unwrap();
        assert_eq!(tensor::decode(&native.output).unwrap()[0].dtype(), dtype);
        let format = OutputFormat { width: 4, decimals: 6, mask: 0 };
        let fixed = engine.run(id, input.clone(), format).await.unwrap();
        let expected = Tensor::i32(vec![1], &[tenth]).unwrap();
        assert_eq!(tensor::decode(&fixed.output).unwrap()[0].data(), expected.data());
    }
}

#[tokio::test]
async fn a_bool_that_is_another_byte_comes_out_as_true() {
    use prost::Message;
    let field = |tag: u8, bytes: &[u8]| [&[tag << 3 | 2, bytes.len() as u8], bytes].concat();
    // A weight of two bools, held as the bytes 2 and 0: dims, data_type, name and raw_data of a TensorProto.
    let weight = [&[0x08, 2, 0x10, 9][..], &field(8, b"w"), &field(9, &[2, 0])].concat();
    let ports = (vec![port("x", 1, &[1])], vec![port("y", 9, &[2]), port("z", 1, &[1])]);
    let nodes = vec![node("Identity", &["w"], &["y"]), node("Identity", &["x"], &["z"])];
    let graph = [graph(nodes, ports.0, ports.1).encode_to_vec(), field(5, &weight)].concat();
    let file = [model(build::graph(vec![], vec![], vec![]), vec![]), field(7, &graph)].concat();
    let engine = cpu().await;
    let id = bare(&engine, file).await;
    let input = pack(&[Tensor::f32(vec![1], &[1.0]).unwrap()]);
    let output = engine.run(id, input, OutputFormat { mask: 1, ..NATIVE }).await.unwrap().output;
    assert_eq!(output, "0x010e0001000000020100".parse::<Bytes>().unwrap());
}
