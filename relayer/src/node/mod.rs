//! What all stages of one node share.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use alloy::primitives::Address;
use tokio::sync::watch;

use crate::{
    conditions::Conditions,
    domain::{SeatTable, Task, Wait, WaitReason},
    journal::Journal,
    metrics::Metrics,
    policy::{Policy, Price},
    protocol::statement::Domain,
};

mod eligibility;
mod error;

pub use eligibility::{Eligibility, is_in_time};
pub use error::StageError;

/// The deployment, the key, and what the stages tell each other outside their channels.
#[derive(Debug)]
pub struct Node<C, J> {
    /// Endpoints of the chain.
    pub chain: Arc<C>,
    /// Journal of the deployment.
    pub journal: Arc<J>,
    /// Chain and coordinator that signatures count for.
    pub domain: Domain,
    /// The address of the key that signs answers: the one our seats name.
    pub signer: Address,
    /// Policy of what is answered, and what that may cost; it changes while the node runs.
    pub policy: watch::Receiver<Policy>,
    /// Counters of what the node did.
    pub metrics: Arc<Metrics>,
    /// What keeps the node, or a request, waiting.
    pub conditions: Arc<Conditions>,
    /// Present price of gas; `None` until the first head.
    pub price: watch::Sender<Option<Price>>,
    seats: RwLock<SeatTable>,
}

impl<C, J: Journal> Node<C, J> {
    /// Makes a node with an empty seat table.
    pub fn new(
        chain: Arc<C>,
        journal: Arc<J>,
        domain: Domain,
        signer: Address,
        policy: watch::Receiver<Policy>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            chain,
            journal,
            domain,
            signer,
            policy,
            metrics,
            conditions: Arc::default(),
            price: watch::Sender::new(None),
            seats: RwLock::default(),
        }
    }

    /// Takes note of what a request waits for until the head of a height.
    pub fn waits(&self, task: &Task, reason: WaitReason, next_look: u64) {
        if !self.conditions.still_waits(task.id, reason, next_look) {
            self.conditions.waits(task.id, Wait { reason, price: self.price_of(task), next_look });
        }
    }

    /// Pay of a request to this node, and the pay that would be enough now, wei.
    fn price_of(&self, task: &Task) -> Option<(u128, u128)> {
        let (assignment, price) = (self.seats().assignment(task, self.signer)?, (*self.price.borrow())?);
        Some(self.policy.borrow().price(&task.request, &assignment, 0, price))
    }

    /// Seat table, to read.
    pub fn seats(&self) -> RwLockReadGuard<'_, SeatTable> {
        self.seats.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seat table, to change.
    pub fn seats_mut(&self) -> RwLockWriteGuard<'_, SeatTable> {
        self.seats.write().unwrap_or_else(PoisonError::into_inner)
    }
}
