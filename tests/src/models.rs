//! The models of the repository: their cards, and golden cases made by ONNX Runtime called directly.

use std::{fs, path::PathBuf};

use alloy::primitives::{B256, Bytes, utils::parse_units};
use oraculum::protocol::tensor::{self, Tensor};
use serde_json::Value;

use crate::{
    Res,
    abi::InferenceCoordinator::{Agreement, ModelCard},
};

/// The folder of models.
#[must_use]
pub fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../onnx-models"))
}

/// The names of the models, which are those of their folders.
pub const NAMES: [&str; 4] = ["iris", "digits", "credit", "language"];

/// An input and what ONNX Runtime made of it.
#[derive(Debug, Clone)]
pub struct Case {
    /// Packed tensors.
    pub input: Bytes,
    /// Every output, its elements as numbers.
    pub outputs: Vec<Vec<f64>>,
}

/// A model.
#[derive(Debug, Clone)]
pub struct Model {
    /// The name of its folder.
    pub name: &'static str,
    /// Its card.
    pub card: ModelCard,
    /// Its id.
    pub id: B256,
    /// The golden cases.
    pub cases: Vec<Case>,
}

fn read(path: PathBuf) -> Res<Value> {
    Ok(serde_json::from_slice(&fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?)?)
}

fn text(value: &Value) -> Res<&str> {
    value.as_str().ok_or_else(|| format!("{value} is no text").into())
}

fn numbers<T>(value: &Value, read: impl Fn(&Value) -> Option<T>) -> Res<Vec<T>> {
    let list = value.as_array().ok_or("no list")?;
    list.iter().map(|element| read(element).ok_or_else(|| format!("{element} is no such number").into())).collect()
}

fn tolerance(value: &Value) -> Res<u128> {
    Ok(match value.as_str() {
        Some(decimal) => parse_units(decimal, 18)?.get_absolute().to(),
        None => 0,
    })
}

/// Reads a model's card and golden cases.
///
/// # Errors
/// If a file is missing, or is not what a card or golden cases are.
pub fn load(name: &'static str) -> Res<Model> {
    let folder = folder().join(name);
    let card = read(folder.join("card.json"))?;
    let golden = read(folder.join("golden.json"))?;
    let size = |key: &str| card[key].as_u64().and_then(|size| u32::try_from(size).ok()).ok_or(format!("no {key}"));
    let agreement = card["agreement"].as_array().ok_or("no agreement")?;
    Ok(Model {
        name,
        id: text(&card["modelId"])?.parse()?,
        card: ModelCard {
            fileHash: text(&card["sha256"])?.parse()?,
            detailsHash: text(&card["details"])?.parse()?,
            profileHash: B256::from_slice(&sha256(text(&card["profile"])?.as_bytes())),
            agreement: agreement
                .iter()
                .map(|one| {
                    Ok(Agreement {
                        kind: ["exact", "elementwise", "argmax"]
                            .iter()
                            .position(|kind| one["kind"] == *kind)
                            .ok_or("unknown kind")? as u8,
                        atol: tolerance(&one["atol"])?,
                        rtol: tolerance(&one["rtol"])?,
                        gap: tolerance(&one["gap"])?,
                    })
                })
                .collect::<Res<_>>()?,
            verifier: text(&card["verifier"])?.parse()?,
            maxInputBytes: size("maxInputBytes")?,
            maxOutputBytes: size("maxOutputBytes")?,
        },
        cases: golden["cases"].as_array().ok_or("no cases")?.iter().map(case).collect::<Res<_>>()?,
    })
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).into()
}

fn case(case: &Value) -> Res<Case> {
    let tensors = case["inputs"].as_array().ok_or("no inputs")?.iter().map(packed).collect::<Res<Vec<_>>>()?;
    let outputs = case["outputs"].as_array().ok_or("no outputs")?;
    Ok(Case {
        input: tensor::encode(&tensors)?,
        outputs: outputs.iter().map(|output| numbers(&output["data"], Value::as_f64)).collect::<Res<_>>()?,
    })
}

/// An Open Inference Protocol tensor as packed; written apart from the product's own reader on purpose.
fn packed(value: &Value) -> Res<Tensor> {
    let shape = numbers(&value["shape"], |dim| dim.as_u64().and_then(|dim| u32::try_from(dim).ok()))?;
    let data = &value["data"];
    Ok(match text(&value["datatype"])? {
        "FP32" => Tensor::f32(shape, &numbers(data, |n| n.as_f64().map(|n| n as f32))?)?,
        "INT64" => Tensor::i64(shape, &numbers(data, Value::as_i64)?)?,
        "UINT8" => Tensor::u8(shape, &numbers(data, |n| n.as_u64().and_then(|n| u8::try_from(n).ok()))?)?,
        other => return Err(format!("no golden case has had {other} so far").into()),
    })
}

impl Model {
    /// Says what is wrong with an output in 4-byte elements with 6 decimals (integers as they are), if anything is:
    /// it must be within the card's tolerance, and half a unit of rounding, of what ONNX Runtime gave directly.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn check(&self, case: &Case, output: &Bytes) -> Result<(), String> {
        let tensors = tensor::decode(output).map_err(|error| error.to_string())?;
        if tensors.len() != case.outputs.len() {
            return Err(format!("{} outputs instead of {}", tensors.len(), case.outputs.len()));
        }
        for ((tensor, expected), agreement) in tensors.iter().zip(&case.outputs).zip(&self.card.agreement) {
            let size = tensor.dtype().size().ok_or("a string")?;
            let scale = 10f64.powi(i32::from(tensor.decimals()));
            let quantum = if tensor.decimals() == 0 { 0.0 } else { 1.0 / scale };
            let actual = tensor.data().chunks(size).map(|bytes| {
                let sign = if bytes[0] & 0x80 == 0 { 0i128 } else { -1 };
                bytes.iter().fold(sign, |value, byte| value << 8 | i128::from(*byte)) as f64 / scale
            });
            if tensor.len() != expected.len() {
                return Err(format!("{} elements instead of {}", tensor.len(), expected.len()));
            }
            for (a, b) in actual.zip(expected) {
                let allowed = agreement.atol as f64 / 1e18 + agreement.rtol as f64 / 1e18 * b.abs() + quantum;
                if (a - b).abs() > allowed {
                    return Err(format!("{a} where ONNX Runtime gives {b}"));
                }
            }
        }
        Ok(())
    }
}
