//! The journal of a running node, for `oraculum jobs`: JSON over HTTP on a loopback address.
//!
//! sled belongs to one process. A running node answers `GET /jobs`, `GET /jobs/ID` and `GET /metrics`, and writes its address
//! into the file `status` in its data folder; without a node, the command opens the journal itself.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use alloy::primitives::B256;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tracing::debug;

use crate::{
    books,
    journal::{Journal, JournalError, Position, Purpose, Slot, View},
    lifecycle::Job,
    metrics::Metrics,
};

/// The file in the data folder that names a running node's address.
const FILE: &str = "status";
/// Time for one exchange.
const PATIENCE: Duration = Duration::from_secs(5);
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
pub async fn serve<J: Journal>(
    address: SocketAddr,
    data_dir: &Path,
    journal: Arc<J>,
    metrics: Arc<Metrics>,
) -> io::Result<Status> {
    let listener = TcpListener::bind(address).await?;
    let file = data_dir.join(FILE);
    std::fs::write(&file, listener.local_addr()?.to_string())?;
    let task = tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let (journal, metrics) = (journal.clone(), metrics.clone());
                    tokio::spawn(async move {
                        if let Ok(Err(error)) =
                            tokio::time::timeout(PATIENCE, answer(stream, &*journal, &metrics)).await
                        {
                            debug!(%error, "a status request broke off");
                        }
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

async fn answer(mut stream: TcpStream, journal: &impl Journal, metrics: &Metrics) -> io::Result<()> {
    let mut head = Vec::new();
    let mut limited = (&mut stream).take(REQUEST_LIMIT);
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        if limited.read_buf(&mut head).await? == 0 {
            break;
        }
    }
    let head = String::from_utf8_lossy(&head);
    let mut words = head.split_whitespace();
    let (status, body) = match (words.next(), words.next()) {
        (Some("GET"), Some(path)) => route(path, journal, metrics),
        _ => ("405 Method Not Allowed", json!({ "error": "only GET is served" })),
    };
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

fn route(path: &str, journal: &impl Journal, metrics: &Metrics) -> (&'static str, Value) {
    let found = match path {
        "/metrics" => Ok(Some(Value::Object(metrics.snapshot()))),
        "/jobs" => list(journal, None).map(Some),
        "/books" => books::by_day_and_model(journal).map(Some),
        path => match path.strip_prefix("/jobs/") {
            Some(name) => match name.parse::<B256>() {
                Ok(id) => show(journal, id),
                Err(_) => list(journal, Some(name)).map(Some),
            },
            None => Ok(None),
        },
    };
    match found {
        Ok(Some(value)) => ("200 OK", value),
        Ok(None) => ("404 Not Found", json!({ "error": "not found" })),
        Err(error) => ("500 Internal Server Error", json!({ "error": error.to_string() })),
    }
}

/// The jobs in the journal, newest first, only those of one state if it is named; one line of facts each.
///
/// # Errors
/// The journal's.
pub fn list(journal: &impl Journal, state: Option<&str>) -> Result<Value, JournalError> {
    let view = state.map_or(Some(View::Requested), View::of_state);
    let mut jobs = Vec::new();
    for at in view
        .map(|view| journal.walk_back(view, Position::first_at(0)..Position::last_at(u64::MAX), 1_000))
        .transpose()?
        .unwrap_or_default()
    {
        jobs.extend(journal.job(at.id)?.as_ref().map(summary));
    }
    Ok(Value::Array(jobs))
}

/// All that the journal holds of a job, its transaction included.
///
/// # Errors
/// The journal's.
pub fn show(journal: &impl Journal, id: B256) -> Result<Option<Value>, JournalError> {
    let Some(job) = journal.job(id)? else { return Ok(None) };
    let mut value = summary(&job);
    value["job"] = serde_json::to_value(&job)?;
    let slots = journal.slots()?;
    let carries =
        |slot: &&Slot| matches!(&slot.purpose, Purpose::Answer { items } if items.iter().any(|item| item.id == id));
    let slot = slots.iter().find(carries);
    if let Some(slot) = slot {
        value["transaction"] = json!({
            "sender": slot.sender,
            "nonce": slot.nonce,
            "gas": slot.gas,
            "hashes": slot.attempts.iter().map(|attempt| attempt.hash).collect::<Vec<_>>(),
            "mined": slot.mined,
        });
    }
    if let Some(claim) = journal.claim(id)? {
        value["claim"] = json!({ "vestsAt": claim.vests_at, "paidAt": claim.paid_at });
    }
    Ok(Some(value))
}

fn summary(job: &Job) -> Value {
    let task = job.task();
    json!({
        "id": task.id,
        "state": job.name(),
        "model": task.request.model_id,
        "consumer": task.request.consumer,
        "block": task.block.number,
        "deadline": task.request.deadline(),
    })
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
