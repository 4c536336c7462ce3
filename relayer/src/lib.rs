//! Oraculum's relayer: watches EVM contracts for inference requests, runs ONNX models, posts signed answers.
//!
//! Ground floor, pure: [`protocol`]. Above it, [`model`] reads model cards and files, [`engine`] runs them, and [`oip`]
//! is the JSON form of their tensors. [`config`] and [`keys`] are what an operator gives, [`abi`] is the coordinator.
//!
//! The node is a row of stages, [`watcher`] → [`executor`] → [`attester`] → [`submitter`], and [`claimer`] beside them, owned
//! by the [`supervisor`]. A request is a job whose states are in [`lifecycle`]; what must not be forgotten is in the
//! [`journal`], behind a trait as the [`chain`] is. [`contract`] reads and writes what the coordinator says.

pub mod abi;
pub mod account;
pub mod attester;
pub mod books;
pub mod chain;
pub mod claimer;
pub mod cli;
pub mod config;
pub mod contract;
pub mod crash;
pub mod dev;
pub mod engine;
pub mod executor;
pub mod journal;
pub mod keys;
pub mod lifecycle;
pub mod metrics;
pub mod model;
pub mod node;
pub mod oip;
pub mod policy;
pub mod protocol;
pub mod seats;
pub mod status;
pub mod submitter;
pub mod supervisor;
#[cfg(test)]
mod testing;
pub mod transactions;
pub mod watcher;
