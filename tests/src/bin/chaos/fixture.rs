//! What every scenario begins and ends with.

use std::{collections::BTreeMap, time::Duration};

use oraculum_tests::{
    Res,
    anvil::Anvil,
    consumer::Consumer,
    deployment::Deployment,
    invariants::{self, Checked, Fork},
    node::{Node, binary},
    rpc::faults::FaultProxy,
};
use serde_json::json;
use tokio::process::Command;

/// A deployment with a consumer of two models and one node with a seat on both, not started, behind a proxy.
pub(crate) struct Fixture {
    // The first to go when dropped: it would complain of a chain that is gone.
    pub(crate) node: Node,
    pub(crate) proxy: FaultProxy,
    pub(crate) consumer: Consumer,
    pub(crate) deployment: Deployment,
    /// The reorganisations that were made.
    pub(crate) forks: Vec<Fork>,
    _anvil: Anvil,
}

/// How the node reaches the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    Http,
    WebSocket,
    /// And Anvil itself beside it, as a second endpoint.
    BesideAGoodOne,
}

impl Fixture {
    /// Sets it up on a chain that mines at once; `extra` are lines of configuration by section.
    pub(crate) async fn set(seed: u64, over: Over, extra: &[(&str, &str)]) -> Res<Self> {
        // By itself Anvil moves the states of all but the last blocks to files, and loses them in a reorganisation.
        Self::set_on(Anvil::with(&["--prune-history", "10000"]).await?, seed, over, extra).await
    }

    /// The same on a chain of one's own.
    pub(crate) async fn set_on(anvil: Anvil, seed: u64, over: Over, extra: &[(&str, &str)]) -> Res<Self> {
        let deployment = Deployment::deploy(&anvil.local.ws_url()).await?;
        let consumer = Consumer::new(&deployment, &["iris", "credit"]).await?;
        let proxy = FaultProxy::before(&anvil.local.ws_url(), seed).await?;
        let url = match over {
            Over::Http => proxy.local.http_url(),
            Over::WebSocket => proxy.local.ws_url(),
            Over::BesideAGoodOne => format!("{},{}", proxy.local.ws_url(), anvil.local.ws_url()),
        };
        let node = Node::new(&deployment, &url, 0, extra)?;
        deployment.seat(1, &node.signer, &consumer.ids()).await?;
        Ok(Self { node, proxy, consumer, deployment, forks: Vec::new(), _anvil: anvil })
    }

    /// From now on a block comes every so often.
    pub(crate) async fn block_every(&self, seconds: u64) -> Res<()> {
        self.deployment.rpc("evm_setAutomine", json!([false])).await?;
        self.deployment.rpc("evm_setIntervalMining", json!([seconds])).await?;
        Ok(())
    }

    /// Waits until all is answered, stops the node, and audits the chain and the node's use of nonces on it.
    pub(crate) async fn end(&mut self, requests: usize, seconds: u64) -> Res<Checked> {
        match self.settle_and_audit(requests, seconds).await {
            Ok(audited) => Ok(audited),
            Err(error) => {
                let unanswered = self.unanswered().await.unwrap_or_else(|error| error.to_string());
                Err(self.told(&format!("{error}\n{unanswered}")).into())
            }
        }
    }

    /// What the node knows of some requests that are not answered.
    async fn unanswered(&self) -> Res<String> {
        let answers = self.consumer.answers(&self.deployment).await?;
        let mut told = String::new();
        for id in
            self.consumer.requests(&self.deployment).await?.into_keys().filter(|id| !answers.contains_key(id)).take(3)
        {
            let shown = Command::new(binary()?)
                .args(["jobs", "show", &id.to_string(), "--json", "--config"])
                .arg(self.node.home().join("oraculum.toml"))
                .output()
                .await?;
            let (out, err) = (String::from_utf8_lossy(&shown.stdout), String::from_utf8_lossy(&shown.stderr));
            told += &format!("{id}: {out}{err}");
        }
        Ok(told)
    }

    async fn settle_and_audit(&mut self, requests: usize, seconds: u64) -> Res<Checked> {
        let node = &mut self.node;
        let ended = async {
            while !node.ended()? {
                tokio::time::sleep(ms(500)).await;
            }
            Res::Ok(())
        };
        tokio::select! {
            settled = self.consumer.settle_all(&self.deployment, requests, seconds) => drop(settled?),
            ended = ended => {
                ended?;
                return Err("the node ended by itself".into());
            }
        }
        let code = self.node.stop().await?;
        if code != Some(0) {
            return Err(format!("the node ended with {code:?}").into());
        }
        // What is in the pool yet is mined.
        self.deployment.mine(2).await?;
        invariants::check(&self.deployment, &self.consumer, &[self.node.sender], &self.forks).await
    }

    /// All that the node signed on a chain without reorganisations used each nonce for one thing.
    pub(crate) async fn one_thing_per_nonce(&self) -> Res<()> {
        let mined = invariants::mined_of(&self.deployment, self.node.sender).await?;
        invariants::nonces(&self.deployment, &self.proxy.sent_by(self.node.sender), &mined)
    }

    /// An error with the end of the node's log.
    pub(crate) fn told(&self, error: &str) -> String {
        let log = self.node.log();
        let lines: Vec<&str> = log.lines().collect();
        format!("{error}\nthe end of the node's log:\n{}", lines[lines.len().saturating_sub(40)..].join("\n"))
    }
}

/// Milliseconds as a duration.
pub(crate) fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Counts by name as text.
pub(crate) fn counted(counts: &BTreeMap<&'static str, u32>) -> String {
    counts.iter().map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
}
