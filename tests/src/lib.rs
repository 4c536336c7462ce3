//! Shared harness of the end-to-end tests and benchmarks.

pub mod abi;
pub mod anvil;
pub mod market;

/// What the harness returns: a test ends at the first error, whatever it is.
pub type Res<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
