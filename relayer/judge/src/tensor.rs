//! Tensors as they go into a session and come out.

use std::fmt;

/// Type of a tensor's elements: the relayer's `ElementType`, of which this crate knows nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each variant is named after its type")]
pub enum DType {
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    F16,
    Bf16,
    F32,
    F64,
    Bool,
    String,
}

/// Types with their numbers in ONNX and in packed tensors, and their bytes; bf16 is packed as f32.
const TYPES: [(DType, u8, u8, usize, &str); 14] = [
    (DType::I8, 3, 1, 1, "INT8"),
    (DType::I16, 5, 2, 2, "INT16"),
    (DType::I32, 6, 3, 4, "INT32"),
    (DType::I64, 7, 4, 8, "INT64"),
    (DType::U8, 2, 6, 1, "UINT8"),
    (DType::U16, 4, 7, 2, "UINT16"),
    (DType::U32, 12, 8, 4, "UINT32"),
    (DType::U64, 13, 9, 8, "UINT64"),
    (DType::F16, 10, 11, 2, "FP16"),
    (DType::Bf16, 16, 12, 2, "BF16"),
    (DType::F32, 1, 12, 4, "FP32"),
    (DType::F64, 11, 13, 8, "FP64"),
    (DType::Bool, 9, 14, 1, "BOOL"),
    (DType::String, 8, 15, 0, "BYTES"),
];

impl DType {
    fn row(self) -> &'static (DType, u8, u8, usize, &'static str) {
        // The table has the order of the variants.
        &TYPES[self as usize]
    }

    /// Number of the type in ONNX (`TensorProto.DataType`).
    #[must_use]
    pub fn onnx(self) -> u8 {
        self.row().1
    }

    /// Type of a number of ONNX; `None` for types that this crate does not know.
    #[must_use]
    pub fn from_onnx(number: u32) -> Option<Self> {
        TYPES.iter().find(|row| u32::from(row.1) == number).map(|row| row.0)
    }

    /// Code of the type in packed tensors. Elements of bf16 are packed as f32.
    #[must_use]
    pub fn packed(self) -> u8 {
        self.row().2
    }

    /// Bytes of an element; `None` for strings.
    #[must_use]
    pub fn size(self) -> Option<usize> {
        (self != Self::String).then(|| self.row().3)
    }
}

impl fmt::Display for DType {
    /// Name of the type in the Open Inference Protocol.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().4)
    }
}

/// Elements of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// Elements of a number type or bool, little-endian, in row-major order.
    Bytes(Vec<u8>),
    /// Strings, in row-major order.
    Strings(Vec<String>),
}

/// A tensor with as many elements as its dimensions say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    dtype: DType,
    dims: Vec<u32>,
    data: Data,
}

/// Elements that do not fit type or dimensions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a {dtype} tensor of dimensions {dims:?} does not have {actual} {}", if *dtype == DType::String { "elements" } else { "bytes" })]
pub struct TensorError {
    dtype: DType,
    dims: Vec<u32>,
    actual: usize,
}

impl Tensor {
    /// Makes a tensor of elements in little-endian bytes.
    ///
    /// # Errors
    /// `TensorError` unless there are as many bytes as the dimensions say; always for strings.
    pub fn new(dtype: DType, dims: Vec<u32>, bytes: Vec<u8>) -> Result<Self, TensorError> {
        let expected = dtype.size().zip(count(&dims)).and_then(|(size, count)| count.checked_mul(size));
        if expected != Some(bytes.len()) {
            return Err(TensorError { dtype, dims, actual: bytes.len() });
        }
        Ok(Self { dtype, dims, data: Data::Bytes(bytes) })
    }

    /// Makes a tensor of strings.
    ///
    /// # Errors
    /// `TensorError` unless there are as many strings as the dimensions say.
    pub fn strings(dims: Vec<u32>, strings: Vec<String>) -> Result<Self, TensorError> {
        if count(&dims) != Some(strings.len()) {
            return Err(TensorError { dtype: DType::String, dims, actual: strings.len() });
        }
        Ok(Self { dtype: DType::String, dims, data: Data::Strings(strings) })
    }

    /// Type of the elements.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Dimensions; none for a scalar.
    #[must_use]
    pub fn dims(&self) -> &[u32] {
        &self.dims
    }

    /// Elements.
    #[must_use]
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// Elements, taken out.
    #[must_use]
    pub fn into_data(self) -> Data {
        self.data
    }

    /// Appends `dtype u8 ‖ rank u8 ‖ dims u32[rank] ‖ elements`: codes and big-endian elements as in packed tensors, strings
    /// with their lengths, every NaN the same, bf16 as f32.
    ///
    /// Equal bytes are what "the same bits on every machine" means.
    pub fn encode(&self, out: &mut Vec<u8>) {
        // ONNX Runtime has no tensors of more than 255 dimensions.
        out.extend([self.dtype.packed(), self.dims.len() as u8]);
        self.dims.iter().for_each(|dim| out.extend(dim.to_be_bytes()));
        match &self.data {
            Data::Strings(strings) => {
                for string in strings {
                    // A session's memory, below 4 GiB, bounds the length.
                    out.extend((string.len() as u32).to_be_bytes());
                    out.extend(string.as_bytes());
                }
            }
            Data::Bytes(bytes) => {
                let size = self.dtype.size().unwrap_or(1);
                let nan: Option<(u64, u64)> = match self.dtype {
                    DType::F16 => Some((0x7c00, 0x7e00)),
                    DType::Bf16 => Some((0x7f80, 0x7fc0)),
                    DType::F32 => Some((0x7f80_0000, 0x7fc0_0000)),
                    DType::F64 => Some((0x7ff0_0000_0000_0000, 0x7ff8_0000_0000_0000)),
                    _ => None,
                };
                for element in bytes.chunks_exact(size) {
                    let mut word = [0; 8];
                    word[..size].copy_from_slice(element);
                    let mut bits = u64::from_le_bytes(word);
                    let sign = 1 << (8 * size - 1);
                    if let Some((infinity, canonical)) = nan
                        && bits & (sign - 1) > infinity
                    {
                        bits = canonical;
                    }
                    let widened = if self.dtype == DType::Bf16 { (bits << 16, 4) } else { (bits, size) };
                    out.extend(&widened.0.to_be_bytes()[8 - widened.1..]);
                }
            }
        }
    }
}

/// Number of elements; `None` beyond `usize`.
pub(crate) fn count(dims: &[u32]) -> Option<usize> {
    if dims.contains(&0) {
        return Some(0);
    }
    dims.iter().try_fold(1usize, |count, dim| count.checked_mul(*dim as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(dtype: DType, dims: Vec<u32>, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Tensor::new(dtype, dims, bytes.to_vec()).unwrap().encode(&mut out);
        out
    }

    #[test]
    fn the_table_has_the_order_of_the_types() {
        for (place, row) in TYPES.iter().enumerate() {
            assert_eq!(row.0 as usize, place);
            assert_eq!(DType::from_onnx(row.1.into()), Some(row.0));
        }
        assert_eq!(DType::from_onnx(14), None);
        assert_eq!(DType::from_onnx(0), None);
    }

    #[test]
    fn elements_are_encoded_big_endian_after_type_and_dimensions() {
        assert_eq!(encoded(DType::I16, vec![2], &[1, 2, 3, 4]), [2, 1, 0, 0, 0, 2, 2, 1, 4, 3]);
        assert_eq!(encoded(DType::Bool, vec![], &[1]), [14, 0, 1]);
        assert_eq!(encoded(DType::F32, vec![0, 3], &[]), [12, 2, 0, 0, 0, 0, 0, 0, 0, 3]);
        let mut out = Vec::new();
        Tensor::strings(vec![2], vec!["é".into(), String::new()]).unwrap().encode(&mut out);
        assert_eq!(out, [15, 1, 0, 0, 0, 2, 0, 0, 0, 2, 0xc3, 0xa9, 0, 0, 0, 0]);
    }

    #[test]
    fn every_nan_is_encoded_alike_and_infinities_are_not() {
        for bits in [0x7f80_0001u32, 0x7fc0_0000, 0xffc0_0000, 0xffff_ffff] {
            assert_eq!(encoded(DType::F32, vec![], &bits.to_le_bytes())[2..], [0x7f, 0xc0, 0, 0]);
        }
        for bits in [0x7f80_0000u32, 0xff80_0000, 0x8000_0000, 1] {
            assert_eq!(encoded(DType::F32, vec![], &bits.to_le_bytes())[2..], bits.to_be_bytes());
        }
        assert_eq!(encoded(DType::F16, vec![], &0xfc01u16.to_le_bytes()), [11, 0, 0x7e, 0]);
        assert_eq!(encoded(DType::F16, vec![], &0xfc00u16.to_le_bytes()), [11, 0, 0xfc, 0]);
        assert_eq!(encoded(DType::F64, vec![], &u64::MAX.to_le_bytes()), [13, 0, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0]);
        assert_eq!(encoded(DType::Bf16, vec![], &0x3fc0u16.to_le_bytes()), [12, 0, 0x3f, 0xc0, 0, 0]);
        assert_eq!(encoded(DType::Bf16, vec![], &0xff81u16.to_le_bytes()), [12, 0, 0x7f, 0xc0, 0, 0]);
    }

    #[test]
    fn a_tensor_has_the_elements_that_its_dimensions_say() {
        assert!(Tensor::new(DType::F32, vec![2, 2], vec![0; 16]).is_ok());
        assert!(Tensor::new(DType::F32, vec![2, 2], vec![0; 15]).is_err());
        assert!(Tensor::new(DType::String, vec![0], vec![]).is_err());
        assert!(Tensor::new(DType::U8, vec![u32::MAX; 3], vec![]).is_err());
        assert!(Tensor::strings(vec![2], vec![String::new()]).is_err());
    }
}
