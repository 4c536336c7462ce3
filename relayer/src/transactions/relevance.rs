//! What a transaction is still good for, looked up in the journal's jobs.

use alloy::primitives::{B256, Bytes};

use super::{candidate::answers, tracked::has_attempt};
use crate::{
    domain::{
        AnswerRef, CloseReason, Closed, Included, Job, Purpose, Resolution, Sent, Task, TrackedTransaction, Transition,
    },
    journal::{Journal, JournalError},
    node::is_in_time,
};

/// What a pending transaction's items have come to.
#[derive(Debug, Default)]
pub(super) struct Relevance {
    /// Whether it still has something to do, or may have done it.
    pub(super) wanted: bool,
    /// Jobs that a reorganisation opened again while the transaction carries their answer: they count as sent.
    pub(super) opened_again: Vec<AnswerRef>,
    /// Jobs that it can no longer answer in time.
    pub(super) late: Vec<B256>,
}

/// Relevance of a pending transaction that can be mined in block `next` at the earliest.
pub(super) fn relevance(
    journal: &impl Journal,
    transaction: &TrackedTransaction,
    next: u64,
) -> Result<Relevance, JournalError> {
    let Purpose::Answer { items } = &transaction.purpose else {
        return Ok(Relevance { wanted: true, ..Relevance::default() });
    };
    let mut relevance = Relevance::default();
    let in_time = |task: &Task| is_in_time(&task.request, next);
    for item in items {
        match journal.job(item.id)? {
            Some(Job::Seen(seen)) if seen.task.block.hash == item.block && in_time(&seen.task) => {
                relevance.opened_again.push(*item);
                relevance.wanted = true;
            }
            Some(Job::Sent(sent)) if is_carried(&sent, transaction, item) => {
                if in_time(&sent.task) {
                    relevance.wanted = true;
                } else {
                    relevance.late.push(item.id);
                }
            }
            // Its receipt is about to be found.
            Some(job) => relevance.wanted |= answered_by(&job, transaction),
            None => {}
        }
    }
    Ok(relevance)
}

fn is_carried(sent: &Sent, transaction: &TrackedTransaction, item: &AnswerRef) -> bool {
    sent.task.block.hash == item.block && (sent.sender, sent.nonce) == (transaction.sender, transaction.nonce)
}

/// Whether one of a transaction's attempts ended a job with an answer of ours.
pub(super) fn answered_by(job: &Job, tracked: &TrackedTransaction) -> bool {
    signers_of(job, tracked).is_some()
}

/// Seats that signed the answer of ours with which one of a transaction's attempts ended a job.
pub(super) fn signers_of<'a>(job: &'a Job, tracked: &TrackedTransaction) -> Option<&'a Bytes> {
    let (Job::Included(Included { transaction, ending, .. })
    | Job::Closed(Closed { end: CloseReason::Finalized { transaction, ending, .. }, .. })) = job
    else {
        return None;
    };
    let Resolution::Fulfilled { ours: true, seats, .. } = ending else { return None };
    transaction.is_some_and(|hash| has_attempt(tracked, hash)).then_some(seats)
}

/// The jobs that a mined transaction was to answer and did not, once the logs of its block are in the journal.
pub(super) fn left_over(journal: &impl Journal, transaction: &TrackedTransaction) -> Result<Vec<Task>, JournalError> {
    let mut left = Vec::new();
    for item in answers(&transaction.purpose) {
        if let Some(Job::Sent(sent)) = journal.job(item.id)?
            && is_carried(&sent, transaction, item)
        {
            left.push(sent.task);
        }
    }
    Ok(left)
}

/// That items are on their way in a transaction.
pub(super) fn sent_moves(transaction: &TrackedTransaction, items: &[AnswerRef]) -> Vec<(B256, Transition)> {
    let hash = transaction.attempts.last().map_or(B256::ZERO, |attempt| attempt.hash);
    let (sender, nonce) = (transaction.sender, transaction.nonce);
    items.iter().map(|item| (item.id, Transition::Sent { block: item.block, sender, nonce, hash })).collect()
}
