//! ONNX Runtime in this process, on threads of its own.

pub mod runtime;
pub(in crate::engine) mod session;
mod values;
pub(in crate::engine) mod worker;
