//! What a person writes, packed as a model's inputs.

use alloy::primitives::Bytes;
use serde_json::Value;

use crate::{
    model::{Details, graph::Signature},
    oip::{self, OipError, OipTensor},
    protocol::{
        cast::{ElementType, TensorSpec, show_dims},
        tensor::{self, TensorError},
    },
    text,
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
    #[error("`{name}` has shape {actual}, but the model takes {expected}")]
    Shape { name: String, expected: String, actual: String },
    #[error(
        "--text is for a model with one input, which is a text (BYTES, or the text's UTF-8 bytes as UINT8): this one takes {inputs}"
    )]
    NoTextInput { inputs: String },
    #[error("the text has {length} bytes, but `{name}` takes {max}: write a shorter one")]
    TextTooLong { name: String, length: usize, max: u64 },
    #[error(transparent)]
    Oip(#[from] OipError),
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// A model's inputs and its outputs' names, each in the model's order: what has to be known to ask it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Inputs.
    pub inputs: Vec<TensorSpec>,
    /// Names of the outputs.
    pub outputs: Vec<String>,
}

impl From<&Details> for Ports {
    fn from(details: &Details) -> Self {
        let outputs = details.outputs.iter().map(|spec| spec.name.clone()).collect();
        Self { inputs: details.inputs.clone(), outputs }
    }
}

impl From<&Signature> for Ports {
    fn from(signature: &Signature) -> Self {
        let outputs = signature.outputs.iter().map(|output| output.name().to_owned()).collect();
        Self { inputs: signature.inputs.clone(), outputs }
    }
}

/// What a model is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonInput {
    /// Inputs, as packed tensors in the model's order.
    pub packed: Bytes,
    /// Outputs that are named, as a mask; 0 if none is.
    pub mask: u16,
    /// Name of the request, which its answer repeats.
    pub id: Option<String>,
}

/// Packs nested JSON arrays, one per input in the model's order.
///
/// # Errors
/// `Count`, `Syntax`, `Ragged`, `Shape`, `Oip` or `Tensor`.
pub fn input_from_arrays(texts: &[String], ports: &Ports) -> Result<Bytes, InputError> {
    if texts.len() != ports.inputs.len() {
        return Err(InputError::Count {
            expected: ports.inputs.len(),
            actual: texts.len(),
            inputs: inputs_of(&ports.inputs),
        });
    }
    let mut tensors = Vec::new();
    for (text, spec) in texts.iter().zip(&ports.inputs) {
        let name = || text::shown(&spec.name);
        let data = oip::read_json(text.as_bytes())
            .map_err(|error| InputError::Syntax { name: name(), reason: error.to_string() })?;
        let mut shape = Vec::new();
        if !shape_of(&data, 0, &mut shape) {
            return Err(InputError::Ragged { name: name() });
        }
        // The protocol writes a scalar as a list of one.
        let data = if shape.is_empty() { Value::Array(vec![data]) } else { data };
        let datatype = spec.element.packed().name().to_owned();
        tensors.push(OipTensor::new(spec.name.clone(), shape, datatype, data));
    }
    pack(&tensors, ports)
}

/// Packs the JSON of Open Inference Protocol tensors, in any order.
///
/// # Errors
/// `Oip` for other JSON or names, `Shape` or `Tensor`.
pub fn input_from_json(text: &[u8], ports: &Ports) -> Result<JsonInput, InputError> {
    let request = oip::read_request(text)?;
    let mask = request.mask(ports.outputs.iter().map(String::as_str))?;
    Ok(JsonInput { packed: pack(&request.inputs, ports)?, mask, id: request.id })
}

/// Packs a text for a model whose one input is a text: a string, or its UTF-8 bytes, filled up with zeros where the model
/// takes a fixed number.
///
/// # Errors
/// `NoTextInput` or `TextTooLong`; `Tensor` for a text beyond 4 GiB.
pub fn input_from_text(words: &str, ports: &Ports) -> Result<Bytes, InputError> {
    let none = || InputError::NoTextInput { inputs: inputs_of(&ports.inputs) };
    let [TensorSpec { name, element, shape }] = &ports.inputs[..] else { return Err(none()) };
    // A model that leaves the rank open takes a row.
    let shape = shape.clone().unwrap_or_else(|| vec![None; if *element == ElementType::String { 1 } else { 2 }]);
    let (rows, last) = match (element, shape.split_last()) {
        (ElementType::String, _) => (&shape[..], None),
        (ElementType::U8, Some((last, rows))) => (rows, Some(*last)),
        _ => return Err(none()),
    };
    if rows.iter().any(|dim| dim.is_some_and(|size| size != 1)) {
        return Err(none());
    }
    let mut dims = vec![1; rows.len()];
    let Some(last) = last else { return Ok(tensor::encode(&[tensor::Tensor::strings(dims, &[words])?])?) };
    let mut bytes = words.as_bytes().to_vec();
    if let Some(max) = last {
        let length = usize::try_from(max).unwrap_or(usize::MAX);
        // A last dimension of 1 holds a number, not a text.
        if length < 2 {
            return Err(none());
        }
        if bytes.len() > length {
            return Err(InputError::TextTooLong { name: text::shown(name), length: bytes.len(), max });
        }
        bytes.resize(length, 0);
    }
    dims.push(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    Ok(tensor::encode(&[tensor::Tensor::u8(dims, &bytes)?])?)
}

fn pack(tensors: &[OipTensor], ports: &Ports) -> Result<Bytes, InputError> {
    for spec in &ports.inputs {
        let Some((tensor, expected)) = tensors.iter().find(|one| one.name == spec.name).zip(spec.shape.as_ref()) else {
            continue;
        };
        let fits = |(actual, allowed): (&u32, &Option<u64>)| allowed.is_none_or(|size| size == u64::from(*actual));
        if tensor.shape.len() != expected.len() || !tensor.shape.iter().zip(expected).all(fits) {
            let actual = show_dims(&tensor.shape);
            return Err(InputError::Shape { name: text::shown(&spec.name), expected: spec.kind(), actual });
        }
    }
    Ok(oip::pack_inputs(tensors, &ports.inputs)?)
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

fn inputs_of(inputs: &[TensorSpec]) -> String {
    inputs.iter().map(TensorSpec::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(inputs: &[(&str, &str, &[i64])]) -> Ports {
        let spec = |(name, datatype, shape): &(&str, &str, &[i64])| serde_json::json!({ "name": name, "datatype": datatype, "shape": shape });
        let inputs: Vec<_> = inputs.iter().map(spec).collect();
        let details: Details = serde_json::from_value(serde_json::json!({ "inputs": inputs, "outputs": [] })).unwrap();
        (&details).into()
    }

    fn iris() -> Ports {
        ports(&[("features", "FP32", &[-1, 4])])
    }

    fn arrays(ports: &Ports, texts: &[&str]) -> Result<Bytes, InputError> {
        input_from_arrays(&texts.iter().map(ToString::to_string).collect::<Vec<_>>(), ports)
    }

    #[test]
    fn nested_arrays_take_the_type_and_the_shape_of_the_model() {
        let packed = arrays(&iris(), &["[[5.1,3.5,1.4,0.2]]"]).unwrap();
        assert_eq!(packed, tensor::encode(&[tensor::Tensor::f32(vec![1, 4], &[5.1, 3.5, 1.4, 0.2]).unwrap()]).unwrap());
        let batch = arrays(&iris(), &["[[1,2,3,4],[5,6,7,8]]"]).unwrap();
        assert_eq!(tensor::decode(&batch).unwrap()[0].shape(), [2, 4]);
        let two = ports(&[("a", "UINT8", &[2]), ("b", "INT64", &[])]);
        let packed = tensor::decode(&arrays(&two, &["[1,2]", "-3"]).unwrap()).unwrap();
        assert_eq!((packed[0].dtype(), packed[1].dtype()), (tensor::DType::U8, tensor::DType::I64));
        assert!(packed[1].shape().is_empty());
    }

    #[test]
    fn what_is_typed_wrong_is_said() {
        for (texts, says) in [
            (&["[[5.1,3.5,1.4]]"][..], "`features` has shape [1,3], but the model takes FP32 [-1,4]"),
            (&["[5.1,3.5,1.4,0.2]"], "has shape [4]"),
            (&["[[1,2,3,4],[5,6]]"], "ragged"),
            (&["[[1,2,3,4],5]"], "ragged"),
            (&["[[1,2,3,[4]]]"], "ragged"),
            (&["[[1,2,3,4"], "is not JSON"),
            (&["[[1,2,3,\"x\"]]"], "\"x\" in `features` is no FP32"),
            (&[], "1 inputs, but 0 came: write --input for each, in this order: features FP32 [-1,4]"),
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
        let mut two = ports(&[("a", "UINT8", &[2])]);
        two.outputs = ["x", "y"].map(str::to_owned).to_vec();
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
        let two = ports(&[("a", "UINT8", &[2]), ("b", "FP32", &[1])]);
        let a = r#"{"name":"a","shape":[2],"datatype":"UINT8","data":[1,2]}"#;
        let b = r#"{"name":"b","shape":[1],"datatype":"FP32","data":[0.5]}"#;
        let packed = input_from_json(format!(r#"{{"inputs":[{b},{a}]}}"#).as_bytes(), &two).unwrap();
        assert_eq!(packed.packed, arrays(&two, &["[1,2]", "[0.5]"]).unwrap());
        assert_eq!(packed.mask, 0);
        for (json, says) in [
            (format!(r#"{{"inputs":[{a},{a}]}}"#), "is given twice"),
            (format!(r#"{{"inputs":[{a}]}}"#), "input `b` is missing; the model takes a UINT8 [2], b FP32 [1]"),
            (format!(r#"{{"inputs":[{a},{}]}}"#, b.replace("\"b\"", "\"c\"")), "no input `c`"),
            (format!(r#"{{"inputs":[{a},{}]}}"#, b.replace("[1]", "[2]")), "has shape [2]"),
            ("{}".into(), "not an Open Inference Protocol request"),
        ] {
            let error = input_from_json(json.as_bytes(), &two).unwrap_err().to_string();
            assert!(error.contains(says), "{json}: {error}");
        }
    }

    #[test]
    fn a_text_is_a_string_or_its_bytes() {
        let typed = |ports: &Ports| input_from_text("où", ports).map_err(|error| error.to_string());
        let string = tensor::encode(&[tensor::Tensor::strings(vec![1, 1], &["où"]).unwrap()]).unwrap();
        assert_eq!(typed(&ports(&[("text", "BYTES", &[-1, 1])])).unwrap(), string);
        let bytes = |length: u32| {
            let bytes = [&b"o\xc3\xb9"[..], &[0; 4]].concat();
            tensor::encode(&[tensor::Tensor::u8(vec![1, length], &bytes[..length as usize]).unwrap()]).unwrap()
        };
        assert_eq!(typed(&ports(&[("text", "UINT8", &[-1, -1])])).unwrap(), bytes(3));
        assert_eq!(typed(&ports(&[("text", "UINT8", &[1, 5])])).unwrap(), bytes(5));
        assert!(typed(&ports(&[("text", "UINT8", &[1, 2])])).unwrap_err().contains("3 bytes, but `text` takes 2"));
        let two = ports(&[("text", "BYTES", &[1]), ("more", "BYTES", &[1])]);
        for ports in [iris(), two, ports(&[("text", "UINT8", &[])]), ports(&[("text", "BYTES", &[2])])] {
            assert!(typed(&ports).unwrap_err().contains("--text is for a model with one input"));
        }
    }
}
