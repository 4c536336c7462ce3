//! Inputs and outputs as a file declares them, and the tensors that stand for them.
//!
//! A sequence of tensors, which packed tensors have no place for, is two tensors: `NAME` with its elements along a new first
//! axis, each in the corner of a slice that is as large as the largest, and `NAME.shapes`, INT64 [elements, rank], with the
//! shape of each. What is optional is taken to be there.

use std::fmt;

use super::{
    proto::{self, Type, ValueInfo},
    refused::{Refused, SEQUENCE_OF_MAPS},
};
use crate::protocol::cast::{ElementType, TensorSpec};

/// A model's inputs and outputs, in its own order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Tensors that must be fed.
    pub inputs: Vec<TensorSpec>,
    /// What comes out; one at least is a tensor.
    pub outputs: Vec<OutputSpec>,
    /// Inputs as the file declares them.
    pub input_ports: Vec<Port>,
    /// Outputs as the file declares them.
    pub output_ports: Vec<Port>,
    /// Files beside the model's own that hold weights: paths within its folder, sorted, each once.
    pub external: Vec<String>,
}

/// An input or output of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// The model's own name for it.
    pub name: String,
    /// What goes through it.
    pub kind: PortKind,
}

/// What goes through an input or output of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortKind {
    /// A tensor.
    Tensor,
    /// A sequence of tensors of one type: two of the signature's tensors.
    Sequence(ElementType),
    /// Something that no tensors stand for: one of the signature's outputs.
    Other,
}

impl PortKind {
    /// Number of the signature's inputs or outputs that stand for it.
    #[must_use]
    pub fn tensors(self) -> usize {
        if matches!(self, Self::Sequence(_)) { 2 } else { 1 }
    }
}

/// An output that a model declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputSpec {
    /// A tensor.
    Tensor(TensorSpec),
    /// Something else, such as the maps of a `ZipMap`: a run may leave it out, and cannot give it.
    Other {
        /// The model's own name for it.
        name: String,
        /// What it is, in words.
        kind: String,
    },
}

impl OutputSpec {
    /// The model's own name for it.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Tensor(spec) => &spec.name,
            Self::Other { name, .. } => name,
        }
    }
}

impl fmt::Display for OutputSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tensor(spec) => spec.fmt(f),
            Self::Other { name, kind } => write!(f, "{name}, {kind}: leave it out"),
        }
    }
}

/// Reads the declarations of inputs or outputs: the ports, and the tensors or other things that stand for them.
///
/// # Errors
/// `Refused::UnsupportedType` where a sequence's second tensor would have another port's name.
pub(super) fn read<'a>(
    declared: impl Iterator<Item = &'a ValueInfo> + Clone,
) -> Result<(Vec<Port>, Vec<OutputSpec>), Refused> {
    let (mut ports, mut specs) = (Vec::new(), Vec::new());
    for info in declared.clone() {
        let kind = match port(info) {
            Ok((kind, tensors)) => {
                specs.extend(tensors.into_iter().map(OutputSpec::Tensor));
                kind
            }
            Err(kind) => {
                specs.push(OutputSpec::Other { name: info.name.clone(), kind });
                PortKind::Other
            }
        };
        if matches!(kind, PortKind::Sequence(_)) && declared.clone().any(|other| other.name == shapes_of(&info.name)) {
            let kind = format!("a sequence beside `{}`, the name of the tensor with its shapes", shapes_of(&info.name));
            return Err(Refused::UnsupportedType { tensor: info.name.clone(), kind });
        }
        ports.push(Port { name: info.name.clone(), kind });
    }
    Ok((ports, specs))
}

/// Name of the tensor with the shapes of a sequence's elements.
fn shapes_of(name: &str) -> String {
    format!("{name}.shapes")
}

/// What goes through a port, and the tensors that stand for it; or what it is, in words, if none do.
fn port(info: &ValueInfo) -> Result<(PortKind, Vec<TensorSpec>), String> {
    let declared = info.r#type.as_ref().ok_or(UNDECLARED)?;
    // Even beside a tensor type: which of two a reader takes depends on their order.
    let kinds = [declared.tensor.is_some(), declared.sequence.is_some(), declared.optional.is_some()];
    if let Some(kind) = other(declared) {
        return Err(kind.to_owned());
    }
    if kinds.iter().filter(|present| **present).count() > 1 {
        return Err("of several types".to_owned());
    }
    if let Some(optional) = &declared.optional {
        let inner = ValueInfo { name: info.name.clone(), r#type: optional.elem_type.as_deref().cloned() };
        let nested = inner.r#type.as_ref().is_some_and(|inner| inner.optional.is_some());
        return if nested { Err("optional twice".to_owned()) } else { port(&inner) };
    }
    let name = info.name.clone();
    let Some(sequence) = &declared.sequence else {
        let (element, shape) = tensor(declared)?;
        return Ok((PortKind::Tensor, vec![TensorSpec { name, element, shape }]));
    };
    let inner = sequence.elem_type.as_deref().ok_or(UNDECLARED)?;
    if inner.map.is_some() {
        return Err(SEQUENCE_OF_MAPS.to_owned());
    }
    if inner.sequence.is_some() || inner.optional.is_some() || other(inner).is_some() {
        return Err("a sequence of what are no tensors".to_owned());
    }
    let (element, shape) = tensor(inner).map_err(|kind| format!("a sequence of tensors {kind}"))?;
    // The elements may have any sizes: runtimes hold them to no declared shape.
    let rank = shape.map(|shape| shape.len());
    let data = TensorSpec { name, element, shape: rank.map(|rank| vec![None; rank + 1]) };
    let shapes = TensorSpec {
        name: shapes_of(&info.name),
        element: ElementType::I64,
        shape: Some(vec![None, rank.and_then(|rank| u64::try_from(rank).ok())]),
    };
    Ok((PortKind::Sequence(element), vec![data, shapes]))
}

const UNDECLARED: &str = "of no declared type";

/// What a type is that no tensors stand for.
fn other(declared: &Type) -> Option<&'static str> {
    let kinds = [
        (declared.map.is_some(), "a map"),
        (declared.sparse_tensor.is_some(), "a sparse tensor"),
        (declared.opaque.is_some(), "opaque"),
    ];
    kinds.into_iter().find_map(|(present, kind)| present.then_some(kind))
}

/// Dimensions, as `TensorSpec` has them.
type Shape = Option<Vec<Option<u64>>>;

/// Element type and shape of a tensor type; or what it is, in words.
fn tensor(declared: &Type) -> Result<(ElementType, Shape), String> {
    let tensor = declared.tensor.as_ref().ok_or(UNDECLARED)?;
    let element = element(tensor.elem_type)?;
    let size = |dim: &proto::Dimension| match dim.size {
        Some(proto::Size::Value(size)) => u64::try_from(size).ok(),
        _ => None,
    };
    Ok((element, tensor.shape.as_ref().map(|shape| shape.dim.iter().map(size).collect())))
}

/// The element type of a number of the enum `TensorProto.DataType`.
fn element(number: i32) -> Result<ElementType, String> {
    Ok(match number {
        1 => ElementType::F32,
        2 => ElementType::U8,
        3 => ElementType::I8,
        4 => ElementType::U16,
        5 => ElementType::I16,
        6 => ElementType::I32,
        7 => ElementType::I64,
        8 => ElementType::String,
        9 => ElementType::Bool,
        10 => ElementType::F16,
        11 => ElementType::F64,
        12 => ElementType::U32,
        13 => ElementType::U64,
        16 => ElementType::Bf16,
        other => {
            let name = OTHERS.iter().find_map(|(number, name)| (*number == other).then_some(*name));
            return Err(name.map_or(format!("of ONNX element type {other}"), |name| format!("of {name}")));
        }
    })
}

/// Element types that packed tensors do not have; within a model they may be used.
const OTHERS: [(i32, &str); 12] = [
    (14, "COMPLEX64"),
    (15, "COMPLEX128"),
    (17, "FLOAT8E4M3FN"),
    (18, "FLOAT8E4M3FNUZ"),
    (19, "FLOAT8E5M2"),
    (20, "FLOAT8E5M2FNUZ"),
    (21, "UINT4"),
    (22, "INT4"),
    (23, "FLOAT4E2M1"),
    (24, "FLOAT8E8M0"),
    (25, "UINT2"),
    (26, "INT2"),
];
