//! A new transaction: the key, the nonce, the fees; written down, then broadcast.

use alloy::primitives::{B256, Bytes, U256};
use tokio::time::Instant;
use tracing::{debug, error};

use super::{
    CallOutcome, PER_KEY, Transactions,
    purpose::sent_moves,
    sign,
    slot::{Draft, Pending, TxState},
};
use crate::{
    chain::Chain,
    domain::Purpose,
    failpoint::failpoint,
    journal::{Batch, Journal},
    node::StageError,
};

/// What became of a draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SendOutcome {
    /// It is in the journal and on its way.
    Sent,
    /// No key has room, or money.
    Later,
    /// Gas is dearer than `fees.max_fee_per_gas`.
    AboveFeeCap,
    /// It costs more than is left of the hour's money, or than any key has: less of it may go.
    TooMuch,
    /// A job is not open any more; nothing was sent.
    Refused(B256),
}

impl<C: Chain, J: Journal> Transactions<C, J> {
    /// Sends a draft whose simulation passed, from the key with the fewest transactions in flight that can pay.
    pub(crate) fn send(&mut self, draft: Draft) -> Result<SendOutcome, StageError> {
        if !self.has_room() {
            return Ok(SendOutcome::Later);
        }
        if let Some(id) = self.carried_already(&draft)? {
            return Ok(SendOutcome::Refused(id));
        }
        if let Some((queue, nonce)) = self.idle_nonce(&draft)? {
            return self.take_over(queue, nonce, draft);
        }
        let fees = self.suggest_fees();
        let cost = draft.bound(fees.max_fee, self.data_fee);
        if self.is_above_fee_cap() {
            return Ok(SendOutcome::AboveFeeCap);
        }
        if self.is_over_the_hours_limit(cost)? {
            return Ok(SendOutcome::TooMuch);
        }
        let with_room = self.queues.iter().enumerate().filter(|(_, queue)| queue.funded && queue.in_flight() < PER_KEY);
        let can_pay = with_room.filter(|(_, queue)| queue.balance >= queue.committed(self.data_fee) + cost);
        let Some(index) = can_pay.min_by_key(|(_, queue)| queue.in_flight()).map(|(index, _)| index) else {
            if matches!(&draft.purpose, Purpose::Answer { items } if items.len() > 1) {
                return Ok(SendOutcome::TooMuch);
            }
            for index in 0..self.queues.len() {
                let queue = &self.queues[index];
                if queue.funded && queue.in_flight() < PER_KEY {
                    let needed = queue.committed(self.data_fee) + cost;
                    self.out_of_funds(index, needed);
                }
            }
            return Ok(SendOutcome::Later);
        };
        let nonce = self.queues[index].free_nonce();
        let pending = self.sign_new(index, nonce, draft, fees)?;
        let mut batch = Batch { transactions: vec![pending.slot().clone()], ..Batch::default() };
        if let Purpose::Answer { items } = &pending.slot().purpose {
            batch.moves = sent_moves(pending.slot(), items);
        }
        failpoint("sent.before");
        if let Some((id, illegal)) = self.node.journal.commit(&batch)?.first() {
            debug!(%id, %illegal, "not sent");
            return Ok(SendOutcome::Refused(*id));
        }
        failpoint("sent.after");
        self.node.metrics.sent.add();
        let (account, hash) = (self.queues[index].address(), pending.current().map(|attempt| attempt.hash));
        for (id, _) in &batch.moves {
            debug!(%id, %account, nonce, ?hash, "its answer is in a transaction");
        }
        self.insert(index, nonce, pending);
        Ok(SendOutcome::Sent)
    }

    /// An item of a draft that another transaction of ours has answered, or may yet: a reorganisation opened its job
    /// again. A second transaction would be skipped; the first counts again instead.
    fn carried_already(&mut self, draft: &Draft) -> Result<Option<B256>, StageError> {
        let Purpose::Answer { items } = &draft.purpose else { return Ok(None) };
        for (index, queue) in self.queues.iter().enumerate() {
            for (nonce, state) in &queue.slots {
                let Some(item) = items.iter().find(|item| state.carries(item)) else { continue };
                let (id, nonce) = (item.id, *nonce);
                if let Some(slot) = state.unjudged() {
                    self.adopted(sent_moves(slot, &[*item]))?;
                    self.broadcast(index, nonce);
                }
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    /// Sends under the nonce of a transaction that has nothing left to do.
    fn take_over(&mut self, queue: usize, nonce: u64, draft: Draft) -> Result<SendOutcome, StageError> {
        if let Purpose::Answer { items } = &draft.purpose {
            for item in items {
                let job = self.node.journal.job(item.id)?;
                if !matches!(job, Some(crate::domain::Job::Seen(seen)) if seen.task.block.hash == item.block) {
                    return Ok(SendOutcome::Refused(item.id));
                }
            }
        }
        // What it cost already counts; what it costs more is new.
        let fees = self.suggest_fees();
        let old = self.queues[queue].get_pending(nonce).map_or(U256::ZERO, |pending| pending.bound(self.data_fee));
        let more = draft.bound(fees.max_fee, self.data_fee).saturating_sub(old);
        if self.is_above_fee_cap() {
            return Ok(SendOutcome::AboveFeeCap);
        }
        if self.is_over_the_hours_limit(more)? {
            return Ok(SendOutcome::TooMuch);
        }
        Ok(if self.replace(queue, nonce, Some(draft))? { SendOutcome::Sent } else { SendOutcome::AboveFeeCap })
    }

    pub(super) fn sign_new(
        &self,
        queue: usize,
        nonce: u64,
        draft: Draft,
        fees: crate::pricing::Fees,
    ) -> Result<Pending, StageError> {
        let queue = &self.queues[queue];
        let attempt = sign::attempt(&queue.key, self.node.domain.chain_id, nonce, &draft, fees, self.height())?;
        Ok(Pending::new(queue.address(), nonce, draft, attempt))
    }

    /// Keeps a transaction that is in the journal, and broadcasts it.
    pub(super) fn insert(&mut self, index: usize, nonce: u64, pending: Pending) {
        let queue = &mut self.queues[index];
        queue.slots.insert(nonce, TxState::Pending(pending));
        queue.next = queue.next.max(nonce + 1);
        queue.attempted.insert(nonce, Instant::now());
        queue.idle.remove(&nonce);
        queue.too_low.remove(&nonce);
        self.broadcast(index, nonce);
    }

    pub(super) fn broadcast(&mut self, index: usize, nonce: u64) {
        let Some(pending) = self.queues[index].get_pending(nonce) else { return };
        let Some((hash, raw)) = pending.current().map(|attempt| (attempt.hash, attempt.raw.clone())) else { return };
        self.hand_over(index, nonce, hash, raw);
    }

    fn hand_over(&mut self, index: usize, nonce: u64, hash: B256, raw: Bytes) {
        let node = self.node.clone();
        self.broadcasting += 1;
        self.tasks.push(Box::pin(async move {
            failpoint("broadcast.before");
            let result = node.chain.send(&raw).await;
            failpoint("broadcast.after");
            CallOutcome::Broadcast(index, nonce, hash, result)
        }));
    }

    pub(super) fn out_of_funds(&mut self, index: usize, needed: U256) {
        let queue = &mut self.queues[index];
        if std::mem::replace(&mut queue.funded, false) {
            error!(
                account = %queue.address(), balance = %queue.balance, %needed,
                "a sending key cannot pay for gas: it takes no more work until it is funded; send it money"
            );
        }
    }
}
