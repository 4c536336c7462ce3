//! Meaning of a block's logs, and of their loss, for jobs and claims.

use std::collections::{BTreeSet, HashMap, HashSet};

use alloy::primitives::{B256, Bytes, U256};
use tracing::{debug, info};

use super::REQUEST_LOG;
use crate::{
    chain::{BlockRef, Chain},
    coordinator::{DecodedLog, Event},
    domain::{Claim, Job, Resolution, Task, Transition},
    failpoint::is_planted,
    journal::{Batch, Journal, JournalError, Position, View},
    node::Node,
    protocol::Outcome,
    text::eth,
};

/// Number of blocks for which closed jobs are kept, for `oraculum jobs`.
const CLOSED_JOB_BLOCKS: u64 = 50_000;
/// Closed jobs kept at most, of each way to close.
const MAX_CLOSED_JOBS: usize = 100_000;
/// Records that one batch closes or forgets at most; the next batch goes on.
const PRUNE_BATCH: usize = 1_024;

/// Heights of the chain, as one batch takes it in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heights {
    /// Height of the chain's head.
    pub(super) head: u64,
    /// Height of the last block of the batch.
    pub(super) cursor: u64,
    /// Height of the last final block, if it is known.
    pub(super) final_block: Option<u64>,
    /// Number of blocks that a reorganisation can take back at most.
    pub(super) depth: u64,
}

impl Heights {
    /// Height of the last final block of those taken in.
    fn last_final(self) -> Option<u64> {
        self.final_block.map(|last| last.min(self.cursor))
    }

    fn is_final(self, number: u64) -> bool {
        self.last_final().is_some_and(|last| number <= last)
    }

    /// Height of the last block that no reorganisation which is rewound can reach: what is forgotten cannot be taken back.
    fn out_of_reach(self) -> Option<u64> {
        self.last_final().min(self.cursor.checked_sub(self.depth))
    }

    /// Height of the last block whose closed jobs are forgotten.
    fn last_forgotten(self) -> Option<u64> {
        self.out_of_reach().min(self.head.checked_sub(CLOSED_JOB_BLOCKS + 1))
    }
}

/// Adds to a batch what the logs mean.
pub(super) fn take<C: Chain, J: Journal>(
    node: &Node<C, J>,
    names: &HashMap<B256, String>,
    logs: &[DecodedLog],
    heights: Heights,
    batch: &mut Batch,
) -> Result<(), JournalError> {
    let (fresh, claims, over, past) = Default::default();
    let mut intake = Intake { node, names, heights, batch, fresh, claims, over, past };
    logs.iter().try_for_each(|log| intake.take(log))?;
    intake.finish();
    Ok(())
}

/// Logs on their way into a batch.
struct Intake<'a, C, J> {
    node: &'a Node<C, J>,
    /// The names of the models, for people.
    names: &'a HashMap<B256, String>,
    heights: Heights,
    batch: &'a mut Batch,
    /// Indices of the batch's jobs, for it may hold many.
    fresh: HashMap<B256, usize>,
    claims: HashMap<B256, Claim>,
    /// Jobs that begin and end in this batch, so long ago that they would be forgotten at once.
    over: HashSet<B256>,
    /// Answers of this node in the chain's history, which are told together.
    past: PastAnswers,
}

/// Answers of this node in blocks that no reorganisation which is rewound can reach.
#[derive(Debug, Default)]
struct PastAnswers {
    count: u64,
    /// What they are paid, wei.
    fees: U256,
}

impl<C: Chain, J: Journal> Intake<'_, C, J> {
    fn take(&mut self, log: &DecodedLog) -> Result<(), JournalError> {
        match &log.event {
            Event::Requested { id, request, input } if self.node.seats().serves(request.model_id) => {
                let task = Task { id: *id, request: (**request).clone(), block: log.block };
                if let Some(reason) = self.node.passes_over(&task.request) {
                    info!(%id, %reason, "skipped");
                    self.batch.moves.push((*id, Transition::Skipped(reason)));
                }
                debug!(target: REQUEST_LOG, %id, model = %request.model_id, block = log.block.number, "a request appeared");
                self.fresh.insert(*id, self.batch.seen.len());
                self.batch.seen.push((task, input.clone()));
            }
            Event::Fulfilled { id, outcome, seats, output } => {
                let Some(task) = self.find(*id)? else { return Ok(()) };
                let ours = self.node.has_signed(&task.request, seats) || self.has_sent(*id, log)?;
                let (outcome, seats) = (*outcome, seats.clone());
                let output_commitment = alloy::primitives::keccak256(output);
                let ending = Resolution::Fulfilled { outcome, output_commitment, seats: seats.clone(), ours };
                if ours {
                    self.tell_answered(&task, outcome, &seats, log);
                    let fulfilled_at = log.block.number;
                    let rules = self.node.seats().rules(task.request.version);
                    let vests_at = fulfilled_at + rules.map_or(0, |rules| u64::from(rules.vesting));
                    let (id, request, paid_at) = (*id, task.request, None);
                    let claim =
                        Claim { id, request, outcome, output_commitment, seats, fulfilled_at, vests_at, paid_at };
                    self.claims.insert(id, claim);
                }
                self.finalize(*id, log, ending);
            }
            Event::Refunded(id) if self.find(*id)?.is_some() => self.finalize(*id, log, Resolution::Refunded),
            Event::Claimed(ids) => ids.iter().try_for_each(|id| self.paid(*id, log.block.number))?,
            _ => {}
        }
        Ok(())
    }

    /// Takes in that an answer was paid in a block.
    fn paid(&mut self, id: B256, block: u64) -> Result<(), JournalError> {
        let known = match self.claims.remove(&id) {
            // It would be written only to be forgotten.
            Some(_) if self.fresh.contains_key(&id) && Some(block) <= self.heights.out_of_reach() => None,
            Some(claim) => Some(claim),
            None => self.node.journal.claim(id)?,
        };
        if let Some(claim) = known {
            self.claims.insert(id, Claim { paid_at: Some(block), ..claim });
        }
        Ok(())
    }

    fn tell_answered(&mut self, task: &Task, outcome: Outcome, seats: &Bytes, log: &DecodedLog) {
        let (fee, block) = (U256::from(self.node.pay(&task.request, seats)), log.block.number);
        if block + self.heights.depth <= self.heights.head {
            self.past.count += 1;
            self.past.fees += fee;
            return;
        }
        let (model_id, id, fee) = (task.request.model_id, task.id, eth(fee));
        let model = self.names.get(&model_id).cloned().unwrap_or_else(|| model_id.to_string());
        info!(%model, %id, ?outcome, fee, block, transaction = log.transaction.map(display), "answered; the fee is in ETH");
    }

    /// Whether a transaction of this node answered a request. Seats do not tell that after a change of keys.
    fn has_sent(&self, id: B256, log: &DecodedLog) -> Result<bool, JournalError> {
        let Some(Job::Sent(sent)) = self.node.journal.job(id)? else { return Ok(false) };
        let mut transactions = self.node.journal.transactions_without_bytes()?.into_iter();
        let carrier = transactions.find(|one| (one.sender, one.nonce) == (sent.sender, sent.nonce));
        Ok(carrier.is_some_and(|one| one.attempts.iter().any(|attempt| Some(attempt.hash) == log.transaction)))
    }

    fn find(&self, id: B256) -> Result<Option<Task>, JournalError> {
        if let Some((task, _)) = self.fresh.get(&id).and_then(|at| self.batch.seen.get(*at)) {
            return Ok(Some(task.clone()));
        }
        Ok(self.node.journal.job(id)?.map(|job| job.task().clone()))
    }

    /// Closes a job as included, and as final at once if its block is.
    fn finalize(&mut self, id: B256, log: &DecodedLog, ending: Resolution) {
        let at = log.block;
        debug!(target: REQUEST_LOG, %id, block = at.number, transaction = log.transaction.map(display), "included");
        self.batch.moves.push((id, Transition::Included { at, transaction: log.transaction, ending }));
        if self.heights.is_final(at.number) {
            self.batch.moves.push((id, Transition::Finalized));
            if self.fresh.contains_key(&id) && Some(at.number) <= self.heights.last_forgotten() {
                self.over.insert(id);
            }
        }
    }

    fn finish(self) {
        let Self { batch, claims, over, past, heights, .. } = self;
        if past.count > 0 {
            let (answers, fees, until) = (past.count, eth(past.fees), heights.cursor);
            info!(answers, fees, until, "answers of this node are in the chain's history; the fees are in ETH");
        }
        batch.claims.extend(claims.into_values());
        batch.seen.retain(|(task, _)| !over.contains(&task.id));
        batch.moves.retain(|(id, _)| !over.contains(id));
    }
}

/// Closes what became final, and forgets what is over. `None` if there is nothing to do.
pub(super) fn prune(journal: &impl Journal, heights: Heights) -> Result<Option<Batch>, JournalError> {
    let mut batch = Batch::default();
    let until = |last: Option<u64>| Position::first_at(0)..Position::first_at(last.map_or(0, |last| last + 1));
    let settled = journal.walk(View::Included, until(heights.last_final()), PRUNE_BATCH)?;
    batch.moves.extend(settled.into_iter().map(|at| (at.id, Transition::Finalized)));
    let paid = journal.walk(View::Paid, until(heights.out_of_reach()), PRUNE_BATCH)?;
    batch.claims_gone.extend(paid.into_iter().map(|at| at.id));
    for view in [View::Finalized, View::Skipped, View::Failed] {
        let surplus = journal.count(view).saturating_sub(MAX_CLOSED_JOBS).min(PRUNE_BATCH);
        let old = journal.walk(view, until(heights.last_forgotten()), PRUNE_BATCH)?;
        // Usually none: there are fewer than are kept.
        let many = journal.walk(view, until(heights.out_of_reach()), surplus)?;
        let gone = if old.len() < many.len() { many } else { old };
        batch.vanished.extend(gone.into_iter().map(|at| at.id));
    }
    let idle = batch.moves.is_empty() && batch.claims_gone.is_empty() && batch.vanished.is_empty();
    Ok((!idle).then_some(batch))
}

/// The batch that takes back everything above a block.
pub(super) fn rewind<C: Chain, J: Journal>(node: &Node<C, J>, ancestor: BlockRef) -> Result<Batch, JournalError> {
    let journal = &*node.journal;
    let mut batch = Batch { cursor: Some(ancestor), ..Batch::default() };
    let above = || Position::first_at(ancestor.number + 1)..Position::last_at(u64::MAX);
    let lost = |view: View| journal.walk(view, above(), usize::MAX).map(|at| at.into_iter().map(|at| at.id));
    let vanished: BTreeSet<B256> = lost(View::Requested)?.collect();
    let settled: BTreeSet<B256> = lost(View::Included)?.chain(lost(View::Finalized)?).collect();
    for &id in settled.difference(&vanished).filter(|_| !is_planted("reorganisation-unheard")) {
        batch.moves.push((id, Transition::Reopened));
        // What this node passed over, another had answered.
        if let Some(job) = journal.job(id)? {
            let reason = node.passes_over(&job.task().request);
            batch.moves.extend(reason.map(|reason| (id, Transition::Skipped(reason))));
        }
    }
    for id in lost(View::Paid)?.filter(|id| !settled.contains(id)) {
        batch.claims.extend(journal.claim(id)?.map(|claim| Claim { paid_at: None, ..claim }));
    }
    batch.vanished = vanished.into_iter().collect();
    // Where the answer was ours, its pay was to be claimed.
    batch.claims_gone = settled.into_iter().collect();
    Ok(batch)
}
