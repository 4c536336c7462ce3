//! `details.json`: the canonical document that a card commits to, so that cards can grow without new contracts.

use std::path::Path;

use alloy::primitives::Bytes;
use serde::Deserialize;
use serde_json::Value;

use super::ModelError;

/// The part of the details that a node needs. Other keys are for people, and are kept as they are.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    /// Inputs, in the model's order.
    pub inputs: Vec<TensorMetadata>,
    /// Outputs, in the model's order.
    pub outputs: Vec<TensorMetadata>,
    /// Inputs with the outputs they gave on the reference.
    #[serde(default)]
    pub probes: Vec<Probe>,
    /// Whether the rows of a batch do not influence each other.
    #[serde(default)]
    pub rows_independent: bool,
    /// Purpose of the model, in a sentence.
    #[serde(default)]
    pub task: String,
    /// Names of what the elements of an output stand for.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Terms under which the model may be used.
    #[serde(default)]
    pub licence: String,
}

/// An input or output as the details describe it: `metadata_tensor` of the Open Inference Protocol.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorMetadata {
    /// Name that the model gives it.
    pub name: String,
    /// Type of the elements, in the words of the Open Inference Protocol.
    pub datatype: String,
    /// Dimensions, −1 where any size goes.
    pub shape: Vec<i64>,
}

/// Inputs with the outputs that they gave on the reference.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Inputs, as packed tensors.
    pub input: Bytes,
    /// Outputs that the reference gave, as packed tensors in the model's own types.
    pub output: Bytes,
}

impl Details {
    pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Self, ModelError> {
        let syntax = |reason: String| ModelError::Syntax { path: path.to_path_buf(), reason };
        let value: Value = serde_json::from_slice(bytes).map_err(|error| syntax(error.to_string()))?;
        let mut canonical = Vec::with_capacity(bytes.len());
        write_canonical(&value, &mut canonical).map_err(|what| syntax(format!("it holds {what}")))?;
        if canonical != bytes {
            return Err(syntax("it is not canonical JSON: sort the keys bytewise, and leave out white space".into()));
        }
        serde_json::from_value(value).map_err(|error| syntax(error.to_string()))
    }
}

/// Writes JSON in its one canonical form: keys sorted bytewise, no white space, no floats, nothing escaped but what must
/// be; an error names what the form has no place for.
fn write_canonical(value: &Value, out: &mut Vec<u8>) -> Result<(), &'static str> {
    let join = |out: &mut Vec<u8>, index: usize| {
        if index > 0 {
            out.push(b',');
        }
    };
    match value {
        Value::Number(number) if number.is_f64() => return Err("a number that is not an integer"),
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                join(out, index);
                write_canonical(item, out)?;
            }
            out.push(b']');
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(key, _)| key.as_bytes());
            out.push(b'{');
            for (index, (key, item)) in fields.into_iter().enumerate() {
                join(out, index);
                out.extend_from_slice(Value::from(key.as_str()).to_string().as_bytes());
                out.push(b':');
                write_canonical(item, out)?;
            }
            out.push(b'}');
        }
        scalar => out.extend_from_slice(scalar.to_string().as_bytes()),
    }
    Ok(())
}
