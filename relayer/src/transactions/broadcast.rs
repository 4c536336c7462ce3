//! Signed bytes on their way to the pool, once and again.

use alloy::primitives::{Address, B256};
use tokio::time::Instant;
use tracing::{debug, error};

use super::{CallOutcome, Transactions, candidate::TxId, relevance};
use crate::{
    chain::{Chain, ChainError},
    conditions::Obstacle,
    domain::Transition,
    failpoint::{failpoint, is_planted},
    journal::Journal,
    node::StageError,
};

impl<C: Chain, J: Journal> Transactions<C, J> {
    /// Hands the attempt that counts to the endpoint. It is in the journal.
    pub(super) fn broadcast(&mut self, id: TxId) {
        let Some(current) = self.queues.get_pending(id).and_then(|pending| pending.current()) else { return };
        let (hash, raw, node) = (current.hash, current.raw.clone(), self.node.clone());
        self.broadcasting += 1;
        self.tasks.push(Box::pin(async move {
            failpoint("broadcast.before");
            let result = node.chain.send(&raw).await;
            failpoint("broadcast.after");
            CallOutcome::Broadcast(id, hash, result)
        }));
    }

    /// The same bytes once more.
    pub(super) fn broadcast_again(&mut self, id: TxId) {
        if is_planted("broadcast-once") {
            return;
        }
        self.node.metrics.rebroadcast.add();
        self.broadcast(id);
    }

    /// Broadcasts all that is pending again, but for what should rather be forgotten.
    pub(super) fn rebroadcast(&mut self, account: Address) -> Result<(), StageError> {
        let Some(queue) = self.queues.get(account) else { return Ok(()) };
        let mut wanted = Vec::new();
        for (nonce, pending) in queue.pending() {
            if self.relevance(pending.transaction())?.wanted {
                wanted.push(nonce);
            }
        }
        for nonce in wanted {
            self.broadcast_again(TxId { account, nonce });
        }
        Ok(())
    }

    pub(super) fn broadcast_ended(
        &mut self,
        id: TxId,
        hash: B256,
        result: Result<(), ChainError>,
    ) -> Result<(), StageError> {
        let TxId { account, nonce } = id;
        let Err(error) = result else {
            debug!(nonce, %hash, "broadcast");
            if let Some(queue) = self.queues.get_mut(account) {
                queue.broadcast_backoff.succeeded();
            }
            let height = self.height();
            if let Some(tracked) = self.queues.tracked_mut(id) {
                tracked.taken(height);
            }
            self.report_refusals();
            return Ok(());
        };
        // Of an attempt that was replaced meanwhile, or is mined, nothing is to be learnt.
        let Some(pending) = self.queues.get_pending(id) else { return Ok(()) };
        if pending.current().is_none_or(|current| current.hash != hash) {
            return Ok(());
        }
        debug!(nonce, %hash, %error, label = error.label(), "a transaction was not taken");
        match error {
            // Mined already, by us or by another: the receipts tell.
            ChainError::NonceTooLow => self.ask_account(account),
            // The pool holds a dearer one: the next tick raises it.
            ChainError::Underpriced => {
                let (base_fee, height) = (self.base_fee(), self.height());
                if let Some(tracked) = self.queues.tracked_mut(id) {
                    (tracked.fee_too_low, tracked.outbid) = (Some(base_fee), true);
                    tracked.in_pool.get_or_insert(height);
                }
            }
            // The next tick raises it, if the base fee rose, or the endpoint says what it wants.
            ChainError::FeeTooLow(_) => {
                self.market.demanded = self.market.demanded.max(error.least_priority_fee().unwrap_or(0));
                let base_fee = self.base_fee();
                if let Some(tracked) = self.queues.tracked_mut(id) {
                    tracked.fee_too_low = Some(base_fee);
                    tracked.refused = Some(error.to_string());
                }
            }
            ChainError::InsufficientFunds => {
                let needed = self.queues.get(account).map(|queue| queue.committed(self.data_fee.per_byte));
                self.out_of_funds(account, needed.unwrap_or_default());
            }
            ChainError::OutOfGas(reason) => {
                error!(nonce, %hash, reason, "the endpoint will not take the transaction");
                let left = relevance::left_over(&*self.node.journal, pending.transaction())?;
                let why = format!("the endpoint refuses its transaction: {reason}");
                self.write_moves(left.into_iter().map(|task| (task.id, Transition::Failed(why.clone()))).collect())?;
                self.cancel(id)?;
            }
            error => {
                self.node.metrics.chain_errors.add();
                if let Some(queue) = self.queues.get_mut(account) {
                    let again = Instant::now() + queue.broadcast_backoff.failed();
                    queue.rebroadcast_at = queue.rebroadcast_at.map(|at| at.min(again));
                }
                if let Some(tracked) = self.queues.tracked_mut(id) {
                    tracked.refused = Some(error.to_string());
                }
            }
        }
        self.report_refusals();
        Ok(())
    }

    /// Tells the operator of transactions that no endpoint takes: while there is one, nothing is answered.
    pub(super) fn report_refusals(&self) {
        let pending = self.queues.tracked().filter(|tracked| tracked.state.pending().is_some());
        match pending.filter_map(|tracked| tracked.refused.as_ref()).next() {
            Some(reason) => self.node.conditions.hinder(Obstacle::Broadcast, reason),
            None => self.node.conditions.clear(Obstacle::Broadcast),
        }
    }
}
