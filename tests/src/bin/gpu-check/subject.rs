//! What is run: the shipped models and those that the checks make, their inputs, and outputs as numbers.

use std::path::{Path, PathBuf};

use alloy::primitives::{B256, Bytes};
use oraculum::{
    engine::{LoadError, OnnxEngine, Source},
    model::{Model, ModelFile},
    oip::{self, OipTensor},
    protocol::{
        cast::TensorSpec,
        tensor::{self, Tensor},
    },
};
use oraculum_tests::Res;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use serde::Deserialize;

/// Names of the models that come with the project.
pub(crate) const SHIPPED: [&str; 4] = ["iris", "digits", "credit", "language"];

/// The folder of models: programs are run in the project's root.
pub(crate) fn models() -> PathBuf {
    PathBuf::from("onnx-models")
}

/// A shipped model.
pub(crate) fn shipped(name: &str) -> Res<Model> {
    Ok(Model::open(&models().join(name))?)
}

/// The bare file of a shipped model.
pub(crate) fn file_of(name: &str) -> Res<ModelFile> {
    Ok(ModelFile::of_path(&models().join(name).join("model.onnx"))?)
}

/// Loads a bare file, natively; its id.
pub(crate) async fn load(engine: &OnnxEngine, file: ModelFile) -> Result<B256, LoadError> {
    Ok(engine.load(Source::file(file)).await?.id)
}

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    inputs: Vec<OipTensor>,
}

/// The golden inputs of a shipped model, packed.
pub(crate) fn golden(name: &str, specs: &[TensorSpec]) -> Res<Vec<Bytes>> {
    let path: &Path = &models().join(name).join("golden.json");
    let Golden { cases } = serde_json::from_slice(&std::fs::read(path)?)?;
    cases.iter().map(|case| Ok(oip::pack_inputs(&case.inputs, specs)?)).collect()
}

/// Random inputs of a shipped model: each of so many rows, always the same.
pub(crate) fn random(name: &str, count: usize, rows: u32) -> Res<Vec<Bytes>> {
    let mut random = SmallRng::seed_from_u64(11);
    (0..count).map(|_| one_random(name, rows, &mut random)).collect()
}

fn one_random(name: &str, rows: u32, random: &mut SmallRng) -> Res<Bytes> {
    let mut floats =
        |count: u32, from: f32, to: f32| (0..count).map(|_| random.random_range(from..to)).collect::<Vec<_>>();
    let tensors = match name {
        "iris" => vec![Tensor::f32(vec![rows, 4], &floats(rows * 4, 0.0, 8.0))?],
        "digits" => vec![Tensor::f32(vec![rows, 1, 8, 8], &floats(rows * 64, 0.0, 1.0))?],
        "credit" => {
            let numeric = Tensor::f32(vec![rows, 7], &floats(rows * 7, 0.0, 50.0))?;
            vec![numeric, Tensor::i64(vec![rows, 13], &vec![0; rows as usize * 13])?]
        }
        "language" => {
            let text = floats(rows * 40, 97.0, 123.0).iter().map(|letter| *letter as u8).collect::<Vec<_>>();
            vec![Tensor::u8(vec![rows, 40], &text)?]
        }
        _ => return Err(format!("there is no model {name}").into()),
    };
    Ok(tensor::encode(&tensors)?)
}

/// Images for the network that the checks make: `rows` of `size` by `size`.
pub(crate) fn images(rows: u32, size: u32, seed: u64) -> Res<Bytes> {
    let mut random = SmallRng::seed_from_u64(seed);
    let numbers: Vec<f32> = (0..rows * 3 * size * size).map(|_| random.random_range(-1.0..1.0)).collect();
    Ok(tensor::encode(&[Tensor::f32(vec![rows, 3, size, size], &numbers)?])?)
}

/// Every number of packed tensors.
pub(crate) fn numbers(packed: &Bytes) -> Res<Vec<f64>> {
    let mut all = Vec::new();
    for tensor in tensor::decode(packed)? {
        let data = OipTensor::from_tensor("", &tensor).data;
        for value in data.as_array().into_iter().flatten() {
            all.push(value.as_f64().or_else(|| value.as_bool().map(f64::from)).unwrap_or(f64::NAN));
        }
    }
    Ok(all)
}
