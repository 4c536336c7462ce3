//! What a transaction is to do, looked up in the journal's jobs.

use alloy::primitives::{B256, Bytes};

use super::slot::{Final, TxState};
use crate::{
    domain::{
        AnswerRef, CloseReason, Closed, Entry, Included, Job, Purpose, Resolution, Task, TrackedTransaction, Transition,
    },
    journal::{Journal, JournalError},
    node::{Node, is_in_time},
};

/// What a pending transaction's items have come to.
#[derive(Debug, Default)]
pub(super) struct Relevance {
    /// Whether it still has something to do, or may have done it.
    pub(super) wanted: bool,
    /// Jobs that a reorganisation opened again while the transaction carries their answer: they count as sent.
    pub(super) adopt: Vec<AnswerRef>,
    /// Jobs that it can no longer answer in time.
    pub(super) late: Vec<B256>,
}

/// Looks at a pending transaction that can be mined in block `next` at the earliest.
pub(super) fn standing(
    journal: &impl Journal,
    slot: &TrackedTransaction,
    next: u64,
) -> Result<Relevance, JournalError> {
    let Purpose::Answer { items } = &slot.purpose else {
        return Ok(Relevance { wanted: true, ..Relevance::default() });
    };
    let mut standing = Relevance::default();
    let in_time = |task: &Task| is_in_time(&task.request, next);
    for item in items {
        match journal.job(item.id)? {
            Some(Job::Seen(seen)) if seen.task.block.hash == item.block && in_time(&seen.task) => {
                standing.adopt.push(*item);
                standing.wanted = true;
            }
            Some(Job::Sent(sent)) if is_carried(&sent, slot, item) => {
                if in_time(&sent.task) {
                    standing.wanted = true;
                } else {
                    standing.late.push(item.id);
                }
            }
            // Its receipt is about to be found.
            Some(job) => standing.wanted |= answered_by(&job, slot),
            None => {}
        }
    }
    Ok(standing)
}

fn is_carried(sent: &crate::domain::Sent, slot: &TrackedTransaction, item: &AnswerRef) -> bool {
    sent.task.block.hash == item.block && (sent.sender, sent.nonce) == (slot.sender, slot.nonce)
}

/// Whether one of a slot's attempts settled a job with an answer of ours.
fn answered_by(job: &Job, slot: &TrackedTransaction) -> bool {
    signers_of(job, slot).is_some()
}

/// Seats that signed the answer of ours with which one of a slot's attempts settled a job.
fn signers_of<'a>(job: &'a Job, slot: &TrackedTransaction) -> Option<&'a Bytes> {
    let (Job::Included(Included { transaction, ending, .. })
    | Job::Closed(Closed { end: CloseReason::Finalized { transaction, ending, .. }, .. })) = job
    else {
        return None;
    };
    let Resolution::Fulfilled { ours: true, seats, .. } = ending else { return None };
    transaction.is_some_and(|hash| TxState::is_transaction(slot, hash)).then_some(seats)
}

/// The jobs that a mined transaction was to answer and did not, once the logs of its block are in the journal.
pub(super) fn left_over(journal: &impl Journal, slot: &TrackedTransaction) -> Result<Vec<Task>, JournalError> {
    let Purpose::Answer { items } = &slot.purpose else { return Ok(Vec::new()) };
    let mut left = Vec::new();
    for item in items {
        if let Some(Job::Sent(sent)) = journal.job(item.id)?
            && is_carried(&sent, slot, item)
        {
            left.push(sent.task);
        }
    }
    Ok(left)
}

/// That items are on their way under a slot.
pub(super) fn sent_moves(slot: &TrackedTransaction, items: &[AnswerRef]) -> Vec<(B256, Transition)> {
    let hash = slot.attempts.last().map_or(B256::ZERO, |attempt| attempt.hash);
    let (sender, nonce) = (slot.sender, slot.nonce);
    items.iter().map(|item| (item.id, Transition::Sent { block: item.block, sender, nonce, hash })).collect()
}

/// What a final transaction adds to the books: its cost, in equal parts for its items, and what they are paid.
pub(super) fn entries<C, J: Journal>(node: &Node<C, J>, done: &Final, hour: u64) -> Result<Vec<Entry>, JournalError> {
    let journal = &*node.journal;
    let cost = done.receipt.cost();
    let Final { slot, .. } = done;
    let ids: Vec<B256> = match &slot.purpose {
        Purpose::Answer { items } => items.iter().map(|item| item.id).collect(),
        Purpose::Claim { ids } => ids.clone(),
        Purpose::Cancel => Vec::new(),
    };
    let count = ids.len().max(1) as u128;
    let mut entries = vec![Entry { hour, spent: cost % count, ..Entry::default() }];
    if ids.is_empty() {
        entries[0].spent = cost;
    }
    for id in ids {
        let job = journal.job(id)?;
        let mut entry = Entry { hour, spent: cost / count, ..Entry::default() };
        if let Some(job) = &job {
            let request = &job.task().request;
            entry.model = request.model_id;
            if matches!(slot.purpose, Purpose::Answer { .. })
                && let Some(seats) = signers_of(job, slot)
            {
                entry.earned = i128::try_from(node.pay(request, seats)).unwrap_or(i128::MAX);
                entry.answers = 1;
            }
        } else if let Some(claim) = journal.claim(id)? {
            entry.model = claim.request.model_id;
        }
        entries.push(entry);
    }
    Ok(entries)
}
