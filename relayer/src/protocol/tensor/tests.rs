use proptest::prelude::*;

use super::*;

fn bytes(hex: &str) -> Bytes {
    hex.parse().unwrap()
}

#[test]
fn writes_what_the_page_says() {
    let numbers = Tensor::new(DType::I16, 2, vec![1, 2], bytes("0x007bff85")).unwrap();
    let text = Tensor::strings(vec![], &["né"]).unwrap();
    let packed = encode(&[numbers, text]).unwrap();
    assert_eq!(
        packed,
        bytes("0x02 02 02 02 00000001 00000002 007b ff85 0f 00 00 00000003 6ec3a9".replace(' ', "").as_str())
    );
}

#[test]
fn a_scalar_has_one_element_and_a_zero_dimension_none() {
    assert_eq!(decode(&bytes("0x010c00003f800000")).unwrap()[0].len(), 1);
    let empty = decode(&bytes("0x010f0002000000000000ffff")).unwrap();
    assert!(empty[0].is_empty());
    // Even where the other dimensions multiply beyond any machine word.
    let huge = bytes("0x01010004ffffffffffffffffffffffff00000000");
    assert!(decode(&huge).unwrap()[0].is_empty());
}

#[test]
fn malformed_lists_are_refused_for_what_they_are() {
    let cases = [
        ("0x", TensorError::Truncated { offset: 0, length: 0 }),
        ("0x0000", TensorError::TrailingBytes { extra: 1 }),
        ("0x41", TensorError::TooManyTensors { count: 65 }),
        ("0x01000000", TensorError::UnknownDType { code: 0 }),
        ("0x01100000", TensorError::UnknownDType { code: 16 }),
        ("0x01110000", TensorError::UnknownDType { code: 17 }),
        ("0x0101250000", TensorError::DecimalsOutOfRange { dtype: DType::I8, decimals: 37 }),
        ("0x010c010000000000", TensorError::DecimalsOutOfRange { dtype: DType::F32, decimals: 1 }),
        ("0x010e010000", TensorError::DecimalsOutOfRange { dtype: DType::Bool, decimals: 1 }),
        ("0x01060009", TensorError::RankTooHigh { rank: 9 }),
        ("0x010600010000", TensorError::Truncated { offset: 4, length: 6 }),
        ("0x0106000100000002ff", TensorError::Truncated { offset: 8, length: 9 }),
        ("0x0106000100000001ffff", TensorError::TrailingBytes { extra: 1 }),
        ("0x010600 04ffffffffffffffffffffffffffffffff", TensorError::Truncated { offset: 20, length: 20 }),
        ("0x010e0001000000020102", TensorError::InvalidBool { offset: 9 }),
        ("0x010f000000000001ff", TensorError::InvalidUtf8 { offset: 4 }),
        ("0x010f000000000002c3", TensorError::Truncated { offset: 8, length: 9 }),
        ("0x010f0001ffffffff", TensorError::Truncated { offset: 8, length: 8 }),
    ];
    for (packed, error) in cases {
        assert_eq!(decode(&bytes(&packed.replace(' ', ""))), Err(error), "{packed}");
    }
}

#[test]
fn a_tensor_must_have_the_elements_of_its_shape() {
    assert!(matches!(Tensor::f32(vec![2, 2], &[1.0]), Err(TensorError::ElementCount { actual: 1, .. })));
    assert!(matches!(Tensor::new(DType::U8, 0, vec![2], bytes("0x01")), Err(TensorError::Truncated { .. })));
    assert!(matches!(Tensor::new(DType::U8, 0, vec![1; 9], bytes("0x01")), Err(TensorError::RankTooHigh { rank: 9 })));
}

#[test]
fn decoding_copies_no_elements() {
    let packed = encode(&[Tensor::f64(vec![3], &[1.0, 2.0, 3.0]).unwrap()]).unwrap();
    let tensors = decode(&packed).unwrap();
    assert!(packed.as_ptr_range().contains(&tensors[0].data().as_ptr()));
}

/// Any valid tensor.
fn any_tensor() -> impl Strategy<Value = Tensor> {
    (1u8..=15, 0u8..=36, prop::collection::vec(0u32..4, 0..4)).prop_flat_map(|(code, decimals, shape)| {
        let dtype = DType::from_code(code).unwrap();
        let count = element_count(&shape).unwrap();
        let data = match dtype {
            DType::String => prop::collection::vec(any::<String>(), count)
                .prop_map(|values| {
                    let mut data = Vec::new();
                    values.iter().for_each(|value| put_string(&mut data, value));
                    data
                })
                .boxed(),
            DType::Bool => prop::collection::vec(0u8..2, count).boxed(),
            _ => prop::collection::vec(any::<u8>(), count * dtype.size().unwrap()).boxed(),
        };
        let decimals = if dtype.is_integer() { decimals } else { 0 };
        data.prop_map(move |data| Tensor::new(dtype, decimals, shape.clone(), data.into()).unwrap())
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_back(tensors in prop::collection::vec(any_tensor(), 0..5)) {
        prop_assert_eq!(decode(&encode(&tensors).unwrap()).unwrap(), tensors);
    }

    #[test]
    fn what_can_be_read_is_written_the_same(
        tensors in prop::collection::vec(any_tensor(), 0..3), at in any::<prop::sample::Index>(), value in any::<u8>(),
    ) {
        // A changed byte gives another list or none, and never a second way to write one.
        let mut packed = encode(&tensors).unwrap().to_vec();
        let at = at.index(packed.len());
        packed[at] = value;
        let packed = Bytes::from(packed);
        if let Ok(read) = decode(&packed) {
            prop_assert_eq!(encode(&read).unwrap(), packed);
        }
    }

    #[test]
    fn every_shorter_or_longer_list_is_refused(tensors in prop::collection::vec(any_tensor(), 1..3), extra in any::<u8>()) {
        let packed = encode(&tensors).unwrap();
        for length in 0..packed.len() {
            prop_assert!(decode(&packed.slice(..length)).is_err());
        }
        let longer: Bytes = packed.iter().copied().chain([extra]).collect::<Vec<_>>().into();
        prop_assert_eq!(decode(&longer), Err(TensorError::TrailingBytes { extra: 1 }));
    }

    #[test]
    fn no_bytes_make_it_panic(packed in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = decode(&packed.into());
    }
}
