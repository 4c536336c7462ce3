//! What a running node tells over HTTP, to `oraculum jobs` and `oraculum pnl`, to Prometheus, and to whatever keeps the process
//! running.
//!
//! The service ([`operator`]) and its readers ([`reader`]) share the types of [`types`]. sled belongs to one process, so a
//! running node writes its address into a file in its data folder, by which a reader finds it; without a node, the reader
//! opens the journal itself.

pub mod jobs;
pub mod operator;
pub mod reader;
pub mod types;

pub use operator::{NodeStatus, PipelineHandles, StatusService, serve};
pub use reader::{JournalReader, ReaderError, RunningNode};

/// The file in the data folder that holds a running node's address, as `IP:PORT`. It is there once the node takes work.
pub const ADDRESS_FILE: &str = "status";
