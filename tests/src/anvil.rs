//! A real Anvil for a test, on a free port, gone when it is dropped.

use std::{path::Path, process::Stdio, time::Duration};

use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::{Res, rpc::Local};

/// The process.
#[derive(Debug)]
pub struct Anvil {
    /// Where it listens.
    pub local: Local,
    _process: Child,
    /// What it keeps on disk. A chain that is killed leaves its states behind, gigabytes of them after long runs.
    _scratch: TempDir,
}

impl Anvil {
    /// Starts an automining chain.
    ///
    /// # Errors
    /// As [`Self::with`].
    pub async fn start() -> Res<Self> {
        Self::with(&[]).await
    }

    /// Starts a chain with further arguments.
    ///
    /// # Errors
    /// If Anvil is not installed, does not listen within 10 seconds, or finds no room for its files.
    pub async fn with(arguments: &[&str]) -> Res<Self> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/tool");
        let scratch = tempfile::Builder::new().prefix("oraculum-anvil-").tempdir()?;
        let process = Command::new(tool)
            .args(["anvil", "--quiet", "--port", &port.to_string(), "--cache-path"])
            .arg(scratch.path())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        for _ in 0..400 {
            if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return Ok(Self { local: Local { port }, _process: process, _scratch: scratch });
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        Err("anvil did not start within 10 s; run ./scripts/setup".into())
    }
}
