//! A new transaction: the key, the nonce, the fees. [`signing`](super::signing) has it signed, journalled and broadcast.

use alloy::primitives::{Address, B256, U256};
use tracing::error;

use super::{
    Transactions,
    candidate::{TxCandidate, TxId, Unsigned, answers},
    relevance::sent_moves,
};
use crate::{
    chain::Chain,
    domain::{Job, Purpose},
    journal::Journal,
    node::StageError,
};

/// What became of a candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SendOutcome {
    /// It is in the journal and on its way.
    Sent,
    /// Its nonce is reserved and its signer is asked: [`Transactions::take_resolved`] tells the rest under this name.
    Signing(TxId),
    /// No key has room, money or a signer that answers.
    Later,
    /// Gas costs more than `fees.max_fee_per_gas`, or a replacement would be a loss.
    AboveFeeCap,
    /// It costs more than is left of the hour's money, or than any key has: less of it may go.
    TooMuch,
    /// A job is not open any more; nothing was sent.
    Refused(B256),
}

impl<C: Chain, J: Journal> Transactions<C, J> {
    /// Sends a candidate whose simulation passed, from the key with the fewest transactions in flight that can pay.
    ///
    /// # Errors
    /// The journal's; `Signer` if the key's signer refuses for good.
    pub(crate) fn send(&mut self, candidate: TxCandidate) -> Result<SendOutcome, StageError> {
        if !self.has_room() {
            return Ok(SendOutcome::Later);
        }
        if let Some(id) = self.carried_already(&candidate)? {
            return Ok(SendOutcome::Refused(id));
        }
        if let Some(id) = self.idle_nonce(&candidate)? {
            return self.take_over(id, candidate);
        }
        let fees = self.suggest_fees();
        let cost = candidate.bound(fees.max_fee, self.data_fee.per_byte);
        if let Some(outcome) = self.over_a_limit(cost) {
            return Ok(outcome);
        }
        let with_room = self.queues.iter().filter(|queue| queue.has_room());
        let can_pay = with_room.filter(|queue| queue.balance >= queue.committed(self.data_fee.per_byte) + cost);
        let Some(queue) = can_pay.min_by_key(|queue| queue.in_flight()) else {
            if answers(&candidate.purpose).len() > 1 {
                return Ok(SendOutcome::TooMuch);
            }
            self.report_unfunded(cost);
            return Ok(SendOutcome::Later);
        };
        let id = queue.id(queue.free_nonce());
        self.reserve(id, Unsigned { candidate, fees })
    }

    /// Gives a nonce to what is then signed.
    pub(super) fn reserve(&mut self, id: TxId, unsigned: Unsigned) -> Result<SendOutcome, StageError> {
        if let Some(queue) = self.queues.get_mut(id.account) {
            queue.reserve(id.nonce, unsigned);
        }
        self.sign(id)
    }

    /// Whether `cost` more is too much now, wei; tells the operator of the hour's limit.
    fn over_a_limit(&mut self, cost: U256) -> Option<SendOutcome> {
        if self.is_above_fee_cap() {
            return Some(SendOutcome::AboveFeeCap);
        }
        let over = self.exceeds_hourly_limit(cost);
        if over {
            self.report_hourly_limit();
        }
        over.then_some(SendOutcome::TooMuch)
    }

    /// An item of a candidate that another transaction of ours has answered, or may yet: a reorganisation opened its job
    /// again. A second transaction would be skipped; the first counts again instead.
    fn carried_already(&mut self, candidate: &TxCandidate) -> Result<Option<B256>, StageError> {
        let items = answers(&candidate.purpose);
        let carried = self.queues.iter().find_map(|queue| {
            queue.tracked.iter().find_map(|(nonce, tracked)| {
                let item = items.iter().find(|item| tracked.state.carries(item))?;
                let signed = tracked.state.unjudged().filter(|one| answers(&one.purpose).contains(item));
                Some((queue.id(*nonce), item.id, signed.map(|one| sent_moves(one, &[*item]))))
            })
        });
        let Some((id, job, moves)) = carried else { return Ok(None) };
        if let Some(moves) = moves {
            self.write_carried(moves)?;
            self.broadcast(id);
        }
        Ok(Some(job))
    }

    /// Sends under the nonce of a transaction that has nothing left to do.
    fn take_over(&mut self, id: TxId, candidate: TxCandidate) -> Result<SendOutcome, StageError> {
        for item in answers(&candidate.purpose) {
            let job = self.node.journal.job(item.id)?;
            if !matches!(job, Some(Job::Seen(seen)) if seen.task.block.hash == item.block) {
                return Ok(SendOutcome::Refused(item.id));
            }
        }
        // What it cost already counts; what it costs more is new.
        let fees = self.suggest_fees();
        let old = self.queues.get_pending(id).map_or(U256::ZERO, |pending| pending.bound(self.data_fee.per_byte));
        let more = candidate.bound(fees.max_fee, self.data_fee.per_byte).saturating_sub(old);
        match self.over_a_limit(more) {
            Some(outcome) => Ok(outcome),
            None => self.replace(id, Some(candidate)),
        }
    }

    /// Tells the operator of keys that could take a transaction, but for its cost in wei; they take no more work.
    fn report_unfunded(&mut self, cost: U256) {
        for account in self.queues.accounts() {
            if let Some(queue) = self.queues.get(account)
                && queue.has_room()
            {
                let needed = queue.committed(self.data_fee.per_byte) + cost;
                self.out_of_funds(account, needed);
            }
        }
    }

    /// A key cannot pay for what it needs, wei.
    pub(super) fn out_of_funds(&mut self, account: Address, needed: U256) {
        let Some(queue) = self.queues.get_mut(account) else { return };
        if std::mem::replace(&mut queue.funded, false) {
            error!(
                %account, balance = %queue.balance, %needed,
                "a sending key cannot pay for gas and takes no more work until it has enough: send it money"
            );
        }
    }

    /// Whether a transaction that is not mined claims the pay of a request.
    pub(crate) fn claims(&self, id: B256) -> bool {
        let mut in_flight = self.queues.tracked().filter(|tracked| tracked.is_in_flight());
        let claims = |purpose: &Purpose| matches!(purpose, Purpose::Claim { ids } if ids.contains(&id));
        in_flight.any(|tracked| tracked.state.purposes().any(claims))
    }
}
