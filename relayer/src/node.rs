//! What all stages of one node share.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use alloy::primitives::Address;
use tokio::sync::watch;

use crate::{
    chain::Header,
    contract::ReadError,
    journal::{Journal, JournalError},
    lifecycle::{Place, Skip, Task},
    metrics::Metrics,
    policy::{Policy, Price, Terms, Verdict},
    protocol::{request::Request, statement::Domain},
    seats::{SeatTable, Turn},
    submitter::gas,
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
    /// What gas costs now; `None` until the first tip.
    pub price: watch::Sender<Option<Price>>,
    seats: RwLock<SeatTable>,
}

/// The last block whose logs the node has taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tip {
    /// The block.
    pub header: Header,
    /// Counts reorganisations; when it changes, what was mined may not be any more.
    pub rewinds: u64,
    /// The last block that counts as final, at most this one: what happened up to it may be closed and forgotten.
    /// `None` while there is none.
    pub final_block: Option<u64>,
}

impl Tip {
    /// The block in which a transaction sent now can be mined at the earliest.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.header.block.number + 1
    }

    /// Whether a block of the chain as the node knows it is final.
    #[must_use]
    pub fn is_final(&self, number: u64) -> bool {
        self.final_block.is_some_and(|last| number <= last)
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
    /// The journal holds transactions of a key that this node does not have.
    #[error(
        "the journal holds unfinished transactions of {0}: keep its keystore in `keys.senders` until they are final"
    )]
    SenderGone(Address),
    /// A stage panicked, or another stage ended.
    #[error("the {0} ended unexpectedly")]
    Gone(&'static str),
    /// A reorganisation goes back behind all blocks that are remembered. Trying again does not help.
    #[error(
        "the chain was reorganised deeper than `chain.reorg_depth`: it has another block {oldest} than the journal, \
         which ends at block {cursor}. Check that the endpoints are right; if they are, delete `node.data_dir` to scan the \
         chain anew, and raise `chain.reorg_depth` if the chain may do so again"
    )]
    ReorgTooDeep {
        /// The oldest block that is remembered.
        oldest: u64,
        /// The last block taken in.
        cursor: u64,
    },
}

impl StageError {
    /// Whether building the stages anew cannot help.
    #[must_use]
    pub fn is_lasting(&self) -> bool {
        matches!(self, Self::Read(ReadError::NotACoordinator(_)) | Self::ReorgTooDeep { .. })
    }
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
    pub fn verdict(&self, request: &Request, output: usize) -> Verdict {
        match *self.price.borrow() {
            Some(price) => self.policy.borrow().judge(request, output, price),
            None => Verdict::Worth,
        }
    }

    /// Whether the pay for an answer exceeds what collecting it costs now, with the margin of the model. If not, it waits for
    /// cheaper gas: vested pay does not expire.
    pub fn pays_to_claim(&self, request: &Request) -> bool {
        let Some(price) = *self.price.borrow() else { return true };
        let terms = self.policy.borrow().terms(request.model_id);
        request.pay() >= Terms { min_pay: 0, ..terms }.asks(gas::expected_claim(), price)
    }

    /// Why a request whose deadline passed was not answered: it may never have paid.
    pub fn why_expired(&self, request: &Request, output: usize) -> Skip {
        match self.verdict(request, output) {
            Verdict::Worth => Skip::Expired { deadline: request.deadline() },
            Verdict::NotNow { asks } | Verdict::Never { asks } => Skip::Unprofitable { pays: request.pay(), asks },
        }
    }

    /// Whether nobody else's answer to a task is valid up to block `next`: ours is the only eligible seat, or the first
    /// rank's in the window that is its own.
    pub fn is_uncontested(&self, task: &Task, place: &Place, next: u64) -> bool {
        let request = &task.request;
        let Some(rules) = self.seats().rules(request.version) else { return false };
        let later = next.saturating_sub(request.request_block + 1);
        place.eligible <= 1 || (place.rank == 0 && request.quorum == 1 && later < u64::from(rules.window))
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
