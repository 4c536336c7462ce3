//! From packed tensors to a model's inputs, and from its outputs to packed tensors: exactly, or not at all.

mod spec;

pub use spec::{ElementType, TensorSpec, show_dims, show_shape};

use alloy::primitives::Bytes;
use half::{bf16, f16};

use super::{
    Outcome, OutputFormat,
    exact::{Finite, Number, numbers},
    tensor::{self, DType, Tensor, TensorError},
};

/// The largest number of elements of a model's input, counted without dimensions of 0: runtimes multiply dimensions in
/// machine words.
pub const MAX_ELEMENTS: u64 = (1 << 31) - 1;

/// The elements of a tensor as a model takes and gives them, in row-major order.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "each variant is named after its type")]
pub enum Elements {
    I8(Vec<i8>),
    I16(Vec<i16>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    U8(Vec<u8>),
    U16(Vec<u16>),
    U32(Vec<u32>),
    U64(Vec<u64>),
    F16(Vec<f16>),
    Bf16(Vec<bf16>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    Bool(Vec<bool>),
    String(Vec<String>),
}

/// A tensor as a model takes and gives it.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelTensor {
    /// Dimensions of the tensor.
    pub shape: Vec<u32>,
    /// Elements of the tensor, as many as the shape has.
    pub elements: Elements,
}

/// Why an input is `BadInput`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum BadInput {
    #[error("the input is not packed tensors: {0}")]
    NotTensors(#[from] TensorError),
    #[error("{length} bytes of input, but the model's card allows {max}")]
    TooLong { length: usize, max: u32 },
    #[error("{actual} tensors, but the model has {expected} inputs")]
    Count { expected: usize, actual: usize },
    #[error("input `{input}` has shape {}, but the model takes {expected}", show_dims(actual))]
    Shape { input: String, expected: String, actual: Vec<u32> },
    #[error("input `{input}` has {dtype} elements, which do not cast to {element}")]
    Type { input: String, dtype: DType, element: ElementType },
    #[error("element {index} of input `{input}` is not exactly {element}")]
    Value { input: String, index: usize, element: ElementType },
    #[error("output mask {mask:#06x} asks for more than the model's {outputs} outputs")]
    Mask { mask: u16, outputs: usize },
    #[error("the model fails on this input: {0}")]
    Run(String),
}

/// Why an output is `Unrepresentable`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum Unrepresentable {
    #[error("element {index} of output {output} is NaN or infinite, which no answer to a contract can hold")]
    NotFinite { output: usize, index: usize },
    #[error("element {index} of output {output} does not fit the asked {width} bytes with {decimals} decimals")]
    Overflow { output: usize, index: usize, width: u8, decimals: u8 },
    #[error("{length} bytes of output, but the model's card allows {max}")]
    TooLong { length: usize, max: u32 },
    #[error("output {output} is not a packed tensor: {reason}")]
    NotTensor { output: usize, reason: String },
}

/// A failure that anybody can reproduce from the model and the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum Failure {
    #[error(transparent)]
    BadInput(#[from] BadInput),
    #[error(transparent)]
    Unrepresentable(#[from] Unrepresentable),
}

impl Failure {
    /// The outcome that nodes sign.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::BadInput(_) => Outcome::BadInput,
            Self::Unrepresentable(_) => Outcome::Unrepresentable,
        }
    }
}

/// Reads packed tensors as the inputs of a model, one per spec in their order.
///
/// # Errors
/// `NotTensors`, `Count`, `Shape`, `Type` and `Value`, at the first fault.
pub fn to_inputs(specs: &[TensorSpec], input: &Bytes) -> Result<Vec<ModelTensor>, BadInput> {
    let tensors = tensor::decode(input)?;
    if tensors.len() != specs.len() {
        return Err(BadInput::Count { expected: specs.len(), actual: tensors.len() });
    }
    // Every shape is judged before any element is read, so a wrong one costs nothing.
    for (spec, tensor) in specs.iter().zip(&tensors) {
        check_shape(spec, tensor.shape())?;
    }
    specs.iter().zip(&tensors).map(|(spec, tensor)| to_input(spec, tensor)).collect()
}

fn check_shape(spec: &TensorSpec, actual: &[u32]) -> Result<(), BadInput> {
    let wrong = |expected: String| BadInput::Shape { input: spec.name.clone(), expected, actual: actual.to_vec() };
    if let Some(expected) = &spec.shape {
        let fits = |(expected, actual): (&Option<u64>, &u32)| expected.is_none_or(|size| size == u64::from(*actual));
        if expected.len() != actual.len() || !expected.iter().zip(actual).all(fits) {
            return Err(wrong(show_shape(expected)));
        }
    }
    let nonzero = actual.iter().filter(|dim| **dim != 0).try_fold(1u64, |count, dim| count.checked_mul((*dim).into()));
    match nonzero {
        Some(count) if count <= MAX_ELEMENTS => Ok(()),
        _ => Err(wrong(format!("at most {MAX_ELEMENTS} elements"))),
    }
}

fn to_input(spec: &TensorSpec, tensor: &Tensor) -> Result<ModelTensor, BadInput> {
    let has_its_type = tensor.dtype() == spec.element.packed() && tensor.decimals() == 0;
    let elements = match has_its_type.then(|| same_type(spec.element, tensor.data())).flatten() {
        Some(elements) => elements,
        None => cast_each(spec, tensor)?,
    };
    Ok(ModelTensor { shape: tensor.shape().to_vec(), elements })
}

fn cast_each(spec: &TensorSpec, tensor: &Tensor) -> Result<Elements, BadInput> {
    let element = spec.element;

    macro_rules! each {
        ($variant:ident, $cast:expr) => {{
            let cast = $cast;
            let mut values = Vec::with_capacity(tensor.len());
            for (index, number) in numbers(tensor).enumerate() {
                let wrong_value = || BadInput::Value { input: spec.name.clone(), index, element };
                values.push(cast(number).ok_or_else(wrong_value)?);
            }
            Elements::$variant(values)
        }};
    }
    macro_rules! integers {
        ($variant:ident, $type:ty, $wide:ident) => {
            each!($variant, |number: Number| <$type>::try_from(number.to_integer()?.$wide()?).ok())
        };
    }

    let text = |dtype| matches!(dtype, DType::Bool | DType::String);
    if (text(tensor.dtype()) || text(element.packed())) && tensor.dtype() != element.packed() {
        return Err(BadInput::Type { input: spec.name.clone(), dtype: tensor.dtype(), element });
    }
    Ok(match element {
        ElementType::I8 => integers!(I8, i8, to_i128),
        ElementType::I16 => integers!(I16, i16, to_i128),
        ElementType::I32 => integers!(I32, i32, to_i128),
        ElementType::I64 => integers!(I64, i64, to_i128),
        ElementType::U8 => integers!(U8, u8, to_u128),
        ElementType::U16 => integers!(U16, u16, to_u128),
        ElementType::U32 => integers!(U32, u32, to_u128),
        ElementType::U64 => integers!(U64, u64, to_u128),
        ElementType::F16 => each!(F16, |number: Number| number.to_f16()),
        ElementType::Bf16 => each!(Bf16, |number: Number| number.to_bf16()),
        ElementType::F32 => each!(F32, |number: Number| number.to_f32()),
        ElementType::F64 => each!(F64, |number: Number| number.to_f64()),
        ElementType::Bool => Elements::Bool(tensor.data().iter().map(|byte| *byte == 1).collect()),
        ElementType::String => {
            // Runtimes take strings that end at their first zero byte.
            if let Some(index) = tensor.iter_strings().position(|text| text.contains('\0')) {
                return Err(BadInput::Value { input: spec.name.clone(), index, element });
            }
            Elements::String(tensor.iter_strings().map(str::to_owned).collect())
        }
    })
}

/// Elements of the very type in which they are packed, which need no cast; `None` for other types.
fn same_type(element: ElementType, data: &[u8]) -> Option<Elements> {
    macro_rules! read {
        ($variant:ident, $type:ty) => {{
            let value = |bytes: &[u8]| <$type>::from_be_bytes(bytes.try_into().unwrap_or_default());
            Elements::$variant(data.chunks_exact(size_of::<$type>()).map(value).collect())
        }};
    }
    Some(match element {
        ElementType::I8 => read!(I8, i8),
        ElementType::I16 => read!(I16, i16),
        ElementType::I32 => read!(I32, i32),
        ElementType::I64 => read!(I64, i64),
        ElementType::U8 => read!(U8, u8),
        ElementType::U16 => read!(U16, u16),
        ElementType::U32 => read!(U32, u32),
        ElementType::U64 => read!(U64, u64),
        ElementType::F64 => read!(F64, f64),
        ElementType::F32 => {
            // A signaling NaN becomes a quiet one, as in every other cast of it.
            let value = |bytes: &[u8]| match u32::from_be_bytes(bytes.try_into().unwrap_or_default()) {
                bits if bits & 0x7fff_ffff > 0x7f80_0000 => f32::from_bits(bits | 0x0040_0000),
                bits => f32::from_bits(bits),
            };
            Elements::F32(data.chunks_exact(4).map(value).collect())
        }
        ElementType::F16 | ElementType::Bf16 | ElementType::Bool | ElementType::String => return None,
    })
}

/// The nearest f32, half to even; `None` if a finite value overflows.
pub fn to_f32(value: f64) -> Option<f32> {
    Number::Float(value).to_f32()
}

/// The nearest f16, half to even, rounded once; `None` if a finite value overflows.
pub fn to_f16(value: f64) -> Option<f16> {
    Number::Float(value).to_f16()
}

/// Checks that a mask asks only for outputs that there are.
///
/// # Errors
/// `Mask` unless it does.
pub fn check_mask(mask: u16, outputs: usize) -> Result<(), BadInput> {
    match u32::from(mask).checked_shr(outputs as u32) {
        None | Some(0) => Ok(()),
        Some(_) => Err(BadInput::Mask { mask, outputs }),
    }
}

/// What becomes of NaN and infinities among the outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotFinite {
    /// The outputs are `Unrepresentable`: the rule for contracts, whose arithmetic knows no such numbers.
    Refused,
    /// Floats that stay floats keep them.
    Kept,
}

/// Writes outputs, numbered as the model does, in a format that `OutputFormat::is_valid`.
/// The list must hold what the format's mask wants and nothing else.
///
/// # Errors
/// `NotFinite` and `Overflow` at the first element that the format cannot hold; `NotTensor` for elements that do not match
/// their shape; `TooLong` above `max_bytes`.
pub fn from_outputs(
    outputs: &[(usize, ModelTensor)],
    format: OutputFormat,
    not_finite: NotFinite,
    max_bytes: u32,
) -> Result<Bytes, Unrepresentable> {
    let not_tensor = |output, error: TensorError| Unrepresentable::NotTensor { output, reason: error.to_string() };
    let tensors = outputs
        .iter()
        .map(|(output, tensor)| {
            let (dtype, decimals, data) = packed_elements(*output, &tensor.elements, format, not_finite)?;
            Tensor::new(dtype, decimals, tensor.shape.clone(), data.into()).map_err(|error| not_tensor(*output, error))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let bytes = tensor::encode(&tensors).map_err(|error| not_tensor(tensors.len(), error))?;
    if bytes.len() > max_bytes as usize {
        return Err(Unrepresentable::TooLong { length: bytes.len(), max: max_bytes });
    }
    Ok(bytes)
}

/// The bytes of all values, one after another. Written into their places, so that the compiler sees one copy.
fn big_endian<T: Copy, const SIZE: usize>(values: &[T], bytes: impl Fn(T) -> [u8; SIZE]) -> Vec<u8> {
    let mut data = vec![0; values.len() * SIZE];
    for (place, value) in data.chunks_exact_mut(SIZE).zip(values) {
        place.copy_from_slice(&bytes(*value));
    }
    data
}

fn packed_elements(
    output: usize,
    elements: &Elements,
    format: OutputFormat,
    not_finite: NotFinite,
) -> Result<(DType, u8, Vec<u8>), Unrepresentable> {
    let mut data = Vec::new();
    macro_rules! native {
        ($variant:ident, $values:expr) => {{
            data = big_endian($values, |value| value.to_be_bytes());
            DType::$variant
        }};
    }
    macro_rules! floats {
        ($variant:ident, $values:expr) => {{
            let values = $values;
            if let Some(dtype) = DType::signed(format.width) {
                let OutputFormat { width, decimals, .. } = format;
                for (index, value) in values.iter().enumerate() {
                    let finite = Finite::new(f64::from(*value)).ok_or(Unrepresentable::NotFinite { output, index })?;
                    let value = finite.quantise(width, decimals);
                    let value = value.ok_or(Unrepresentable::Overflow { output, index, width, decimals })?;
                    data.extend_from_slice(&value.to_be_bytes()[16 - usize::from(width)..]);
                }
                return Ok((dtype, decimals, data));
            }
            let refused = values.iter().position(|value| !value.is_finite());
            if let Some(index) = refused.filter(|_| not_finite == NotFinite::Refused) {
                return Err(Unrepresentable::NotFinite { output, index });
            }
            native!($variant, values)
        }};
    }
    let dtype = match elements {
        Elements::I8(values) => native!(I8, values),
        Elements::I16(values) => native!(I16, values),
        Elements::I32(values) => native!(I32, values),
        Elements::I64(values) => native!(I64, values),
        Elements::U8(values) => native!(U8, values),
        Elements::U16(values) => native!(U16, values),
        Elements::U32(values) => native!(U32, values),
        Elements::U64(values) => native!(U64, values),
        Elements::F16(values) => floats!(F16, values),
        Elements::Bf16(values) => {
            let wide: Vec<f32> = values.iter().map(|value| value.to_f32()).collect();
            floats!(F32, &wide)
        }
        Elements::F32(values) => floats!(F32, values),
        Elements::F64(values) => floats!(F64, values),
        Elements::Bool(values) => {
            data.extend(values.iter().map(|value| u8::from(*value)));
            DType::Bool
        }
        Elements::String(values) => {
            values.iter().for_each(|value| tensor::put_string(&mut data, value));
            DType::String
        }
    };
    Ok((dtype, 0, data))
}

#[cfg(test)]
mod tests;
