//! Tensors in the JSON of the Open Inference Protocol: `{"inputs":[{"name","shape","datatype","data"}]}` in,
//! `{"outputs":[…]}` out.
//!
//! Data may be nested like the shape or flat, and is written flat. A number is taken to the nearest value of its datatype,
//! and written so that reading it gives the same value. JSON has no NaN and no infinities: they are the strings
//! `"NaN"`, `"Infinity"` and `"-Infinity"`.

use alloy::primitives::Bytes;
use half::f16;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::protocol::{
    cast::{self, TensorSpec},
    tensor::{self, DType, Tensor, TensorError},
};

/// A tensor as the Open Inference Protocol writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OipTensor {
    /// Name that the model gives it.
    pub name: String,
    /// Dimensions; none for a scalar.
    pub shape: Vec<u32>,
    /// Type of the elements: BOOL, INT8 … INT64, UINT8 … UINT64, FP16, FP32, FP64 or BYTES.
    pub datatype: String,
    /// Elements in row-major order, flat or nested like the shape.
    pub data: Value,
}

/// Inputs of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OipInputs {
    /// Tensors, one per input, in any order.
    pub inputs: Vec<OipTensor>,
}

/// Outputs of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OipOutputs {
    /// Tensors, one per output, in the model's order.
    pub outputs: Vec<OipTensor>,
}

/// Reason for which tensors cannot be converted.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum OipError {
    #[error(
        "not Open Inference Protocol tensors: {0}\n  write {{\"inputs\":[{{\"name\":…,\"shape\":[…],\"datatype\":\"FP32\",\"data\":[…]}}]}}"
    )]
    Syntax(#[from] serde_json::Error),
    #[error("the model has no input `{name}`; it takes {expected}")]
    UnknownName { name: String, expected: String },
    #[error("input `{name}` is missing; the model takes {expected}")]
    MissingName { name: String, expected: String },
    #[error("input `{name}` is given twice")]
    Repeated { name: String },
    #[error(
        "`{datatype}` of `{name}` is no datatype: write BOOL, INT8 to INT64, UINT8 to UINT64, FP16, FP32, FP64 or BYTES"
    )]
    UnknownDatatype { name: String, datatype: String },
    #[error("the data of `{name}` do not have the shape {shape:?}")]
    Shape { name: String, shape: Vec<u32> },
    #[error("{value} in `{name}` is no {datatype}")]
    Value { name: String, datatype: String, value: String },
    #[error("the tensors cannot be packed: {0}")]
    Tensor(#[from] TensorError),
}

/// Reads inputs from JSON and packs them in the order of `specs`, a model's inputs.
///
/// # Errors
/// `OipError::Syntax`; else as `pack_inputs`.
pub fn read_inputs(json: &[u8], specs: &[TensorSpec]) -> Result<Bytes, OipError> {
    pack_inputs(&serde_json::from_slice::<OipInputs>(json)?.inputs, specs)
}

/// Packs inputs, which may be in any order, in the order of `specs`, a model's inputs.
///
/// # Errors
/// `OipError::UnknownName`, `MissingName` or `Repeated` for the names; else as `OipTensor::to_tensor`.
pub fn pack_inputs(inputs: &[OipTensor], specs: &[TensorSpec]) -> Result<Bytes, OipError> {
    let expected = || specs.iter().map(TensorSpec::to_string).collect::<Vec<_>>().join(", ");
    for (index, input) in inputs.iter().enumerate() {
        let name = || input.name.clone();
        if !specs.iter().any(|spec| spec.name == input.name) {
            return Err(OipError::UnknownName { name: name(), expected: expected() });
        }
        if inputs[..index].iter().any(|other| other.name == input.name) {
            return Err(OipError::Repeated { name: name() });
        }
    }
    let find = |spec: &TensorSpec| {
        let input = inputs.iter().find(|input| input.name == spec.name);
        input.ok_or_else(|| OipError::MissingName { name: spec.name.clone(), expected: expected() })?.to_tensor()
    };
    Ok(tensor::encode(&specs.iter().map(find).collect::<Result<Vec<_>, _>>()?)?)
}

/// Names the tensors of a packed output: `names` are those of the outputs that it holds, in the model's order.
///
/// # Errors
/// `OipError::Tensor` where the bytes are no packed tensors.
pub fn unpack_outputs<'a>(output: &Bytes, names: impl IntoIterator<Item = &'a str>) -> Result<OipOutputs, OipError> {
    let tensors = tensor::decode(output)?;
    let outputs = tensors.iter().zip(names).map(|(tensor, name)| OipTensor::from_tensor(name, tensor));
    Ok(OipOutputs { outputs: outputs.collect() })
}

impl OipTensor {
    /// Converts to a packed tensor, in the type that the datatype names.
    ///
    /// # Errors
    /// `OipError::UnknownDatatype`, `Shape`, `Value` or `Tensor`.
    pub fn to_tensor(&self) -> Result<Tensor, OipError> {
        let unknown = || OipError::UnknownDatatype { name: self.name.clone(), datatype: self.datatype.clone() };
        let dtype = dtype(&self.datatype).ok_or_else(unknown)?;
        let wrong_shape = || OipError::Shape { name: self.name.clone(), shape: self.shape.clone() };
        let mut elements = Vec::new();
        let nested = self.data.get(0).is_some_and(Value::is_array);
        let count = tensor::element_count(&self.shape);
        let shape: &[u32] =
            if nested { &self.shape } else { &[u32::try_from(count.unwrap_or(usize::MAX)).unwrap_or(u32::MAX)] };
        if !flatten(&self.data, shape, &mut elements) {
            return Err(wrong_shape());
        }
        let mut data = Vec::new();
        for element in &elements {
            put(dtype, element, &mut data).ok_or_else(|| OipError::Value {
                name: self.name.clone(),
                datatype: self.datatype.clone(),
                value: element.to_string(),
            })?;
        }
        if count != Some(elements.len()) {
            return Err(wrong_shape());
        }
        Ok(Tensor::new(dtype, 0, self.shape.clone(), data.into())?)
    }

    /// Converts from a packed tensor. Fixed-point numbers, which the protocol does not have, become FP64.
    #[must_use]
    pub fn from_tensor(name: &str, tensor: &Tensor) -> Self {
        let fixed = tensor.decimals() > 0;
        let data = if tensor.dtype() == DType::String {
            tensor.iter_strings().map(Value::from).collect()
        } else {
            let size = tensor.dtype().size().unwrap_or(1);
            tensor.data().chunks_exact(size).map(|bytes| get(tensor.dtype(), tensor.decimals(), bytes)).collect()
        };
        Self {
            name: name.to_owned(),
            shape: tensor.shape().to_vec(),
            datatype: if fixed { "FP64" } else { datatype(tensor.dtype()) }.to_owned(),
            data: Value::Array(data),
        }
    }
}

fn dtype(datatype: &str) -> Option<DType> {
    use DType::*;
    [I8, I16, I32, I64, U8, U16, U32, U64, F16, F32, F64, Bool, String]
        .into_iter()
        .find(|dtype| self::datatype(*dtype) == datatype)
}

/// Name of a type in the protocol, which has none for 128-bit integers: INT128 and UINT128 stand for those here.
fn datatype(dtype: DType) -> &'static str {
    match dtype {
        DType::I8 => "INT8",
        DType::I16 => "INT16",
        DType::I32 => "INT32",
        DType::I64 => "INT64",
        DType::I128 => "INT128",
        DType::U8 => "UINT8",
        DType::U16 => "UINT16",
        DType::U32 => "UINT32",
        DType::U64 => "UINT64",
        DType::U128 => "UINT128",
        DType::F16 => "FP16",
        DType::F32 => "FP32",
        DType::F64 => "FP64",
        DType::Bool => "BOOL",
        DType::String => "BYTES",
    }
}

/// Collects the scalars of arrays; returns whether they are nested like `shape`.
fn flatten<'a>(data: &'a Value, shape: &[u32], elements: &mut Vec<&'a Value>) -> bool {
    match (data, shape) {
        (Value::Array(items), [dim, inner @ ..]) => {
            items.len() == *dim as usize && items.iter().all(|item| flatten(item, inner, elements))
        }
        (Value::Array(_) | Value::Object(_), _) | (_, [_, ..]) => false,
        (scalar, []) => {
            elements.push(scalar);
            true
        }
    }
}

/// Appends an element, big-endian; `None` where the value is none of the type.
fn put(dtype: DType, value: &Value, out: &mut Vec<u8>) -> Option<()> {
    macro_rules! integer {
        ($type:ty, $read:ident) => {
            out.extend(<$type>::try_from(value.$read()?).ok()?.to_be_bytes())
        };
    }
    match dtype {
        DType::I8 => integer!(i8, as_i64),
        DType::I16 => integer!(i16, as_i64),
        DType::I32 => integer!(i32, as_i64),
        DType::I64 => integer!(i64, as_i64),
        DType::U8 => integer!(u8, as_u64),
        DType::U16 => integer!(u16, as_u64),
        DType::U32 => integer!(u32, as_u64),
        DType::U64 => integer!(u64, as_u64),
        DType::F16 => out.extend(cast::to_f16(float(value)?)?.to_be_bytes()),
        DType::F32 => out.extend(cast::to_f32(float(value)?)?.to_be_bytes()),
        DType::F64 => out.extend(float(value)?.to_be_bytes()),
        DType::Bool => out.push(u8::from(value.as_bool()?)),
        DType::String => tensor::put_string(out, value.as_str()?),
        DType::I128 | DType::U128 => return None,
    }
    Some(())
}

fn float(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        number => number.as_f64(),
    }
}

/// Reads an element.
fn get(dtype: DType, decimals: u8, bytes: &[u8]) -> Value {
    let mut wide = [if dtype.is_signed() && bytes[0] & 0x80 != 0 { 0xff } else { 0 }; 16];
    wide[16 - bytes.len()..].copy_from_slice(bytes);
    let bits = u128::from_be_bytes(wide);
    let float = |value: f64| match value {
        value if value.is_nan() => Value::from("NaN"),
        value if value.is_infinite() => Value::from(if value > 0.0 { "Infinity" } else { "-Infinity" }),
        value => Value::from(value),
    };
    match dtype {
        DType::Bool => Value::from(bits == 1),
        DType::F16 => float(f16::from_bits(bits as u16).into()),
        DType::F32 => float(shortest(f32::from_bits(bits as u32))),
        DType::F64 => float(f64::from_bits(bits as u64)),
        _ if decimals > 0 || bytes.len() == 16 => {
            let sign = if dtype.is_signed() { (bits as i128).to_string() } else { bits.to_string() };
            float(format!("{sign}e-{decimals}").parse().unwrap_or(f64::NAN))
        }
        _ if dtype.is_signed() => Value::from(bits as i128 as i64),
        _ => Value::from(bits as u64),
    }
}

/// Double that prints shortest among those that narrow to this value: 0.1 rather than 0.10000000149011612.
fn shortest(value: f32) -> f64 {
    let short: f64 = value.to_string().parse().unwrap_or(f64::NAN);
    if (short as f32).to_bits() == value.to_bits() { short } else { value.into() }
}

#[cfg(test)]
mod tests;
