//! Writes a transaction down, signed, and broadcasts it.

use alloy::primitives::{B256, Bytes, U256};
use tracing::{debug, error};

use super::{
    Done, Draft, Submitter, Work,
    fees::{Fees, market},
};
use crate::{
    chain::Chain,
    crash::crash_point,
    journal::{Batch, Item, Journal, Purpose, Slot},
    lifecycle::Move,
    node::StageError,
};

impl<C: Chain, J: Journal> Submitter<C, J> {
    pub(super) fn market(&self) -> Fees {
        let base_fee = self.tip.map_or(0, |tip| tip.header.base_fee);
        market(self.node.policy.borrow().fees, base_fee, &self.recent_tips)
    }

    /// What the transactions in flight may cost at most.
    pub(super) fn committed(&self) -> U256 {
        let unmined = self.slots.values().filter(|slot| slot.mined.is_none());
        unmined
            .filter_map(|slot| slot.attempts.last().map(|last| U256::from(slot.gas) * U256::from(last.max_fee)))
            .sum()
    }

    /// Signs, writes down and broadcasts a transaction whose simulation passed.
    pub(super) fn send(&mut self, work: Work, draft: Draft) -> Result<(), StageError> {
        if let Work::Answer(answer) = &work {
            if !self.is_open(answer)? {
                return Ok(());
            }
            self.note_rewind()?;
            // After a reorganisation the old transaction may still be in somebody's pool: it is sent again if it says
            // the same, else the new one takes its nonce.
            let old = self.slots.values().find(|slot| {
                slot.mined.is_none()
                    && matches!(&slot.purpose, Purpose::Answer { items } if items[0].id == answer.task.id)
            });
            if let Some(old) = old {
                let (nonce, same) = (old.nonce, old.data == draft.data);
                return if same { self.resend(nonce) } else { self.take_over(nonce, work, draft) };
            }
        }
        if let Some(nonce) = self.orphan()
            && self.is_orphaned(nonce)?
        {
            return self.take_over(nonce, work, draft);
        }
        let fees = self.market();
        let cost = U256::from(draft.gas) * U256::from(fees.max_fee);
        let needed = self.committed() + cost;
        if self.balance < needed {
            self.out_of_funds(needed);
            self.waiting.push(work);
            return Ok(());
        }
        let nonce = self.next;
        let to = self.node.domain.coordinator;
        let attempt = self.sign(nonce, to, &draft, fees)?;
        let (hash, raw) = (attempt.hash, attempt.raw.clone());
        let Draft { purpose, data, gas } = draft;
        let mut batch = Batch::default();
        let sender = self.sender.address();
        if let Purpose::Answer { items } = &purpose {
            batch.moves.extend(
                items.iter().map(|Item { id, block }| (*id, Move::Sent { block: *block, sender, nonce, hash })),
            );
        }
        let slot = Slot { sender, nonce, purpose, to, data, gas, attempts: vec![attempt], mined: None };
        batch.slots.push(slot.clone());
        crash_point("sent.before");
        if let Some((id, illegal)) = self.node.journal.commit(&batch)?.first() {
            debug!(%id, %illegal, "not sent");
            return Ok(());
        }
        crash_point("sent.after");
        self.next += 1;
        self.slots.insert(nonce, slot);
        self.node.metrics.sent.add();
        self.broadcast(nonce, hash, raw);
        Ok(())
    }

    /// Sends under the nonce of a transaction that has nothing left to say.
    pub(super) fn take_over(&mut self, nonce: u64, work: Work, draft: Draft) -> Result<(), StageError> {
        if !self.replace(nonce, Some(draft))? {
            self.waiting.push(work);
        }
        Ok(())
    }

    /// The transaction of a job that was opened again says the right thing already.
    pub(super) fn resend(&mut self, nonce: u64) -> Result<(), StageError> {
        let Some(slot) = self.slots.get(&nonce) else { return Ok(()) };
        if let (Purpose::Answer { items }, Some(last)) = (&slot.purpose, slot.attempts.last()) {
            let (sender, hash) = (slot.sender, last.hash);
            let moves = items.iter().map(|Item { id, block }| (*id, Move::Sent { block: *block, sender, nonce, hash }));
            self.node.journal.commit(&Batch { moves: moves.collect(), ..Batch::default() })?;
        }
        self.rebroadcast(nonce);
        Ok(())
    }

    pub(super) fn out_of_funds(&mut self, needed: U256) {
        if self.ports.funded.send_replace(false) {
            error!(
                account = %self.sender.address(), balance = %self.balance, %needed,
                "the sending key cannot pay for gas: no more work is taken until it is funded; send it money"
            );
        }
    }

    pub(super) fn broadcast(&mut self, nonce: u64, hash: B256, raw: Bytes) {
        let chain = self.node.chain.clone();
        self.upkeep.broadcasting += 1;
        self.tasks.push(Box::pin(async move {
            crash_point("broadcast.before");
            let result = chain.send(&raw).await;
            crash_point("broadcast.after");
            Done::Broadcast(nonce, hash, result)
        }));
    }
}
