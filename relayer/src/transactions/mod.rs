//! Gets transactions mined: several keys, each with one sequence of nonces and many transactions in flight.
//!
//! A logical transaction is one nonce and all its attempts ([`slot`]). It is written to the journal, signed, before it is
//! broadcast; after that only a mined transaction frees its nonce. Jobs move with their transaction in the same write.
//! [`upkeep`] says what happens to a transaction until it is final. All time is tokio's, and so are all waits: nothing here
//! blocks, and everything that is awaited comes back through [`Transactions::step`].

mod books;
mod mined;
mod purpose;
mod queue;
mod replace;
mod send;
pub(crate) mod sign;
mod slot;
mod upkeep;

pub(crate) use send::SendOutcome;
pub(crate) use slot::Draft;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use alloy::{
    primitives::{B256, U256},
    signers::local::PrivateKeySigner,
};
use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tracing::debug;

use self::{books::Books, queue::NonceQueue, slot::TxState};
use crate::{
    chain::{Chain, ChainError, Receipt},
    domain::{ChainHead, Purpose},
    journal::{Batch, Journal},
    node::{Node, StageError},
    pricing,
};

/// Transactions of one key in flight at most: as many as fit into a block or two. A pool under pressure may drop all but
/// an account's first 16; those are broadcast again.
const PER_KEY: usize = 64;
/// With so many in flight, simulating on top of the pool takes long.
const BUSY: usize = 4;

/// What a background call brought; the number is the queue's.
enum CallOutcome {
    Broadcast(usize, u64, B256, Result<(), ChainError>),
    /// Of a queue, asked for after so many reorganisations.
    Account(usize, u64, Result<(u64, U256), ChainError>),
    /// Of a queue and nonce, asked for after so many reorganisations.
    Receipt(usize, u64, u64, Result<Option<(B256, Receipt)>, ChainError>),
    Tips(Result<Vec<u128>, ChainError>),
    DataFee(Option<u128>),
}

/// See the module.
pub(crate) struct Transactions<C, J> {
    node: Arc<Node<C, J>>,
    queues: Vec<NonceQueue>,
    tasks: FuturesUnordered<BoxFuture<'static, CallOutcome>>,
    tip: Option<ChainHead>,
    reorg_epoch: u64,
    /// Tips since the start, to do some things with every tenth only.
    tips: u64,
    recent_priority_fees: Vec<u128>,
    /// Whether the operator was told that gas is too dear.
    above_fee_cap: bool,
    /// What the chain asks for a byte of a transaction besides gas; zero where it asks for none.
    data_fee: u128,
    has_data_fee: bool,
    books: Books,
    broadcasting: usize,
    left_out: Vec<B256>,
}

impl<C: Chain, J: Journal> Transactions<C, J> {
    /// Goes on where the journal ends.
    ///
    /// # Errors
    /// The journal's; `SenderGone` if it holds transactions of another key.
    pub(crate) fn new(node: Arc<Node<C, J>>, keys: Vec<PrivateKeySigner>) -> Result<Self, StageError> {
        // What could not be written down before these stages began is not broadcast by them.
        node.journal.sync()?;
        let mut queues: Vec<NonceQueue> = keys.into_iter().map(|key| NonceQueue::new(key, BTreeMap::new())).collect();
        for slot in node.journal.transactions()? {
            let queue = queues.iter_mut().find(|queue| queue.address() == slot.sender);
            queue.ok_or(StageError::SenderGone(slot.sender))?.slots.insert(slot.nonce, TxState::load(slot));
        }
        Ok(Self {
            node,
            queues,
            tasks: FuturesUnordered::new(),
            tip: None,
            reorg_epoch: 0,
            tips: 0,
            recent_priority_fees: Vec::new(),
            above_fee_cap: false,
            data_fee: 0,
            has_data_fee: false,
            books: Books::default(),
            broadcasting: 0,
            left_out: Vec::new(),
        })
    }

    /// Handles the next thing that a background call brought; waits for ever while there is none.
    pub(crate) async fn step(&mut self) -> Result<(), StageError> {
        match self.tasks.next().await {
            Some(done) => self.done(done),
            None => std::future::pending().await,
        }
    }

    /// Whether a transaction may be sent: no key waits for transactions that we do not know (they may be answers), and
    /// one that can pay has fewer than its bound in flight.
    pub(crate) fn has_room(&self) -> bool {
        self.queues.iter().all(|queue| queue.hold.is_none())
            && self.queues.iter().any(|queue| queue.funded && queue.in_flight() < PER_KEY)
    }

    /// Whether the pool holds many of ours.
    pub(crate) fn is_busy(&self) -> bool {
        self.queues.iter().map(NonceQueue::in_flight).sum::<usize>() >= BUSY
    }

    /// Whether a transaction that is not mined claims the pay of a request.
    pub(crate) fn claims(&self, id: B256) -> bool {
        let mut pending = self.queues.iter().flat_map(NonceQueue::pending);
        pending.any(|(_, pending)| matches!(&pending.slot().purpose, Purpose::Claim { ids } if ids.contains(&id)))
    }

    /// Whether any key can pay.
    pub(crate) fn is_funded(&self) -> bool {
        self.queues.iter().any(|queue| queue.funded)
    }

    /// The account that simulations are made from.
    pub(crate) fn an_account(&self) -> Option<alloy::primitives::Address> {
        self.queues.iter().find(|queue| queue.funded).or(self.queues.first()).map(NonceQueue::address)
    }

    /// Jobs that a mined batch did not answer; they are open again in the journal, and better answered alone.
    pub(crate) fn take_left_out(&mut self) -> Vec<B256> {
        std::mem::take(&mut self.left_out)
    }

    /// Lets broadcasts on their way end, so that the next start finds less to do.
    pub(crate) async fn drain(mut self) {
        let grace = tokio::time::sleep(Duration::from_secs(2));
        tokio::pin!(grace);
        while self.broadcasting > 0 {
            tokio::select! {
                () = &mut grace => break,
                Some(done) = self.tasks.next() => {
                    if matches!(done, CallOutcome::Broadcast(..)) {
                        self.broadcasting -= 1;
                    }
                }
            }
        }
    }

    fn height(&self) -> u64 {
        self.tip.map_or(0, |tip| tip.header.block.number)
    }

    /// Of the tip, wei per gas.
    fn base_fee(&self) -> u128 {
        self.tip.map_or(0, |tip| tip.header.base_fee)
    }

    fn suggest_fees(&self) -> pricing::Fees {
        pricing::suggest_fees(self.node.policy.borrow().fees, self.base_fee(), &self.recent_priority_fees)
    }

    fn commit(&self, batch: &Batch) -> Result<(), StageError> {
        // A move of a settled job is refused, and that is right: somebody answered.
        for (id, illegal) in self.node.journal.commit(batch)? {
            debug!(%id, %illegal, "left as it is");
        }
        Ok(())
    }

    fn done(&mut self, done: CallOutcome) -> Result<(), StageError> {
        match done {
            CallOutcome::Broadcast(queue, nonce, hash, result) => {
                self.broadcasting -= 1;
                self.broadcast_done(queue, nonce, hash, result)
            }
            // Read before a reorganisation: it says nothing of the chain as it is.
            CallOutcome::Account(queue, reorg_epoch, Ok(_)) if reorg_epoch != self.reorg_epoch => {
                self.queues[queue].asking = false;
                self.ask_account(queue);
                Ok(())
            }
            CallOutcome::Receipt(queue, nonce, reorg_epoch, Ok(_)) if reorg_epoch != self.reorg_epoch => {
                self.queues[queue].asked.remove(&nonce);
                self.ask_receipts(queue);
                Ok(())
            }
            CallOutcome::Account(queue, _, Ok((nonce, balance))) => self.account(queue, nonce, balance),
            CallOutcome::Receipt(queue, nonce, _, Ok(receipt)) => self.receipt(queue, nonce, receipt),
            CallOutcome::Tips(Ok(tips)) => {
                self.recent_priority_fees = tips;
                Ok(())
            }
            CallOutcome::DataFee(fee) => {
                self.data_fee = fee.unwrap_or(self.data_fee);
                Ok(())
            }
            CallOutcome::Account(queue, _, Err(error)) => {
                self.queues[queue].asking = false;
                self.ask_later(&error);
                Ok(())
            }
            CallOutcome::Receipt(queue, nonce, _, Err(error)) => {
                self.queues[queue].asked.remove(&nonce);
                self.ask_later(&error);
                Ok(())
            }
            CallOutcome::Tips(Err(error)) => {
                self.ask_later(&error);
                Ok(())
            }
        }
    }

    fn ask_later(&self, error: &ChainError) {
        self.node.metrics.chain_errors.add();
        debug!(%error, label = error.label(), "asking again at the next tip");
    }
}

#[cfg(test)]
mod tests;
