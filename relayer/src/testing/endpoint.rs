//! An endpoint of this machine whose every answer a test writes: JSON-RPC over HTTP and WebSockets on one port.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_tungstenite::tungstenite::{
    Message,
    handshake::server::{Request, Response},
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use crate::chain::{ClientSettings, Endpoint, RootCertificates};

/// An answer.
#[derive(Debug, Clone)]
pub(crate) enum Said {
    Result(Value),
    Error(i64, String),
    /// These bytes, with a status of HTTP; over a WebSocket, as a text.
    Body(u16, Vec<u8>),
    /// The end of the connection, with a code and a reason.
    Close(u16, String),
}

type Script = dyn Fn(&str, &Value) -> Said + Send + Sync;

/// What the endpoint saw.
#[derive(Debug, Default)]
struct Seen {
    connections: AtomicUsize,
    calls: Mutex<Vec<(String, Value)>>,
    authorization: Mutex<Option<String>>,
}

/// A running endpoint; it ends when dropped.
#[derive(Debug)]
pub(crate) struct TestEndpoint {
    port: u16,
    seen: Arc<Seen>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for TestEndpoint {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl TestEndpoint {
    /// Answers by a script of method and parameters.
    pub(crate) async fn start(script: impl Fn(&str, &Value) -> Said + Send + Sync + 'static) -> Self {
        Self::serve(Arc::new(script), false).await
    }

    /// Takes every WebSocket and closes it at once, as a policy forbids it.
    pub(crate) async fn closing() -> Self {
        Self::serve(Arc::new(|_: &str, _: &Value| Said::Result(Value::Null)), true).await
    }

    async fn serve(script: Arc<Script>, closes: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, seen) = (listener.local_addr().unwrap().port(), Arc::<Seen>::default());
        let told = seen.clone();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                told.connections.fetch_add(1, Ordering::Relaxed);
                connections.spawn(connection(stream, script.clone(), told.clone(), closes));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { port, seen, task }
    }

    /// Its URL, with a secret in it.
    pub(crate) fn url(&self, scheme: &str) -> Endpoint {
        format!("{scheme}://127.0.0.1:{}/secret-key-1", self.port).parse().unwrap()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Number of connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::Relaxed)
    }

    /// The parameters of the calls of a method so far.
    pub(crate) fn calls(&self, method: &str) -> Vec<Value> {
        let calls = self.seen.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.iter().filter(|(called, _)| called == method).map(|(_, params)| params.clone()).collect()
    }

    /// The `Authorization` of the last connection.
    pub(crate) fn authorization(&self) -> Option<String> {
        self.seen.authorization.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Settings of a client for a test.
pub(crate) fn client_settings() -> ClientSettings {
    let (timeout, poll) = (Duration::from_secs(10), Duration::from_millis(50));
    ClientSettings { timeout, poll, requests_per_second: 0.0, trust: RootCertificates::default() }
}

async fn connection(mut stream: TcpStream, script: Arc<Script>, seen: Arc<Seen>, closes: bool) {
    let mut first = [0; 4];
    let read = stream.peek(&mut first).await.unwrap_or(0);
    if &first[..read] == b"GET " {
        websocket(stream, &*script, &seen, closes).await;
    } else {
        while http(&mut stream, &*script, &seen).await.is_some() {}
    }
}

fn answer(script: &Script, seen: &Seen, text: &str) -> (Said, Vec<u8>) {
    let call: Value = serde_json::from_str(text).unwrap();
    let (method, params) = (call["method"].as_str().unwrap(), &call["params"]);
    seen.calls.lock().unwrap_or_else(PoisonError::into_inner).push((method.to_owned(), params.clone()));
    let said = script(method, params);
    let body = match &said {
        Said::Result(result) => json!({ "jsonrpc": "2.0", "id": call["id"], "result": result }).to_string().into(),
        Said::Error(code, message) => {
            json!({ "jsonrpc": "2.0", "id": call["id"], "error": { "code": code, "message": message } })
                .to_string()
                .into()
        }
        Said::Body(_, body) => body.clone(),
        Said::Close(..) => Vec::new(),
    };
    (said, body)
}

async fn websocket(stream: TcpStream, script: &Script, seen: &Seen, closes: bool) {
    #[allow(clippy::result_large_err, reason = "the signature of tungstenite's callback")]
    let note = |request: &Request, response: Response| {
        let said = request.headers().get("authorization").and_then(|value| value.to_str().ok()).map(str::to_owned);
        *seen.authorization.lock().unwrap_or_else(PoisonError::into_inner) = said;
        Ok(response)
    };
    let Ok(mut socket) = tokio_tungstenite::accept_hdr_async(stream, note).await else { return };
    let close = |code: u16, reason: &str| {
        Message::Close(Some(CloseFrame { code: CloseCode::from(code), reason: reason.to_owned().into() }))
    };
    if closes {
        let _ = socket.send(close(1008, "too many\nconnections")).await;
        return;
    }
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else { continue };
        let message = match answer(script, seen, &text) {
            (Said::Close(code, reason), _) => close(code, &reason),
            (_, body) => Message::Text(String::from_utf8(body).unwrap().into()),
        };
        if socket.send(message).await.is_err() {
            return;
        }
    }
}

/// One exchange; `None` ends the connection.
async fn http(stream: &mut TcpStream, script: &Script, seen: &Seen) -> Option<()> {
    let mut read = Vec::new();
    let body = loop {
        if stream.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&read);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let header = |name: &str| {
            let lines = head.lines().filter_map(|line| line.split_once(':'));
            lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned()).next()
        };
        let length: usize = header("content-length")?.parse().ok()?;
        *seen.authorization.lock().unwrap_or_else(PoisonError::into_inner) = header("authorization");
        if body.len() >= length {
            break body.to_owned();
        }
    };
    let (said, body) = answer(script, seen, &body);
    let status = match said {
        Said::Body(status, _) => status,
        Said::Close(..) => return None,
        Said::Result(_) | Said::Error(..) => 200,
    };
    let head =
        format!("HTTP/1.1 {status} so\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.ok()?;
    stream.write_all(&body).await.ok()
}
