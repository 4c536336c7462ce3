//! A long chain that never changes, as an endpoint tells it: blocks, logs, and for everything else a real chain on which
//! the same coordinator is deployed.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use alloy::{
    primitives::{B256, U64, keccak256},
    providers::{Provider, RootProvider},
    transports::RpcError,
};
use oraculum_tests::rpc::server::{Backend, Reply};
use serde_json::{Value, json};
use tokio::sync::broadcast;

/// The server's chain, and what was asked of it.
pub(super) struct LogServer {
    height: u64,
    /// The logs of the blocks that have some, as JSON.
    logs: BTreeMap<u64, Vec<Value>>,
    deployment: RootProvider,
    pages: Mutex<Pages>,
    heads: broadcast::Sender<Value>,
}

/// The queries of logs by range of heights, and when they came.
#[derive(Debug, Clone, Default)]
pub(super) struct Pages {
    pub(super) ranges: Vec<(u64, u64)>,
    pub(super) first: Option<Instant>,
    /// When the first query of one block's logs came, but for the head's: the pages before it are taken in then.
    pub(super) ended: Option<Instant>,
}

impl LogServer {
    pub(super) fn new(height: u64, logs: BTreeMap<u64, Vec<Value>>, deployment: RootProvider) -> Self {
        Self { height, logs, deployment, pages: Mutex::default(), heads: broadcast::Sender::new(1) }
    }

    /// The hash of a block.
    pub(super) fn hash(number: u64) -> B256 {
        keccak256(number.to_be_bytes())
    }

    /// What was asked so far, forgotten with this call.
    pub(super) fn take_pages(&self) -> Pages {
        std::mem::take(&mut self.pages.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn block(&self, number: u64) -> Value {
        let parent = number.checked_sub(1).map_or(B256::ZERO, Self::hash);
        json!({
            "number": U64::from(number),
            "hash": Self::hash(number),
            "parentHash": parent,
            "timestamp": U64::from(1_700_000_000 + number),
            "baseFeePerGas": "0x3b9aca00",
            // What a filter that matches everything looks like.
            "logsBloom": format!("0x{}", "ff".repeat(256)),
        })
    }

    fn of_range(&self, from: u64, to: u64) -> Value {
        self.logs.range(from..=to.min(self.height)).flat_map(|(_, logs)| logs.iter().cloned()).collect()
    }

    fn number(&self, value: &Value) -> Option<u64> {
        match value.as_str()? {
            "latest" | "pending" | "safe" | "finalized" => Some(self.height),
            "earliest" => Some(0),
            hex => u64::from_str_radix(hex.strip_prefix("0x")?, 16).ok(),
        }
    }

    fn logs(&self, filter: &Value) -> Option<Value> {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hash) = filter.get("blockHash") {
            let wanted: B256 = serde_json::from_value(hash.clone()).ok()?;
            // Only the newest are asked for by hash.
            let number = (self.height.saturating_sub(1_000)..=self.height).rev().find(|n| Self::hash(*n) == wanted)?;
            if number < self.height {
                pages.ended.get_or_insert_with(Instant::now);
            }
            return Some(self.of_range(number, number));
        }
        let (from, to) = (self.number(&filter["fromBlock"])?, self.number(&filter["toBlock"])?);
        // At its start a node tries whether the logs of the head can be had.
        if from < self.height {
            pages.first.get_or_insert_with(Instant::now);
            pages.ranges.push((from, to));
        }
        drop(pages);
        Some(self.of_range(from, to))
    }
}

impl Backend for LogServer {
    async fn call(&self, method: &str, params: Value) -> Reply {
        let known = match method {
            "eth_blockNumber" => Some(json!(U64::from(self.height))),
            "eth_getBlockByNumber" => {
                self.number(&params[0]).map(|n| if n > self.height { Value::Null } else { self.block(n) })
            }
            "eth_getLogs" => self.logs(&params[0]),
            _ => match self.deployment.raw_request::<_, Value>(method.to_owned().into(), params).await {
                Ok(value) => Some(value),
                Err(RpcError::ErrorResp(error)) => return Reply::Error(error.code, error.message.into_owned(), None),
                Err(_) => None,
            },
        };
        known.map_or_else(|| Reply::Error(-32602, format!("{method}: not of this chain"), None), Reply::Result)
    }

    fn heads(&self) -> broadcast::Receiver<Value> {
        self.heads.subscribe()
    }
}
