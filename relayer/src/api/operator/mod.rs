//! What a running node tells over HTTP: to `oraculum jobs`, to Prometheus, and to whatever keeps the process running.
//!
//! | path | answer |
//! |---|---|
//! | `/live` | 200 while the process runs |
//! | `/ready` | 200 if the node can answer requests now, else 503; the body has a reason per line |
//! | `/metrics` | OpenMetrics text |
//! | `/jobs?state=…&model=…&after=…&limit=…` | a page of jobs, as JSON |
//! | `/jobs/ID` | a job |
//! | `/books` | profit and loss by day and model |
//!
//! sled belongs to one process, so a running node writes its address into the file `status` in its data folder for the
//! command; without a node, the command opens the journal itself.

mod metrics;
mod node_status;

pub use node_status::{NodeStatus, PipelineHandles};

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use alloy::primitives::B256;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
};
use tracing::debug;

use super::jobs::{self, Filter};
use crate::{client::earnings, journal::Journal};

/// The file in the data folder that names a running node's address.
const FILE: &str = "status";
/// Time for one exchange.
const PATIENCE: Duration = Duration::from_secs(5);
/// Exchanges at once; others wait.
const CONNECTIONS: usize = 16;
/// The longest request that is read.
const REQUEST_LIMIT: u64 = 4096;

/// A running status service; it ends when dropped.
#[derive(Debug)]
pub struct Status {
    file: PathBuf,
    task: JoinHandle<()>,
}

impl Drop for Status {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.file);
    }
}

/// Serves a node's status.
///
/// # Errors
/// Those of binding and of writing the file.
pub async fn serve<J: Journal>(address: SocketAddr, data_dir: &Path, board: NodeStatus<J>) -> io::Result<Status> {
    let listener = TcpListener::bind(address).await?;
    let file = data_dir.join(FILE);
    let mut local = listener.local_addr()?;
    if local.ip().is_unspecified() {
        local.set_ip(if local.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
    }
    std::fs::write(&file, local.to_string())?;
    let (board, seats) = (Arc::new(board), Arc::new(Semaphore::new(CONNECTIONS)));
    let task = tokio::spawn(async move {
        loop {
            let Ok(seat) = seats.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let board = board.clone();
                    tokio::spawn(async move {
                        if let Ok(Err(error)) = tokio::time::timeout(PATIENCE, answer(stream, board)).await {
                            debug!(%error, "a status request broke off");
                        }
                        drop(seat);
                    });
                }
                Err(error) => {
                    debug!(%error, "cannot accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    });
    Ok(Status { file, task })
}

/// A status line, a content type and a body.
type Reply = (&'static str, &'static str, String);

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

async fn answer<J: Journal>(mut stream: TcpStream, board: Arc<NodeStatus<J>>) -> io::Result<()> {
    let mut head = Vec::new();
    let mut limited = (&mut stream).take(REQUEST_LIMIT);
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        if limited.read_buf(&mut head).await? == 0 {
            break;
        }
    }
    let head = String::from_utf8_lossy(&head);
    let mut words = head.split_whitespace();
    let (status, kind, body) = match (words.next(), words.next()) {
        (Some("GET"), Some(path)) => {
            let path = path.to_owned();
            // The journal is read in place, which may take a while.
            tokio::task::spawn_blocking(move || route(&path, &board)).await.map_err(io::Error::other)?
        }
        _ => ("405 Method Not Allowed", JSON, json!({ "error": "only GET is served" }).to_string()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

fn route<J: Journal>(path: &str, board: &NodeStatus<J>) -> Reply {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let error = |status, error: String| (status, JSON, json!({ "error": error }).to_string());
    let json = |value: Value| ("200 OK", JSON, value.to_string());
    match path {
        "/live" => ("200 OK", TEXT, "live\n".into()),
        "/ready" => match board.unready() {
            reasons if reasons.is_empty() => ("200 OK", TEXT, "ready\n".into()),
            reasons => ("503 Service Unavailable", TEXT, reasons.join("\n") + "\n"),
        },
        "/metrics" => match metrics::page(board) {
            Ok(text) => ("200 OK", OPEN_METRICS, text),
            Err(failed) => error("500 Internal Server Error", failed.to_string()),
        },
        "/jobs" => match Filter::from_query(query) {
            Ok(filter) => match jobs::list(&*board.journal, &filter) {
                Ok(page) => json(page),
                Err(failed) => error("500 Internal Server Error", failed.to_string()),
            },
            Err(wrong) => error("400 Bad Request", wrong),
        },
        "/books" => match earnings::by_day_and_model(&*board.journal) {
            Ok(books) => json(books),
            Err(failed) => error("500 Internal Server Error", failed.to_string()),
        },
        path => match path.strip_prefix("/jobs/").and_then(|id| id.parse::<B256>().ok()) {
            Some(id) => match jobs::show(&*board.journal, id) {
                Ok(Some(job)) => json(job),
                Ok(None) => error("404 Not Found", format!("the journal knows no request {id}")),
                Err(failed) => error("500 Internal Server Error", failed.to_string()),
            },
            None => error("404 Not Found", "not found".into()),
        },
    }
}

/// Asks the node that runs on a data folder. `None` if none does.
///
/// # Errors
/// A node that answers something else than promised.
pub async fn ask(data_dir: &Path, path: &str) -> io::Result<Option<(u16, Value)>> {
    let Ok(address) = std::fs::read_to_string(data_dir.join(FILE)) else { return Ok(None) };
    let exchange = async {
        let Ok(mut stream) = TcpStream::connect(address.trim()).await else { return Ok(None) };
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").as_bytes())
            .await?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await?;
        let odd =
            || io::Error::new(io::ErrorKind::InvalidData, format!("{address} does not answer as a node's status"));
        let (head, body) = reply.split_once("\r\n\r\n").ok_or_else(odd)?;
        let code = head.split_whitespace().nth(1).and_then(|code| code.parse().ok()).ok_or_else(odd)?;
        Ok(Some((code, serde_json::from_str(body).map_err(|_| odd())?)))
    };
    tokio::time::timeout(PATIENCE, exchange).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

#[cfg(test)]
mod tests;
