//! What all stages of one node share.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use alloy::primitives::Address;
use tokio::sync::watch;

use crate::{
    domain::{SeatAssignment, SeatTable, Skip, Task, Turn},
    journal::Journal,
    metrics::Metrics,
    policy::{Policy, Price, PriceTerms, Profitability},
    pricing::gas,
    protocol::{request::Request, statement::Domain},
};

mod error;

pub use error::StageError;

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
    /// What gas costs now; `None` until the first tip.
    pub price: watch::Sender<Option<Price>>,
    seats: RwLock<SeatTable>,
}

/// Whether a task is ours to answer in a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Eligibility {
    /// Now, from this place.
    Now(SeatAssignment),
    /// Not before this block.
    From(u64),
    /// No seat of ours may answer it before its deadline.
    NoSeat,
    /// The deadline passed.
    Expired,
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
        Self {
            chain,
            journal,
            domain,
            signer,
            policy,
            metrics,
            price: watch::Sender::new(None),
            seats: RwLock::default(),
        }
    }

    /// The seats, to read.
    pub fn seats(&self) -> RwLockReadGuard<'_, SeatTable> {
        self.seats.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The seats, to change.
    pub fn seats_mut(&self) -> RwLockWriteGuard<'_, SeatTable> {
        self.seats.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an answer with an output of so many bytes pays now.
    pub fn verdict(&self, request: &Request, output: usize) -> Profitability {
        match *self.price.borrow() {
            Some(price) => self.policy.borrow().judge(request, output, price),
            None => Profitability::Worth,
        }
    }

    /// Whether the pay for an answer exceeds what collecting it costs now, with the margin of the model. If not, it waits for
    /// cheaper gas: vested pay does not expire.
    pub fn pays_to_claim(&self, request: &Request) -> bool {
        let Some(price) = *self.price.borrow() else { return true };
        let terms = self.policy.borrow().terms(request.model_id);
        request.pay() >= PriceTerms { min_pay: 0, ..terms }.asks(gas::expected_claim(), price)
    }

    /// Why a request whose deadline passed was not answered: it may never have paid.
    pub fn why_expired(&self, request: &Request, output: usize) -> Skip {
        match self.verdict(request, output) {
            Profitability::Worth => Skip::Expired { deadline: request.deadline() },
            Profitability::NotNow { asks } | Profitability::Never { asks } => {
                Skip::Unprofitable { pays: request.pay(), asks }
            }
        }
    }

    /// Whether nobody else's answer to a task is valid up to block `next`: ours is the only eligible seat, or the first
    /// rank's in the window that is its own.
    pub fn is_uncontested(&self, task: &Task, place: &SeatAssignment, next: u64) -> bool {
        let request = &task.request;
        let Some(rules) = self.seats().rules(request.version) else { return false };
        let later = next.saturating_sub(request.request_block + 1);
        place.eligible <= 1 || (place.rank == 0 && request.quorum == 1 && later < u64::from(rules.window))
    }

    /// Whether a task is ours to answer in block `next`.
    pub fn standing(&self, task: &Task, next: u64) -> Eligibility {
        let request = &task.request;
        if next > request.deadline() {
            return Eligibility::Expired;
        }
        let seats = self.seats();
        let (Some(place), Some(rules)) = (seats.place(task, self.signer), seats.rules(request.version)) else {
            return Eligibility::NoSeat;
        };
        let turn = Turn::new(&place, request.quorum, rules.window);
        let elapsed = next.saturating_sub(request.request_block);
        if turn.is_at(elapsed) {
            return Eligibility::Now(place);
        }
        let from = request.request_block + turn.next(elapsed);
        if from > request.deadline() { Eligibility::NoSeat } else { Eligibility::From(from) }
    }
}
