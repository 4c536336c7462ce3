//! Packed tensors: the one byte format of inputs and outputs, on-chain and off.
//!
//! `tensors := count u8 ‖ tensor[count]`, `tensor := dtype u8 ‖ decimals u8 ‖ rank u8 ‖ dims u32[rank] ‖ elements`, all
//! big-endian, elements in row-major order. The encoding is canonical: one byte string per value.

use std::fmt;

use alloy::primitives::Bytes;

/// Tensors in a list, at most.
pub const MAX_TENSORS: usize = 64;
/// Dimensions of a tensor, at most.
pub const MAX_RANK: usize = 8;
/// Decimals of a fixed-point number, at most.
pub const MAX_DECIMALS: u8 = 36;

/// The type of a tensor's elements, by its code in the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs, reason = "each variant is named after its type")]
pub enum DType {
    I8 = 1,
    I16 = 2,
    I32 = 3,
    I64 = 4,
    I128 = 5,
    U8 = 6,
    U16 = 7,
    U32 = 8,
    U64 = 9,
    U128 = 10,
    F16 = 11,
    F32 = 12,
    F64 = 13,
    Bool = 14,
    /// `length u32 ‖ UTF-8 bytes`
    String = 15,
}

impl DType {
    /// The type of a code; `None` for the reserved 16 and all other numbers.
    pub fn from_code(code: u8) -> Option<Self> {
        use DType::*;
        [I8, I16, I32, I64, I128, U8, U16, U32, U64, U128, F16, F32, F64, Bool, String]
            .into_iter()
            .find(|dtype| *dtype as u8 == code)
    }

    /// Bytes of an element; `None` for strings.
    pub fn size(self) -> Option<usize> {
        match self {
            Self::I8 | Self::U8 | Self::Bool => Some(1),
            Self::I16 | Self::U16 | Self::F16 => Some(2),
            Self::I32 | Self::U32 | Self::F32 => Some(4),
            Self::I64 | Self::U64 | Self::F64 => Some(8),
            Self::I128 | Self::U128 => Some(16),
            Self::String => None,
        }
    }

    /// Tells whether elements are integers, which alone may have decimals.
    pub fn is_integer(self) -> bool {
        (self as u8) <= Self::U128 as u8
    }

    /// Tells whether elements are signed integers.
    pub fn is_signed(self) -> bool {
        (self as u8) <= Self::I128 as u8
    }

    /// Tells whether elements are IEEE 754 numbers.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::F32 | Self::F64)
    }

    /// The signed integer of `width` bytes.
    pub fn signed(width: u8) -> Option<Self> {
        match width {
            1 => Some(Self::I8),
            2 => Some(Self::I16),
            4 => Some(Self::I32),
            8 => Some(Self::I64),
            16 => Some(Self::I128),
            _ => None,
        }
    }
}

impl DType {
    /// Name of the type in the Open Inference Protocol, which has none for 128-bit integers: INT128 and UINT128 stand for
    /// those here.
    pub fn name(self) -> &'static str {
        match self {
            Self::I8 => "INT8",
            Self::I16 => "INT16",
            Self::I32 => "INT32",
            Self::I64 => "INT64",
            Self::I128 => "INT128",
            Self::U8 => "UINT8",
            Self::U16 => "UINT16",
            Self::U32 => "UINT32",
            Self::U64 => "UINT64",
            Self::U128 => "UINT128",
            Self::F16 => "FP16",
            Self::F32 => "FP32",
            Self::F64 => "FP64",
            Self::Bool => "BOOL",
            Self::String => "BYTES",
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Fault of packed tensors. Offsets count bytes from the start of the list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum TensorError {
    #[error("the bytes end at {length}, within an item that starts at {offset}")]
    Truncated { offset: usize, length: usize },
    #[error("{extra} bytes follow the last tensor")]
    TrailingBytes { extra: usize },
    #[error("{count} tensors, but a list has at most {MAX_TENSORS}")]
    TooManyTensors { count: usize },
    #[error("{code} is no element type (16, bf16, is reserved)")]
    UnknownDType { code: u8 },
    #[error("{decimals} decimals on {dtype}: integers have at most {MAX_DECIMALS}, other types none")]
    DecimalsOutOfRange { dtype: DType, decimals: u8 },
    #[error("rank {rank}, but a tensor has at most {MAX_RANK} dimensions")]
    RankTooHigh { rank: usize },
    #[error("a bool at {offset} is neither 0 nor 1")]
    InvalidBool { offset: usize },
    #[error("the string at {offset} is not UTF-8")]
    InvalidUtf8 { offset: usize },
    #[error("a shape of {expected} elements with {actual} elements of data")]
    ElementCount { expected: String, actual: usize },
}

/// A tensor as packed: valid by construction, its elements still in their big-endian bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    dtype: DType,
    decimals: u8,
    shape: Vec<u32>,
    data: Bytes,
}

impl Tensor {
    /// Makes a tensor of packed elements, which must be exactly those of the shape.
    ///
    /// # Errors
    /// `DecimalsOutOfRange`, `RankTooHigh`, and what the elements are refused for: `Truncated`, `TrailingBytes`,
    /// `InvalidBool`, `InvalidUtf8`.
    pub fn new(dtype: DType, decimals: u8, shape: Vec<u32>, data: Bytes) -> Result<Self, TensorError> {
        check_header(dtype, decimals, shape.len())?;
        let mut reader = Reader { bytes: &data, at: 0 };
        reader.elements(dtype, &shape)?;
        reader.finish()?;
        Ok(Self { dtype, decimals, shape, data })
    }

    /// Makes a tensor of strings.
    ///
    /// # Errors
    /// `ElementCount` unless there are as many values as the shape has elements; `RankTooHigh` for more than 8 dimensions.
    pub fn strings<S: AsRef<str>>(shape: Vec<u32>, values: &[S]) -> Result<Self, TensorError> {
        let mut data = Vec::new();
        for value in values {
            put_string(&mut data, value.as_ref());
        }
        Self::counted(DType::String, 0, shape, data, values.len())
    }

    fn counted(dtype: DType, decimals: u8, shape: Vec<u32>, data: Vec<u8>, actual: usize) -> Result<Self, TensorError> {
        if element_count(&shape) != Some(actual) {
            return Err(TensorError::ElementCount { expected: format!("{shape:?}"), actual });
        }
        Self::new(dtype, decimals, shape, data.into())
    }

    /// The type of the elements.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Of an integer tensor, decimals: value = integer / 10^decimals.
    pub fn decimals(&self) -> u8 {
        self.decimals
    }

    /// The dimensions; none for a scalar.
    pub fn shape(&self) -> &[u32] {
        &self.shape
    }

    /// Elements as they are packed.
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        element_count(&self.shape).unwrap_or(usize::MAX)
    }

    /// Tells whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The strings of a string tensor; nothing for other types.
    pub fn iter_strings(&self) -> impl Iterator<Item = &str> {
        let mut rest: &[u8] = if self.dtype == DType::String { &self.data } else { &[] };
        std::iter::from_fn(move || {
            let (length, tail) = rest.split_first_chunk::<4>()?;
            let (bytes, tail) = tail.split_at_checked(u32::from_be_bytes(*length) as usize)?;
            rest = tail;
            std::str::from_utf8(bytes).ok()
        })
    }
}

macro_rules! from_slice {
    ($($(#[$doc:meta])* $name:ident($element:ty) => $dtype:ident;)*) => {
        impl Tensor {
            $($(#[$doc])*
            pub fn $name(shape: Vec<u32>, values: &[$element]) -> Result<Self, TensorError> {
                let data = values.iter().flat_map(|value| value.to_be_bytes()).collect();
                Self::counted(DType::$dtype, 0, shape, data, values.len())
            })*
        }
    };
}

from_slice! {
    /// Makes a tensor of f32.
    ///
    /// # Errors
    /// `ElementCount` unless there are as many values as the shape has elements; `RankTooHigh` for more than 8 dimensions.
    f32(f32) => F32;
    /// Makes a tensor of f64.
    ///
    /// # Errors
    /// `ElementCount` unless there are as many values as the shape has elements; `RankTooHigh` for more than 8 dimensions.
    f64(f64) => F64;
    /// Makes a tensor of i32.
    ///
    /// # Errors
    /// `ElementCount` unless there are as many values as the shape has elements; `RankTooHigh` for more than 8 dimensions.
    i32(i32) => I32;
    /// Makes a tensor of i64.
    ///
    /// # Errors
    /// `ElementCount` unless there are as many values as the shape has elements; `RankTooHigh` for more than 8 dimensions.
    i64(i64) => I64;
    /// Makes a tensor of u8.
    ///
    /// # Errors
    /// `ElementCount` unless there are as many values as the shape has elements; `RankTooHigh` for more than 8 dimensions.
    u8(u8) => U8;
}

/// Writes a list of tensors.
///
/// # Errors
/// `TooManyTensors` for more than a list holds.
pub fn encode(tensors: &[Tensor]) -> Result<Bytes, TensorError> {
    let count = tensors.len();
    if count > MAX_TENSORS {
        return Err(TensorError::TooManyTensors { count });
    }
    let mut out = Vec::with_capacity(1 + tensors.iter().map(|t| 3 + 4 * t.shape.len() + t.data.len()).sum::<usize>());
    out.push(count as u8);
    for tensor in tensors {
        out.extend([tensor.dtype as u8, tensor.decimals, tensor.shape.len() as u8]);
        tensor.shape.iter().for_each(|dim| out.extend(dim.to_be_bytes()));
        out.extend_from_slice(&tensor.data);
    }
    Ok(out.into())
}

/// Reads a list of tensors, strictly. The elements are slices of `bytes`, not copies.
///
/// # Errors
/// `TooManyTensors`, `UnknownDType`, `DecimalsOutOfRange`, `RankTooHigh`, `Truncated`, `InvalidBool`, `InvalidUtf8` at the
/// first fault; `TrailingBytes` where bytes are left.
pub fn decode(bytes: &Bytes) -> Result<Vec<Tensor>, TensorError> {
    let mut reader = Reader { bytes, at: 0 };
    let count = usize::from(reader.u8()?);
    if count > MAX_TENSORS {
        return Err(TensorError::TooManyTensors { count });
    }
    let mut tensors = Vec::with_capacity(count);
    for _ in 0..count {
        let code = reader.u8()?;
        let dtype = DType::from_code(code).ok_or(TensorError::UnknownDType { code })?;
        let decimals = reader.u8()?;
        let rank = usize::from(reader.u8()?);
        check_header(dtype, decimals, rank)?;
        let shape = (0..rank).map(|_| reader.u32()).collect::<Result<Vec<_>, _>>()?;
        let range = reader.elements(dtype, &shape)?;
        tensors.push(Tensor { dtype, decimals, shape, data: bytes.slice(range) });
    }
    reader.finish()?;
    Ok(tensors)
}

/// Appends a string element.
pub(crate) fn put_string(out: &mut Vec<u8>, value: &str) {
    // A string over 4 GiB cannot be written; the length check of `Tensor::new` refuses what saturation makes of it.
    out.extend(u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(value.as_bytes());
}

/// Number of elements of a shape; `None` beyond `usize`.
pub(crate) fn element_count(shape: &[u32]) -> Option<usize> {
    if shape.contains(&0) {
        return Some(0);
    }
    shape.iter().try_fold(1usize, |count, dim| count.checked_mul(*dim as usize))
}

fn check_header(dtype: DType, decimals: u8, rank: usize) -> Result<(), TensorError> {
    if decimals > if dtype.is_integer() { MAX_DECIMALS } else { 0 } {
        return Err(TensorError::DecimalsOutOfRange { dtype, decimals });
    }
    if rank > MAX_RANK {
        return Err(TensorError::RankTooHigh { rank });
    }
    Ok(())
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], TensorError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let (taken, _) = rest
            .split_at_checked(length)
            .ok_or(TensorError::Truncated { offset: self.at, length: self.bytes.len() })?;
        self.at += length;
        Ok(taken)
    }

    fn u8(&mut self) -> Result<u8, TensorError> {
        Ok(self.take(1)?[0])
    }

    fn u32(&mut self) -> Result<u32, TensorError> {
        let bytes = self.take(4)?;
        Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// Passes over the elements of a shape, checking each; their range.
    fn elements(&mut self, dtype: DType, shape: &[u32]) -> Result<std::ops::Range<usize>, TensorError> {
        let start = self.at;
        let truncated = TensorError::Truncated { offset: start, length: self.bytes.len() };
        let count = element_count(shape).ok_or(truncated.clone())?;
        match dtype.size() {
            Some(size) => {
                let bytes = self.take(count.checked_mul(size).ok_or(truncated)?)?;
                if dtype == DType::Bool
                    && let Some(wrong) = bytes.iter().position(|byte| *byte > 1)
                {
                    return Err(TensorError::InvalidBool { offset: start + wrong });
                }
            }
            None => {
                for _ in 0..count {
                    let offset = self.at;
                    let length = self.u32()? as usize;
                    std::str::from_utf8(self.take(length)?).map_err(|_| TensorError::InvalidUtf8 { offset })?;
                }
            }
        }
        Ok(start..self.at)
    }

    fn finish(self) -> Result<(), TensorError> {
        match self.bytes.len() - self.at {
            0 => Ok(()),
            extra => Err(TensorError::TrailingBytes { extra }),
        }
    }
}

#[cfg(test)]
mod tests;
