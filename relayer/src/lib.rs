//! Oraculum's relayer: watches EVM contracts for inference requests, runs ONNX models, posts signed answers.
//!
//! The modules stand on floors, and import only from floors below (`tests/floors.rs` holds it):
//!
//! ```text
//! 11  main
//! 10  cli          a file a command: flags and print only
//!  9  supervisor   connects, makes the channels, starts the stages, decides restarts
//!  8  stages       watcher → executor → attester → submitter, and claimer
//!  7  transactions what the submitter sends through: nonces, attempts, finality
//!  6  node, api, dev
//!  5  client, keys, policy
//!  4  config, metrics, conditions
//!  3  engine, journal, coordinator, pricing
//!  2  domain, model, oip
//!  1  protocol, chain
//!  0  chance, failpoint, text
//! ```

// A message that cannot be written must not end a node: `cli::output` has what may be written to.
#![cfg_attr(not(test), warn(clippy::print_stderr))]

pub mod api;
pub mod chain;
pub mod chance;
pub mod cli;
pub mod client;
pub mod conditions;
pub mod config;
pub mod coordinator;
pub mod dev;
pub mod domain;
pub mod engine;
pub mod failpoint;
pub mod journal;
pub mod keys;
pub mod metrics;
pub mod model;
pub mod node;
pub mod oip;
pub mod policy;
pub mod pricing;
pub mod protocol;
pub mod stages;
pub mod supervisor;
#[cfg(test)]
mod testing;
pub mod text;
pub mod transactions;
