//! Gets transactions mined: several keys, each with one sequence of nonces and many transactions in flight.
//!
//! A logical transaction is one nonce and all its attempts ([`tracked`]). Its nonce is reserved, an attempt is signed and
//! written to the journal, and only then broadcast; after that only a mined transaction frees its nonce. Jobs move with their
//! transaction in the same write. [`upkeep`] says what happens to a transaction until it is final.
//!
//! All time is tokio's, and so are all waits: nothing here blocks, and everything that is awaited comes back through
//! [`Transactions::step`], under the name of its account or transaction.

mod accounts;
mod broadcast;
mod candidate;
mod data_fee;
mod finality;
mod queue;
mod receipts;
mod recovery;
mod relevance;
mod replace;
mod send;
mod signing;
mod spending;
mod tracked;
mod upkeep;

pub(crate) use candidate::{TxCandidate, TxId};
pub(crate) use send::SendOutcome;

use std::{sync::Arc, time::Duration};

use alloy::{
    consensus::TxEip1559,
    primitives::{Address, B256, Signature, U256},
};
use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tracing::debug;

use self::{
    data_fee::DataFee,
    queue::{NonceQueue, Queues},
    spending::HourlySpending,
    tracked::Tracked,
};
use crate::{
    chain::{BlockFees, Chain, ChainError, Receipt},
    domain::ChainHead,
    journal::{Batch, Journal},
    keys::{SignError, Signer},
    node::{Node, StageError},
    pricing::{self, FeeMarket},
};

/// Transactions of one key in flight at most: as many as fit into a block or two. A pool under pressure may drop all but
/// an account's first 16; those are broadcast again.
const PER_KEY: usize = 64;
/// With so many in flight, simulating on top of the pool takes long.
const BUSY: usize = 4;
/// The least time before a replacement: some chains make a block per transaction.
const REPLACE_TIMEOUT: Duration = Duration::from_secs(5);
/// Time between two broadcasts of the same bytes.
const REBROADCAST_INTERVAL: Duration = Duration::from_secs(5);
/// Blocks after which an unmined transaction is replaced with a higher fee.
const REPLACE_AFTER: u64 = 3;
/// Blocks after which the next transaction of a key is broadcast again with every block.
const OVERDUE_AFTER: u64 = 2;

/// What a background call brought, and what of. Readings of the chain carry the number of reorganisations before them: one
/// from before a reorganisation says nothing of the chain as it is.
enum CallOutcome {
    Broadcast(TxId, B256, Result<(), ChainError>),
    Signed(TxId, TxEip1559, Result<Signature, SignError>),
    /// Nonce and balance.
    Account(Address, u64, Result<(u64, U256), ChainError>),
    /// The hash of the attempt that was mined, and its receipt.
    Receipt(TxId, u64, Result<Option<(B256, Receipt)>, ChainError>),
    RecentFees(Result<Vec<BlockFees>, ChainError>),
    DataFee(Option<u128>),
}

/// The transactions of all sending keys that are not final, and what they need to become so.
pub(crate) struct Transactions<C, J> {
    node: Arc<Node<C, J>>,
    queues: Queues,
    tasks: FuturesUnordered<BoxFuture<'static, CallOutcome>>,
    head: Option<ChainHead>,
    reorg_epoch: u64,
    /// Heads since the start, to do some things with every tenth only.
    heads_seen: u64,
    market: FeeMarket,
    /// Whether the operator knows that gas costs more than the cap.
    above_fee_cap_reported: bool,
    data_fee: DataFee,
    spending: HourlySpending,
    broadcasting: usize,
    left_out: Vec<B256>,
    resolved: Vec<(TxId, SendOutcome)>,
}

impl<C: Chain, J: Journal> Transactions<C, J> {
    /// Goes on where the journal ends.
    ///
    /// # Errors
    /// The journal's; `SenderGone` if it holds transactions of another key.
    pub(crate) fn new(node: Arc<Node<C, J>>, senders: Vec<Arc<dyn Signer>>) -> Result<Self, StageError> {
        // What could not be written down before these stages began is not broadcast by them.
        node.journal.sync()?;
        let mut queues = Queues::new(senders);
        for transaction in node.journal.transactions()? {
            let queue = queues.get_mut(transaction.sender).ok_or(StageError::SenderGone(transaction.sender))?;
            queue.tracked.insert(transaction.nonce, Tracked::load(transaction));
        }
        Ok(Self {
            node,
            queues,
            tasks: FuturesUnordered::new(),
            head: None,
            reorg_epoch: 0,
            heads_seen: 0,
            market: FeeMarket::default(),
            above_fee_cap_reported: false,
            data_fee: DataFee::default(),
            spending: HourlySpending::default(),
            broadcasting: 0,
            left_out: Vec::new(),
            resolved: Vec::new(),
        })
    }

    /// Handles the next thing that a background call brought; waits for ever while there is none.
    ///
    /// # Errors
    /// The journal's; `Signer` if a signer refuses for good.
    pub(crate) async fn step(&mut self) -> Result<(), StageError> {
        match self.tasks.next().await {
            Some(outcome) => self.take_in(outcome),
            None => std::future::pending().await,
        }
    }

    /// Whether a transaction may be sent: no key waits for transactions that we do not know (they may be answers), and
    /// one that can pay and sign has fewer than its bound in flight.
    pub(crate) fn has_room(&self) -> bool {
        self.queues.iter().all(|queue| queue.hold.is_none()) && self.queues.iter().any(NonceQueue::has_room)
    }

    /// Whether the pool holds many of ours.
    pub(crate) fn is_busy(&self) -> bool {
        self.queues.iter().map(NonceQueue::in_flight).sum::<usize>() >= BUSY
    }

    /// Whether any key can pay.
    pub(crate) fn is_funded(&self) -> bool {
        self.queues.iter().any(|queue| queue.funded)
    }

    /// The account that simulations are made from.
    pub(crate) fn an_account(&self) -> Option<Address> {
        let funded = self.queues.iter().find(|queue| queue.funded);
        funded.or(self.queues.iter().next()).map(NonceQueue::address)
    }

    /// Jobs that a mined batch did not answer; they are open again in the journal, and better answered alone.
    pub(crate) fn take_left_out(&mut self) -> Vec<B256> {
        std::mem::take(&mut self.left_out)
    }

    /// What became of what was being signed. Names that [`send`](Self::send) did not give are of replacements and fillers.
    pub(crate) fn take_resolved(&mut self) -> Vec<(TxId, SendOutcome)> {
        std::mem::take(&mut self.resolved)
    }

    /// Lets broadcasts on their way end, for 2 s at most, so that the next start finds less to do.
    pub(crate) async fn drain(mut self) {
        let grace = tokio::time::sleep(Duration::from_secs(2));
        tokio::pin!(grace);
        while self.broadcasting > 0 {
            tokio::select! {
                biased;
                () = &mut grace => break,
                Some(outcome) = self.tasks.next() => {
                    if matches!(outcome, CallOutcome::Broadcast(..)) {
                        self.broadcasting -= 1;
                    }
                }
            }
        }
    }

    fn height(&self) -> u64 {
        self.head.map_or(0, |head| head.header.block.number)
    }

    /// Base fee of the head, wei per gas.
    fn base_fee(&self) -> u128 {
        self.head.map_or(0, |head| head.header.base_fee)
    }

    /// Fees of a new transaction.
    fn suggest_fees(&self) -> pricing::Fees {
        pricing::suggest_fees(self.node.policy.borrow().fees, self.base_fee(), self.market.least())
    }

    fn commit(&self, batch: &Batch) -> Result<(), StageError> {
        // A move of an included job is refused, and that is right: somebody answered.
        for (id, illegal) in self.node.journal.commit(batch)? {
            debug!(%id, %illegal, "left as it is");
        }
        Ok(())
    }

    fn take_in(&mut self, outcome: CallOutcome) -> Result<(), StageError> {
        match outcome {
            CallOutcome::Broadcast(id, hash, result) => {
                self.broadcasting -= 1;
                self.broadcast_ended(id, hash, result)
            }
            CallOutcome::Signed(id, transaction, signed) => self.signed_at_last(id, transaction, signed),
            CallOutcome::Account(account, reorg_epoch, read) => self.account_read(account, reorg_epoch, read),
            CallOutcome::Receipt(id, reorg_epoch, read) => self.receipt_read(id, reorg_epoch, read),
            CallOutcome::RecentFees(Ok(blocks)) => {
                // What an endpoint demanded is found out again.
                self.market = FeeMarket { blocks, demanded: 0 };
                Ok(())
            }
            CallOutcome::RecentFees(Err(error)) => {
                self.count_failed_read(&error);
                Ok(())
            }
            CallOutcome::DataFee(fee) => {
                self.data_fee.take_in(fee);
                Ok(())
            }
        }
    }

    /// Counts a reading of the chain that failed; the next head has it made again.
    fn count_failed_read(&self, error: &ChainError) {
        self.node.metrics.chain_errors.add();
        debug!(%error, label = error.label(), "cannot read from the chain; asking again at the next head");
    }
}

#[cfg(test)]
mod tests;
