//! JSON-RPC between a node and its chain: a server to script, a proxy that can be cut, and one that fails.

pub mod faults;
pub mod server;
pub mod tcp_proxy;

/// A port of this machine that serves JSON-RPC over HTTP and WebSockets.
#[derive(Debug, Clone, Copy)]
pub struct Local {
    /// Its number.
    pub port: u16,
}

impl Local {
    /// Its WebSocket URL.
    #[must_use]
    pub fn ws_url(self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }

    /// Its HTTP URL.
    #[must_use]
    pub fn http_url(self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}
