//! `details.json`: the canonical document that a card commits to, so that cards can grow without new contracts.

use std::path::Path;

use alloy::primitives::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{ListedFile, ModelError, field_error, graph::is_within};
use crate::{
    protocol::cast::{ElementType, TensorSpec},
    text,
};

/// The part of the details that a node needs. Other keys are for people, and are kept as they are.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    /// Inputs, in the model's order.
    #[serde(deserialize_with = "specs")]
    pub inputs: Vec<TensorSpec>,
    /// Outputs, in the model's order.
    #[serde(deserialize_with = "specs")]
    pub outputs: Vec<TensorSpec>,
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
    /// Files beside the model's own that hold weights.
    #[serde(default)]
    pub files: Vec<ListedFile>,
}

/// An input or output as the details describe it: `metadata_tensor` of the Open Inference Protocol.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    name: String,
    datatype: Datatype,
    /// Dimensions, −1 where any size goes.
    shape: Vec<Dimension>,
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Datatype(ElementType);

impl TryFrom<String> for Datatype {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let element = ElementType::by_name(&name).map(Self);
        element.ok_or_else(|| {
            let datatypes = "BOOL, INT8 to INT64, UINT8 to UINT64, FP16, BF16, FP32, FP64 or BYTES";
            format!("`{}` is no datatype: write {datatypes}", text::shown(&name))
        })
    }
}

#[derive(Deserialize)]
#[serde(try_from = "i64")]
struct Dimension(Option<u64>);

impl TryFrom<i64> for Dimension {
    type Error = String;

    fn try_from(size: i64) -> Result<Self, String> {
        match u64::try_from(size) {
            Ok(size) => Ok(Self(Some(size))),
            Err(_) if size == -1 => Ok(Self(None)),
            Err(_) => Err(format!("{size} is no dimension: write a size, or -1 where any size goes")),
        }
    }
}

impl From<Metadata> for TensorSpec {
    fn from(Metadata { name, datatype, shape }: Metadata) -> Self {
        Self { name, element: datatype.0, shape: Some(shape.into_iter().map(|dimension| dimension.0).collect()) }
    }
}

/// Reads inputs or outputs; what is wrong with one is told with its place.
fn specs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<TensorSpec>, D::Error> {
    Ok(Vec::<Metadata>::deserialize(deserializer)?.into_iter().map(TensorSpec::from).collect())
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
        if canonical(&value).map_err(|what| syntax(format!("it holds {what}")))? != bytes {
            return Err(syntax("it is not canonical JSON: sort the keys bytewise, and leave out white space".into()));
        }
        let details: Self = serde_path_to_error::deserialize(value).map_err(|error| syntax(field_error(&error)))?;
        for (index, ListedFile { path, .. }) in details.files.iter().enumerate() {
            let wrong = |what: &str| Err(syntax(format!("files[{index}].path: `{}` {what}", text::shown(path))));
            if !is_within(path) {
                return wrong("is no path to a file within the model's folder: write names with `/` between");
            }
            if ["card.json", "details.json"].contains(&path.as_str()) {
                return wrong("is no file with weights: leave it out");
            }
            if details.files[..index].iter().any(|other| other.path == *path) {
                return wrong("is listed twice: leave one out");
            }
        }
        Ok(details)
    }
}

/// Writes a document in its one canonical form.
///
/// # Errors
/// What it holds that the form has no place for.
pub(super) fn canonical(document: &Value) -> Result<Vec<u8>, &'static str> {
    let mut canonical = Vec::new();
    write_canonical(document, &mut canonical)?;
    Ok(canonical)
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
