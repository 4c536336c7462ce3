//! The judge's tensors and errors in the words that its process and the node share.

use oraculum_judge::{JudgeError, Tensor};

use crate::engine::{
    backends::{
        child::{
            tensors,
            wire::{self, Failure, FailureKind},
            worker::failure,
        },
        ort::session,
    },
    error::LoadError,
};

/// What a failure of the judge means to the node.
pub(super) fn explained(error: &JudgeError) -> Failure {
    let kind = match error {
        JudgeError::Output { output, reason } => {
            let output = u32::try_from(*output).unwrap_or(u32::MAX);
            return Failure { output, ..failure(FailureKind::NotTensor, reason.clone()) };
        }
        JudgeError::Load(reason) => {
            return match session::not_opened(session::described(reason)) {
                LoadError::TooNew(reason) => failure(FailureKind::TooNew, reason),
                LoadError::Session(reason) => failure(FailureKind::Model, reason),
                error => failure(FailureKind::Model, error.to_string()),
            };
        }
        JudgeError::Run(reason) | JudgeError::Input(reason) => {
            return failure(FailureKind::Model, session::described(reason));
        }
        error if error.is_limit() => FailureKind::Limit,
        error if error.is_host() => FailureKind::Memory,
        _ => FailureKind::Runtime,
    };
    failure(kind, error.to_string())
}

/// Reads a tensor for the judge.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn to_judge(tensor: wire::Tensor) -> Result<Tensor, String> {
    let wire::Tensor { dtype, dims, data, lengths, .. } = tensor;
    let dtype = oraculum_judge::DType::from_onnx(dtype).ok_or_else(|| format!("a tensor of ONNX's type {dtype}"))?;
    let tensor = match dtype.size() {
        Some(_) => Tensor::new(dtype, dims, data),
        None => Tensor::strings(dims, tensors::split(&data, &lengths)?),
    };
    tensor.map_err(|error| error.to_string())
}

/// Writes a tensor of the judge.
pub(super) fn from_judge(tensor: &Tensor) -> wire::Tensor {
    let (data, lengths) = match tensor.data() {
        oraculum_judge::Data::Bytes(bytes) => (bytes.clone(), Vec::new()),
        oraculum_judge::Data::Strings(strings) => tensors::joined(strings),
    };
    wire::Tensor { dtype: tensor.dtype().onnx().into(), dims: tensor.dims().to_vec(), data, lengths, in_memory: 0 }
}
