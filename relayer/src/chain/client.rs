//! The adapter over alloy: HTTP, or WebSocket with a connection of its own that is made anew when it breaks.

use std::{future::IntoFuture, sync::Arc, time::Duration};

use alloy::{
    primitives::{Address, B256, Bytes, U64, U128, U256},
    providers::{Provider, RootProvider},
    rpc::{
        client::{ClientBuilder, RpcClient},
        json_rpc::{RpcRecv, RpcSend},
        types::Log,
    },
    transports::{RpcError, TransportErrorKind, ws::WsConnect},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{Mutex, RwLock, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::config::Endpoint;

use super::{At, BlockRef, Call, Chain, ChainError, Header, LogScope, PromptWs, Receipt, Tag, error::classify};

/// An endpoint behind alloy's transports.
#[derive(Debug)]
pub struct AlloyChain {
    endpoint: Endpoint,
    timeout: Duration,
    poll: Duration,
    provider: RwLock<RootProvider>,
    reconnecting: Mutex<()>,
}

#[derive(Deserialize, Debug, Clone)]
#[serde(rename_all = "camelCase")]
struct RpcHeader {
    number: U64,
    hash: B256,
    parent_hash: B256,
    timestamp: U64,
    base_fee_per_gas: Option<U128>,
}

impl From<RpcHeader> for Header {
    fn from(header: RpcHeader) -> Self {
        Self {
            block: BlockRef { number: header.number.to(), hash: header.hash },
            parent: header.parent_hash,
            timestamp: header.timestamp.to(),
            base_fee: header.base_fee_per_gas.unwrap_or_default().to(),
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
}

#[derive(Deserialize, Debug, Clone)]
struct FeeHistory {
    #[serde(default)]
    reward: Vec<Vec<U128>>,
}

impl AlloyChain {
    /// Connects. `timeout` bounds every call; `poll` is the pace of the wake-up over HTTP, and of the safety net
    /// under a WebSocket subscription.
    ///
    /// # Errors
    /// `Unreachable` or `Timeout` where the endpoint cannot be connected to; an HTTP endpoint is first tried by the
    /// first call.
    pub async fn connect(endpoint: Endpoint, timeout: Duration, poll: Duration) -> Result<Arc<Self>, ChainError> {
        let provider = dial(&endpoint, timeout).await?;
        Ok(Arc::new(Self { endpoint, timeout, poll, provider: RwLock::new(provider), reconnecting: Mutex::new(()) }))
    }

    /// The endpoint as it may be shown.
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

    /// `None` where the endpoint says that it knows the transaction already.
    async fn request_or_known<P: RpcSend, R: RpcRecv>(
        &self,
        method: &'static str,
        params: P,
    ) -> Result<Option<R>, ChainError> {
        let provider = self.provider.read().await.clone();
        match tokio::time::timeout(self.timeout, provider.client().request::<P, R>(method, params)).await {
            Err(_) => Err(ChainError::Timeout { endpoint: self.endpoint(), seconds: self.timeout.as_secs() }),
            Ok(Ok(value)) => Ok(Some(value)),
            Ok(Err(error)) => {
                if matches!(&error, RpcError::Transport(TransportErrorKind::BackendGone)) {
                    self.reconnect(&provider).await?;
                }
                classify(method, error, &self.endpoint).map_or(Ok(None), Err)
            }
        }
    }

    /// Replaces a broken WebSocket connection, once for all who noticed.
    async fn reconnect(&self, broken: &RootProvider) -> Result<(), ChainError> {
        let _one = self.reconnecting.lock().await;
        if !std::ptr::eq(self.provider.read().await.client(), broken.client()) {
            return Ok(());
        }
        let fresh = dial(&self.endpoint, self.timeout).await?;
        debug!(endpoint = self.endpoint(), "reconnected");
        *self.provider.write().await = fresh;
        Ok(())
    }

    async fn poll_head(&self, heads: &watch::Sender<Option<Header>>) {
        match self.head().await {
            Ok(head) => {
                heads.send_if_modified(|known| {
                    let changed = *known != Some(head);
                    *known = Some(head);
                    changed
                });
            }
            Err(error) => warn!(%error, "cannot read the head"),
        }
    }

    /// One life of a subscription; returns when it breaks.
    async fn subscribe(&self, heads: &watch::Sender<Option<Header>>) -> Result<(), ChainError> {
        let provider = self.provider.read().await.clone();
        let lost = |error| {
            classify("eth_subscribe", error, &self.endpoint)
                .unwrap_or(ChainError::Malformed { method: "eth_subscribe", reason: "unexpected".into() })
        };
        let subscribing = provider.subscribe::<_, RpcHeader>(("newHeads",)).into_future();
        let subscription = match tokio::time::timeout(self.timeout, subscribing).await {
            Ok(Ok(subscription)) => subscription,
            Ok(Err(error)) => {
                if matches!(&error, RpcError::Transport(TransportErrorKind::BackendGone)) {
                    self.reconnect(&provider).await?;
                }
                return Err(lost(error));
            }
            Err(_) => return Err(ChainError::Timeout { endpoint: self.endpoint(), seconds: self.timeout.as_secs() }),
        };
        let mut subscription = subscription;
        // What happened before the subscription stood is not told by it.
        self.poll_head(heads).await;
        loop {
            match tokio::time::timeout(self.poll, subscription.recv()).await {
                Ok(Ok(header)) => {
                    heads.send_replace(Some(header.into()));
                }
                // Lagged: the watcher fills the gap itself.
                Ok(Err(tokio::sync::broadcast::error::RecvError::Lagged(_))) => self.poll_head(heads).await,
                Ok(Err(tokio::sync::broadcast::error::RecvError::Closed)) => {
                    self.reconnect(&provider).await?;
                    return Err(ChainError::Unreachable {
                        endpoint: self.endpoint(),
                        reason: "the subscription ended".into(),
                    });
                }
                // A silent subscription is not proof of a silent chain.
                Err(_) => self.poll_head(heads).await,
            }
        }
    }
}

async fn dial(endpoint: &Endpoint, timeout: Duration) -> Result<RootProvider, ChainError> {
    let url = endpoint.url();
    let connecting = async {
        match url.scheme() {
            "ws" => ClientBuilder::default().pubsub(PromptWs(url.to_string())).await,
            "wss" => ClientBuilder::default().ws(WsConnect::new(url.as_str()).with_max_retries(0)).await,
            _ => Ok(ClientBuilder::default().http(url.clone())),
        }
    };
    let client: RpcClient = match tokio::time::timeout(timeout, connecting).await {
        Err(_) => return Err(ChainError::Timeout { endpoint: endpoint.to_string(), seconds: timeout.as_secs() }),
        Ok(Err(error)) => {
            let refused = || ChainError::Unreachable { endpoint: endpoint.to_string(), reason: "refused".into() };
            return Err(classify("connect", error, endpoint).unwrap_or_else(refused));
        }
        Ok(Ok(client)) => client,
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
        self.request("eth_getLogs", (filter,)).await
    }

    async fn call(&self, call: &Call, at: At) -> Result<Bytes, ChainError> {
        let mut fields = json!({ "to": call.to, "data": call.data });
        if let Value::Object(fields) = &mut fields {
            if let Some(from) = call.from {
                fields.insert("from".into(), json!(from));
            }
            if let Some(gas) = call.gas {
                fields.insert("gas".into(), json!(U64::from(gas)));
            }
        }
        self.request("eth_call", (fields, tag(at))).await
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

    async fn recent_tips(&self) -> Result<Vec<u128>, ChainError> {
        let history: FeeHistory = self.request("eth_feeHistory", (U64::from(8), "latest", [50.0])).await?;
        Ok(history.reward.iter().filter_map(|rewards| rewards.first()).map(|tip| tip.to()).collect())
    }

    async fn follow(&self, heads: &watch::Sender<Option<Header>>, shutdown: &CancellationToken) {
        let following = async {
            let mut pause = Duration::from_millis(200);
            loop {
                if !self.is_websocket() {
                    self.poll_head(heads).await;
                    tokio::time::sleep(self.poll).await;
                    continue;
                }
                let began = tokio::time::Instant::now();
                if let Err(error) = self.subscribe(heads).await {
                    warn!(%error, "lost the subscription to new heads; connecting again");
                }
                pause = if began.elapsed() > Duration::from_secs(30) {
                    Duration::from_millis(200)
                } else {
                    (pause * 2).min(Duration::from_secs(5))
                };
                tokio::time::sleep(pause).await;
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = following => {}
        }
    }
}
