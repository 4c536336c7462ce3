//! Which answers go into the next transaction.

use tokio::time::Instant;
use tracing::debug;

use super::{QueuedAnswer, Submission, Submitter, simulate::CallState};
use crate::{
    chain::Chain,
    coordinator,
    domain::{AnswerRef, Attested, Purpose, SeatAssignment, Transition},
    journal::Journal,
    node::{Eligibility, StageError},
    pricing::gas,
    transactions::Draft,
};

/// Calldata of a batch at most: pools take transactions of 128 KB, and the probe's code and calldata 48 KiB.
const BATCH_BYTES: usize = 40_000;
/// Gas of a batch at most; the probe needs a little more than the batch itself.
const BATCH_GAS: u64 = gas::TRANSACTION_CAP - 1_500_000;

/// Answers on their way into one transaction.
#[derive(Default)]
struct BatchBuilder {
    held: Vec<QueuedAnswer>,
    placed: Vec<(Attested, SeatAssignment)>,
    bytes: usize,
    work: u64,
}

impl BatchBuilder {
    fn has_room(&self, bytes: usize, item: gas::GasItem, most: usize) -> bool {
        self.held.is_empty()
            || self.held.len() < most
                && self.bytes + bytes <= BATCH_BYTES
                && self.work + item.work + item.reserve + 16 * bytes as u64 <= BATCH_GAS
    }

    fn add(&mut self, held: QueuedAnswer, place: SeatAssignment, bytes: usize, item: gas::GasItem) {
        self.placed.push((held.answer.clone(), place));
        self.held.push(held);
        self.bytes += bytes;
        self.work += item.work + item.reserve + 16 * bytes as u64;
    }
}

impl<C: Chain, J: Journal> Submitter<C, J> {
    /// When the answers at hand have waited long enough for others, if `policy.batch_wait` has them wait.
    pub(super) fn batch_due(&self) -> Option<Instant> {
        let policy = self.node.policy.borrow();
        let first = self.ready.front()?;
        (!policy.batch_wait.is_zero()).then(|| first.since + policy.batch_wait).filter(|due| *due > Instant::now())
    }

    /// Simulates the answers that can be sent now, as many as fit; those that gas is too dear for wait. False if there are
    /// none.
    pub(super) fn begin_answers(&mut self) -> Result<bool, StageError> {
        let most = self.node.policy.borrow().max_batch.min(self.affordable);
        if self.ready.len() < most && self.batch_due().is_some() {
            return Ok(false);
        }
        let Some(tip) = self.tip else { return Ok(false) };
        let mut load = BatchBuilder::default();
        let mut left = Vec::new();
        while let Some(held) = self.ready.pop_front() {
            let Some(place) = self.place(&held, tip.next())? else { continue };
            let item = gas::item(&held.answer, &place, true);
            // 25 words around the output and the holes.
            let bytes = 800 + held.answer.output.len() + 32 * place.holes.len();
            let alone = self.alone.contains(&held.answer.task.id);
            if alone && load.held.is_empty() {
                load.add(held, place, bytes, item);
                break;
            }
            if alone {
                left.push(held);
            } else if load.has_room(bytes, item, most) {
                load.add(held, place, bytes, item);
            } else {
                left.push(held);
                break;
            }
        }
        for held in left.into_iter().rev() {
            self.ready.push_front(held);
        }
        if load.held.is_empty() {
            return Ok(false);
        }
        if self.transactions.is_above_fee_cap() {
            self.waiting.extend(load.held);
            return Ok(true);
        }
        let draft = self.draft(&load.placed, 1);
        debug!(items = load.held.len(), left = self.ready.len(), "trying answers");
        let at = self.state_for(&load.placed, tip.header.block.number);
        self.simulate(Submission::Answers(load.held), draft, at);
        Ok(true)
    }

    /// The state to try answers on. The pool matters where others may answer by now. Where it does not, the next block is
    /// as good, or the latest, which knows the hashes of those before it; that one only while the pool is full of ours.
    fn state_for(&self, placed: &[(Attested, SeatAssignment)], head: u64) -> CallState {
        let all = |told: &dyn Fn(&(Attested, SeatAssignment)) -> bool| placed.iter().all(told);
        if !all(&|(answer, place)| self.node.is_uncontested(&answer.task, place, head + 1)) {
            CallState::Pool
        } else if self.looks_ahead {
            CallState::Next(head + 1)
        } else if self.transactions.is_busy() && all(&|(answer, _)| answer.task.block.number < head) {
            CallState::Latest
        } else {
            CallState::Pool
        }
    }

    /// A transaction with answers; `gas_factor` multiplies the formula's gas limit.
    pub(super) fn draft(&self, placed: &[(Attested, SeatAssignment)], gas_factor: u64) -> Draft {
        let data = match placed {
            [(answer, place)] => coordinator::fulfill(answer, place),
            placed => coordinator::fulfill_batch(placed),
        };
        let in_batch = placed.len() > 1;
        let items: Vec<_> = placed.iter().map(|(answer, place)| gas::item(answer, place, in_batch)).collect();
        let gas = (gas::answers(&items, &data) * gas_factor).min(gas::TRANSACTION_CAP);
        let items = placed.iter().map(|(answer, _)| AnswerRef { id: answer.task.id, block: answer.task.block.hash });
        let purpose = Purpose::Answer { items: items.collect() };
        Draft { purpose, to: self.node.domain.coordinator, data, gas }
    }

    /// The place from which an answer may be sent now; if none, it waits or is closed.
    pub(super) fn place(&mut self, held: &QueuedAnswer, next: u64) -> Result<Option<SeatAssignment>, StageError> {
        let task = &held.answer.task;
        if !self.is_open(&held.answer)? {
            self.alone.remove(&task.id);
            return Ok(None);
        }
        match self.node.eligibility(task, next, held.answer.output.len()) {
            Eligibility::Now(place) => return Ok(Some(place)),
            Eligibility::From(_) => self.waiting.push(held.clone()),
            // Given up: the executor looks again at what gas costs, and the answer is in nobody's way meanwhile.
            Eligibility::AwaitsCheaperGas => {}
            Eligibility::Never(reason) => self.close(task.id, Transition::Skipped(reason))?,
        }
        Ok(None)
    }

    /// Simulates a claim. False if there is none, or gas is too dear.
    pub(super) fn begin_claim(&mut self) -> bool {
        if self.transactions.is_above_fee_cap() {
            return false;
        }
        while let Some(mut claims) = self.claims.pop_front() {
            // Nobody else gains by claiming for this node: what the pool has of these is in a transaction of ours.
            // What does not pay any more, the claimer offers again.
            claims.retain(|claim| !self.transactions.claims(claim.id) && self.node.pays_to_claim(claim));
            if claims.is_empty() {
                continue;
            }
            let draft = self.claim_draft(&claims, 1);
            let next = self.tip.filter(|_| self.looks_ahead).map(|tip| tip.header.block.number + 1);
            self.simulate(Submission::Claim(claims), draft, next.map_or(CallState::Pool, CallState::Next));
            return true;
        }
        false
    }

    pub(super) fn claim_draft(&self, claims: &[crate::domain::Claim], gas_factor: u64) -> Draft {
        let data = coordinator::claim(claims);
        let gas = (gas::claim(claims.len(), &data) * gas_factor).min(gas::TRANSACTION_CAP);
        let purpose = Purpose::Claim { ids: claims.iter().map(|claim| claim.id).collect() };
        Draft { purpose, to: self.node.domain.coordinator, data, gas }
    }
}
