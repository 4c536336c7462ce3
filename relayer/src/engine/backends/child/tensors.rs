//! Tensors on their way to a model's process and back.

use std::io;

use half::{bf16, f16};
use oraculum_judge::DType;
use tokio::net::unix::OwnedReadHalf;

use super::{
    transfer,
    wire::{self, MAX_DATA},
};
use crate::protocol::cast::{Elements, ModelTensor};

/// Dimensions of a tensor at most: packed tensors have fewer, and inputs of the runtime's own too.
const MAX_RANK: usize = 64;
/// Strings of a tensor at most: each takes the node more memory than it takes on the wire.
const MAX_STRINGS: usize = 1 << 22;

/// Bytes that a tensor takes in the node: of strings each has a place beside its text.
pub(in crate::engine::backends) fn weight(tensor: &wire::Tensor) -> u64 {
    (tensor.data.len() as u64).saturating_add((tensor.lengths.len() * size_of::<String>()) as u64)
}

/// Reads so many tensors that the process wrote; all together may take as much as one. The inner error says what it sent
/// instead.
///
/// # Errors
/// The socket's.
pub(super) async fn receive(from: &mut OwnedReadHalf, count: usize) -> io::Result<Result<Vec<ModelTensor>, String>> {
    receive_within(from, count, MAX_DATA.into()).await
}

async fn receive_within(
    from: &mut OwnedReadHalf,
    count: usize,
    mut left: u64,
) -> io::Result<Result<Vec<ModelTensor>, String>> {
    let mut tensors = Vec::new();
    for _ in 0..count {
        let tensor: wire::Tensor = transfer::receive(from, MAX_DATA).await?;
        let Some(rest) = left.checked_sub(weight(&tensor)) else {
            return Ok(Err("more data than there can be".to_owned()));
        };
        left = rest;
        match from_wire(tensor) {
            Ok(tensor) => tensors.push(tensor),
            Err(what) => return Ok(Err(what)),
        }
    }
    Ok(Ok(tensors))
}

macro_rules! numbers {
    ($($variant:ident => $type:ty),* $(,)?) => {
        /// Writes a tensor for the process.
        pub(in crate::engine::backends) fn to_wire(tensor: &ModelTensor) -> wire::Tensor {
            let mut lengths = Vec::new();
            let (dtype, data) = match &tensor.elements {
                $(Elements::$variant(values) => {
                    let mut data = vec![0; values.len() * size_of::<$type>()];
                    for (place, value) in data.chunks_exact_mut(size_of::<$type>()).zip(values) {
                        place.copy_from_slice(&value.to_le_bytes());
                    }
                    (DType::$variant, data)
                })*
                Elements::Bool(values) => (DType::Bool, values.iter().map(|value| u8::from(*value)).collect()),
                Elements::String(values) => {
                    let (text, each) = joined(values);
                    lengths = each;
                    (DType::String, text)
                }
            };
            wire::Tensor { dtype: dtype.onnx().into(), dims: tensor.shape.clone(), data, lengths, in_memory: 0 }
        }

        /// Reads a tensor that the process wrote.
        ///
        /// # Errors
        /// What is wrong with it, in words.
        pub(in crate::engine::backends) fn from_wire(tensor: wire::Tensor) -> Result<ModelTensor, String> {
            let wire::Tensor { dtype, dims: shape, data, lengths, .. } = tensor;
            let dtype = DType::from_onnx(dtype).ok_or_else(|| format!("a tensor of ONNX's type {dtype}"))?;
            if shape.len() > MAX_RANK {
                return Err(format!("a tensor of {} dimensions", shape.len()));
            }
            let expected = shape.iter().try_fold(1usize, |count, dim| count.checked_mul(*dim as usize));
            let expected = if shape.contains(&0) { Some(0) } else { expected };
            let actual = dtype.size().map_or(Some(lengths.len()), |size| {
                data.len().is_multiple_of(size).then_some(data.len() / size)
            });
            if expected.is_none() || expected != actual {
                return Err(format!("a {dtype} tensor of dimensions {shape:?} in {} bytes", data.len()));
            }
            let elements = match dtype {
                $(DType::$variant => {
                    let values = data.chunks_exact(size_of::<$type>());
                    let value = |bytes: &[u8]| <$type>::from_le_bytes(bytes.try_into().unwrap_or_default());
                    Elements::$variant(values.map(value).collect())
                })*
                DType::Bool => Elements::Bool(data.iter().map(|byte| *byte != 0).collect()),
                DType::String => Elements::String(split(&data, &lengths)?),
            };
            Ok(ModelTensor { shape, elements })
        }
    };
}

/// Strings as the wire has them: their texts one after another, and the bytes of each.
pub(in crate::engine::backends) fn joined(strings: &[String]) -> (Vec<u8>, Vec<u32>) {
    let length = |string: &String| u32::try_from(string.len()).unwrap_or(u32::MAX);
    (strings.concat().into_bytes(), strings.iter().map(length).collect())
}

/// Strings that the wire has so.
///
/// # Errors
/// What is wrong with them, in words.
pub(in crate::engine::backends) fn split(text: &[u8], lengths: &[u32]) -> Result<Vec<String>, String> {
    if lengths.len() > MAX_STRINGS {
        return Err(format!("{} strings, where {MAX_STRINGS} are the most", lengths.len()));
    }
    let (mut rest, mut strings) = (text, Vec::with_capacity(lengths.len()));
    for length in lengths {
        let (string, after) = rest.split_at_checked(*length as usize).ok_or("strings without an end")?;
        strings.push(String::from_utf8(string.to_vec()).map_err(|_| "a string that is not UTF-8")?);
        rest = after;
    }
    if rest.is_empty() { Ok(strings) } else { Err("more text than its strings have".to_owned()) }
}

numbers! {
    I8 => i8, I16 => i16, I32 => i32, I64 => i64, U8 => u8, U16 => u16, U32 => u32, U64 => u64,
    F16 => f16, Bf16 => bf16, F32 => f32, F64 => f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_of_elements_comes_back_as_it_was() {
        let of = |elements| ModelTensor { shape: vec![2, 1], elements };
        for tensor in [
            of(Elements::I8(vec![-1, 2])),
            of(Elements::I16(vec![-300, 2])),
            of(Elements::I32(vec![-70_000, 2])),
            of(Elements::I64(vec![i64::MIN, 2])),
            of(Elements::U8(vec![255, 2])),
            of(Elements::U16(vec![65_535, 2])),
            of(Elements::U32(vec![u32::MAX, 2])),
            of(Elements::U64(vec![u64::MAX, 2])),
            of(Elements::F16(vec![f16::from_f32(0.5), f16::from_f32(-2.0)])),
            of(Elements::Bf16(vec![bf16::from_f32(0.5), bf16::from_f32(-2.0)])),
            of(Elements::F32(vec![0.1, -2.0])),
            of(Elements::F64(vec![0.1, -2.0])),
            of(Elements::Bool(vec![true, false])),
            of(Elements::String(vec!["é".into(), String::new()])),
            ModelTensor { shape: vec![3, 0, u32::MAX, u32::MAX], elements: Elements::F32(Vec::new()) },
            ModelTensor { shape: Vec::new(), elements: Elements::F32(vec![1.5]) },
        ] {
            assert_eq!(from_wire(to_wire(&tensor)), Ok(tensor));
        }
    }

    #[tokio::test]
    async fn all_tensors_together_take_no_more_than_one_may_and_strings_count_with_their_places() {
        let numbers = |count| ModelTensor { shape: vec![count], elements: Elements::F32(vec![1.0; count as usize]) };
        let texts = ModelTensor { shape: vec![2], elements: Elements::String(vec![String::new(); 2]) };
        let received = async |tensors: Vec<ModelTensor>, most| {
            let (ours, theirs) = tokio::net::UnixStream::pair().unwrap();
            let theirs = theirs.into_std().unwrap();
            theirs.set_nonblocking(false).unwrap();
            tensors.iter().for_each(|tensor| transfer::write(&theirs, to_wire(tensor)).unwrap());
            receive_within(&mut ours.into_split().0, tensors.len(), most).await.unwrap()
        };
        let two = || vec![numbers(10), numbers(10)];
        assert_eq!(received(two(), 80).await, Ok(two()));
        assert!(received(two(), 79).await.unwrap_err().contains("more data"));
        assert!(received(vec![texts.clone()], 48).await.is_ok());
        assert!(received(vec![texts], 47).await.is_err());
    }

    #[test]
    fn a_tensor_that_is_not_what_its_dimensions_say_is_refused() {
        let good = wire::Tensor { dtype: 1, dims: vec![2], data: vec![0; 8], ..wire::Tensor::default() };
        let texts = |dims: Vec<u32>, data: &[u8], lengths: Vec<u32>| wire::Tensor {
            dtype: 8,
            dims,
            data: data.to_vec(),
            lengths,
            in_memory: 0,
        };
        assert!(from_wire(texts(vec![2], b"ab", vec![1, 1])).is_ok());
        assert!(from_wire(good.clone()).is_ok());
        for bad in [
            wire::Tensor { dims: vec![3], ..good.clone() },
            wire::Tensor { dims: vec![u32::MAX; 4], ..good.clone() },
            wire::Tensor { data: vec![0; 7], ..good.clone() },
            wire::Tensor { dtype: 99, ..good.clone() },
            wire::Tensor { dtype: 8, ..good.clone() },
            texts(vec![2], b"", vec![0]),
            texts(vec![2], b"ab", vec![1, 2]),
            texts(vec![2], b"abc", vec![1, 1]),
            texts(vec![1], &[0xff], vec![1]),
        ] {
            assert!(from_wire(bad.clone()).is_err(), "{bad:?}");
        }
    }
}
