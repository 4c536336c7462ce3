//! Signed bytes on their way to the pool, once and again.

use alloy::primitives::{Address, B256};
use tracing::{debug, error, warn};

use super::{CallOutcome, Transactions, candidate::TxId, relevance};
use crate::{
    chain::{Chain, ChainError},
    domain::Transition,
    failpoint::failpoint,
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
            return Ok(());
        };
        // Of an attempt that was replaced meanwhile, or is mined, nothing is to be learnt.
        let Some(pending) = self.queues.get_pending(id) else { return Ok(()) };
        if pending.current().is_none_or(|current| current.hash != hash) {
            return Ok(());
        }
        match error {
            // Mined already, by us or by another: the receipts tell.
            ChainError::NonceTooLow => self.ask_account(account),
            // The base fee rose, or the pool holds a dearer one: the next tick raises it.
            ChainError::FeeTooLow(_) | ChainError::Underpriced => {
                let base_fee = self.base_fee();
                if let Some(tracked) = self.queues.tracked_mut(id) {
                    tracked.fee_too_low = Some(base_fee);
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
                warn!(nonce, %hash, %error, label = error.label(), "a transaction was not broadcast; trying again");
                if let Some(queue) = self.queues.get_mut(account) {
                    queue.rebroadcast_at = None;
                }
            }
        }
        Ok(())
    }
}
