//! What unit tests of several modules build on: values, a scripted chain, and a node over both.

mod bench;
pub(crate) mod chain;
pub(crate) mod endpoint;
mod log;
mod signer;
mod values;

pub(crate) use bench::*;
pub(crate) use log::Log;
pub(crate) use signer::RemoteSigner;
pub(crate) use values::*;
