//! The judge over the files that `./scripts/setup` installs, and the shipped models.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests end where something is not as they need it")]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

pub(crate) mod graph;
pub(crate) mod native;
pub(crate) mod rows;
pub(crate) mod steps;
pub(crate) mod traps;

use oraculum_judge::{DType, Data, Judge, Tensor};
use serde_json::Value;

pub(crate) const SHIPPED: [&str; 4] = ["iris", "credit", "digits", "language"];

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub(crate) fn wasm() -> Vec<u8> {
    let path = repository().join("node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm");
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; run ./scripts/setup", path.display()))
}

/// Folder of compiled code that all tests share, and later runs.
pub(crate) fn cache() -> PathBuf {
    repository().join("target/tmp/judge")
}

pub(crate) fn judge() -> &'static Judge {
    static JUDGE: OnceLock<Judge> = OnceLock::new();
    JUDGE.get_or_init(|| Judge::open(&wasm(), Some(&cache())).unwrap())
}

pub(crate) fn shipped(model: &str) -> Vec<u8> {
    fs::read(repository().join("onnx-models").join(model).join("model.onnx")).unwrap()
}

/// Fuel of loading and of the first golden run of `digits`, and its memory in bytes.
pub(crate) const DIGITS_FUEL: (u64, u64, u64) = (19_978_980, 474_196, 16_777_216);

/// A model of this crate's own.
pub(crate) fn model(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(name).with_extension("onnx")).unwrap()
}

/// Inputs and outputs of a golden case.
pub(crate) struct Golden {
    pub(crate) inputs: Vec<Tensor>,
    pub(crate) outputs: Vec<Tensor>,
}

pub(crate) fn golden(model: &str) -> Vec<Golden> {
    let text = fs::read_to_string(repository().join("onnx-models").join(model).join("golden.json")).unwrap();
    let file: Value = serde_json::from_str(&text).unwrap();
    let tensors = |list: &Value| list.as_array().unwrap().iter().map(tensor).collect();
    let cases = file["cases"].as_array().unwrap().iter();
    cases.map(|case| Golden { inputs: tensors(&case["inputs"]), outputs: tensors(&case["outputs"]) }).collect()
}

fn tensor(value: &Value) -> Tensor {
    let dims = value["shape"].as_array().unwrap().iter().map(|dim| dim.as_u64().unwrap() as u32).collect();
    let elements = value["data"].as_array().unwrap().iter();
    match value["datatype"].as_str().unwrap() {
        "FP32" => {
            let bytes = elements.flat_map(|element| (element.as_f64().unwrap() as f32).to_le_bytes()).collect();
            Tensor::new(DType::F32, dims, bytes).unwrap()
        }
        "INT64" => {
            let bytes = elements.flat_map(|element| element.as_i64().unwrap().to_le_bytes()).collect();
            Tensor::new(DType::I64, dims, bytes).unwrap()
        }
        "UINT8" => {
            Tensor::new(DType::U8, dims, elements.map(|element| element.as_u64().unwrap() as u8).collect()).unwrap()
        }
        other => panic!("{other}"),
    }
}

pub(crate) fn f32s(tensor: &Tensor) -> Vec<f32> {
    let Data::Bytes(bytes) = tensor.data() else { panic!("strings") };
    assert_eq!(tensor.dtype(), DType::F32);
    bytes.chunks_exact(4).map(|word| f32::from_le_bytes(word.try_into().unwrap())).collect()
}

/// Whether two outputs are equal within the tolerance of most cards of the tolerance lane.
pub(crate) fn within_tolerance(ours: &Tensor, theirs: &Tensor) -> bool {
    if ours.dtype() != DType::F32 {
        return ours == theirs;
    }
    let pairs = f32s(ours).into_iter().zip(f32s(theirs));
    ours.dims() == theirs.dims()
        && pairs.into_iter().all(|(a, b)| {
            let (a, b) = (f64::from(a), f64::from(b));
            (a - b).abs() <= 1e-5 + 1e-4 * b.abs()
        })
}
