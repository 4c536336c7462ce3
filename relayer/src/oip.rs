//! Requests and answers in the JSON of the Open Inference Protocol: `{"inputs":[{"name","shape","datatype","data"}]}` in,
//! `{"outputs":[…]}` out, each with what the protocol allows beside.
//!
//! Data may be nested like the shape or flat, and is written flat. A number is taken to the nearest value of its datatype,
//! and written so that reading it gives the same value. JSON has no NaN and no infinities: they are written as the strings
//! `"NaN"`, `"Infinity"` and `"-Infinity"`, and read by any of their usual names, in quotes or bare.

mod lenient;

use alloy::primitives::Bytes;
use half::f16;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    protocol::{
        cast::{self, TensorSpec},
        tensor::{self, DType, Tensor, TensorError},
    },
    text,
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
    /// What a client says beside; nothing of it means anything here.
    #[serde(default, skip_serializing)]
    parameters: Parameters,
    /// Elements in row-major order, flat or nested like the shape; null where a client sends them outside the JSON.
    #[serde(default)]
    pub data: Value,
}

/// Hints of a client to a server, none of which means anything here.
type Parameters = Option<Map<String, Value>>;

/// A request, as the protocol and its clients write it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OipRequest {
    /// Name of the request, which its answer repeats.
    #[serde(default)]
    pub id: Option<String>,
    /// Tensors, one per input, in any order.
    pub inputs: Vec<OipTensor>,
    /// Outputs that are asked for, in any order; none named means all.
    #[serde(default)]
    pub outputs: Option<Vec<OipRequestedOutput>>,
    #[serde(default, rename = "parameters")]
    _parameters: Parameters,
    // A server finds the model by them; here it is known.
    #[serde(default, rename = "model_name")]
    _model_name: Option<String>,
    #[serde(default, rename = "model_version")]
    _model_version: Option<String>,
}

/// An output that is asked for.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OipRequestedOutput {
    /// Name that the model gives it.
    pub name: String,
    #[serde(default, rename = "parameters")]
    _parameters: Parameters,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OipResponse {
    /// Name that the request gave itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Tensors that were asked for, in the model's order.
    pub outputs: Vec<OipTensor>,
}

/// Reason for which tensors cannot be converted.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum OipError {
    #[error(
        "not an Open Inference Protocol request: {}; write {{\"inputs\":[{{\"name\":…,\"shape\":[…],\"datatype\":\"FP32\",\"data\":[…]}}]}}",
        text::shown(.0)
    )]
    Syntax(String),
    #[error("the model has no input `{}`; it takes {}", text::shown(name), text::shown(expected))]
    UnknownName { name: String, expected: String },
    #[error("input `{}` is missing; the model takes {}", text::shown(name), text::shown(expected))]
    MissingName { name: String, expected: String },
    #[error("input `{}` is given twice; leave one out", text::shown(name))]
    Repeated { name: String },
    #[error("the model has no output `{}`; it gives {}", text::shown(name), text::shown(expected))]
    UnknownOutput { name: String, expected: String },
    #[error(
        "`data` of `{}` is missing: write it into the JSON, for binary data and shared memory are not read",
        text::shown(name)
    )]
    NoData { name: String },
    #[error(
        "`{}` of `{}` is no datatype: write BOOL, INT8 to INT64, UINT8 to UINT64, FP16, FP32, FP64 or BYTES",
        text::shown(datatype),
        text::shown(name)
    )]
    UnknownDatatype { name: String, datatype: String },
    #[error("the data of `{}` do not have the shape {}: correct one of the two", text::shown(name), shown_shape(shape))]
    Shape { name: String, shape: Vec<u32> },
    #[error("{} in `{}` is no {datatype}: correct it, or name another datatype", text::shown(value), text::shown(name))]
    Value { name: String, datatype: String, value: String },
    #[error("the tensors cannot be packed: {0}")]
    Tensor(#[from] TensorError),
}

/// Reads a request.
///
/// # Errors
/// `OipError::Syntax` for what is no such JSON.
pub fn read_request(json: &[u8]) -> Result<OipRequest, OipError> {
    serde_json::from_slice(&lenient::as_json(json)).map_err(|error| OipError::Syntax(error.to_string()))
}

/// Reads JSON that may hold NaN and infinities, as strings or bare.
///
/// # Errors
/// Those of JSON.
pub fn read_json(json: &[u8]) -> Result<Value, serde_json::Error> {
    serde_json::from_slice(&lenient::as_json(json))
}

impl OipRequest {
    /// The output mask that asks for what the request names, of outputs with these names in the model's order; 0 where it
    /// names none, or one that is beyond a mask's sixteen.
    ///
    /// # Errors
    /// `OipError::UnknownOutput` for a name that is not among them.
    pub fn mask<'a>(&self, outputs: impl Iterator<Item = &'a str> + Clone) -> Result<u16, OipError> {
        let mut mask = Some(0u16);
        for OipRequestedOutput { name, .. } in self.outputs.iter().flatten() {
            let expected = || outputs.clone().collect::<Vec<_>>().join(", ");
            let unknown = || OipError::UnknownOutput { name: name.clone(), expected: expected() };
            let position = outputs.clone().position(|output| output == name).ok_or_else(unknown)?;
            let bit = u32::try_from(position).ok().and_then(|position| 1u16.checked_shl(position));
            mask = mask.zip(bit).map(|(mask, bit)| mask | bit);
        }
        Ok(mask.unwrap_or_default())
    }

    /// Whether the request asks for an output.
    #[must_use]
    pub fn wants(&self, name: &str) -> bool {
        let named = self.outputs.iter().flatten();
        named.clone().next().is_none() || named.clone().any(|output| output.name == name)
    }
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
pub fn unpack_outputs<'a>(
    output: &Bytes,
    names: impl IntoIterator<Item = &'a str>,
) -> Result<Vec<OipTensor>, OipError> {
    let tensors = tensor::decode(output)?;
    Ok(tensors.iter().zip(names).map(|(tensor, name)| OipTensor::from_tensor(name, tensor)).collect())
}

/// The first dimensions of a shape, for a message: a request may write any number.
fn shown_shape(shape: &[u32]) -> String {
    match shape.split_at_checked(8) {
        Some((first, rest)) if !rest.is_empty() => {
            format!("{} and {} dimensions more", cast::show_dims(first), rest.len())
        }
        _ => cast::show_dims(shape),
    }
}

impl OipTensor {
    /// A tensor with elements in row-major order, flat or nested like the shape.
    #[must_use]
    pub fn new(name: String, shape: Vec<u32>, datatype: String, data: Value) -> Self {
        Self { name, shape, datatype, parameters: None, data }
    }

    /// Converts to a packed tensor, in the type that the datatype names.
    ///
    /// # Errors
    /// `OipError::UnknownDatatype`, `NoData`, `Shape`, `Value` or `Tensor`.
    pub fn to_tensor(&self) -> Result<Tensor, OipError> {
        let unknown = || OipError::UnknownDatatype { name: self.name.clone(), datatype: self.datatype.clone() };
        let dtype = dtype(&self.datatype).ok_or_else(unknown)?;
        if self.data.is_null() {
            return Err(OipError::NoData { name: self.name.clone() });
        }
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
                value: match element.as_str().and_then(lenient::bare_float) {
                    Some(token) => token.to_owned(),
                    None => element.to_string(),
                },
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
            datatype: if fixed { "FP64" } else { tensor.dtype().name() }.to_owned(),
            parameters: None,
            data: Value::Array(data),
        }
    }

    /// Whether a tensor that `from_tensor` made has no NaN and no infinity.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        let floats = self.datatype.starts_with("FP");
        !floats || !self.data.as_array().is_some_and(|data| data.iter().any(Value::is_string))
    }
}

fn dtype(datatype: &str) -> Option<DType> {
    use DType::*;
    [I8, I16, I32, I64, U8, U16, U32, U64, F16, F32, F64, Bool, String]
        .into_iter()
        .find(|dtype| dtype.name() == datatype)
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
        DType::String => tensor::put_string(out, value.as_str().filter(|text| lenient::bare_float(text).is_none())?),
        DType::I128 | DType::U128 => return None,
    }
    Some(())
}

fn float(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => lenient::float_by_name(text),
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
