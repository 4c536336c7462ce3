//! The vectors that Solidity asserts as well.

use super::exact::Finite;
use super::tensor::{self, DType, Tensor, TensorError};
use alloy::primitives::Bytes;
use half::f16;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::path::Path;

fn read<T: DeserializeOwned>(name: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors").join(name);
    let json = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&json).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[derive(Deserialize)]
struct Tensors {
    valid: Vec<Valid>,
    invalid: Vec<Invalid>,
}

#[derive(Deserialize)]
struct Valid {
    name: String,
    hex: Bytes,
    tensors: Vec<Described>,
}

/// Integers are decimal, floats the hex of their bits.
#[derive(Debug, PartialEq, Deserialize)]
struct Described {
    dtype: String,
    decimals: u8,
    shape: Vec<u32>,
    data: Vec<String>,
}

#[derive(Deserialize)]
struct Invalid {
    name: String,
    hex: Bytes,
    reason: String,
}

fn describe(tensor: &Tensor) -> Described {
    let dtype = tensor.dtype();
    let element = |bytes: &[u8]| {
        let mut wide = [if dtype.is_signed() && bytes[0] & 0x80 != 0 { 0xff } else { 0 }; 16];
        wide[16 - bytes.len()..].copy_from_slice(bytes);
        match dtype {
            DType::Bool => (bytes[0] == 1).to_string(),
            _ if dtype.is_float() => format!("0x{}", hex::encode(bytes)),
            _ if dtype.is_signed() => i128::from_be_bytes(wide).to_string(),
            _ => u128::from_be_bytes(wide).to_string(),
        }
    };
    let data = match dtype.size() {
        Some(size) => tensor.data().chunks_exact(size).map(element).collect(),
        None => tensor.iter_strings().map(str::to_owned).collect(),
    };
    Described { dtype: dtype.to_string(), decimals: tensor.decimals(), shape: tensor.shape().to_vec(), data }
}

fn reason(error: &TensorError) -> &'static str {
    match error {
        TensorError::Truncated { .. } => "truncated",
        TensorError::TrailingBytes { .. } => "trailing",
        TensorError::TooManyTensors { .. } => "count",
        TensorError::UnknownDType { .. } => "dtype",
        TensorError::DecimalsOutOfRange { .. } => "decimals",
        TensorError::RankTooHigh { .. } => "rank",
        TensorError::InvalidBool { .. } => "bool",
        TensorError::InvalidUtf8 { .. } => "utf8",
        TensorError::ElementCount { .. } => "elements",
    }
}

#[test]
fn valid_tensors_read_as_described_and_write_the_same() {
    let Tensors { valid, .. } = read("tensors.json");
    assert!(!valid.is_empty());
    for Valid { name, hex, tensors } in valid {
        let read = tensor::decode(&hex).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(read.iter().map(describe).collect::<Vec<_>>(), tensors, "{name}");
        assert_eq!(tensor::encode(&read).unwrap(), hex, "{name}");
    }
}

#[test]
fn invalid_tensors_are_refused_for_the_reason_given() {
    let Tensors { invalid, .. } = read("tensors.json");
    assert!(!invalid.is_empty());
    for Invalid { name, hex, reason: expected } in invalid {
        assert_eq!(tensor::decode(&hex).as_ref().map_err(reason).err(), Some(expected.as_str()), "{name}");
    }
}

#[derive(Deserialize)]
struct Quantise {
    cases: Vec<QuantiseCase>,
}

#[derive(Debug, Deserialize)]
struct QuantiseCase {
    dtype: String,
    bits: String,
    width: u8,
    decimals: u8,
    /// Or `unrepresentable`.
    integer: String,
}

#[test]
fn floats_become_fixed_point_as_everywhere() {
    let Quantise { cases } = read("tensors-quantise.json");
    assert!(!cases.is_empty());
    for case in cases {
        let bits = u64::from_str_radix(case.bits.trim_start_matches("0x"), 16).unwrap();
        let value = match case.dtype.as_str() {
            "f16" => f16::from_bits(bits as u16).to_f64(),
            "f32" => f32::from_bits(bits as u32).into(),
            "f64" => f64::from_bits(bits),
            other => panic!("{other} is no float"),
        };
        let integer = Finite::new(value).and_then(|finite| finite.quantise(case.width, case.decimals));
        let integer = integer.map_or("unrepresentable".to_owned(), |integer| integer.to_string());
        assert_eq!(integer, case.integer, "{case:?}");
    }
}
