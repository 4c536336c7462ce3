use proptest::prelude::*;

use super::{super::tensor::encode, *};

fn spec(element: ElementType, shape: &[Option<u64>]) -> TensorSpec {
    TensorSpec { name: "x".into(), element, shape: Some(shape.to_vec()) }
}

/// Casts one tensor to a vector of `element`.
fn cast(tensor: Tensor, element: ElementType) -> Result<Elements, BadInput> {
    let shape = vec![None; tensor.shape().len()];
    let inputs = to_inputs(&[spec(element, &shape)], &encode(&[tensor]).unwrap())?;
    Ok(inputs.into_iter().next().unwrap().elements)
}

/// One fixed-point number.
fn fixed(value: i128, decimals: u8) -> Tensor {
    Tensor::new(DType::I128, decimals, vec![1], value.to_be_bytes().to_vec().into()).unwrap()
}

fn bad_value(element: ElementType) -> BadInput {
    BadInput::Value { input: "x".into(), index: 0, element }
}

#[test]
fn integers_are_cast_within_range_only() {
    assert_eq!(cast(fixed(-128, 0), ElementType::I8), Ok(Elements::I8(vec![-128])));
    assert_eq!(cast(fixed(-129, 0), ElementType::I8), Err(bad_value(ElementType::I8)));
    assert_eq!(cast(fixed(-1, 0), ElementType::U64), Err(bad_value(ElementType::U64)));
    assert_eq!(cast(fixed(u64::MAX.into(), 0), ElementType::U64), Ok(Elements::U64(vec![u64::MAX])));
    let top = Tensor::new(DType::U128, 0, vec![1], u128::MAX.to_be_bytes().to_vec().into()).unwrap();
    assert_eq!(cast(top.clone(), ElementType::I64), Err(bad_value(ElementType::I64)));
    assert_eq!(cast(top, ElementType::F64), Ok(Elements::F64(vec![2f64.powi(128)])));
}

#[test]
fn fixed_point_becomes_an_integer_only_if_it_is_whole() {
    assert_eq!(cast(fixed(-1200, 2), ElementType::I16), Ok(Elements::I16(vec![-12])));
    assert_eq!(cast(fixed(1201, 2), ElementType::I16), Err(bad_value(ElementType::I16)));
    assert_eq!(cast(fixed(0, 36), ElementType::U8), Ok(Elements::U8(vec![0])));
}

#[test]
fn floats_become_integers_only_if_they_are_whole() {
    let float = |value| Tensor::f64(vec![1], &[value]).unwrap();
    assert_eq!(cast(float(-3.0), ElementType::I8), Ok(Elements::I8(vec![-3])));
    assert_eq!(cast(float(-0.0), ElementType::U8), Ok(Elements::U8(vec![0])));
    assert_eq!(cast(float(2f64.powi(63)), ElementType::U64), Ok(Elements::U64(vec![1 << 63])));
    assert_eq!(cast(float(-2f64.powi(63)), ElementType::I64), Ok(Elements::I64(vec![i64::MIN])));
    for value in [0.5, 2f64.powi(63), f64::NAN, f64::INFINITY, f64::MAX, f64::MIN_POSITIVE] {
        assert_eq!(cast(float(value), ElementType::I64), Err(bad_value(ElementType::I64)), "{value}");
    }
}

#[test]
fn decimals_round_to_the_nearest_float_half_to_even() {
    assert_eq!(cast(fixed(1, 1), ElementType::F32), Ok(Elements::F32(vec![0.1])));
    // 2^24 + 1 lies between two floats, and the even one is below; 2^24 + 3 goes up.
    assert_eq!(cast(fixed((1 << 24) + 1, 0), ElementType::F32), Ok(Elements::F32(vec![16_777_216.0])));
    assert_eq!(cast(fixed((1 << 24) + 3, 0), ElementType::F32), Ok(Elements::F32(vec![16_777_220.0])));
    // A hair above the middle is not the middle.
    assert_eq!(cast(fixed(167_772_170_000_000_001, 10), ElementType::F32), Ok(Elements::F32(vec![16_777_218.0])));
    assert_eq!(cast(fixed(65_519, 0), ElementType::F16), Ok(Elements::F16(vec![f16::MAX])));
    assert_eq!(cast(fixed(65_520, 0), ElementType::F16), Err(bad_value(ElementType::F16)));
    assert_eq!(cast(fixed(-65_520, 0), ElementType::F16), Err(bad_value(ElementType::F16)));
    // The smallest f16 is 2^-24, about 5.96e-8; half of it goes to zero.
    assert_eq!(cast(fixed(6, 8), ElementType::F16), Ok(Elements::F16(vec![f16::from_bits(1)])));
    assert_eq!(cast(fixed(298_023_223_876_953_125, 25), ElementType::F16), Ok(Elements::F16(vec![f16::ZERO])));
    assert_eq!(cast(fixed(298_023_223_876_953_126, 25), ElementType::F16), Ok(Elements::F16(vec![f16::from_bits(1)])));
}

#[test]
fn narrowing_floats_rounds_once() {
    // Twice rounded, over f32, this would come out one higher: just above the middle of two f16 but below f32's sight.
    let value = 1.0 + 2f64.powi(-11) - 2f64.powi(-40);
    let float = |value| Tensor::f64(vec![1], &[value]).unwrap();
    assert_eq!(cast(float(value), ElementType::F16), Ok(Elements::F16(vec![f16::ONE])));
    let value = 1.0 + 2f64.powi(-11) + 2f64.powi(-40);
    assert_eq!(cast(float(value), ElementType::F16), Ok(Elements::F16(vec![f16::from_bits(0x3c01)])));
    assert_eq!(cast(float(1e39), ElementType::F32), Err(bad_value(ElementType::F32)));
    assert_eq!(cast(float(f64::NEG_INFINITY), ElementType::F16), Ok(Elements::F16(vec![f16::NEG_INFINITY])));
    let Ok(Elements::F32(nan)) = cast(float(f64::NAN), ElementType::F32) else { panic!("NaN passes") };
    assert!(nan[0].is_nan());
}

#[test]
fn bools_and_strings_stay_what_they_are() {
    let flag = Tensor::new(DType::Bool, 0, vec![2], vec![0, 1].into()).unwrap();
    let text = Tensor::strings(vec![1], &["ж"]).unwrap();
    assert_eq!(cast(flag.clone(), ElementType::Bool), Ok(Elements::Bool(vec![false, true])));
    assert_eq!(cast(text.clone(), ElementType::String), Ok(Elements::String(vec!["ж".into()])));
    for (tensor, element) in [
        (flag.clone(), ElementType::U8),
        (flag, ElementType::String),
        (text.clone(), ElementType::Bool),
        (text, ElementType::F32),
        (fixed(1, 0), ElementType::Bool),
        (fixed(1, 0), ElementType::String),
    ] {
        assert!(matches!(cast(tensor, element), Err(BadInput::Type { .. })));
    }
}

#[test]
fn a_string_with_a_zero_byte_is_bad_input() {
    let text = Tensor::strings(vec![2], &["a", "b\0c"]).unwrap();
    let expected = BadInput::Value { input: "x".into(), index: 1, element: ElementType::String };
    assert_eq!(cast(text, ElementType::String), Err(expected));
}

#[test]
fn shapes_and_counts_must_match_the_model() {
    let packed = |shape: Vec<u32>| {
        let count = shape.iter().product::<u32>() as usize;
        encode(&[Tensor::f32(shape, &vec![0.0; count]).unwrap()]).unwrap()
    };
    let specs = [spec(ElementType::F32, &[None, Some(4)])];
    for rows in [0, 1, 7] {
        assert!(to_inputs(&specs, &packed(vec![rows, 4])).is_ok());
    }
    for shape in [vec![4], vec![1, 3], vec![1, 4, 1], vec![]] {
        assert!(matches!(to_inputs(&specs, &packed(shape)), Err(BadInput::Shape { .. })));
    }
    let two = [specs[0].clone(), specs[0].clone()];
    assert_eq!(to_inputs(&two, &packed(vec![1, 4])), Err(BadInput::Count { expected: 2, actual: 1 }));
    assert!(matches!(to_inputs(&specs, &"0x01".parse().unwrap()), Err(BadInput::NotTensors(_))));
    let open = [TensorSpec { shape: None, ..specs[0].clone() }];
    assert!(to_inputs(&open, &packed(vec![2, 2, 2])).is_ok());
}

#[test]
fn shapes_beyond_machine_words_are_bad_input_even_when_empty() {
    let specs = [spec(ElementType::U8, &[None; 4])];
    let huge = Tensor::new(DType::U8, 0, vec![u32::MAX, u32::MAX, u32::MAX, 0], Bytes::new()).unwrap();
    assert!(matches!(to_inputs(&specs, &encode(&[huge]).unwrap()), Err(BadInput::Shape { .. })));
}

fn written(elements: Elements, shape: Vec<u32>, format: OutputFormat) -> Result<Bytes, Unrepresentable> {
    from_outputs(&[(0, ModelTensor { shape, elements })], format, NotFinite::Refused, u32::MAX)
}

fn quantised(value: f64, width: u8, decimals: u8) -> Option<i128> {
    let format = OutputFormat { width, decimals, mask: 0 };
    let packed = written(Elements::F64(vec![value]), vec![], format).ok()?;
    let data = packed.slice(4..);
    let mut wide = [if data[0] & 0x80 != 0 { 0xff } else { 0 }; 16];
    wide[16 - data.len()..].copy_from_slice(&data);
    Some(i128::from_be_bytes(wide))
}

#[test]
fn quantising_rounds_half_to_even() {
    for (value, expected) in [(0.5, 0), (1.5, 2), (2.5, 2), (-0.5, 0), (-1.5, -2), (-2.5, -2), (0.5000000000000001, 1)]
    {
        assert_eq!(quantised(value, 1, 0), Some(expected), "{value}");
    }
    // 0.125 is exact in binary; 0.15 is a little below, as a float, and 0.35 too, though both print as the middle.
    assert_eq!(quantised(0.125, 4, 2), Some(12));
    assert_eq!(quantised(0.35, 4, 1), Some(3));
    assert_eq!(quantised(0.15, 4, 1), Some(1));
    assert_eq!(quantised(f64::from(0.15f32), 4, 1), Some(2));
}

#[test]
fn quantising_uses_the_whole_range_and_no_more() {
    assert_eq!(quantised(127.0, 1, 0), Some(127));
    assert_eq!(quantised(127.5, 1, 0), None);
    assert_eq!(quantised(127.49, 1, 0), Some(127));
    assert_eq!(quantised(-128.5, 1, 0), Some(-128));
    assert_eq!(quantised(-128.51, 1, 0), None);
    assert_eq!(quantised(-2f64.powi(127), 16, 0), Some(i128::MIN));
    assert_eq!(quantised(2f64.powi(127), 16, 0), None);
    assert_eq!(quantised(f64::MAX, 16, 36), None);
    assert_eq!(quantised(f64::MIN_POSITIVE, 16, 36), Some(0));
    assert_eq!(quantised(f64::from_bits(1), 16, 36), Some(0));
    // Every digit: 0.1 as a double is 0.1000000000000000055511151231257827…
    assert_eq!(quantised(0.1, 16, 36), Some(100_000_000_000_000_005_551_115_123_125_782_702));
    assert_eq!(quantised(-0.0, 8, 18), Some(0));
}

#[test]
fn what_is_not_finite_cannot_be_written() {
    let not_finite = Unrepresentable::NotFinite { output: 0, index: 1 };
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for format in [OutputFormat::NATIVE, OutputFormat { width: 4, decimals: 2, mask: 0 }] {
            let packed = written(Elements::F32(vec![0.0, value]), vec![2], format);
            assert_eq!(packed, Err(not_finite.clone()));
        }
    }
}

#[test]
fn outputs_other_than_floats_ignore_the_format() {
    let format = OutputFormat { width: 2, decimals: 3, mask: 0 };
    let packed = written(Elements::I64(vec![-2]), vec![1], format).unwrap();
    assert_eq!(packed, encode(&[Tensor::i64(vec![1], &[-2]).unwrap()]).unwrap());
    let packed = written(Elements::String(vec!["ж".into()]), vec![1], format).unwrap();
    assert_eq!(packed, encode(&[Tensor::strings(vec![1], &["ж"]).unwrap()]).unwrap());
    let packed = written(Elements::Bool(vec![true]), vec![1], format).unwrap();
    assert_eq!(packed, "0x010e00010000000101".parse::<Bytes>().unwrap());
}

#[test]
fn a_bf16_output_is_written_as_f32() {
    let packed = written(Elements::Bf16(vec![bf16::from_f32(1.5)]), vec![1], OutputFormat::NATIVE).unwrap();
    assert_eq!(packed, encode(&[Tensor::f32(vec![1], &[1.5]).unwrap()]).unwrap());
}

#[test]
fn an_output_over_the_cards_limit_cannot_be_written() {
    let tensor = ModelTensor { shape: vec![2], elements: Elements::F32(vec![0.0; 2]) };
    let outputs = [(0, tensor)];
    assert!(from_outputs(&outputs, OutputFormat::NATIVE, NotFinite::Refused, 16).is_ok());
    let long = Unrepresentable::TooLong { length: 16, max: 15 };
    assert_eq!(from_outputs(&outputs, OutputFormat::NATIVE, NotFinite::Refused, 15), Err(long));
}

#[test]
fn a_mask_may_only_ask_for_outputs_that_there_are() {
    assert_eq!(check_mask(0, 1), Ok(()));
    assert_eq!(check_mask(0b11, 2), Ok(()));
    assert_eq!(check_mask(0b100, 2), Err(BadInput::Mask { mask: 0b100, outputs: 2 }));
    assert_eq!(check_mask(0xffff, 16), Ok(()));
    assert_eq!(check_mask(0xffff, 64), Ok(()));
}

proptest! {
    #[test]
    fn narrowing_to_f32_is_what_the_hardware_does(value in any::<f64>()) {
        let expected = value as f32;
        let exact = Finite::new(value).and_then(|finite| finite.round_to(super::super::exact::F32));
        let exact = exact.map(|bits| f32::from_bits(bits as u32));
        if expected.is_finite() {
            prop_assert_eq!(exact.map(f32::to_bits), Some(expected.to_bits()));
        } else {
            prop_assert_eq!(exact, None);
        }
    }

    #[test]
    fn narrowing_to_f16_picks_the_nearest(value in -70000f64..70000.0) {
        let rounded = Finite::new(value).unwrap().round_to(super::super::exact::F16);
        let Some(bits) = rounded else { prop_assert!(value.abs() >= 65520.0); return Ok(()) };
        let rounded = f16::from_bits(bits as u16);
        let error = (rounded.to_f64() - value).abs();
        for neighbour in [bits.wrapping_sub(1), bits + 1].map(|bits| f16::from_bits(bits as u16)) {
            if neighbour.is_finite() && neighbour.is_sign_positive() == rounded.is_sign_positive() {
                let other = (neighbour.to_f64() - value).abs();
                prop_assert!(error < other || (error == other && bits & 1 == 0));
            }
        }
    }

    #[test]
    fn a_decimal_parses_to_the_same_double_as_its_text(value in any::<i128>(), decimals in 0u8..=36) {
        let text = format!("{value}e-{decimals}");
        let Ok(Elements::F64(cast)) = cast(fixed(value, decimals), ElementType::F64) else { panic!("fits") };
        prop_assert_eq!(cast[0].to_bits(), (text.parse::<f64>().unwrap() + 0.0).to_bits());
    }

    #[test]
    fn a_decimal_parses_to_the_same_float_as_its_text(value in any::<i64>(), decimals in 0u8..=36) {
        let text = format!("{value}e-{decimals}");
        let Ok(Elements::F32(cast)) = cast(fixed(value.into(), decimals), ElementType::F32) else { panic!("fits") };
        prop_assert_eq!(cast[0].to_bits(), (text.parse::<f32>().unwrap() + 0.0).to_bits());
    }

    #[test]
    fn quantising_what_was_cast_gives_it_back(value in -(1i128 << 52)..1i128 << 52, decimals in 0u8..=15) {
        // A double holds 15 digits.
        let value = value % 10i128.pow(15);
        let Ok(Elements::F64(cast)) = cast(fixed(value, decimals), ElementType::F64) else { panic!("fits") };
        prop_assert_eq!(quantised(cast[0], 16, decimals), Some(value));
    }

    #[test]
    fn quantising_is_monotonic(a in any::<f64>(), b in any::<f64>(), decimals in 0u8..=36) {
        let (low, high) = if a <= b { (a, b) } else { (b, a) };
        if let (Some(low), Some(high)) = (quantised(low, 16, decimals), quantised(high, 16, decimals)) {
            prop_assert!(low <= high);
        }
    }

    #[test]
    fn whole_floats_survive_as_integers(value in any::<i64>()) {
        let float = value as f64;
        let result = cast(Tensor::f64(vec![1], &[float]).unwrap(), ElementType::I64);
        if float == 2f64.powi(63) {
            prop_assert!(result.is_err());
        } else {
            prop_assert_eq!(result, Ok(Elements::I64(vec![float as i64])));
        }
    }
}

proptest! {
    /// What is not cast is what a cast to the same type would give, to the bit.
    #[test]
    fn elements_of_the_packed_type_are_read_as_they_would_be_cast(bytes in prop::collection::vec(any::<[u8; 8]>(), 0..20)) {
        use ElementType::*;
        let mut bytes = bytes.concat();
        // A quiet and a signaling NaN, and infinity, of float32 and float64.
        for word in ["7fc00001", "ff800001", "7f800000", "7ff00000", "00000001", "fff00000"] {
            bytes.extend(u32::from_str_radix(word, 16).unwrap().to_be_bytes());
        }
        for element in [I8, I16, I32, I64, U8, U16, U32, U64, F32, F64] {
            let dtype = element.packed();
            let count = bytes.len() / dtype.size().unwrap();
            let tensor = Tensor::new(dtype, 0, vec![count as u32], bytes.clone().into()).unwrap();
            let packed = |elements: &Elements| packed_elements(0, elements, OutputFormat::NATIVE, NotFinite::Kept).unwrap();
            let read = same_type(element, tensor.data()).unwrap();
            let cast = cast_each(&spec(element, &[None]), &tensor).unwrap();
            prop_assert_eq!(packed(&read), packed(&cast), "{}", element);
        }
    }
}
