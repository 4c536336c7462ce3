//! What the status service looks at.

use std::{fmt, sync::Arc};

use tokio::sync::watch;

use crate::{
    chain::{EndpointHealth, EndpointState},
    domain::ChainHead,
    journal::Journal,
    metrics::Metrics,
};

/// Blocks by which the node may be behind an endpoint and still be ready.
const BEHIND: u64 = 3;

/// What the stages of the present life tell; they are built anew after a failure.
#[derive(Clone)]
pub struct PipelineHandles {
    /// The tip.
    pub tips: watch::Receiver<Option<ChainHead>>,
    /// Whether transactions can be paid for.
    pub funded: watch::Receiver<bool>,
    /// How many seats the signer holds on served models.
    pub seats: Arc<dyn Fn() -> usize + Send + Sync>,
}

impl fmt::Debug for PipelineHandles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Life").field("tips", &self.tips).field("funded", &self.funded).finish_non_exhaustive()
    }
}

/// Everything that is served of a node.
pub struct NodeStatus<J> {
    /// The chain's id, a label of all metrics.
    pub chain_id: u64,
    /// The journal.
    pub journal: Arc<J>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// How the endpoints do.
    pub endpoints: Box<dyn Fn() -> Vec<EndpointHealth> + Send + Sync>,
    /// The present life, if there is one.
    pub life: watch::Receiver<Option<PipelineHandles>>,
}

impl<J> fmt::Debug for NodeStatus<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Board").field("chain_id", &self.chain_id).finish_non_exhaustive()
    }
}

impl<J: Journal> NodeStatus<J> {
    /// The block that is taken in.
    pub(super) fn tip(&self) -> Option<ChainHead> {
        self.life.borrow().as_ref().and_then(|life| *life.tips.borrow())
    }

    /// What keeps the node from answering now, in a line each. Ready if there is nothing.
    pub fn unready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        let endpoints = (self.endpoints)();
        if !endpoints.iter().any(|endpoint| endpoint.state == EndpointState::Ready) {
            reasons.push("no endpoint can be read from".to_owned());
        }
        let Some(life) = self.life.borrow().clone() else {
            reasons.push("the stages are being started".to_owned());
            return reasons;
        };
        match *life.tips.borrow() {
            None => reasons.push("the chain is being caught up with".to_owned()),
            Some(tip) => {
                let highest = endpoints.iter().filter_map(|endpoint| endpoint.head).max().unwrap_or(0);
                let behind = highest.saturating_sub(tip.header.block.number);
                if behind > BEHIND {
                    reasons.push(format!("the node is {behind} blocks behind the chain"));
                }
                if (life.seats)() == 0 {
                    reasons.push("the signer holds no seat on a served model".to_owned());
                }
            }
        }
        if !*life.funded.borrow() {
            reasons.push("no sending key can pay for gas".to_owned());
        }
        reasons
    }
}
