//! What a node some blocks behind would answer.

use alloy::primitives::U64;
use serde_json::{Value, json};

use super::State;
use crate::rpc::server::Reply;

/// Asks as of `behind` blocks before the head.
pub(super) async fn ask(state: &State, behind: u64, method: &str, params: &Value) -> Reply {
    let Reply::Result(head) = state.ask("eth_blockNumber", &json!([])).await else { return Reply::Cut };
    let Some(head) = number(&head).and_then(|head| head.checked_sub(behind)) else {
        return state.ask(method, params).await;
    };
    let unseen = |value: &Value| number(value).is_some_and(|number| number > head);
    let mut params = params.clone();
    match method {
        "eth_blockNumber" => Reply::Result(hex(head)),
        "eth_getBlockByNumber" if unseen(&params[0]) => Reply::Result(Value::Null),
        "eth_getBlockByNumber" => {
            bring_back(&mut params[0], head);
            state.ask(method, &params).await
        }
        "eth_getBlockByHash" | "eth_getTransactionReceipt" => match state.ask(method, &params).await {
            Reply::Result(found) if unseen(&found["number"]) || unseen(&found["blockNumber"]) => {
                Reply::Result(Value::Null)
            }
            other => other,
        },
        "eth_getTransactionCount" | "eth_getBalance" | "eth_getCode" | "eth_call" | "eth_estimateGas" => {
            if unseen(&params[1]) {
                return Reply::Error(-32000, "header not found".into(), None);
            }
            bring_back(&mut params[1], head);
            state.ask(method, &params).await
        }
        "eth_getLogs" => match params[0].get("blockHash") {
            Some(hash) => match state.ask("eth_getBlockByHash", &json!([hash, false])).await {
                Reply::Result(block) if block.is_null() || unseen(&block["number"]) => {
                    Reply::Error(-32000, "unknown block".into(), None)
                }
                _ => state.ask(method, &params).await,
            },
            None if unseen(&params[0]["fromBlock"]) => Reply::Result(json!([])),
            None => {
                if unseen(&params[0]["toBlock"]) {
                    params[0]["toBlock"] = hex(head);
                }
                state.ask(method, &params).await
            }
        },
        _ => state.ask(method, &params).await,
    }
}

/// A tag that means the newest becomes the height of an older block.
fn bring_back(block: &mut Value, head: u64) {
    if matches!(block.as_str(), Some("latest" | "pending" | "safe" | "finalized") | None) {
        *block = hex(head);
    }
}

fn number(value: &Value) -> Option<u64> {
    value.as_str()?.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok())
}

fn hex(number: u64) -> Value {
    json!(U64::from(number))
}
