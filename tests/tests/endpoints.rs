//! Nodes over an endpoint that refuses something, until it does not: what they say meanwhile, and that they go on.

use std::sync::{Arc, Mutex, PoisonError};

use alloy::{
    providers::{Provider, ProviderBuilder, RootProvider},
    transports::RpcError,
};
use oraculum_tests::{
    Res,
    anvil::Anvil,
    fixtures::{one_node, until},
    rpc::server::{Backend, Reply, RpcServer},
};
use serde_json::Value;
use tokio::sync::broadcast;

/// An endpoint that passes calls on, but for those that hold some words.
#[derive(Debug)]
struct Refusing {
    upstream: RootProvider,
    words: Mutex<Option<&'static str>>,
}

impl Refusing {
    async fn before(anvil: &Anvil, words: Option<&'static str>) -> Res<(Arc<Self>, RpcServer)> {
        let upstream = ProviderBuilder::default().connect_http(anvil.local.http_url().parse()?);
        let backend = Arc::new(Self { upstream, words: Mutex::new(words) });
        let server = RpcServer::serve(backend.clone()).await?;
        Ok((backend, server))
    }

    fn refuse(&self, words: Option<&'static str>) {
        *self.words.lock().unwrap_or_else(PoisonError::into_inner) = words;
    }
}

impl Backend for Refusing {
    async fn call(&self, method: &str, params: Value) -> Reply {
        let words = *self.words.lock().unwrap_or_else(PoisonError::into_inner);
        if words.is_some_and(|words| format!("{method} {params}").contains(words)) {
            return Reply::Error(-32_601, "not on this plan\nINFO all is well".into(), None);
        }
        match self.upstream.raw_request::<_, Value>(method.to_owned().into(), &params).await {
            Ok(value) => Reply::Result(value),
            Err(RpcError::ErrorResp(error)) => {
                let data = error.data.and_then(|data| serde_json::from_str(data.get()).ok());
                Reply::Error(error.code, error.message.into_owned(), data)
            }
            Err(_) => Reply::Cut,
        }
    }

    fn heads(&self) -> broadcast::Receiver<Value> {
        broadcast::channel(1).1
    }
}

/// F11: over an endpoint that refuses the tag `pending` a node was ready, answered nothing, and warned every second.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_over_an_endpoint_without_the_pending_state_says_so_and_answers_when_it_has_one() -> Res<()> {
    let anvil = Anvil::start().await?;
    let (endpoint, server) = Refusing::before(&anvil, Some("\"pending\"")).await?;
    let (deployment, mut consumer, mut node) = one_node(&anvil, &server.local.http_url(), &[]).await?;
    node.start_up().await?;
    let named = "refuses eth_getTransactionCount at `pending`: ";
    until("the lack is named", async || Ok(node.get("/ready").await?.1.contains(named))).await?;
    let ids = consumer.ask(1).await?;
    endpoint.refuse(None);
    consumer.settle(&deployment, &ids, 30).await?;
    until("the node is ready", async || Ok(node.get("/ready").await?.1 == "ready\n")).await?;
    let log = node.log();
    for told in ["no endpoint can do what the node needs; ", "the account of a sending key cannot be read; "] {
        assert_eq!(log.matches(told).count(), 1, "{log}");
    }
    assert!(!log.contains("\nINFO all is well"), "{log}");
    Ok(())
}

/// F4: an endpoint that refused every broadcast had the price of an answer raised, which was then mined at a loss.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_endpoint_takes_no_transaction_says_so_and_sends_the_same_one_when_it_does() -> Res<()> {
    let anvil = Anvil::with(&["--block-time", "1"]).await?;
    let (endpoint, server) = Refusing::before(&anvil, None).await?;
    let (deployment, mut consumer, mut node) = one_node(&anvil, &server.local.http_url(), &[]).await?;
    node.start_up().await?;
    endpoint.refuse(Some("eth_sendRawTransaction"));
    let ids = consumer.ask(1).await?;
    let refused = "no endpoint takes a transaction: the endpoint answered error -32601: not on this plan\\nINFO";
    until("the refusal is named", async || Ok(node.get("/ready").await?.1.contains(refused))).await?;
    // Blocks in which a transaction that a pool holds would have been raised.
    let height = anvil_height(&endpoint).await?;
    until("blocks go by", async || Ok(anvil_height(&endpoint).await? > height + 8)).await?;
    endpoint.refuse(None);
    consumer.settle(&deployment, &ids, 30).await?;
    let job: Value = serde_json::from_str(&node.get(&format!("/jobs/{}", ids[0])).await?.1)?;
    let hashes = job["transaction"]["hashes"].as_array().map(Vec::len);
    assert!(hashes.is_none_or(|attempts| attempts == 1), "{job}");
    let metrics = node.get("/metrics").await?.1;
    assert!(
        metrics.lines().any(|line| line.starts_with("oraculum_replaced_total{") && line.ends_with(" 0")),
        "{metrics}"
    );
    until("the node is ready", async || Ok(node.get("/ready").await?.1 == "ready\n")).await?;
    Ok(())
}

async fn anvil_height(endpoint: &Refusing) -> Res<u64> {
    Ok(endpoint.upstream.get_block_number().await?)
}
