//! Receipts: found, judged by what became of the jobs, and taken back by reorganisations.

use std::time::Duration;

use alloy::primitives::{Address, B256};
use tokio::time::Instant;
use tracing::{error, warn};

use super::{
    CallOutcome, SendOutcome, Transactions,
    candidate::{TxId, answers},
    relevance,
    tracked::{Missing, Pending, TxState},
};
use crate::{
    chain::{Chain, ChainError, Receipt},
    domain::{ChainHead, Transition},
    failpoint::failpoint,
    journal::{Batch, Journal},
    node::StageError,
};

/// How long a used nonce may have no receipt before it counts as taken by a foreign transaction.
const RECEIPT_TIMEOUT: Duration = Duration::from_secs(10);

/// The receipt of one of some attempts, if its block is on the chain: an endpoint may be on a fork that is no more.
async fn find_receipt(chain: &impl Chain, hashes: Vec<B256>) -> Result<Option<(B256, Receipt)>, ChainError> {
    for hash in hashes {
        let Some(receipt) = chain.receipt(hash).await? else { continue };
        let number = receipt.block.number;
        return match chain.header(number).await? {
            Some(header) if header.block == receipt.block => Ok(Some((hash, receipt))),
            _ => Err(ChainError::UnknownBlock(format!("{} of a receipt", receipt.block.hash))),
        };
    }
    Ok(None)
}

impl<C: Chain, J: Journal> Transactions<C, J> {
    /// Asks for the receipts of a key's transactions whose nonces are used.
    pub(super) fn ask_receipts(&mut self, account: Address) {
        let Some(queue) = self.queues.get_mut(account) else { return };
        for (nonce, tracked) in queue.tracked.range_mut(..queue.used) {
            let Some(transaction) = tracked.state.without_receipt() else { continue };
            if std::mem::replace(&mut tracked.receipt_asked, true) {
                continue;
            }
            let hashes = transaction.attempts.iter().rev().map(|one| one.hash).collect();
            let (chain, reorg_epoch, id) = (self.node.chain.clone(), self.reorg_epoch, TxId { account, nonce: *nonce });
            self.tasks.push(Box::pin(async move {
                CallOutcome::Receipt(id, reorg_epoch, find_receipt(&*chain, hashes).await)
            }));
        }
    }

    pub(super) fn receipt_read(
        &mut self,
        id: TxId,
        reorg_epoch: u64,
        read: Result<Option<(B256, Receipt)>, ChainError>,
    ) -> Result<(), StageError> {
        if let Some(tracked) = self.queues.tracked_mut(id) {
            tracked.receipt_asked = false;
        }
        match read {
            Ok(_) if reorg_epoch != self.reorg_epoch => {
                self.ask_receipts(id.account);
                Ok(())
            }
            Ok(Some((hash, receipt))) => self.mined(id, hash, receipt),
            Ok(None) => self.without_receipt(id),
            Err(error) => {
                self.count_failed_read(&error);
                Ok(())
            }
        }
    }

    /// A used nonce has no receipt: its account is read again before that is believed.
    fn without_receipt(&mut self, id: TxId) -> Result<(), StageError> {
        let Some(queue) = self.queues.get_mut(id.account) else { return Ok(()) };
        let Some(tracked) = queue.tracked.get_mut(&id.nonce) else { return Ok(()) };
        if let TxState::Foreign(foreign) = &tracked.state {
            let is_final = self.head.is_some_and(|head| head.is_final(foreign.used_by));
            return if is_final { self.forget_foreign(id) } else { Ok(()) };
        }
        if tracked.state.pending().is_none() {
            return Ok(());
        }
        let missing = tracked.missing.get_or_insert_with(|| Missing { since: Instant::now(), in_doubt: false });
        if missing.since.elapsed() < RECEIPT_TIMEOUT {
            return Ok(());
        }
        if std::mem::replace(&mut missing.in_doubt, true) {
            return self.nonce_taken(id);
        }
        queue.may_fall = true;
        self.ask_account(id.account);
        Ok(())
    }

    fn mined(&mut self, id: TxId, hash: B256, receipt: Receipt) -> Result<(), StageError> {
        let Some(queue) = self.queues.get_mut(id.account) else { return Ok(()) };
        let Some((mut tracked, pending)) = queue.take_without_receipt(id.nonce) else { return Ok(()) };
        self.give_up_replacement(id, &pending);
        if !receipt.success {
            self.node.metrics.reverted.add();
            warn!(nonce = id.nonce, %hash, purpose = ?pending.transaction().purpose, "a transaction reverted");
        }
        let mined = pending.mined(hash, receipt);
        failpoint("mined.before");
        self.commit(&Batch { transactions: vec![mined.transaction().clone()], ..Batch::default() })?;
        failpoint("mined.after");
        self.node.metrics.mined.add();
        tracked.missing = None;
        if let Some(queue) = self.queues.get_mut(id.account) {
            queue.tracked.insert(id.nonce, tracked.with(TxState::Mined(mined)));
        }
        match self.head {
            Some(head) => self.judge_mined(&head),
            None => Ok(()),
        }
    }

    /// A foreign transaction seems to have used the nonce: what it was to answer is answered otherwise. Its receipt is looked
    /// for until what used the nonce is final, for an endpoint may just not have it yet.
    fn nonce_taken(&mut self, id: TxId) -> Result<(), StageError> {
        let TxId { account, nonce } = id;
        error!(
            nonce, %account,
            "a transaction that this node did not send used its nonce: is the key used elsewhere?"
        );
        let height = self.height();
        let Some(queue) = self.queues.get_mut(account) else { return Ok(()) };
        let Some((tracked, pending)) = queue.take_without_receipt(nonce) else { return Ok(()) };
        let left = relevance::left_over(&*self.node.journal, pending.transaction())?;
        queue.tracked.insert(nonce, tracked.with(TxState::Foreign(pending.clone().foreign(height))));
        self.give_up_replacement(id, &pending);
        self.write_moves(left.into_iter().map(|task| (task.id, Transition::Reopened)).collect())
    }

    /// What used a nonce is final, and there is still no receipt: it was not ours.
    fn forget_foreign(&mut self, id: TxId) -> Result<(), StageError> {
        let TxId { account, nonce } = id;
        let Some(queue) = self.queues.get_mut(account) else { return Ok(()) };
        queue.tracked.remove(&nonce);
        queue.closed = queue.closed.max(nonce + 1);
        failpoint("final.before");
        self.commit(&Batch { transactions_gone: vec![(account, nonce)], ..Batch::default() })?;
        failpoint("final.after");
        Ok(())
    }

    /// A nonce is used: what was being signed for it is sent otherwise.
    fn give_up_replacement(&mut self, id: TxId, pending: &Pending) {
        if pending.replacement.is_some() {
            self.resolved.push((id, SendOutcome::Later));
        }
    }

    /// Looks whether mined transactions did what they were to do, now that the logs of their blocks are in the journal.
    pub(super) fn judge_mined(&mut self, head: &ChainHead) -> Result<(), StageError> {
        let mut moves = Vec::new();
        for tracked in self.queues.iter_mut().flat_map(|queue| queue.tracked.values_mut()) {
            let TxState::Mined(mined) = &mut tracked.state else { continue };
            if mined.left_out.is_some() || mined.receipt().block.number > head.header.block.number {
                continue;
            }
            let transaction = mined.transaction();
            let in_batch = answers(&transaction.purpose).len() > 1;
            let left = relevance::left_over(&*self.node.journal, transaction)?;
            let in_vain = !mined.receipt().success && !in_batch && mined.is_to_purpose();
            if in_vain && !mined.is_final(head) {
                // Another fork may do better by it, and a job that failed is not taken up again.
                continue;
            }
            let ids = left.iter().map(|task| task.id).collect();
            let hash = mined.hash();
            for task in left {
                if !in_vain {
                    warn!(id = %task.id, %hash, "a mined transaction did not answer its request; answering it anew");
                    moves.push((task.id, Transition::Reopened));
                    if in_batch {
                        self.left_out.push(task.id);
                    }
                } else {
                    moves.push((task.id, Transition::Failed(format!("the transaction {hash} reverted"))));
                }
            }
            mined.left_out = Some(ids);
        }
        self.write_moves(moves)
    }

    /// Writes moves of jobs whose transactions do not answer them, if there are any.
    pub(super) fn write_moves(&self, moves: Vec<(B256, Transition)>) -> Result<(), StageError> {
        if moves.is_empty() {
            return Ok(());
        }
        failpoint("reopened.before");
        self.commit(&Batch { moves, ..Batch::default() })?;
        failpoint("reopened.after");
        Ok(())
    }
}
