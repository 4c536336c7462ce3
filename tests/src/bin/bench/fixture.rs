//! What several figures begin with.

use std::time::{Duration, Instant};

use alloy::{
    providers::{Provider, RootProvider},
    rpc::client::ClientBuilder,
};
use oraculum::chain::LowLatencyWs;
use oraculum_tests::{
    Res, anvil::Anvil, consumer::Consumer, deployment::Deployment, node::Node, rpc::faults::FaultProxy,
};
use tokio::sync::mpsc;

/// The account that floor programs send from.
pub(crate) const FLOOR: usize = 7;

/// A deployment with one node on the iris model, running.
pub(crate) struct Fixture {
    pub(crate) anvil: Anvil,
    pub(crate) deployment: Deployment,
    pub(crate) consumer: Consumer,
    pub(crate) node: Node,
    /// What the node reaches the chain through, where its sends are to be seen.
    pub(crate) proxy: Option<FaultProxy>,
}

impl Fixture {
    /// Sets it up, and has it answer a few requests.
    pub(crate) async fn set(anvil: Anvil, recorded: bool) -> Res<Self> {
        let deployment = Deployment::deploy(&anvil.local.ws_url()).await?;
        let mut consumer = Consumer::new(&deployment, &["iris"]).await?;
        let proxy = if recorded { Some(FaultProxy::before(&anvil.local.ws_url(), 0).await?) } else { None };
        let url = proxy.as_ref().map_or(anvil.local.ws_url(), |proxy| proxy.local.ws_url());
        let mut node = Node::new(&deployment, &url, 0, &[])?;
        deployment.seat(1, &node.signer, &consumer.ids()).await?;
        node.start().await?;
        let warm = consumer.ask(20).await?;
        consumer.settle(&deployment, &warm, 60).await.map_err(|error| format!("{error}\n{}", node.log()))?;
        Ok(Self { anvil, deployment, consumer, node, proxy })
    }
}

/// Milliseconds at a share of the sorted samples.
pub(crate) fn percentile(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}

/// Heads with the time at which each came, whenever they are looked at.
pub(crate) type Heads = mpsc::UnboundedReceiver<(u64, Instant)>;

/// Heads from now on.
pub(crate) async fn stamped(url: String) -> Res<Heads> {
    // A connection of its own, on which heads are not held back.
    let provider: RootProvider =
        RootProvider::new(ClientBuilder::default().pubsub(LowLatencyWs::new(url.parse()?)).await?);
    let mut subscription = provider.subscribe_blocks().await?;
    let (out, heads) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let _open = provider;
        while let Ok(head) = subscription.recv().await {
            if out.send((head.number, Instant::now())).is_err() {
                return;
            }
        }
    });
    Ok(heads)
}

/// Waits for the head after `height`; returns its number and when it came.
pub(crate) async fn next_head(heads: &mut Heads, height: u64) -> Res<(u64, Instant)> {
    loop {
        let head =
            tokio::time::timeout(Duration::from_secs(20), heads.recv()).await.map_err(|_| "no answer in 20 s")?;
        let head = head.ok_or("the subscription ended")?;
        if head.0 > height {
            return Ok(head);
        }
    }
}
