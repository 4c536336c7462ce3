//! What a model declares of its inputs and outputs, and how messages write it.

use std::fmt;

use crate::{protocol::tensor::DType, text};

/// The element types that models can have as inputs and outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each variant is named after its type")]
pub enum ElementType {
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

impl ElementType {
    /// The type in which a tensor of these elements is packed: bf16 becomes f32, all others keep their type.
    pub fn packed(self) -> DType {
        match self {
            Self::I8 => DType::I8,
            Self::I16 => DType::I16,
            Self::I32 => DType::I32,
            Self::I64 => DType::I64,
            Self::U8 => DType::U8,
            Self::U16 => DType::U16,
            Self::U32 => DType::U32,
            Self::U64 => DType::U64,
            Self::F16 => DType::F16,
            Self::Bf16 | Self::F32 => DType::F32,
            Self::F64 => DType::F64,
            Self::Bool => DType::Bool,
            Self::String => DType::String,
        }
    }

    /// Whether elements are IEEE 754 numbers.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::Bf16 | Self::F32 | Self::F64)
    }

    /// The type that `Display` writes so.
    pub fn by_name(name: &str) -> Option<Self> {
        use ElementType::*;
        [I8, I16, I32, I64, U8, U16, U32, U64, F16, Bf16, F32, F64, Bool, String]
            .into_iter()
            .find(|element| element.to_string() == name)
    }
}

impl fmt::Display for ElementType {
    /// Writes the name of the type in the Open Inference Protocol.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Bf16 { "BF16" } else { self.packed().name() })
    }
}

/// An input or an output as a model declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// The model's own name for it.
    pub name: String,
    /// The type of its elements.
    pub element: ElementType,
    /// Dimensions of the tensor, `None` where any size goes; nothing if the model leaves even the rank open.
    pub shape: Option<Vec<Option<u64>>>,
}

impl TensorSpec {
    /// Type and shape, as messages write them: `FP32 [-1,4]`.
    #[must_use]
    pub fn kind(&self) -> String {
        let shape = self.shape.as_deref().map_or("of any shape".to_owned(), show_shape);
        format!("{} {shape}", self.element)
    }
}

impl fmt::Display for TensorSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", text::shown(&self.name), self.kind())
    }
}

/// A declared shape as the Open Inference Protocol writes it: `[-1,4]`, with −1 for dimensions of any size.
pub fn show_shape(shape: &[Option<u64>]) -> String {
    show_list(shape.iter().map(|dim| dim.map_or("-1".to_owned(), |size| size.to_string())))
}

/// The shape of a tensor, as `show_shape` writes a declared one.
pub fn show_dims(shape: &[u32]) -> String {
    show_list(shape.iter().map(ToString::to_string))
}

fn show_list(dims: impl Iterator<Item = String>) -> String {
    format!("[{}]", dims.collect::<Vec<_>>().join(","))
}
