//! Choice of the answers that go into the next transaction.

use tokio::time::Instant;
use tracing::debug;

use super::{QueuedAnswer, Submission, Submitter, simulate::CallState};
use crate::{
    chain::Chain,
    coordinator,
    domain::{AnswerRef, Attested, Purpose, SeatAssignment, Transition, Wait, WaitReason},
    journal::Journal,
    node::{Eligibility, StageError},
    pricing::gas,
    transactions::TxCandidate,
};

/// Calldata of a batch at most: pools take transactions of 128 KB, and the probe's code and calldata 48 KiB.
const BATCH_BYTES: usize = 40_000;
/// Gas of a batch at most; the probe needs a little more than the batch itself.
const BATCH_GAS: u64 = gas::TRANSACTION_CAP - 1_500_000;

/// Answers on their way into one transaction.
#[derive(Default)]
struct BatchBuilder {
    queued: Vec<QueuedAnswer>,
    assigned: Vec<(Attested, SeatAssignment)>,
    bytes: usize,
    work: u64,
}

impl BatchBuilder {
    fn has_room(&self, bytes: usize, item: gas::GasItem, most: usize) -> bool {
        self.queued.is_empty()
            || self.queued.len() < most
                && self.bytes + bytes <= BATCH_BYTES
                && self.work + item.work + item.reserve + 16 * bytes as u64 <= BATCH_GAS
    }

    fn add(&mut self, queued: QueuedAnswer, assignment: SeatAssignment, bytes: usize, item: gas::GasItem) {
        self.assigned.push((queued.answer.clone(), assignment));
        self.queued.push(queued);
        self.bytes += bytes;
        self.work += item.work + item.reserve + 16 * bytes as u64;
    }
}

impl<C: Chain, J: Journal> Submitter<C, J> {
    /// Time at which the answers at hand have waited long enough for others, if `policy.batch_wait` has them wait.
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
        let Some(head) = self.head else { return Ok(false) };
        let mut builder = BatchBuilder::default();
        let mut left = Vec::new();
        while let Some(queued) = self.ready.pop_front() {
            let Some(assignment) = self.assignment(&queued, head.next())? else { continue };
            let item = gas::item(&queued.answer, &assignment, true);
            // 25 words around the output and the holes.
            let bytes = 800 + queued.answer.output.len() + 32 * assignment.holes.len();
            let alone = self.alone.contains(&queued.answer.task.id);
            if alone && builder.queued.is_empty() {
                builder.add(queued, assignment, bytes, item);
                break;
            }
            if alone {
                left.push(queued);
            } else if builder.has_room(bytes, item, most) {
                builder.add(queued, assignment, bytes, item);
            } else {
                left.push(queued);
                break;
            }
        }
        for queued in left.into_iter().rev() {
            self.ready.push_front(queued);
        }
        if builder.queued.is_empty() {
            return Ok(false);
        }
        if self.transactions.is_above_fee_cap() {
            self.wait(&builder.queued, WaitReason::FeeCap);
            self.waiting.extend(builder.queued);
            return Ok(true);
        }
        let candidate = self.candidate(&builder.assigned, 1);
        debug!(items = builder.queued.len(), left = self.ready.len(), "trying answers");
        let state = self.state_for(&builder.assigned, head.header.block.number);
        self.simulate(Submission::Answers(builder.queued), candidate, state);
        Ok(true)
    }

    /// State to try answers on. The pool matters where others may answer by now. Where it does not, the next block is
    /// as good, or the latest, which knows the hashes of those before it; that one only while the pool is full of ours.
    fn state_for(&self, assigned: &[(Attested, SeatAssignment)], head: u64) -> CallState {
        let all = |test: &dyn Fn(&(Attested, SeatAssignment)) -> bool| assigned.iter().all(test);
        if !all(&|(answer, assignment)| self.node.is_uncontested(&answer.task, assignment, head + 1)) {
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
    pub(super) fn candidate(&self, assigned: &[(Attested, SeatAssignment)], gas_factor: u64) -> TxCandidate {
        let data = match assigned {
            [(answer, assignment)] => coordinator::fulfill(answer, assignment),
            assigned => coordinator::fulfill_batch(assigned),
        };
        let in_batch = assigned.len() > 1;
        let items: Vec<_> =
            assigned.iter().map(|(answer, assignment)| gas::item(answer, assignment, in_batch)).collect();
        let gas = (gas::answers(&items, &data) * gas_factor).min(gas::TRANSACTION_CAP);
        let items = assigned.iter().map(|(answer, _)| AnswerRef { id: answer.task.id, block: answer.task.block.hash });
        let purpose = Purpose::Answer { items: items.collect() };
        TxCandidate { purpose, to: self.node.domain.coordinator, data, gas }
    }

    /// Seat from which an answer may be sent now; where there is none, the answer waits or is closed.
    pub(super) fn assignment(
        &mut self,
        queued: &QueuedAnswer,
        next: u64,
    ) -> Result<Option<SeatAssignment>, StageError> {
        let task = &queued.answer.task;
        if !self.is_open(&queued.answer)? {
            self.alone.remove(&task.id);
            return Ok(None);
        }
        match self.node.eligibility(task, next, queued.answer.output.len()) {
            Eligibility::Now(assignment) if assignment.seat == queued.answer.seat => return Ok(Some(assignment)),
            // Signed for a seat that may not answer any more. Given up: the executor has it signed for the one that may.
            Eligibility::Now(_) => {}
            Eligibility::From(block) => {
                self.node.waits(task, WaitReason::Turn, block.saturating_sub(1));
                self.waiting.push(queued.clone());
            }
            // Given up: the executor asks again at the next head, and the answer is in nobody's way meanwhile.
            Eligibility::AwaitsCheaperGas { pays, asks } => {
                let (reason, price) = (WaitReason::CheaperGas, Some((pays, asks)));
                self.node.conditions.waits(task.id, Wait { reason, price, next_look: next });
            }
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
            let candidate = self.claim_draft(&claims, 1);
            let next = self.head.filter(|_| self.looks_ahead).map(|head| head.header.block.number + 1);
            self.simulate(Submission::Claim(claims), candidate, next.map_or(CallState::Pool, CallState::Next));
            return true;
        }
        false
    }

    pub(super) fn claim_draft(&self, claims: &[crate::domain::Claim], gas_factor: u64) -> TxCandidate {
        let data = coordinator::claim(claims);
        let gas = (gas::claim(claims.len(), &data) * gas_factor).min(gas::TRANSACTION_CAP);
        let purpose = Purpose::Claim { ids: claims.iter().map(|claim| claim.id).collect() };
        TxCandidate { purpose, to: self.node.domain.coordinator, data, gas }
    }
}
