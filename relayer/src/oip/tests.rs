use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::protocol::cast::ElementType;

fn ports() -> Vec<TensorSpec> {
    let port = |name: &str, element| TensorSpec { name: name.into(), element, shape: None };
    vec![port("a", ElementType::F32), port("b", ElementType::I64)]
}

fn read(inputs: Value) -> Result<Bytes, OipError> {
    read_text(&json!({ "inputs": inputs }).to_string())
}

fn read_text(json: &str) -> Result<Bytes, OipError> {
    pack_inputs(&read_request(json.as_bytes())?.inputs, &ports())
}

fn one(datatype: &str, shape: Value, data: Value) -> Result<Tensor, OipError> {
    OipTensor::new("x".into(), serde_json::from_value(shape).unwrap(), datatype.into(), data).to_tensor()
}

#[test]
fn inputs_are_packed_in_the_models_order() {
    let a = json!({"name": "a", "shape": [2], "datatype": "FP32", "data": [1, 2.5]});
    let b = json!({"name": "b", "shape": [1, 1], "datatype": "INT64", "data": [[-3]]});
    let expected =
        tensor::encode(&[Tensor::f32(vec![2], &[1.0, 2.5]).unwrap(), Tensor::i64(vec![1, 1], &[-3]).unwrap()]).unwrap();
    assert_eq!(read(json!([a, b])).unwrap(), expected);
    assert_eq!(read(json!([b, a])).unwrap(), expected);
    assert!(matches!(read(json!([a])), Err(OipError::MissingName { name, .. }) if name == "b"));
    assert!(matches!(read(json!([a, b, a])), Err(OipError::Repeated { name }) if name == "a"));
    let c = json!({"name": "c", "shape": [], "datatype": "FP32", "data": [1]});
    assert!(matches!(read(json!([a, b, c])), Err(OipError::UnknownName { name, .. }) if name == "c"));
}

#[test]
fn nested_and_flat_data_are_the_same() {
    let flat = one("INT32", json!([2, 2]), json!([1, 2, 3, 4])).unwrap();
    assert_eq!(one("INT32", json!([2, 2]), json!([[1, 2], [3, 4]])).unwrap(), flat);
    assert_eq!(flat, Tensor::i32(vec![2, 2], &[1, 2, 3, 4]).unwrap());
    assert_eq!(one("FP64", json!([]), json!([2])).unwrap(), Tensor::f64(vec![], &[2.0]).unwrap());
    assert!(one("FP32", json!([0, 3]), json!([])).unwrap().is_empty());
    for (shape, data) in [
        (json!([2, 2]), json!([1, 2, 3])),
        (json!([2, 2]), json!([[1, 2, 3], [4]])),
        (json!([2, 2]), json!([[1, 2]])),
        (json!([4]), json!([[1, 2], [3, 4]])),
        (json!([2]), json!([1, [2]])),
        (json!([1]), json!(1)),
        (json!([1]), json!({})),
        (json!([4294967295u32, 4294967295u32, 4294967295u32]), json!([])),
    ] {
        assert!(matches!(one("INT32", shape.clone(), data.clone()), Err(OipError::Shape { .. })), "{shape} {data}");
    }
}

#[test]
fn values_must_be_of_the_datatype() {
    for (datatype, value) in [
        ("INT8", json!(128)),
        ("INT8", json!(1.5)),
        ("INT8", json!("1")),
        ("UINT8", json!(-1)),
        ("UINT64", json!(18446744073709551616.0)),
        ("BOOL", json!(1)),
        ("FP32", json!("1")),
        ("FP32", json!(1e39)),
        ("FP16", json!(65520)),
        ("FP32", json!(null)),
        ("BYTES", json!(1)),
    ] {
        assert!(matches!(one(datatype, json!([1]), json!([value])), Err(OipError::Value { .. })), "{datatype} {value}");
    }
    for datatype in ["FP8", "BF16", "fp32", "INT128", ""] {
        assert!(matches!(one(datatype, json!([1]), json!([1])), Err(OipError::UnknownDatatype { .. })), "{datatype}");
    }
    assert!(one("UINT64", json!([1]), json!([u64::MAX])).is_ok());
    assert!(one("BYTES", json!([1]), json!(["né"])).is_ok());
}

#[test]
fn what_is_no_request_is_refused_with_an_example() {
    for text in ["", "[]", "{}", r#"{"inputs":[{}]}"#, r#"{"inputs":[],"input":[]}"#] {
        let error = read_text(text).unwrap_err();
        assert!(matches!(error, OipError::Syntax(_)) && error.to_string().contains("\"inputs\""), "{text}");
    }
}

#[test]
fn what_json_has_no_number_for_is_a_string() {
    let tensor = one("FP32", json!([3]), json!(["NaN", "Infinity", "-Infinity"])).unwrap();
    assert_eq!(OipTensor::from_tensor("x", &tensor).data, json!(["NaN", "Infinity", "-Infinity"]));
}

/// F12: what the protocol allows beside the inputs, as its clients write it.
#[test]
fn requests_are_read_as_clients_write_them() {
    let request = r#"{"id": "42", "model_name": "m", "model_version": "1", "parameters": {"binary_data_output": false},
        "inputs": [{"name": "a", "shape": [2], "datatype": "FP32", "parameters": {"content_type": "np"}, "data": [1, 2]},
                   {"name": "b", "shape": [1], "datatype": "INT64", "data": [3]}],
        "outputs": [{"name": "y", "parameters": {"binary_data": false}}]}"#;
    let read = read_request(format!("\u{feff}{request}").as_bytes()).unwrap();
    assert_eq!(read.id.as_deref(), Some("42"));
    assert!(read.wants("y") && !read.wants("x"));
    assert_eq!(read.mask(["x", "y"].into_iter()).unwrap(), 2);
    assert_eq!(pack_inputs(&read.inputs, &ports()).unwrap(), read_text(request).unwrap());
    let unknown = read.mask(["x", "z"].into_iter()).unwrap_err().to_string();
    assert_eq!(unknown, "the model has no output `y`; it gives x, z");
    let all = read_request(br#"{"inputs": [], "outputs": []}"#).unwrap();
    assert!(all.wants("x") && all.mask(["x"].into_iter()).unwrap() == 0);
    // A seventeenth output is beyond a mask, so all are run and the named ones kept.
    let names: Vec<_> = (0..17).map(|index| index.to_string()).collect();
    let last = read_request(br#"{"inputs": [], "outputs": [{"name": "16"}, {"name": "0"}]}"#).unwrap();
    assert_eq!(last.mask(names.iter().map(String::as_str)).unwrap(), 0);
    let answer = OipResponse { id: read.id, outputs: vec![] };
    assert_eq!(serde_json::to_string(&answer).unwrap(), r#"{"id":"42","outputs":[]}"#);
}

/// F12: bare and quoted, by every name that programs give them.
#[test]
fn floats_that_json_does_not_have_are_read() {
    let read = |data: &str| {
        let text = format!(
            r#"{{"inputs":[{{"name":"a","shape":[3],"datatype":"FP32","data":{data}}},
            {{"name":"b","shape":[1],"datatype":"INT64","data":[1]}}]}}"#
        );
        read_text(&text)
    };
    let expected = read(r#"["NaN", "Infinity", "-Infinity"]"#).unwrap();
    for data in ["[NaN,Infinity,-Infinity]", r#"["nan","inf","-inf"]"#, r#"["NAN", "+Infinity", -Infinity]"#] {
        assert_eq!(read(data).unwrap(), expected, "{data}");
    }
    for data in [r#"["1e999", 1, 1]"#, r#"["1", 1, 1]"#, r#"["", 1, 1]"#, r#"["Nancy", 1, 1]"#] {
        assert!(matches!(read(data), Err(OipError::Value { .. })), "{data}");
    }
    for data in ["[nan, 1, 1]", "[Inf, 1, 1]", "[1e999, 1, 1]", "[NaNNaN, 1, 1]"] {
        assert!(matches!(read(data), Err(OipError::Syntax(_))), "{data}");
    }
    // A missing text is no text, whatever pandas calls it.
    let text = r#"{"inputs":[{"name":"a","shape":[2],"datatype":"BYTES","data":["NaN", NaN]}]}"#;
    let tensor = read_request(text.as_bytes()).unwrap().inputs[0].to_tensor();
    assert_eq!(tensor.unwrap_err().to_string(), "NaN in `a` is no BYTES: correct it, or name another datatype");
    let quoted = r#"{"inputs":[{"name":"a \" NaN","shape":[],"datatype":"BYTES","data":["-Infinity"]}]}"#;
    assert_eq!(read_request(quoted.as_bytes()).unwrap().inputs[0].name, "a \" NaN");
}

/// F12: the cause is named, in one line.
#[test]
fn a_request_that_cannot_be_read_says_why() {
    for (text, says) in [
        (
            r#"{"inputs":[{"name":"a","shape":[1],"datatype":"FP32","parameters":{"binary_data_size":4}}]}"#,
            "`data` of `a` is missing",
        ),
        (r#"{"inputs":[{"name":"a","shape":[-1],"datatype":"FP32","data":[1]}]}"#, "-1"),
        (r#"{"inputs":[{"name":"a\nb","shape":[1],"datatype":"FP32","data":[1]}]}"#, "no input `a\\nb`"),
        (r#"{"inputs":[],"in\nput":[]}"#, "in\\nput"),
        (r#"{"inputs":{}}"#, "expected a sequence"),
        ("\u{0}\u{1}", "line 1 column 1"),
    ] {
        let error = read_text(text).unwrap_err().to_string();
        assert!(error.contains(says) && !error.chars().any(char::is_control), "{text}: {error}");
    }
}

#[test]
fn floats_print_as_short_as_they_can() {
    let tensor = Tensor::f32(vec![3], &[0.1, 1.0, 1e-40]).unwrap();
    assert_eq!(serde_json::to_string(&OipTensor::from_tensor("x", &tensor).data).unwrap(), "[0.1,1.0,1e-40]");
    let fixed = Tensor::new(DType::I16, 2, vec![1], vec![0xff, 0x85].into()).unwrap();
    let fixed = OipTensor::from_tensor("x", &fixed);
    assert_eq!((fixed.datatype.as_str(), fixed.data), ("FP64", json!([-1.23])));
}

fn survives(tensor: &Tensor) -> Result<(), TestCaseError> {
    let text = serde_json::to_string(&OipTensor::from_tensor("x", tensor)).unwrap();
    let back: OipTensor = serde_json::from_str(&text).unwrap();
    prop_assert_eq!(&back.to_tensor().unwrap(), tensor);
    Ok(())
}

proptest! {
    /// F12: however a valid request is damaged, it is read or refused in one line.
    #[test]
    fn a_damaged_request_is_read_or_refused_in_one_line(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), cut in any::<Option<prop::sample::Index>>(),
    ) {
        let mut json = br#"{"id":"7","inputs":[{"name":"a","shape":[3],"datatype":"FP32","data":[NaN,-Infinity,"inf"]},
            {"name":"b","shape":[1,1],"datatype":"INT64","data":[[-3]]}],"outputs":[{"name":"y"}]}"#.to_vec();
        for (at, byte) in changes {
            let at = at.index(json.len());
            json[at] = byte;
        }
        if let Some(cut) = cut {
            json.truncate(cut.index(json.len()));
        }
        let read = read_request(&json).and_then(|request| {
            request.mask(["y"].into_iter())?;
            pack_inputs(&request.inputs, &ports())
        });
        if let Err(error) = read {
            let told = error.to_string();
            prop_assert!(told.len() < 1500 && !told.chars().any(char::is_control), "{:?}", told);
        }
    }

    #[test]
    fn every_float_survives_being_printed(bits in any::<u32>(), wide in any::<f64>(), half in any::<u16>()) {
        let value = f32::from_bits(bits);
        prop_assume!(!value.is_nan() && !wide.is_nan() && !f16::from_bits(half).is_nan());
        survives(&Tensor::f32(vec![1], &[value]).unwrap())?;
        survives(&Tensor::f64(vec![1], &[wide]).unwrap())?;
        survives(&Tensor::new(DType::F16, 0, vec![1], half.to_be_bytes().to_vec().into()).unwrap())?;
    }

    #[test]
    fn every_integer_and_string_survives_being_printed(value in any::<i64>(), text in any::<String>(), byte in any::<u8>()) {
        survives(&Tensor::i64(vec![1], &[value]).unwrap())?;
        survives(&Tensor::new(DType::U64, 0, vec![], value.to_be_bytes().to_vec().into()).unwrap())?;
        survives(&Tensor::u8(vec![1, 1], &[byte]).unwrap())?;
        survives(&Tensor::strings(vec![1], &[text]).unwrap())?;
    }
}
