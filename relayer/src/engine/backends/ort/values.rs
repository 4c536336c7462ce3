//! Tensors on their way into and out of the runtime.

use half::{bf16, f16};
use ort::value::{
    DynSequenceValueType, DynTensor, DynTensorValueType, DynValue, Sequence, Tensor, TensorElementType, ValueType,
};

use super::sequences;
use crate::protocol::cast::{ElementType, Elements, ModelTensor};

/// Reason for which an output is no packed tensor.
#[derive(Debug)]
pub(super) enum OutputError {
    /// Packed tensors have no place for it, on any machine.
    NotTensor(String),
    /// The runtime did not hand it out.
    Runtime(ort::Error),
}

impl From<ort::Error> for OutputError {
    fn from(error: ort::Error) -> Self {
        Self::Runtime(error)
    }
}

/// Hands a tensor to the runtime, without copying its elements (strings excepted).
pub(super) fn to_runtime(tensor: ModelTensor) -> Result<DynTensor, ort::Error> {
    let shape: Vec<i64> = tensor.shape.iter().map(|dim| i64::from(*dim)).collect();
    Ok(match tensor.elements {
        Elements::I8(values) => Tensor::from_array((shape, values))?.upcast(),
        Elements::I16(values) => Tensor::from_array((shape, values))?.upcast(),
        Elements::I32(values) => Tensor::from_array((shape, values))?.upcast(),
        Elements::I64(values) => Tensor::from_array((shape, values))?.upcast(),
        Elements::U8(values) => Tensor::from_array((shape, values))?.upcast(),
        Elements::U16(values) => Tensor::from_array((shape, values))?.upcast(),
        Elements::U32(values) => Tensor::from_array((shape, values))?.upcast(),
        Elements::U64(values) => Tensor::from_array((shape, values))?.upcast(),
        Elements::F16(values) => Tensor::from_array((shape, values))?.upcast(),
        Elements::Bf16(values) => Tensor::from_array((shape, values))?.upcast(),
        Elements::F32(values) => Tensor::from_array((shape, values))?.upcast(),
        Elements::F64(values) => Tensor::from_array((shape, values))?.upcast(),
        Elements::Bool(values) => Tensor::from_array((shape, values))?.upcast(),
        Elements::String(values) => Tensor::from_string_array((shape, values.as_slice()))?.upcast(),
    })
}

/// Hands a sequence of tensors of one type to the runtime; there must be one at least.
pub(super) fn sequence_to_runtime(elements: Vec<ModelTensor>) -> Result<DynValue, ort::Error> {
    let elements = elements.into_iter().map(to_runtime).collect::<Result<Vec<_>, _>>()?;
    Ok(Sequence::new(elements)?.into_dyn())
}

/// Copies a sequence out of the runtime, as the two tensors that stand for it.
pub(super) fn sequence_from_runtime(
    value: &DynValue,
    element: ElementType,
) -> Result<(ModelTensor, ModelTensor), OutputError> {
    let kind = value.dtype();
    if !matches!(kind, ValueType::Sequence(_)) {
        return Err(OutputError::NotTensor(format!("{kind}")));
    }
    let elements = value.view().downcast::<DynSequenceValueType>()?.try_extract_sequence::<DynTensorValueType>()?;
    let elements =
        elements.into_iter().map(|element| from_runtime(&element.into_dyn())).collect::<Result<Vec<_>, _>>()?;
    sequences::join(&elements, element).map_err(OutputError::NotTensor)
}

/// Copies an output out of the runtime.
pub(super) fn from_runtime(value: &DynValue) -> Result<ModelTensor, OutputError> {
    let not_tensor = |what: String| OutputError::NotTensor(what);
    let kind = value.dtype();
    let Some(shape) = kind.tensor_shape() else { return Err(not_tensor(format!("{kind}"))) };
    let shape = shape
        .iter()
        .map(|dim| u32::try_from(*dim).map_err(|_| not_tensor(format!("a dimension of {dim}"))))
        .collect::<Result<Vec<_>, _>>()?;
    macro_rules! copy {
        ($variant:ident, $type:ty) => {
            Elements::$variant(value.try_extract_tensor::<$type>()?.1.to_vec())
        };
    }
    let elements = match kind.tensor_type() {
        Some(TensorElementType::Int8) => copy!(I8, i8),
        Some(TensorElementType::Int16) => copy!(I16, i16),
        Some(TensorElementType::Int32) => copy!(I32, i32),
        Some(TensorElementType::Int64) => copy!(I64, i64),
        Some(TensorElementType::Uint8) => copy!(U8, u8),
        Some(TensorElementType::Uint16) => copy!(U16, u16),
        Some(TensorElementType::Uint32) => copy!(U32, u32),
        Some(TensorElementType::Uint64) => copy!(U64, u64),
        Some(TensorElementType::Float16) => copy!(F16, f16),
        Some(TensorElementType::Bfloat16) => copy!(Bf16, bf16),
        Some(TensorElementType::Float32) => copy!(F32, f32),
        Some(TensorElementType::Float64) => copy!(F64, f64),
        Some(TensorElementType::Bool) => Elements::Bool(bools(value)?),
        Some(TensorElementType::String) => match value.try_extract_strings() {
            Ok((_, values)) => Elements::String(values),
            Err(error) => return Err(not_tensor(format!("strings that are not UTF-8 ({error})"))),
        },
        _ => return Err(not_tensor(format!("{kind}"))),
    };
    Ok(ModelTensor { shape, elements })
}

/// A model's bools may be any byte (its file can hold them so), which a Rust `bool` must never be: they are read as
/// bytes, and every byte but 0 is true.
#[allow(unsafe_code, reason = "bools are looked at as the bytes they are")]
fn bools(value: &DynValue) -> Result<Vec<bool>, ort::Error> {
    let value = value.view();
    let tensor = value.downcast::<DynTensorValueType>()?;
    if !tensor.memory_info().is_cpu_accessible() {
        return Err(ort::Error::new("a bool output lies on a device"));
    }
    let (pointer, count) = (tensor.data_ptr().cast::<u8>(), tensor.shape().num_elements());
    if pointer.is_null() || count == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: the runtime keeps `count` elements of one byte at `pointer`, in memory this thread can read, as long as
    // `tensor` lives.
    let bytes = unsafe { std::slice::from_raw_parts(pointer, count) };
    Ok(bytes.iter().map(|byte| *byte != 0).collect())
}
