//! Shared harness of the end-to-end tests and benchmarks.

pub mod abi;
pub mod anvil;
pub mod consumer;
pub mod deployment;
pub mod fixtures;
pub mod invariants;
pub mod models;
pub mod node;
pub mod onnx;
pub mod process;
pub mod rpc;

/// What the harness returns: a test ends at the first error, whatever it is.
pub type Res<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The seed of a test's random choices, printed so that a failure can be repeated: `TEST_SEED` sets it.
#[must_use]
pub fn seed() -> u64 {
    let seed = std::env::var("TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    eprintln!("TEST_SEED={seed}");
    seed
}
