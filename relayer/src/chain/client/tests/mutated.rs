//! The adapter against replies that were valid before something changed them: it answers, or ends with one line.

use std::sync::Mutex;

use proptest::{prelude::*, sample::Index};

use super::*;
use crate::{
    chain::reply::{message, reply},
    testing::endpoint::{Said, TestEndpoint, client_settings},
};

/// What a good endpoint answers.
fn valid(method: &str) -> Value {
    let hash = B256::repeat_byte(7);
    match method {
        "eth_chainId" | "eth_getTransactionCount" | "eth_getBalance" => json!("0x7"),
        "eth_getBlockByNumber" => header(),
        "eth_getLogs" => json!([{
            "address": Address::ZERO, "topics": [hash], "data": "0x01", "blockHash": hash, "blockNumber": "0x5",
            "transactionHash": hash, "transactionIndex": "0x0", "logIndex": "0x0", "removed": false,
        }]),
        "eth_call" | "eth_getCode" => json!("0x0102"),
        "eth_sendRawTransaction" => json!(hash),
        "eth_getTransactionReceipt" => json!({
            "blockNumber": "0x5", "blockHash": hash, "status": "0x1", "gasUsed": "0x5208", "effectiveGasPrice": "0x1",
        }),
        "eth_feeHistory" => json!({
            "oldestBlock": "0x1", "gasUsedRatio": [0.5, 0.1], "baseFeePerGas": ["0x1", "0x2", "0x3"],
            "reward": [["0x1"], ["0x2"]],
        }),
        other => panic!("{other}"),
    }
}

const METHODS: usize = 10;

/// The outcome of the adapter's call number `index`, as text.
async fn call(chain: &AlloyChain, index: usize) -> Result<String, ChainError> {
    let call = Call { from: None, to: None, data: Bytes::new(), gas: None, block: None };
    Ok(match index {
        0 => format!("{:?}", chain.chain_id().await?),
        1 => format!("{:?}", chain.head().await?),
        2 => format!("{:?}", chain.header(5).await?),
        3 => format!("{:?}", chain.logs(Address::ZERO, LogScope::Range(1, 5)).await?),
        4 => format!("{:?}", chain.call(&call, At::Pending).await?),
        5 => format!("{:?}", chain.send(&Bytes::new()).await?),
        6 => format!("{:?}", chain.receipt(B256::ZERO).await?),
        7 => format!("{:?}", chain.nonce(Address::ZERO, At::Latest).await?),
        8 => format!("{:?}", chain.code(Address::ZERO).await?),
        _ => format!("{:?}", chain.recent_fees().await?),
    })
}

/// Something else in the place of a value.
fn odd() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
        "0x[0-9a-fg]{0,70}".prop_map(Value::from),
        Just(json!("x".repeat(10_000))),
        Just(json!([])),
        Just(json!({})),
        Just(json!({ "code": -32_000, "message": "a\nb\u{1b}[2J", "data": ["0x", 5] })),
        Just(json!([[[[[{}]]]]])),
    ]
}

/// Changes of a reply: what each does is decided by its numbers.
#[derive(Debug, Clone)]
enum Change {
    /// A value somewhere is another.
    Replace(Index, Value),
    /// A value somewhere is gone.
    Remove(Index),
    /// A member is added to the reply.
    Add(String, Value),
    /// A byte is another.
    Byte(Index, u8),
    /// The rest is missing.
    Cut(Index),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (any::<Index>(), odd()).prop_map(|(at, value)| Change::Replace(at, value)),
        2 => any::<Index>().prop_map(Change::Remove),
        2 => ("(error|result|id|jsonrpc|method|params|x)", odd()).prop_map(|(key, value)| Change::Add(key, value)),
        1 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
        1 => any::<Index>().prop_map(Change::Cut),
    ]
}

/// Every value inside another, by its JSON pointer.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(key, inner)| pointers(inner, &format!("{at}/{key}"), found))
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, inner)| pointers(inner, &format!("{at}/{index}"), found));
        }
        _ => {}
    }
}

fn mutated(mut value: Value, changes: &[Change]) -> Vec<u8> {
    let mut bytes = None;
    for change in changes {
        let mut all = Vec::new();
        pointers(&value, "", &mut all);
        match change {
            Change::Replace(at, odd) => {
                if let Some(place) = value.pointer_mut(at.get::<String>(&all)) {
                    *place = odd.clone();
                }
            }
            Change::Remove(at) => {
                if let Some((parent, key)) = at.get::<String>(&all).rsplit_once('/') {
                    match value.pointer_mut(parent) {
                        Some(Value::Object(members)) => drop(members.remove(key)),
                        Some(Value::Array(items)) => drop(items.pop()),
                        _ => {}
                    }
                }
            }
            Change::Add(key, odd) => {
                if let Value::Object(members) = &mut value {
                    members.insert(key.clone(), odd.clone());
                }
            }
            Change::Byte(at, byte) => {
                let text = bytes.get_or_insert_with(|| value.to_string().into_bytes());
                let index = at.index(text.len());
                text[index] = *byte;
            }
            Change::Cut(at) => {
                let text = bytes.get_or_insert_with(|| value.to_string().into_bytes());
                text.truncate(at.index(text.len()).max(1));
            }
        }
    }
    bytes.unwrap_or_else(|| value.to_string().into_bytes())
}

fn is_one_line(told: &str) -> bool {
    !told.contains(char::is_control) && told.chars().count() <= 700
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// F14: whatever comes, a call ends with an answer or a typed error of one line, and never with a panic.
    #[test]
    fn a_changed_reply_ends_in_an_answer_or_one_line(index in 0..METHODS, changes in prop::collection::vec(change(), 1..4)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let sent = Arc::<Mutex<Vec<u8>>>::default();
            let served = sent.clone();
            let endpoint = TestEndpoint::start(move |method, _| {
                let reply = json!({ "jsonrpc": "2.0", "id": 0, "result": valid(method) });
                let body = mutated(reply, &changes);
                *served.lock().unwrap() = body.clone();
                Said::Body(200, body)
            })
            .await;
            let chain = AlloyChain::new(endpoint.url("http"), client_settings());
            if let Err(error) = call(&chain, index).await {
                let told = error.to_string();
                let body = String::from_utf8_lossy(&sent.lock().unwrap()).into_owned();
                assert!(is_one_line(&told), "{told:?} of {body}");
                assert!(!error.label().is_empty() && error.label() != "timeout", "{error} of {body}");
            }
        });
    }

    #[test]
    fn what_comes_over_a_websocket_is_read_or_named(changes in prop::collection::vec(change(), 1..4), subscribed: bool) {
        let told = json!({ "jsonrpc": "2.0", "method": "eth_subscription", "params": { "subscription": "0x1", "result": header() } });
        let answered = json!({ "jsonrpc": "2.0", "id": 0, "result": header() });
        let body = mutated(if subscribed { told } else { answered }, &changes);
        for error in [message(&body).map(drop).err(), reply(&body).map(drop).err()].into_iter().flatten() {
            assert!(is_one_line(&error.what) && !error.what.is_empty());
        }
    }
}

#[tokio::test]
async fn every_valid_reply_is_read() {
    let endpoint = TestEndpoint::start(|method, _| Said::Result(valid(method))).await;
    let chain = AlloyChain::new(endpoint.url("http"), client_settings());
    for index in 0..METHODS {
        call(&chain, index).await.unwrap();
    }
}
