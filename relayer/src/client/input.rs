//! What a person writes, packed as a model's inputs.

use alloy::primitives::Bytes;
use serde_json::Value;

use crate::{
    model::{Details, TensorMetadata},
    oip::{self, OipError, OipTensor},
    protocol::tensor::{self, TensorError},
};

/// What is wrong with an input.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum InputError {
    #[error("the model has {expected} inputs, but {actual} came: write --input for each, in this order: {inputs}")]
    Count { expected: usize, actual: usize, inputs: String },
    #[error("--input for `{name}` is not JSON: {reason}; write nested arrays such as '[[5.1,3.5,1.4,0.2]]'")]
    Syntax { name: String, reason: String },
    #[error("the arrays for `{name}` are ragged: every row of a level needs the same length")]
    Ragged { name: String },
    #[error("`{name}` has shape {actual:?}, but the model takes {expected}")]
    Shape { name: String, expected: String, actual: Vec<u32> },
    #[error("there is no input `{name}`; the model takes {inputs}")]
    Unknown { name: String, inputs: String },
    #[error(transparent)]
    Oip(#[from] OipError),
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// Packs nested JSON arrays, one per input in the model's order.
///
/// # Errors
/// All but `Unknown`.
pub fn input_from_arrays(texts: &[String], details: &Details) -> Result<Bytes, InputError> {
    if texts.len() != details.inputs.len() {
        return Err(InputError::Count {
            expected: details.inputs.len(),
            actual: texts.len(),
            inputs: inputs_of(details),
        });
    }
    let mut tensors = Vec::new();
    for (text, spec) in texts.iter().zip(&details.inputs) {
        let name = || spec.name.clone();
        let data = oip::read_json(text.as_bytes())
            .map_err(|error| InputError::Syntax { name: name(), reason: error.to_string() })?;
        let mut shape = Vec::new();
        if !shape_of(&data, 0, &mut shape) {
            return Err(InputError::Ragged { name: name() });
        }
        // The protocol writes a scalar as a list of one.
        let data = if shape.is_empty() { Value::Array(vec![data]) } else { data };
        tensors.push(OipTensor::new(name(), shape, spec.datatype.clone(), data));
    }
    pack(&tensors, details)
}

/// What an Open Inference Protocol request asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonInput {
    /// Inputs, as packed tensors in the model's order.
    pub packed: Bytes,
    /// Outputs that it names, as a mask; 0 if it names none.
    pub mask: u16,
}

/// Packs the JSON of Open Inference Protocol tensors, in any order.
///
/// # Errors
/// `Oip` for other JSON, `Unknown`, `Count`, `Shape` or `Tensor`.
pub fn input_from_json(text: &[u8], details: &Details) -> Result<JsonInput, InputError> {
    let request = oip::read_request(text)?;
    let mask = request.mask(details.outputs.iter().map(|spec| spec.name.as_str()))?;
    let inputs = request.inputs;
    if let Some(unknown) = inputs.iter().find(|input| !details.inputs.iter().any(|spec| spec.name == input.name)) {
        return Err(InputError::Unknown { name: unknown.name.clone(), inputs: inputs_of(details) });
    }
    let wrong_count =
        || InputError::Count { expected: details.inputs.len(), actual: inputs.len(), inputs: inputs_of(details) };
    if inputs.len() != details.inputs.len() {
        return Err(wrong_count());
    }
    // As many as there are inputs and none unknown: one is missing only if another came twice.
    let ordered = details.inputs.iter().map(|spec| inputs.iter().find(|input| input.name == spec.name).cloned());
    let packed = pack(&ordered.collect::<Option<Vec<_>>>().ok_or_else(wrong_count)?, details)?;
    Ok(JsonInput { packed, mask })
}

fn pack(tensors: &[OipTensor], details: &Details) -> Result<Bytes, InputError> {
    let mut packed = Vec::new();
    for (tensor, spec) in tensors.iter().zip(&details.inputs) {
        let fits = tensor.shape.len() == spec.shape.len()
            && tensor.shape.iter().zip(&spec.shape).all(|(dim, allowed)| *allowed < 0 || i64::from(*dim) == *allowed);
        if !fits {
            return Err(InputError::Shape {
                name: spec.name.clone(),
                expected: show(spec),
                actual: tensor.shape.clone(),
            });
        }
        packed.push(tensor.to_tensor()?);
    }
    Ok(tensor::encode(&packed)?)
}

/// The shape of nested arrays; whether all rows of a level agree.
fn shape_of(data: &Value, level: usize, shape: &mut Vec<u32>) -> bool {
    let Value::Array(items) = data else { return shape.len() == level };
    let Ok(length) = u32::try_from(items.len()) else { return false };
    match shape.get(level) {
        Some(known) if *known != length => return false,
        Some(_) => {}
        // A level that appears late was a scalar before.
        None if shape.len() > level => return false,
        None => shape.push(length),
    }
    items.iter().enumerate().all(|(index, item)| {
        let known = shape.len();
        shape_of(item, level + 1, shape) && (index == 0 || shape.len() == known)
    })
}

fn inputs_of(details: &Details) -> String {
    details.inputs.iter().map(|spec| format!("{} {}", spec.name, show(spec))).collect::<Vec<_>>().join(", ")
}

fn show(spec: &TensorMetadata) -> String {
    let dims: Vec<_> = spec.shape.iter().map(|dim| if *dim < 0 { "any".to_owned() } else { dim.to_string() }).collect();
    format!("{} [{}]", spec.datatype, dims.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn details(inputs: &[(&str, &str, &[i64])]) -> Details {
        let spec = |(name, datatype, shape): &(&str, &str, &[i64])| serde_json::json!({ "name": name, "datatype": datatype, "shape": shape });
        let inputs: Vec<_> = inputs.iter().map(spec).collect();
        serde_json::from_value(serde_json::json!({ "inputs": inputs, "outputs": [] })).unwrap()
    }

    fn iris() -> Details {
        details(&[("features", "FP32", &[-1, 4])])
    }

    fn arrays(details: &Details, texts: &[&str]) -> Result<Bytes, InputError> {
        input_from_arrays(&texts.iter().map(ToString::to_string).collect::<Vec<_>>(), details)
    }

    #[test]
    fn nested_arrays_take_the_type_and_the_shape_of_the_model() {
        let packed = arrays(&iris(), &["[[5.1,3.5,1.4,0.2]]"]).unwrap();
        assert_eq!(packed, tensor::encode(&[tensor::Tensor::f32(vec![1, 4], &[5.1, 3.5, 1.4, 0.2]).unwrap()]).unwrap());
        let batch = arrays(&iris(), &["[[1,2,3,4],[5,6,7,8]]"]).unwrap();
        assert_eq!(tensor::decode(&batch).unwrap()[0].shape(), [2, 4]);
        let two = details(&[("a", "UINT8", &[2]), ("b", "INT64", &[])]);
        let packed = tensor::decode(&arrays(&two, &["[1,2]", "-3"]).unwrap()).unwrap();
        assert_eq!((packed[0].dtype(), packed[1].dtype()), (tensor::DType::U8, tensor::DType::I64));
        assert!(packed[1].shape().is_empty());
    }

    #[test]
    fn what_is_typed_wrong_is_said() {
        for (texts, says) in [
            (&["[[5.1,3.5,1.4]]"][..], "`features` has shape [1, 3], but the model takes FP32 [any, 4]"),
            (&["[5.1,3.5,1.4,0.2]"], "has shape [4]"),
            (&["[[1,2,3,4],[5,6]]"], "ragged"),
            (&["[[1,2,3,4],5]"], "ragged"),
            (&["[[1,2,3,[4]]]"], "ragged"),
            (&["[[1,2,3,4"], "is not JSON"),
            (&["[[1,2,3,\"x\"]]"], "\"x\" in `features` is no FP32"),
            (&[], "1 inputs, but 0 came: write --input for each, in this order: features FP32 [any, 4]"),
            (&["[[1,2,3,4]]", "1"], "but 2 came"),
        ] {
            let error = arrays(&iris(), texts).unwrap_err().to_string();
            assert!(error.contains(says), "{texts:?}: {error}");
        }
    }

    /// F12: NaN and infinities may be typed as Python prints them.
    #[test]
    fn floats_that_json_does_not_have_may_be_typed() {
        let typed = arrays(&iris(), &["[[NaN,-Infinity,\"inf\",1]]"]).unwrap();
        let numbers = [f32::NAN, f32::NEG_INFINITY, f32::INFINITY, 1.0];
        assert_eq!(typed, tensor::encode(&[tensor::Tensor::f32(vec![1, 4], &numbers).unwrap()]).unwrap());
    }

    /// F12: a request names its outputs, and the chain is asked for those.
    #[test]
    fn outputs_that_json_names_become_the_mask() {
        let mut two = details(&[("a", "UINT8", &[2])]);
        two.outputs = ["x", "y"].map(|name| TensorMetadata { name: name.into(), ..two.inputs[0].clone() }).to_vec();
        let ask = |outputs: &str| {
            let a = r#"{"name":"a","shape":[2],"datatype":"UINT8","data":[1,2]}"#;
            input_from_json(format!(r#"{{"id":"7","inputs":[{a}],"outputs":{outputs}}}"#).as_bytes(), &two)
        };
        assert_eq!(ask(r#"[{"name":"y"}]"#).unwrap().mask, 2);
        assert_eq!(ask("[]").unwrap().mask, 0);
        assert!(ask(r#"[{"name":"z"}]"#).unwrap_err().to_string().contains("no output `z`; it gives x, y"));
    }

    #[test]
    fn open_inference_tensors_come_in_any_order() {
        let two = details(&[("a", "UINT8", &[2]), ("b", "FP32", &[1])]);
        let a = r#"{"name":"a","shape":[2],"datatype":"UINT8","data":[1,2]}"#;
        let b = r#"{"name":"b","shape":[1],"datatype":"FP32","data":[0.5]}"#;
        let packed = input_from_json(format!(r#"{{"inputs":[{b},{a}]}}"#).as_bytes(), &two).unwrap();
        assert_eq!(packed.packed, arrays(&two, &["[1,2]", "[0.5]"]).unwrap());
        assert_eq!(packed.mask, 0);
        for (json, says) in [
            (format!(r#"{{"inputs":[{a},{a}]}}"#), "2 inputs"),
            (format!(r#"{{"inputs":[{a}]}}"#), "but 1 came"),
            (format!(r#"{{"inputs":[{a},{}]}}"#, b.replace("\"b\"", "\"c\"")), "there is no input `c`"),
            (format!(r#"{{"inputs":[{a},{}]}}"#, b.replace("[1]", "[2]")), "has shape [2]"),
            ("{}".into(), "not an Open Inference Protocol request"),
        ] {
            let error = input_from_json(json.as_bytes(), &two).unwrap_err().to_string();
            assert!(error.contains(says), "{json}: {error}");
        }
    }
}
