//! Other transactions under a nonce: a higher fee, another answer, or a self-transfer.

use alloy::primitives::Bytes;
use tracing::{debug, warn};

use super::{Transactions, purpose::sent_moves, sign, slot::Draft};
use crate::{
    chain::Chain,
    domain::{AnswerRef, Purpose},
    failpoint::failpoint,
    journal::{Batch, Journal},
    node::StageError,
    pricing::{Fees, replacement_fees},
};

/// The gas of a transaction that only fills its nonce.
const NOOP_GAS: u64 = 21_000;

impl<C: Chain, J: Journal> Transactions<C, J> {
    fn noop_transaction(&self, queue: usize) -> Draft {
        Draft { purpose: Purpose::Cancel, to: self.queues[queue].address(), data: Bytes::new(), gas: NOOP_GAS }
    }

    /// Replaces a slot's transaction: by another draft, or by the same with a higher fee. False where the cap on fees
    /// forbids it.
    pub(super) fn replace(&mut self, index: usize, nonce: u64, other: Option<Draft>) -> Result<bool, StageError> {
        let Some(pending) = self.queues[index].get_pending(nonce) else { return Ok(true) };
        let Some(last) = pending.current() else { return Ok(true) };
        let old = Fees { max_fee: last.max_fee, tip: last.tip };
        let Some(draft) = other.or_else(|| pending.draft()) else { return Ok(true) };
        let settings = self.node.policy.borrow().fees;
        // What gives up may pay a bump more than what it gives up.
        let cap = if draft.purpose == Purpose::Cancel { settings.max_fee_per_gas } else { settings.work_cap() };
        let Some(fees) = replacement_fees(settings, cap, old, self.suggest_fees()) else {
            debug!(nonce, cap, "a transaction is stuck, and `fees.max_fee_per_gas` forbids paying more");
            return Ok(false);
        };
        let queue = &self.queues[index];
        let attempt = sign::attempt(&queue.key, self.node.domain.chain_id, nonce, &draft, fees, self.height())?;
        let same = pending.slot().purpose == draft.purpose;
        let moved = pending.clone().again(draft, attempt);
        let mut batch = Batch { transactions: vec![moved.slot().clone()], ..Batch::default() };
        if let (false, Purpose::Answer { items }) = (same, &moved.slot().purpose) {
            batch.moves = sent_moves(moved.slot(), items);
        }
        failpoint("replaced.before");
        if let Some((id, illegal)) = self.node.journal.commit(&batch)?.first() {
            debug!(%id, %illegal, "not replaced");
            return Ok(true);
        }
        failpoint("replaced.after");
        debug!(nonce, max_fee = fees.max_fee, tip = fees.tip, "replacing a transaction");
        self.node.metrics.replaced.add();
        self.insert(index, nonce, moved);
        Ok(true)
    }

    /// Replaces a transaction by a self-transfer.
    pub(super) fn cancel(&mut self, index: usize, nonce: u64) -> Result<bool, StageError> {
        let draft = self.noop_transaction(index);
        self.replace(index, nonce, Some(draft))
    }

    /// Fills a nonce that nothing holds with a self-transfer.
    pub(super) fn fill(&mut self, index: usize, nonce: u64) -> Result<(), StageError> {
        let pending = self.sign_new(index, nonce, self.noop_transaction(index), self.suggest_fees())?;
        failpoint("filled.before");
        self.commit(&Batch { transactions: vec![pending.slot().clone()], ..Batch::default() })?;
        failpoint("filled.after");
        self.insert(index, nonce, pending);
        Ok(())
    }

    pub(super) fn fill_gaps(&mut self, index: usize) -> Result<(), StageError> {
        for nonce in self.queues[index].gaps() {
            warn!(nonce, account = %self.queues[index].address(), "a nonce is free and stops those after it: filling it");
            self.fill(index, nonce)?;
        }
        Ok(())
    }

    /// Broadcasts all that is pending again, but for what should rather be forgotten.
    pub(super) fn rebroadcast(&mut self, index: usize) -> Result<(), StageError> {
        let mut wanted = Vec::new();
        for (nonce, pending) in self.queues[index].pending() {
            if self.standing(pending.slot())?.wanted {
                wanted.push(nonce);
            }
        }
        for nonce in wanted {
            self.broadcast_again(index, nonce);
        }
        Ok(())
    }

    /// The same bytes once more.
    pub(super) fn broadcast_again(&mut self, index: usize, nonce: u64) {
        self.node.metrics.rebroadcast.add();
        self.broadcast(index, nonce);
    }

    /// A pending transaction that has nothing left to do: its nonce serves a draft. One that carries an answer to the
    /// same request, for a block that a reorganisation took, comes first.
    pub(super) fn idle_nonce(&self, draft: &Draft) -> Result<Option<(usize, u64)>, StageError> {
        let ids: Vec<_> = answers(&draft.purpose).iter().map(|item| item.id).collect();
        let mut found = None;
        for (index, queue) in self.queues.iter().enumerate() {
            for (nonce, pending) in queue.pending().filter(|(nonce, _)| *nonce >= queue.used) {
                let related = answers(&pending.slot().purpose).iter().any(|item| ids.contains(&item.id));
                let candidate = related || (found.is_none() && queue.funded && queue.idle.contains_key(&nonce));
                if candidate && !self.standing(pending.slot())?.wanted {
                    found = Some((index, nonce));
                    if related {
                        return Ok(found);
                    }
                }
            }
        }
        Ok(found)
    }
}

fn answers(purpose: &Purpose) -> &[AnswerRef] {
    match purpose {
        Purpose::Answer { items } => items,
        Purpose::Claim { .. } | Purpose::Cancel => &[],
    }
}
