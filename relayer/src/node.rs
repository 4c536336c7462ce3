//! What all stages of one node share.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use alloy::primitives::Address;
use tokio::sync::watch;

use crate::{
    chain::Header,
    contract::ReadError,
    journal::{Journal, JournalError},
    lifecycle::{Place, Task},
    metrics::Metrics,
    policy::Policy,
    protocol::statement::Domain,
    seats::{SeatTable, Turn},
};

/// The deployment, the key, and what the stages tell each other outside their channels.
#[derive(Debug)]
pub struct Node<C, J> {
    /// The endpoint.
    pub chain: Arc<C>,
    /// The journal.
    pub journal: Arc<J>,
    /// Chain and coordinator.
    pub domain: Domain,
    /// The address of the key that signs answers: the one our seats name.
    pub signer: Address,
    /// What is answered, and what that may cost; it changes while the node runs.
    pub policy: watch::Receiver<Policy>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    seats: RwLock<SeatTable>,
}

/// The last block whose logs the node has taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tip {
    /// The block.
    pub header: Header,
    /// Counts reorganisations; when it changes, what was mined may not be any more.
    pub rewinds: u64,
}

impl Tip {
    /// The block in which a transaction sent now can be mined at the earliest.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.header.block.number + 1
    }
}

/// Whether a task is ours to answer in a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Now, from this place.
    Now(Place),
    /// Not before this block.
    From(u64),
    /// No seat of ours may answer it before its deadline.
    NoSeat,
    /// The deadline passed.
    Expired,
}

/// Why a stage ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The coordinator cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The signing key failed.
    #[error("cannot sign: {0}")]
    Signer(#[from] alloy::signers::Error),
    /// A stage panicked, or another stage ended.
    #[error("the {0} ended unexpectedly")]
    Gone(&'static str),
}

impl<C, J: Journal> Node<C, J> {
    /// A node with an empty seat table.
    pub fn new(
        chain: Arc<C>,
        journal: Arc<J>,
        domain: Domain,
        signer: Address,
        policy: watch::Receiver<Policy>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { chain, journal, domain, signer, policy, metrics, seats: RwLock::default() }
    }

    /// The seats, to read.
    pub fn seats(&self) -> RwLockReadGuard<'_, SeatTable> {
        self.seats.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The seats, to change.
    pub fn seats_mut(&self) -> RwLockWriteGuard<'_, SeatTable> {
        self.seats.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a task is ours to answer in block `next`.
    pub fn standing(&self, task: &Task, next: u64) -> Standing {
        let request = &task.request;
        if next > request.deadline() {
            return Standing::Expired;
        }
        let seats = self.seats();
        let (Some(place), Some(rules)) = (seats.place(task, self.signer), seats.rules(request.version)) else {
            return Standing::NoSeat;
        };
        let turn = Turn::new(&place, request.quorum, rules.window);
        let elapsed = next.saturating_sub(request.request_block);
        if turn.is_at(elapsed) {
            return Standing::Now(place);
        }
        let from = request.request_block + turn.next(elapsed);
        if from > request.deadline() { Standing::NoSeat } else { Standing::From(from) }
    }
}
