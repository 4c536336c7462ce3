//! The adapter over alloy: one endpoint, by HTTP, or by a WebSocket that is made anew when it breaks.

use std::{
    future::IntoFuture,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use alloy::{
    primitives::{Address, B256, Bloom, Bytes, U64, U128, U256},
    providers::Provider,
    rpc::{
        json_rpc::{RpcRecv, RpcSend},
        types::Log,
    },
    transports::{RpcError, TransportErrorKind},
};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    At, Backoff, BlockFees, BlockRef, Call, Chain, ChainError, Endpoint, HeadUpdate, Header, LogScope, Receipt,
    RootCertificates, Tag, connection::Connection, error::classify, rate_limit::Bucket,
};

/// Time for which an endpoint is polled that refused a subscription, before it is asked for one again.
const RESUBSCRIBE_INTERVAL: Duration = Duration::from_secs(300);

/// Settings of one endpoint's client.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// Longest time that a call may take.
    pub timeout: Duration,
    /// Time between two polls of the head over HTTP, and the longest silence of a WebSocket subscription before a poll.
    pub poll: Duration,
    /// Calls per second at most, with bursts of one second's; 0 for no limit.
    pub requests_per_second: f64,
    /// Authorities that may certify the endpoint's host.
    pub trust: RootCertificates,
}

/// An endpoint behind alloy's transports. It is connected to by the first call, and again when the connection breaks.
#[derive(Debug)]
pub struct AlloyChain {
    connection: Connection,
    settings: ClientSettings,
    bucket: Bucket,
    /// Whether the endpoint is polled for want of subscriptions.
    polls: AtomicBool,
}

#[derive(Deserialize, Debug, Clone)]
#[serde(rename_all = "camelCase")]
struct RpcHeader {
    number: U64,
    hash: B256,
    parent_hash: B256,
    timestamp: U64,
    base_fee_per_gas: Option<U128>,
    #[serde(default, deserialize_with = "bloom_or_none")]
    logs_bloom: Bloom,
}

/// The filter only serves to doubt an empty answer: one that is null, short or no filter at all raises no doubt.
fn bloom_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bloom, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(value.as_str().and_then(|text| text.parse().ok()).unwrap_or_default())
}

impl From<RpcHeader> for Header {
    fn from(header: RpcHeader) -> Self {
        Self {
            block: BlockRef { number: header.number.to(), hash: header.hash },
            parent: header.parent_hash,
            timestamp: header.timestamp.to(),
            base_fee: header.base_fee_per_gas.unwrap_or_default().to(),
            bloom: header.logs_bloom,
        }
    }
}

#[derive(Deserialize, Debug, Clone)]
#[serde(rename_all = "camelCase")]
struct RpcReceipt {
    block_number: U64,
    block_hash: B256,
    status: U64,
    gas_used: U64,
    effective_gas_price: Option<U128>,
    /// Fee for the transaction's bytes, on OP-style chains.
    l1_fee: Option<U128>,
}

#[derive(Deserialize, Debug, Clone)]
#[serde(rename_all = "camelCase")]
struct FeeHistory {
    /// Null where a block has no gas, as some endpoints say.
    #[serde(default)]
    gas_used_ratio: Vec<Option<f64>>,
    /// Null where no block has a transaction, likewise.
    reward: Option<Vec<Vec<U128>>>,
}

impl AlloyChain {
    /// Makes a client that is not connected yet.
    #[must_use]
    pub fn new(endpoint: Endpoint, settings: ClientSettings) -> Self {
        let bucket = Bucket::new(settings.requests_per_second);
        let connection = Connection::new(endpoint, settings.trust.clone(), settings.timeout);
        Self { connection, settings, bucket, polls: AtomicBool::new(false) }
    }

    async fn request<P: RpcSend, R: RpcRecv>(&self, method: &'static str, params: P) -> Result<R, ChainError> {
        self.request_or_known(method, params).await?.ok_or_else(|| ChainError::Malformed {
            endpoint: self.connection.endpoint().to_string(),
            method,
            reason: "an error that calls the query an already known transaction".into(),
        })
    }

    /// Makes a call; `None` where the endpoint knows the transaction already.
    async fn request_or_known<P: RpcSend, R: RpcRecv>(
        &self,
        method: &'static str,
        params: P,
    ) -> Result<Option<R>, ChainError> {
        self.bucket.take().await;
        let provider = self.connection.provider().await?;
        let asking = Box::pin(provider.client().request::<P, R>(method, params).into_future());
        match tokio::time::timeout(self.settings.timeout, asking).await {
            Err(_) => Err(self.connection.timed_out()),
            Ok(Ok(value)) => Ok(Some(value)),
            Ok(Err(RpcError::Transport(TransportErrorKind::BackendGone))) => {
                Err(self.connection.broke(&provider).await)
            }
            Ok(Err(error)) => match classify(method, error, self.connection.endpoint()) {
                ChainError::AlreadyKnown => Ok(None),
                error => Err(error),
            },
        }
    }

    async fn poll_head(&self, on_head: &(dyn Fn(HeadUpdate) + Send + Sync)) -> bool {
        let began = Instant::now();
        let head = self.head().await;
        let good = head.is_ok();
        on_head(HeadUpdate { head, took: Some(began.elapsed()) });
        good
    }

    /// Follows one subscription until it breaks.
    async fn subscribe(&self, on_head: &(dyn Fn(HeadUpdate) + Send + Sync)) -> FollowEnd {
        let provider = match self.connection.provider().await {
            Ok(provider) => provider,
            Err(error) => return FollowEnd::Broke(error),
        };
        let subscribing = provider.subscribe::<_, RpcHeader>(("newHeads",)).into_future();
        let mut subscription = match tokio::time::timeout(self.settings.timeout, subscribing).await {
            Ok(Ok(subscription)) => subscription,
            Ok(Err(RpcError::Transport(TransportErrorKind::BackendGone))) => {
                return FollowEnd::Broke(self.connection.broke(&provider).await);
            }
            Ok(Err(error)) => {
                return FollowEnd::Refused(classify("eth_subscribe", error, self.connection.endpoint()));
            }
            Err(_) => return FollowEnd::Refused(self.connection.timed_out()),
        };
        if self.polls.swap(false, Ordering::Relaxed) {
            info!(endpoint = %self.connection.endpoint(), "the endpoint takes subscriptions again");
        }
        // What happened before the subscription stood is not told by it.
        self.poll_head(on_head).await;
        loop {
            match tokio::time::timeout(self.settings.poll, subscription.recv()).await {
                Ok(Ok(header)) => on_head(HeadUpdate { head: Ok(header.into()), took: None }),
                // Lagged: the watcher fills the gap itself.
                Ok(Err(tokio::sync::broadcast::error::RecvError::Lagged(_))) => {
                    self.poll_head(on_head).await;
                }
                Ok(Err(tokio::sync::broadcast::error::RecvError::Closed)) => {
                    return FollowEnd::Broke(self.connection.broke(&provider).await);
                }
                // A silent subscription is not proof of a silent chain.
                Err(_) => {
                    self.poll_head(on_head).await;
                }
            }
        }
    }

    /// Polls the head until it is time to ask for a subscription, which over HTTP there is none of.
    async fn poll(&self, on_head: &(dyn Fn(HeadUpdate) + Send + Sync)) {
        let (began, mut backoff) = (Instant::now(), Backoff::default());
        while !self.connection.endpoint().is_websocket() || began.elapsed() < RESUBSCRIBE_INTERVAL {
            let pause = if self.poll_head(on_head).await {
                backoff.succeeded();
                self.settings.poll
            } else {
                backoff.failed().max(self.settings.poll)
            };
            tokio::time::sleep(pause).await;
        }
    }
}

/// How following a subscription ended.
enum FollowEnd {
    /// The connection broke, or was not made.
    Broke(ChainError),
    /// The endpoint does not take the subscription.
    Refused(ChainError),
}

fn tag(at: At) -> &'static str {
    match at {
        At::Latest => "latest",
        At::Pending => "pending",
    }
}

impl Chain for AlloyChain {
    async fn chain_id(&self) -> Result<u64, ChainError> {
        Ok(self.request::<_, U64>("eth_chainId", ()).await?.to())
    }

    async fn head(&self) -> Result<Header, ChainError> {
        let header: Option<RpcHeader> = self.request("eth_getBlockByNumber", ("latest", false)).await?;
        header.map(Header::from).ok_or_else(|| ChainError::Malformed {
            endpoint: self.connection.endpoint().to_string(),
            method: "eth_getBlockByNumber",
            reason: "no latest block".into(),
        })
    }

    async fn header(&self, number: u64) -> Result<Option<Header>, ChainError> {
        let header: Option<RpcHeader> = self.request("eth_getBlockByNumber", (U64::from(number), false)).await?;
        Ok(header.map(Header::from))
    }

    async fn tagged(&self, tag: Tag) -> Result<Option<Header>, ChainError> {
        let tag = match tag {
            Tag::Safe => "safe",
            Tag::Finalized => "finalized",
        };
        let header: Option<RpcHeader> = self.request("eth_getBlockByNumber", (tag, false)).await?;
        Ok(header.map(Header::from))
    }

    async fn logs(&self, address: Address, scope: LogScope) -> Result<Vec<Log>, ChainError> {
        let filter = match scope {
            LogScope::Block(hash) => json!({ "address": address, "blockHash": hash }),
            LogScope::Range(from, to) => {
                json!({ "address": address, "fromBlock": U64::from(from), "toBlock": U64::from(to) })
            }
        };
        let several = matches!(scope, LogScope::Range(from, to) if from < to);
        match self.request("eth_getLogs", (filter,)).await {
            // Whatever its words are, fewer blocks tell whether the query or the endpoint is at fault.
            Err(error) if several && !matches!(error, ChainError::RangeTooLarge(_) | ChainError::RateLimited(_)) => {
                Err(ChainError::RangeTooLarge(error.to_string()))
            }
            // One block is no range: the endpoint wants to be asked more slowly.
            Err(ChainError::RangeTooLarge(words)) if !several => Err(ChainError::RateLimited(words)),
            answered => answered,
        }
    }

    async fn call(&self, call: &Call, at: At) -> Result<Bytes, ChainError> {
        let mut fields = json!({ "data": call.data });
        if let Value::Object(fields) = &mut fields {
            if let Some(to) = call.to {
                fields.insert("to".into(), json!(to));
            }
            if let Some(from) = call.from {
                fields.insert("from".into(), json!(from));
            }
            if let Some(gas) = call.gas {
                fields.insert("gas".into(), json!(U64::from(gas)));
            }
        }
        match call.block {
            None => self.request("eth_call", (fields, tag(at))).await,
            Some(block) => {
                let nothing = json!({});
                self.request("eth_call", (fields, tag(at), nothing, json!({ "number": U64::from(block) }))).await
            }
        }
    }

    async fn send(&self, raw: &Bytes) -> Result<(), ChainError> {
        self.request_or_known::<_, B256>("eth_sendRawTransaction", (raw,)).await.map(|_| ())
    }

    async fn receipt(&self, hash: B256) -> Result<Option<Receipt>, ChainError> {
        let receipt: Option<RpcReceipt> = self.request("eth_getTransactionReceipt", (hash,)).await?;
        Ok(receipt.map(|receipt| Receipt {
            block: BlockRef { number: receipt.block_number.to(), hash: receipt.block_hash },
            success: receipt.status == U64::from(1),
            gas_used: receipt.gas_used.to(),
            gas_price: receipt.effective_gas_price.unwrap_or_default().to(),
            data_fee: receipt.l1_fee.unwrap_or_default().to(),
        }))
    }

    async fn nonce(&self, account: Address, at: At) -> Result<u64, ChainError> {
        Ok(self.request::<_, U64>("eth_getTransactionCount", (account, tag(at))).await?.to())
    }

    async fn balance(&self, account: Address) -> Result<U256, ChainError> {
        self.request("eth_getBalance", (account, "latest")).await
    }

    async fn code(&self, account: Address) -> Result<Bytes, ChainError> {
        self.request("eth_getCode", (account, "latest")).await
    }

    async fn recent_fees(&self) -> Result<Vec<BlockFees>, ChainError> {
        let history: FeeHistory = self.request("eth_feeHistory", (U64::from(8), "latest", [50.0])).await?;
        let rewards = history.reward.unwrap_or_default();
        let paid = rewards.iter().map(|block| block.first().map_or(0, |fee| fee.to())).chain(std::iter::repeat(0));
        let blocks = history.gas_used_ratio.iter().zip(paid);
        let fees = blocks.map(|(ratio, priority_fee)| BlockFees { fullness: ratio.unwrap_or_default(), priority_fee });
        Ok(fees.collect())
    }

    fn connections(&self) -> u64 {
        self.connection.made()
    }

    async fn follow(&self, on_head: &(dyn Fn(HeadUpdate) + Send + Sync), shutdown: &CancellationToken) {
        let following = async {
            loop {
                if !self.connection.endpoint().is_websocket() {
                    self.poll(on_head).await;
                    continue;
                }
                match self.subscribe(on_head).await {
                    FollowEnd::Refused(error) => {
                        if !self.polls.swap(true, Ordering::Relaxed) {
                            warn!(endpoint = %self.connection.endpoint(), %error, "the endpoint takes no subscription; polling it for the head");
                        }
                        self.poll(on_head).await;
                    }
                    FollowEnd::Broke(error) => {
                        on_head(HeadUpdate { head: Err(error), took: None });
                        self.connection.rest().await;
                    }
                }
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = following => {}
        }
    }
}

#[cfg(test)]
mod tests;
