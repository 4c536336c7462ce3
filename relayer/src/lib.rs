//! Oraculum's relayer: watches EVM contracts for inference requests, runs ONNX models, posts signed answers.
//!
//! Ground floor, pure: [`protocol`]. Above it, [`model`] reads model cards and files, [`engine`] runs them, and [`oip`]
//! is the JSON form of their tensors.

pub mod cli;
pub mod engine;
pub mod model;
pub mod oip;
pub mod protocol;
