//! What a block's logs mean for jobs and claims.

use std::collections::{BTreeMap, HashMap};

use alloy::primitives::{B256, Bytes};
use tracing::warn;

use crate::{
    chain::Chain,
    contract::{Event, Noted},
    journal::{Batch, Claim, Journal, JournalError},
    lifecycle::{Ending, Job, Move, Skip, Task},
    node::Node,
    policy::Terms,
    protocol::request::{InputKind, Level, Request},
};

/// Blocks for which closed jobs are kept, for `oraculum jobs`.
const HISTORY: u64 = 50_000;

/// Heights at which something becomes final, and the inputs of the batch in hand.
#[derive(Debug, Default)]
pub(super) struct Intake {
    settled: BTreeMap<u64, Vec<B256>>,
    paid: BTreeMap<u64, Vec<B256>>,
    /// All jobs by their request's block, to forget the old ones.
    seen: BTreeMap<u64, Vec<B256>>,
    inputs: HashMap<B256, Bytes>,
}

impl Intake {
    pub(super) fn from_journal(journal: &impl Journal) -> Result<Self, JournalError> {
        let mut intake = Self::default();
        for job in journal.jobs(&|_| true)? {
            intake.seen.entry(job.task().block.number).or_default().push(job.task().id);
            if let Job::Settled(settled) = &job {
                intake.settled.entry(settled.at.number).or_default().push(settled.task.id);
            }
        }
        for claim in journal.claims()? {
            if let Some(at) = claim.paid_at {
                intake.paid.entry(at).or_default().push(claim.id);
            }
        }
        Ok(intake)
    }

    /// The input of a request of the last batch.
    pub(super) fn input(&mut self, id: B256) -> Option<Bytes> {
        self.inputs.remove(&id)
    }

    /// Adds to a batch what the logs mean; returns the tasks that are open after it.
    pub(super) fn take<C: Chain, J: Journal>(
        &mut self,
        node: &Node<C, J>,
        noted: &[Noted],
        cursor: u64,
        final_block: Option<u64>,
        batch: &mut Batch,
    ) -> Result<Vec<Task>, JournalError> {
        self.inputs.clear();
        let mut open: Vec<Task> = Vec::new();
        for log in noted {
            match &log.event {
                Event::Requested { id, request, input } if node.seats().serves(request.model_id) => {
                    let task = Task { id: *id, request: (**request).clone(), block: log.block };
                    batch.seen.push((task.clone(), input.clone()));
                    self.seen.entry(log.block.number).or_default().push(*id);
                    node.metrics.requests.add();
                    match pass_over(&task.request, node.policy.borrow().terms(task.request.model_id)) {
                        Some(reason) => {
                            node.metrics.skipped.add();
                            batch.moves.push((*id, Move::Skipped(reason)));
                        }
                        None => {
                            self.inputs.insert(*id, input.clone());
                            open.push(task);
                        }
                    }
                }
                Event::Fulfilled { id, outcome, seats, output } => {
                    let Some(task) = find(node, batch, *id)? else { continue };
                    open.retain(|task| task.id != *id);
                    let ours = held(node, &task.request, seats);
                    let output_commitment = alloy::primitives::keccak256(output);
                    if ours {
                        batch.claims.push(Claim {
                            id: *id,
                            outcome: *outcome,
                            output_commitment,
                            seats: seats.clone(),
                            fulfilled_at: log.block.number,
                            vests_at: log.block.number
                                + node.seats().rules(task.request.version).map_or(0, |rules| u64::from(rules.vesting)),
                            request: task.request,
                            paid_at: None,
                        });
                    }
                    let ending = Ending::Fulfilled { outcome: *outcome, output_commitment, seats: seats.clone(), ours };
                    self.settle(log, *id, ending, batch);
                }
                Event::Refunded(id) if find(node, batch, *id)?.is_some() => {
                    open.retain(|task| task.id != *id);
                    self.settle(log, *id, Ending::Refunded, batch);
                }
                Event::DeliveryFailed(id) if find(node, batch, *id)?.is_some() => {
                    warn!(%id, transaction = ?log.transaction, "the consumer's callback failed; it can be redelivered");
                }
                Event::Claimed(id) => {
                    let known = match batch.claims.iter().position(|claim| claim.id == *id) {
                        Some(at) => Some(batch.claims.remove(at)),
                        None => node.journal.claim(*id)?,
                    };
                    if let Some(claim) = known {
                        batch.claims.push(Claim { paid_at: Some(log.block.number), ..claim });
                        self.paid.entry(log.block.number).or_default().push(*id);
                    }
                }
                _ => {}
            }
        }
        for id in drain_to(&mut self.seen, cursor.saturating_sub(HISTORY)) {
            // A request cannot be open for so long: what is not closed yet is about to be.
            if node.journal.job(id)?.is_some_and(|job| job.is_closed()) {
                batch.vanished.push(id);
            } else {
                self.seen.entry(cursor).or_default().push(id);
            }
        }
        let Some(deep) = final_block.map(|last| last.min(cursor)) else { return Ok(open) };
        for id in drain_to(&mut self.settled, deep) {
            batch.moves.push((id, Move::Confirmed));
        }
        for id in drain_to(&mut self.paid, deep) {
            // A claim written in this very batch would come back after being forgotten.
            batch.claims.retain(|claim| claim.id != id);
            batch.claims_gone.push(id);
        }
        Ok(open)
    }

    /// Counts what a batch did.
    pub(super) fn committed<C, J: Journal>(&self, node: &Node<C, J>, batch: &Batch) {
        for _ in &batch.ring {
            node.metrics.blocks.add();
        }
        for (_, step) in &batch.moves {
            match step {
                Move::Settled { ending: Ending::Fulfilled { ours: true, .. }, .. } => node.metrics.answered.add(),
                Move::Settled { ending: Ending::Fulfilled { ours: false, .. }, .. } => node.metrics.yielded.add(),
                _ => {}
            }
        }
        for _ in batch.claims.iter().filter(|claim| claim.paid_at.is_some()) {
            node.metrics.claimed.add();
        }
    }

    fn settle(&mut self, log: &Noted, id: B256, ending: Ending, batch: &mut Batch) {
        batch.moves.push((id, Move::Settled { at: log.block, transaction: log.transaction, ending }));
        self.settled.entry(log.block.number).or_default().push(id);
    }
}

fn drain_to(heights: &mut BTreeMap<u64, Vec<B256>>, last: u64) -> Vec<B256> {
    let later = heights.split_off(&(last + 1));
    std::mem::replace(heights, later).into_values().flatten().collect()
}

fn find<C, J: Journal>(node: &Node<C, J>, batch: &Batch, id: B256) -> Result<Option<Task>, JournalError> {
    if let Some((task, _)) = batch.seen.iter().find(|(task, _)| task.id == id) {
        return Ok(Some(task.clone()));
    }
    Ok(node.journal.job(id)?.map(|job| job.task().clone()))
}

fn held<C, J: Journal>(node: &Node<C, J>, request: &Request, seats: &Bytes) -> bool {
    let table = node.seats();
    seats.chunks_exact(4).any(|seat| {
        let index = seat.iter().fold(0u32, |index, byte| index << 8 | u32::from(*byte));
        table.is_held(request.model_id, index, node.signer)
    })
}

/// Why a request is not worth looking at, if so.
fn pass_over(request: &Request, terms: Terms) -> Option<Skip> {
    let not_offered = |what: &str| Some(Skip::NotOffered { what: what.into() });
    if request.input_kind != InputKind::Inline {
        return not_offered("an input that is not inline");
    }
    if request.level != Level::Fast {
        return not_offered("a level other than `Fast`");
    }
    if request.quorum != 1 {
        return not_offered("a quorum above 1");
    }
    if !request.token.is_zero() {
        return not_offered("pay in a token");
    }
    let pays = request.fee.to::<u128>() + request.submit_fee.to::<u128>();
    if pays < terms.min_pay {
        return Some(Skip::Unprofitable { pays, asks: terms.min_pay });
    }
    None
}
