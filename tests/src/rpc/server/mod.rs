//! A JSON-RPC endpoint that the tests own: HTTP and WebSocket on one port, before a [`Backend`] that decides every answer.

mod http;
mod socket;

use std::{future::Future, sync::Arc};

use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::broadcast,
};

use crate::{Res, rpc::Local};

/// How a call ends.
#[derive(Debug, Clone)]
pub enum Reply {
    /// With a result.
    Result(Value),
    /// With a JSON-RPC error: code, message and data.
    Error(i64, String, Option<Value>),
    /// With a bare HTTP status; over a WebSocket, with an error of this code.
    Status(u16),
    /// With the result, told twice; over HTTP once.
    Twice(Value),
    /// Never.
    Silence,
    /// With the connection.
    Cut,
}

/// What answers.
pub trait Backend: Send + Sync + 'static {
    /// Answers a call.
    fn call(&self, method: &str, params: Value) -> impl Future<Output = Reply> + Send;
    /// Heads for subscribers, as they are to be told.
    fn heads(&self) -> broadcast::Receiver<Value>;
}

/// A running endpoint; it ends when dropped, with all its connections.
#[derive(Debug)]
pub struct RpcServer {
    /// Where it listens.
    pub local: Local,
    task: tokio::task::JoinHandle<()>,
}

impl RpcServer {
    /// Serves a backend on a free port.
    ///
    /// # Errors
    /// If no port is free.
    pub async fn serve<B: Backend>(backend: Arc<B>) -> Res<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let local = Local { port: listener.local_addr()?.port() };
        let task = tokio::spawn(async move {
            // Dropped with this task, and with it every connection.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(connection(stream, backend.clone()));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { local, task })
    }
}

impl Drop for RpcServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One client, until it or the backend ends the connection.
async fn connection<B: Backend>(stream: TcpStream, backend: Arc<B>) {
    let _ = stream.set_nodelay(true);
    let mut first = [0; 4];
    let Ok(read) = stream.peek(&mut first).await else { return };
    // A WebSocket begins with a GET, a call over HTTP is a POST. An error is the client's going away.
    let _ = match &first[..read] {
        b"GET " => socket::serve(stream, backend).await,
        _ => http::serve(stream, backend).await,
    };
}

/// A call as it came.
struct Called {
    id: Value,
    method: String,
    params: Value,
}

fn parse(text: &[u8]) -> Res<Called> {
    let mut call: Value = serde_json::from_slice(text)?;
    let method = call["method"].as_str().ok_or("a call has a method; batches are not served")?.to_owned();
    Ok(Called { id: call["id"].take(), params: call["params"].take(), method })
}

/// The message that carries a reply; `None` where nothing is to be said.
fn message(id: &Value, reply: &Reply) -> Option<String> {
    let error = |code: i64, message: &str, data: &Option<Value>| {
        let mut error = json!({ "code": code, "message": message });
        if let Some(data) = data {
            error["data"] = data.clone();
        }
        json!({ "jsonrpc": "2.0", "id": id, "error": error })
    };
    let message = match reply {
        Reply::Result(value) | Reply::Twice(value) => json!({ "jsonrpc": "2.0", "id": id, "result": value }),
        Reply::Error(code, message, data) => error(*code, message, data),
        Reply::Status(429) => error(429, "too many requests", &None),
        Reply::Status(code) => error(i64::from(*code), "internal error", &None),
        Reply::Silence | Reply::Cut => return None,
    };
    Some(message.to_string())
}
