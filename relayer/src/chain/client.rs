//! The adapter over alloy: one endpoint, by HTTP, or by a WebSocket that is made anew when it breaks.

use std::{future::IntoFuture, time::Duration};

use alloy::{
    primitives::{Address, B256, Bloom, Bytes, U64, U128, U256},
    providers::{Provider, RootProvider},
    rpc::{
        client::{ClientBuilder, RpcClient},
        json_rpc::{RpcRecv, RpcSend},
        types::Log,
    },
    transports::{RpcError, TransportErrorKind},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    sync::{Mutex, RwLock},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    At, BlockRef, Call, Chain, ChainError, Endpoint, HeadUpdate, Header, LogScope, LowLatencyWs, Receipt,
    RootCertificates, Tag, error::classify, rate_limit::Bucket,
};

/// The first pause after an endpoint cannot be followed, doubled with each further one.
const FIRST_RETRY: Duration = Duration::from_millis(200);
/// No pause is longer: an endpoint that is back is noticed after so long.
const LONGEST_RETRY: Duration = Duration::from_secs(5);

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
    endpoint: Endpoint,
    settings: ClientSettings,
    bucket: Bucket,
    provider: RwLock<Option<RootProvider>>,
    connecting: Mutex<()>,
}

#[derive(Deserialize, Debug, Clone)]
#[serde(rename_all = "camelCase")]
struct RpcHeader {
    number: U64,
    hash: B256,
    parent_hash: B256,
    timestamp: U64,
    base_fee_per_gas: Option<U128>,
    #[serde(default)]
    logs_bloom: Bloom,
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
struct FeeHistory {
    #[serde(default)]
    reward: Vec<Vec<U128>>,
}

impl AlloyChain {
    /// Makes a client that is not connected yet.
    #[must_use]
    pub fn new(endpoint: Endpoint, settings: ClientSettings) -> Self {
        let bucket = Bucket::new(settings.requests_per_second);
        Self { endpoint, settings, bucket, provider: RwLock::default(), connecting: Mutex::default() }
    }

    /// Name of the endpoint as it may be shown, without its secrets.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.endpoint.to_string()
    }

    fn is_websocket(&self) -> bool {
        matches!(self.endpoint.url().scheme(), "ws" | "wss")
    }

    async fn request<P: RpcSend, R: RpcRecv>(&self, method: &'static str, params: P) -> Result<R, ChainError> {
        self.request_or_known(method, params).await?.ok_or_else(|| ChainError::Malformed {
            method,
            reason: "it calls the query an already known transaction".into(),
        })
    }

    /// Makes a call; `None` where the endpoint knows the transaction already.
    async fn request_or_known<P: RpcSend, R: RpcRecv>(
        &self,
        method: &'static str,
        params: P,
    ) -> Result<Option<R>, ChainError> {
        self.bucket.take().await;
        let provider = self.provider(None).await?;
        let asking = Box::pin(provider.client().request::<P, R>(method, params).into_future());
        match tokio::time::timeout(self.settings.timeout, asking).await {
            Err(_) => Err(self.timed_out()),
            Ok(Ok(value)) => Ok(Some(value)),
            Ok(Err(error)) => {
                if matches!(&error, RpcError::Transport(TransportErrorKind::BackendGone)) {
                    self.provider(Some(&provider)).await?;
                }
                match classify(method, error, &self.endpoint) {
                    ChainError::AlreadyKnown => Ok(None),
                    error => Err(error),
                }
            }
        }
    }

    fn timed_out(&self) -> ChainError {
        ChainError::Timeout { endpoint: self.endpoint(), seconds: self.settings.timeout.as_secs() }
    }

    /// The connection, made if there is none but the broken one; once for all who ask for it.
    async fn provider(&self, broken: Option<&RootProvider>) -> Result<RootProvider, ChainError> {
        let usable = |known: &Option<RootProvider>| {
            known.clone().filter(|known| broken.is_none_or(|broken| !std::ptr::eq(known.client(), broken.client())))
        };
        if let Some(known) = usable(&*self.provider.read().await) {
            return Ok(known);
        }
        let _one = self.connecting.lock().await;
        if let Some(known) = usable(&*self.provider.read().await) {
            return Ok(known);
        }
        // Boxed: making a connection is large, seldom, and otherwise part of every call's future.
        let fresh =
            tokio::time::timeout(self.settings.timeout, Box::pin(dial(&self.endpoint, &self.settings.trust, 0)));
        let fresh = fresh.await.map_err(|_| self.timed_out())??;
        debug!(endpoint = self.endpoint(), "connected");
        *self.provider.write().await = Some(fresh.clone());
        Ok(fresh)
    }

    async fn poll_head(&self, on_head: &(dyn Fn(HeadUpdate) + Send + Sync)) -> bool {
        let began = Instant::now();
        let head = self.head().await;
        let good = head.is_ok();
        on_head(HeadUpdate { head, took: Some(began.elapsed()) });
        good
    }

    /// Follows one subscription until it breaks.
    async fn subscribe(&self, on_head: &(dyn Fn(HeadUpdate) + Send + Sync)) -> Result<(), ChainError> {
        let provider = self.provider(None).await?;
        let subscribing = provider.subscribe::<_, RpcHeader>(("newHeads",)).into_future();
        let mut subscription = match tokio::time::timeout(self.settings.timeout, subscribing).await {
            Ok(Ok(subscription)) => subscription,
            Ok(Err(error)) => {
                if matches!(&error, RpcError::Transport(TransportErrorKind::BackendGone)) {
                    self.provider(Some(&provider)).await?;
                }
                return Err(classify("eth_subscribe", error, &self.endpoint));
            }
            Err(_) => return Err(self.timed_out()),
        };
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
                    self.provider(Some(&provider)).await?;
                    return Err(ChainError::Unreachable {
                        endpoint: self.endpoint(),
                        reason: "the subscription ended".into(),
                    });
                }
                // A silent subscription is not proof of a silent chain.
                Err(_) => {
                    self.poll_head(on_head).await;
                }
            }
        }
    }
}

/// Connects to an endpoint. Over HTTP only the first call does. A WebSocket that breaks is reconnected with at most
/// `retries` tries.
///
/// # Errors
/// `Unreachable` where the connection cannot be made, or the certificates cannot be used.
pub(crate) async fn dial(
    endpoint: &Endpoint,
    trust: &RootCertificates,
    retries: u32,
) -> Result<RootProvider, ChainError> {
    let url = endpoint.url();
    let unreachable = |reason: String| ChainError::Unreachable { endpoint: endpoint.to_string(), reason };
    let client: RpcClient = match url.scheme() {
        "ws" | "wss" => ClientBuilder::default()
            .pubsub(LowLatencyWs::trusting(url.clone(), trust).with_retries(retries))
            .await
            .map_err(|error| classify("connect", error, endpoint))?,
        _ => {
            let http = trust.http().map_err(|error| unreachable(endpoint.scrub(&error.to_string())))?;
            ClientBuilder::default().http_with_client(http, url.clone())
        }
    };
    Ok(RootProvider::new(client))
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
        header
            .map(Header::from)
            .ok_or_else(|| ChainError::Malformed { method: "eth_getBlockByNumber", reason: "no latest block".into() })
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
        match self.request("eth_getLogs", (filter,)).await {
            // One block is no range: the endpoint wants to be asked more slowly.
            Err(ChainError::RangeTooLarge(words)) if matches!(scope, LogScope::Block(_)) => {
                Err(ChainError::RateLimited(words))
            }
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

    async fn recent_priority_fees(&self) -> Result<Vec<u128>, ChainError> {
        let history: FeeHistory = self.request("eth_feeHistory", (U64::from(8), "latest", [50.0])).await?;
        Ok(history.reward.iter().filter_map(|rewards| rewards.first()).map(|fee| fee.to()).collect())
    }

    async fn follow(&self, on_head: &(dyn Fn(HeadUpdate) + Send + Sync), shutdown: &CancellationToken) {
        let following = async {
            let mut pause = FIRST_RETRY;
            loop {
                let began = Instant::now();
                let wait = if self.is_websocket() {
                    if let Err(error) = self.subscribe(on_head).await {
                        on_head(HeadUpdate { head: Err(error), took: None });
                    }
                    // One that held a while is made anew at once.
                    (began.elapsed() < Duration::from_secs(30)).then_some(Duration::ZERO)
                } else {
                    (!self.poll_head(on_head).await).then_some(self.settings.poll)
                };
                match wait {
                    Some(least) => {
                        pause = (pause * 2).min(LONGEST_RETRY);
                        tokio::time::sleep(pause.max(least)).await;
                    }
                    None => {
                        pause = FIRST_RETRY;
                        tokio::time::sleep(if self.is_websocket() { FIRST_RETRY } else { self.settings.poll }).await;
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
