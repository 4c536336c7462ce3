//! `details.json`: the canonical document that a card commits to, so that cards can grow without new contracts.

use std::path::Path;

use alloy::primitives::Bytes;
use serde::Deserialize;
use serde_json::Value;

use super::ModelError;

/// What a node needs of the details. Other keys are for people, and are kept as they are.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    /// The model's inputs, in its own order.
    pub inputs: Vec<DetailsPort>,
    /// The model's outputs, in its own order.
    pub outputs: Vec<DetailsPort>,
    /// Inputs with the outputs they gave on the reference.
    #[serde(default)]
    pub probes: Vec<Probe>,
    /// Whether the rows of a batch do not influence each other.
    #[serde(default)]
    pub rows_independent: bool,
    /// What the model is for, in a sentence.
    #[serde(default)]
    pub task: String,
    /// What the elements of an output stand for.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Under which terms it may be used.
    #[serde(default)]
    pub licence: String,
}

/// An input or output as the details describe it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetailsPort {
    /// The model's own name for it.
    pub name: String,
    /// The type of its elements, in the words of the Open Inference Protocol.
    pub datatype: String,
    /// Its dimensions, −1 where any size goes.
    pub shape: Vec<i64>,
}

/// Packed tensors in, and what came out on the reference in the model's own types.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Packed tensors.
    pub input: Bytes,
    /// Packed tensors.
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
/// be.
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
