//! JSON-RPC between a node and its chain: a server to script, a proxy that can be cut, and one that fails.

pub mod faults;
pub mod server;
pub mod tcp_proxy;
