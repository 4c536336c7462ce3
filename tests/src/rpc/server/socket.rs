//! Calls and subscriptions over a WebSocket.

use std::sync::Arc;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{net::TcpStream, sync::mpsc, task::JoinSet};
use tokio_tungstenite::{accept_async, tungstenite::Message};

use super::{Backend, Called, Reply, message, parse};
use crate::Res;

/// What the tasks of a connection tell its writer; `None` ends it.
type Out = mpsc::UnboundedSender<Option<String>>;

/// Serves one connection.
pub(super) async fn serve<B: Backend>(stream: TcpStream, backend: Arc<B>) -> Res<()> {
    let mut socket = accept_async(stream).await?;
    let (out, mut told): (Out, _) = mpsc::unbounded_channel();
    // Calls are answered side by side: one that waits holds back no other.
    let mut tasks = JoinSet::new();
    let mut subscriptions = 0u64;
    loop {
        tokio::select! {
            next = told.recv() => match next.flatten() {
                Some(text) => socket.send(Message::Text(text.into())).await?,
                None => return Ok(()),
            },
            next = socket.next() => match next {
                Some(Ok(Message::Text(text))) => {
                    let called = parse(text.as_bytes())?;
                    if called.method == "eth_subscribe" && called.params[0] == "newHeads" {
                        subscriptions += 1;
                        tasks.spawn(subscription(backend.clone(), called.id, subscriptions, out.clone()));
                    } else {
                        tasks.spawn(call(backend.clone(), called, out.clone()));
                    }
                }
                Some(Ok(Message::Close(_))) | None => return Ok(()),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
            },
            Some(_) = tasks.join_next() => {}
        }
    }
}

async fn call<B: Backend>(backend: Arc<B>, called: Called, out: Out) {
    let reply = backend.call(&called.method, called.params).await;
    if matches!(reply, Reply::Cut) {
        let _ = out.send(None);
    } else if let Some(text) = message(&called.id, &reply) {
        if matches!(reply, Reply::Twice(_)) {
            let _ = out.send(Some(text.clone()));
        }
        let _ = out.send(Some(text));
    }
}

async fn subscription<B: Backend>(backend: Arc<B>, id: Value, number: u64, out: Out) {
    let mut heads = backend.heads();
    let name = format!("{number:#x}");
    let _ = out.send(message(&id, &Reply::Result(json!(name))));
    loop {
        let head = match heads.recv().await {
            Ok(head) => head,
            Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => continue,
            Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
        };
        let told = json!({ "jsonrpc": "2.0", "method": "eth_subscription", "params": { "subscription": name, "result": head } });
        if out.send(Some(told.to_string())).is_err() {
            return;
        }
    }
}
