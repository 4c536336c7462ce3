//! Oraculum's relayer: watches EVM contracts for inference requests, runs ONNX models, posts signed answers.
//!
//! Ground floor, pure: [`protocol`]. Above it, [`model`] reads model cards and files, [`engine`] runs them, and [`oip`]
//! is the JSON form of their tensors. [`config`] and [`keys`] are what an operator gives, [`abi`] is the coordinator.

pub mod abi;
pub mod account;
pub mod cli;
pub mod config;
pub mod dev;
pub mod engine;
pub mod keys;
pub mod model;
pub mod oip;
pub mod protocol;
