//! Other transactions under a nonce: a higher fee, another answer, or a self-transfer.

use alloy::primitives::{Address, Bytes};
use tracing::{debug, warn};

use super::{
    SendOutcome, Transactions,
    candidate::{TxCandidate, TxId, Unsigned, answers},
    tracked::TxState,
};
use crate::{
    chain::Chain,
    domain::Purpose,
    journal::Journal,
    node::StageError,
    policy::Price,
    pricing::{Fees, gas, replacement_fees, suggest_fees},
    protocol::payout,
};

/// The gas of a transaction that only fills its nonce.
const NOOP_GAS: u64 = 21_000;

/// A self-transfer of nothing.
fn noop_transaction(account: Address) -> TxCandidate {
    TxCandidate { purpose: Purpose::Cancel, to: account, data: Bytes::new(), gas: NOOP_GAS }
}

impl<C: Chain, J: Journal> Transactions<C, J> {
    /// Replaces a pending transaction: by another candidate, or by the same with a higher fee. `AboveFeeCap` where the cap on
    /// fees forbids it, or it would be a loss and frees no other; `Refused` where a job of the candidate is not open any more.
    pub(super) fn replace(&mut self, id: TxId, other: Option<TxCandidate>) -> Result<SendOutcome, StageError> {
        let Some(queue) = self.queues.get(id.account) else { return Ok(SendOutcome::Later) };
        let Some(pending) = queue.get_pending(id.nonce) else { return Ok(SendOutcome::Later) };
        if pending.replacement.is_some() || queue.health.rests_until().is_some() {
            return Ok(SendOutcome::Later);
        }
        let Some(last) = pending.current() else { return Ok(SendOutcome::Later) };
        let old = Fees { max_fee: last.max_fee, priority_fee: last.max_priority_fee };
        let is_raise = other.is_none();
        let Some(candidate) = other.or_else(|| pending.candidate()) else { return Ok(SendOutcome::Later) };
        let settings = self.node.policy.borrow().fees;
        // What gives up may pay a bump more than what it gives up.
        let cap = if candidate.purpose == Purpose::Cancel { settings.max_fee_per_gas } else { settings.work_cap() };
        // One that waits although there is room may pay less than producers want: what others paid, or else a bump.
        let base_fee = self.base_fee();
        let waited = is_raise.then(|| suggest_fees(settings, base_fee, self.market.paid()));
        let may_lose = queue.holds_up(id.nonce);
        let mut offered = None;
        for suggested in waited.into_iter().chain([self.suggest_fees()]) {
            let Some(fees) = replacement_fees(settings, cap, old, suggested) else { continue };
            if may_lose || self.breaks_even(&candidate, fees)? {
                offered = Some(fees);
                break;
            }
        }
        let Some(fees) = offered else {
            debug!(
                ?id,
                cap,
                "a transaction is stuck, and may not pay more: it would be a loss, or above `fees.max_fee_per_gas`"
            );
            return Ok(SendOutcome::AboveFeeCap);
        };
        if let Some(tracked) = self.queues.tracked_mut(id)
            && let TxState::Pending(pending) = &mut tracked.state
        {
            pending.replacement = Some(Unsigned { candidate, fees });
        }
        self.sign(id)
    }

    /// Whether what a candidate is paid covers what it costs at some fees. Giving a nonce up has no price.
    fn breaks_even(&self, candidate: &TxCandidate, fees: Fees) -> Result<bool, StageError> {
        let gas = self.base_fee().saturating_add(fees.priority_fee).min(fees.max_fee);
        let price = Price { gas, byte: self.data_fee.per_byte };
        let (mut pays, mut asks) = (0u128, 0u128);
        let mut add = |pay: u128, model, expected| {
            pays = pays.saturating_add(pay);
            asks = asks.saturating_add(self.node.policy.borrow().breaks_even_at(model, expected, price));
        };
        match &candidate.purpose {
            Purpose::Cancel => {}
            Purpose::Answer { items } => {
                let output = candidate.data.len() / items.len().max(1);
                for item in items {
                    let Some(job) = self.node.journal.job(item.id)? else { continue };
                    let (task, request) = (job.task(), &job.task().request);
                    let Some(assignment) = self.node.seats().assignment(task, self.node.signer) else { continue };
                    let pay = payout::share(request, assignment.position(request.quorum));
                    add(pay, request.model_id, gas::expected(request, &assignment, output));
                }
            }
            Purpose::Claim { ids } => {
                for id in ids {
                    let Some(claim) = self.node.journal.claim(*id)? else { continue };
                    let pay = self.node.pay(&claim.request, &claim.seats);
                    add(pay, claim.request.model_id, gas::expected_claim());
                }
            }
        }
        Ok(pays >= asks)
    }

    /// Replaces a transaction by a self-transfer.
    pub(super) fn cancel(&mut self, id: TxId) -> Result<SendOutcome, StageError> {
        self.replace(id, Some(noop_transaction(id.account)))
    }

    /// Fills a nonce that nothing holds with a self-transfer.
    pub(super) fn fill(&mut self, id: TxId) -> Result<SendOutcome, StageError> {
        let unsigned = Unsigned { candidate: noop_transaction(id.account), fees: self.suggest_fees() };
        self.reserve(id, unsigned)
    }

    pub(super) fn fill_gaps(&mut self, account: Address) -> Result<(), StageError> {
        let gaps = self.queues.get(account).filter(|queue| queue.health.rests_until().is_none());
        for nonce in gaps.map_or_else(Vec::new, |queue| queue.gaps()) {
            warn!(nonce, %account, "a nonce is free and holds up those after it: filling it");
            self.fill(TxId { account, nonce })?;
        }
        Ok(())
    }

    /// A pending transaction that has nothing left to do: its nonce serves a candidate. One that carries an answer to the
    /// same request, for a block that a reorganisation took, comes first.
    pub(super) fn idle_nonce(&self, candidate: &TxCandidate) -> Result<Option<TxId>, StageError> {
        let ids: Vec<_> = answers(&candidate.purpose).iter().map(|item| item.id).collect();
        let mut found = None;
        for queue in self.queues.iter().filter(|queue| queue.health.rests_until().is_none()) {
            for (nonce, tracked) in queue.tracked.range(queue.used..) {
                let Some(pending) = tracked.state.pending().filter(|pending| pending.replacement.is_none()) else {
                    continue;
                };
                let transaction = pending.transaction();
                let is_related = answers(&transaction.purpose).iter().any(|item| ids.contains(&item.id));
                let may_serve = is_related || (found.is_none() && queue.funded && tracked.idle_since.is_some());
                if may_serve && !self.relevance(transaction)?.wanted {
                    found = Some(queue.id(*nonce));
                    if is_related {
                        return Ok(found);
                    }
                }
            }
        }
        Ok(found)
    }
}
