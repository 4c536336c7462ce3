//! Other transactions under a nonce: the same bytes again, a higher fee, another answer, or a self-transfer.

use alloy::primitives::Bytes;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::{
    Draft, Submitter,
    fees::{Fees, bumped},
    gas,
    upkeep::GAP_PATIENCE,
};
use crate::{
    chain::Chain,
    journal::{Batch, Item, Journal, Purpose, Slot},
    lifecycle::{Job, Move},
    node::StageError,
};

impl<C: Chain, J: Journal> Submitter<C, J> {
    /// A reorganisation can undo transactions whose slots were final: nothing after them is mined until their nonces
    /// are used again.
    pub(super) fn fill_gaps(&mut self, latest: u64) -> Result<(), StageError> {
        let gaps: Vec<u64> = (latest..self.next).filter(|nonce| !self.slots.contains_key(nonce)).collect();
        if gaps.is_empty() || self.hold.is_some() {
            self.upkeep.gap = None;
            return Ok(());
        }
        if self.upkeep.gap.get_or_insert_with(Instant::now).elapsed() < GAP_PATIENCE {
            return Ok(());
        }
        for nonce in gaps {
            warn!(nonce, "a nonce is free again: filling it");
            self.fill(nonce)?;
            self.rebroadcast(nonce);
        }
        Ok(())
    }

    pub(super) fn rebroadcast(&mut self, nonce: u64) {
        let current = self.slots.get(&nonce).and_then(|slot| slot.attempts.last());
        if let Some((hash, raw)) = current.map(|attempt| (attempt.hash, attempt.raw.clone())) {
            self.node.metrics.rebroadcast.add();
            self.broadcast(nonce, hash, raw);
        }
    }

    /// Replaces a slot's transaction: by another draft, or by the same with a higher fee. False where the cap on fees
    /// forbids it.
    pub(super) fn replace(&mut self, nonce: u64, draft: Option<Draft>) -> Result<bool, StageError> {
        let Some(slot) = self.slots.get(&nonce) else { return Ok(true) };
        let Some(last) = slot.attempts.last() else { return Ok(true) };
        let old = Fees { max_fee: last.max_fee, tip: last.tip };
        let Some(fees) = bumped(self.node.policy.borrow().fees, old, self.market()) else {
            warn!(
                nonce,
                cap = self.node.policy.borrow().fees.cap,
                "a transaction is stuck, and `fees.max_fee_per_gas` forbids paying more"
            );
            // It is broadcast again from time to time: the market may come down.
            return Ok(false);
        };
        let to = match &draft {
            Some(Draft { purpose: Purpose::Cancel, .. }) => self.sender.address(),
            Some(_) => self.node.domain.coordinator,
            None => slot.to,
        };
        let draft =
            draft.unwrap_or_else(|| Draft { purpose: slot.purpose.clone(), data: slot.data.clone(), gas: slot.gas });
        let attempt = self.sign(nonce, to, &draft, fees)?;
        let (hash, raw) = (attempt.hash, attempt.raw.clone());
        let mut attempts = slot.attempts.clone();
        attempts.push(attempt);
        let Draft { purpose, data, gas } = draft;
        let sender = slot.sender;
        let slot = Slot { sender, nonce, purpose, to, data, gas, attempts, mined: None };
        let mut batch = Batch { slots: vec![slot.clone()], ..Batch::default() };
        if let Purpose::Answer { items } = &slot.purpose {
            for Item { id, block } in items {
                if let Some(Job::Seen(_)) = self.node.journal.job(*id)? {
                    batch.moves.push((*id, Move::Sent { block: *block, sender, nonce, hash }));
                }
            }
        }
        if let Some((id, illegal)) = self.node.journal.commit(&batch)?.first() {
            debug!(%id, %illegal, "not replaced");
            return Ok(true);
        }
        debug!(nonce, %hash, max_fee = fees.max_fee, "replacing a transaction");
        self.slots.insert(nonce, slot);
        self.upkeep.attempted.insert(nonce, Instant::now());
        self.upkeep.orphaned.remove(&nonce);
        self.node.metrics.replaced.add();
        self.broadcast(nonce, hash, raw);
        Ok(true)
    }

    pub(super) fn cancel(&mut self, nonce: u64) -> Result<bool, StageError> {
        self.replace(nonce, Some(Draft { purpose: Purpose::Cancel, data: Bytes::new(), gas: gas::CANCEL }))
    }

    /// Fills a nonce that nothing holds.
    pub(super) fn fill(&mut self, nonce: u64) -> Result<(), StageError> {
        let draft = Draft { purpose: Purpose::Cancel, data: Bytes::new(), gas: gas::CANCEL };
        let to = self.sender.address();
        let attempt = self.sign(nonce, to, &draft, self.market())?;
        let slot = Slot {
            sender: to,
            nonce,
            purpose: draft.purpose,
            to,
            data: draft.data,
            gas: draft.gas,
            attempts: vec![attempt],
            mined: None,
        };
        self.node.journal.commit(&Batch { slots: vec![slot.clone()], ..Batch::default() })?;
        self.slots.insert(nonce, slot);
        Ok(())
    }
}
