//! What a running node tells over HTTP: to `oraculum jobs`, to Prometheus, and to whatever keeps the process running.

pub mod jobs;
pub mod operator;

pub use operator::{NodeStatus, PipelineHandles, ask, serve};
