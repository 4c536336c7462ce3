//! What an endpoint sends, read as JSON-RPC; where it is something else, what it is.

use alloy::{
    rpc::json_rpc::{PubSubItem, ResponsePacket},
    transports::{TransportError, TransportErrorKind},
};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;

/// Characters that are kept of what came instead of JSON-RPC. Of these, few are shown, once secrets are taken out.
const KEPT: usize = 2_000;

/// What came is no JSON-RPC.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(super) struct NotJsonRpc {
    /// What it is, with the likely cause.
    pub(super) what: String,
    /// Its beginning, as it came.
    pub(super) text: String,
}

impl From<NotJsonRpc> for TransportError {
    fn from(error: NotJsonRpc) -> Self {
        TransportErrorKind::custom(error)
    }
}

/// Reads a reply over HTTP.
pub(super) fn reply(body: &[u8]) -> Result<ResponsePacket, NotJsonRpc> {
    read(body)
}

/// Reads a message over a WebSocket: a reply, or news of a subscription.
pub(super) fn message(text: &[u8]) -> Result<PubSubItem, NotJsonRpc> {
    read(text)
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, NotJsonRpc> {
    if let Ok(read) = serde_json::from_slice(body) {
        return Ok(read);
    }
    // Some endpoints send both members, one of them null.
    let tidied = serde_json::from_slice(body).ok().map(tidied).and_then(|value| serde_json::to_string(&value).ok());
    tidied.and_then(|text| serde_json::from_str(&text).ok()).ok_or_else(|| describe(body))
}

/// A reply, or each of several, without the member that says nothing.
fn tidied(mut value: Value) -> Value {
    match &mut value {
        Value::Array(replies) => *replies = std::mem::take(replies).into_iter().map(tidied).collect(),
        Value::Object(reply) => {
            if reply.contains_key("result") && reply.get("error").is_some_and(Value::is_null) {
                reply.remove("error");
            }
            if reply.get("error").is_some_and(|error| !error.is_null()) {
                reply.retain(|key, value| key != "result" || !value.is_null());
                // An error that is only words.
                if let Some(Value::String(words)) = reply.get("error") {
                    let error = serde_json::json!({ "code": 0, "message": words });
                    reply.insert("error".into(), error);
                }
            }
        }
        _ => {}
    }
    value
}

/// Says what a body is, and what may have caused it.
fn describe(body: &[u8]) -> NotJsonRpc {
    let trimmed = body.trim_ascii();
    let plain = |what: String| NotJsonRpc { what, text: String::new() };
    if trimmed.is_empty() {
        return plain("nothing; check the URL".into());
    }
    if body.starts_with(&[0x1f, 0x8b]) || body.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let remedy = "have the server, or the proxy before it, send plain JSON";
        return plain(format!("compressed bytes, which were not asked for; {remedy}"));
    }
    let Ok(text) = std::str::from_utf8(trimmed) else {
        return plain(format!("{} bytes that are no text; check the URL", body.len()));
    };
    let what = if text.starts_with('<') {
        "a web page; check the URL, its key, and any proxy before it"
    } else if serde_json::from_str::<IgnoredAny>(text).is_ok() {
        "JSON that is no reply of JSON-RPC; check the URL"
    } else {
        "text that is no JSON; check the URL"
    };
    NotJsonRpc { what: what.into(), text: text.chars().take(KEPT).collect() }
}

#[cfg(test)]
mod tests;
