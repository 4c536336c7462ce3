//! What a batch writes, key by key. Nothing is written here.

use alloy::primitives::B256;

use super::{
    line::{KeyWrite, TreeName},
    transactions,
    trees::{CURSOR, Trees, entry_key, read},
    writes::Writes,
};
use crate::{
    domain::{Claim, Entry, InvalidTransition, Job},
    journal::{
        Batch, JournalError,
        changes::{Before, Change, Changes, EventCounts, Rejected},
        index::{Entries, Index, Indexed, home_key},
    },
};

/// What a commit writes.
pub(super) struct Plan {
    pub(super) writes: Vec<KeyWrite>,
    /// Moves that were left out.
    pub(super) refused: Vec<(B256, InvalidTransition)>,
    pub(super) event_counts: EventCounts,
    /// Records as the index has them, and as it is to have them.
    pub(super) moved: Vec<(Option<Entries>, Option<Entries>)>,
}

/// The records as they lie in the trees.
struct Stored<'a> {
    trees: &'a Trees,
    index: &'a Index,
}

impl Before for Stored<'_> {
    fn job(&self, id: B256) -> Result<Option<Job>, JournalError> {
        Job::home(self.index, id).map_or(Ok(None), |home| read(&self.trees.jobs, &home_key(home, id)))
    }

    fn claim(&self, id: B256) -> Result<Option<Claim>, JournalError> {
        Claim::home(self.index, id).map_or(Ok(None), |home| read(&self.trees.claims, &home_key(home, id)))
    }

    fn entry(&self, hour: u64, model: B256) -> Result<Option<Entry>, JournalError> {
        read(&self.trees.ledger, &entry_key(hour, model))
    }
}

fn moved<T>(changes: Vec<Change<T>>) -> impl Iterator<Item = (Option<Entries>, Option<Entries>)> {
    changes.into_iter().map(|change| (change.old, change.new))
}

/// What a batch writes. A refused send refuses the batch: then its job and the reason are returned.
///
/// # Errors
/// `Store` or `Record`.
pub(super) fn plan(
    trees: &Trees,
    index: &Index,
    batch: &Batch,
) -> Result<Result<Plan, (B256, InvalidTransition)>, JournalError> {
    let changes = match Changes::of(batch, &Stored { trees, index }) {
        Ok(changes) => changes,
        Err(Rejected::Send(id, refused)) => return Ok(Err((id, refused))),
        Err(Rejected::Read(error)) => return Err(error),
    };
    let mut writes = Writes::over(trees);
    if let Some(cursor) = &batch.cursor {
        writes.put_record(TreeName::Meta, CURSOR, cursor)?;
    }
    for number in &batch.recent_blocks_gone {
        writes.remove(TreeName::RecentBlocks, number.to_be_bytes());
    }
    for block in &batch.recent_blocks {
        writes.put(TreeName::RecentBlocks, block.number.to_be_bytes(), block.hash.as_slice());
    }
    writes.put_all(TreeName::Jobs, &changes.jobs)?;
    for (home, id) in &changes.inputs_gone {
        writes.remove(TreeName::Inputs, home_key(*home, *id));
    }
    for ((home, id), input) in &changes.inputs {
        writes.put(TreeName::Inputs, home_key(*home, *id), input.as_ref());
    }
    for (sender, nonce) in &batch.transactions_gone {
        transactions::forget(&mut writes, *sender, *nonce)?;
    }
    for transaction in &batch.transactions {
        transactions::put(&mut writes, transaction)?;
    }
    writes.put_all(TreeName::Claims, &changes.claims)?;
    for sum in &changes.ledger {
        writes.put_record(TreeName::Ledger, entry_key(sum.hour, sum.model), sum)?;
    }
    let Changes { jobs, claims, event_counts, refused, .. } = changes;
    let moved = moved(jobs).chain(moved(claims)).collect();
    Ok(Ok(Plan { writes: writes.finish(), refused, event_counts, moved }))
}
