//! What the service looks at.

use std::{collections::BTreeMap, fmt, sync::Arc};

use alloy::primitives::B256;
use tokio::sync::watch;

use crate::{
    api::types::Readiness,
    chain::{EndpointHealth, EndpointState},
    conditions::Conditions,
    domain::{ChainHead, Wait, WaitReason},
    journal::Journal,
    metrics::Metrics,
};

/// Blocks by which the node may be behind an endpoint and still be ready.
const MAX_BLOCKS_BEHIND: u64 = 3;

/// What the running stages of a chain tell; they are built anew after a failure.
#[derive(Clone)]
pub struct PipelineHandles {
    /// The last block taken in; `None` until the chain is caught up with.
    pub heads: watch::Receiver<Option<ChainHead>>,
    /// Whether transactions can be paid for.
    pub funded: watch::Receiver<bool>,
    /// What keeps the node, or a request, waiting.
    pub conditions: Arc<Conditions>,
    /// Number of seats that the signer holds on served models.
    pub seats: Arc<dyn Fn() -> usize + Send + Sync>,
}

impl fmt::Debug for PipelineHandles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { heads, funded, .. } = self;
        f.debug_struct("PipelineHandles").field("heads", heads).field("funded", funded).finish_non_exhaustive()
    }
}

/// Everything that is served of a node.
pub struct NodeStatus<J> {
    /// The chain's id, a label of all metrics.
    pub chain_id: u64,
    /// The journal that jobs and the ledger are read from.
    pub journal: Arc<J>,
    /// The counters of the stages.
    pub metrics: Arc<Metrics>,
    /// The health of each endpoint.
    pub endpoints: Box<dyn Fn() -> Vec<EndpointHealth> + Send + Sync>,
    /// The running stages; `None` while they are built anew.
    pub pipeline: watch::Receiver<Option<PipelineHandles>>,
}

impl<J> fmt::Debug for NodeStatus<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeStatus").field("chain_id", &self.chain_id).finish_non_exhaustive()
    }
}

impl<J: Journal> NodeStatus<J> {
    /// The last block taken in.
    pub(super) fn head(&self) -> Option<ChainHead> {
        self.pipeline.borrow().as_ref().and_then(|pipeline| *pipeline.heads.borrow())
    }

    /// What a request waits for, if it does.
    pub(super) fn wait(&self, id: B256) -> Option<Wait> {
        self.pipeline.borrow().as_ref().and_then(|pipeline| pipeline.conditions.wait(id))
    }

    /// Number of requests that wait, by reason.
    pub(super) fn waits(&self) -> BTreeMap<WaitReason, u64> {
        self.pipeline.borrow().as_ref().map(|pipeline| pipeline.conditions.counts()).unwrap_or_default()
    }

    /// Whether the node can answer requests now, and all that keeps it from that.
    pub fn readiness(&self) -> Readiness {
        let mut reasons = Vec::new();
        let endpoints = (self.endpoints)();
        if !endpoints.iter().any(|endpoint| endpoint.state == EndpointState::Ready) {
            reasons.push("no endpoint can be read from".to_owned());
        }
        let Some(pipeline) = self.pipeline.borrow().clone() else {
            reasons.push("the stages are being started".to_owned());
            return reasons.into();
        };
        match *pipeline.heads.borrow() {
            None => reasons.push("the chain is being caught up with".to_owned()),
            Some(head) => {
                let highest = endpoints.iter().filter_map(|endpoint| endpoint.head).max().unwrap_or(0);
                let behind = highest.saturating_sub(head.header.block.number);
                if behind > MAX_BLOCKS_BEHIND {
                    reasons.push(format!("the node is {behind} blocks behind the chain"));
                }
                if (pipeline.seats)() == 0 {
                    reasons.push("the signer holds no seat on a served model".to_owned());
                }
            }
        }
        if !*pipeline.funded.borrow() {
            reasons.push("no sending key can pay for gas".to_owned());
        }
        reasons.extend(pipeline.conditions.obstacles());
        reasons.into()
    }
}
