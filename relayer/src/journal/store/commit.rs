//! One batch as one transaction over all trees.

use alloy::primitives::B256;
use serde::Serialize;
use sled::{
    Transactional,
    transaction::{ConflictableTransactionError, TransactionError, TransactionalTree},
};

use super::{
    transactions,
    trees::{Abort, CURSOR, Step, Trees, WRITTEN, encode, entry_key, read},
};
use crate::{
    domain::{Claim, Entry, InvalidTransition, Job},
    journal::{
        Batch, JournalError,
        changes::{Before, Change, Changes, EventCounts, Rejected},
        index::{Entries, Index, Indexed, home_key},
    },
};

/// What a commit wrote, as far as it concerns what is kept in memory beside the trees.
pub(super) struct Committed {
    /// Moves that were left out.
    pub(super) refused: Vec<(B256, InvalidTransition)>,
    pub(super) event_counts: EventCounts,
    /// Records as the index has them, and as it is to have them.
    pub(super) moved: Vec<(Option<Entries>, Option<Entries>)>,
}

/// The records within a transaction.
struct Within<'a> {
    jobs: &'a TransactionalTree,
    claims: &'a TransactionalTree,
    ledger: &'a TransactionalTree,
    index: &'a Index,
}

impl Before for Within<'_> {
    type Error = ConflictableTransactionError<Abort>;

    fn job(&self, id: B256) -> Step<Option<Job>> {
        Job::home(self.index, id).map_or(Ok(None), |home| read(self.jobs, &home_key(home, id)))
    }

    fn claim(&self, id: B256) -> Step<Option<Claim>> {
        Claim::home(self.index, id).map_or(Ok(None), |home| read(self.claims, &home_key(home, id)))
    }

    fn entry(&self, hour: u64, model: B256) -> Step<Option<Entry>> {
        read(self.ledger, &entry_key(hour, model))
    }
}

fn write<T: Serialize>(tree: &TransactionalTree, changes: &[Change<T>]) -> Step<()> {
    for change in changes {
        let (put, gone) = change.homes();
        if let Some(((home, id), record)) = put {
            tree.insert(home_key(home, id), encode(record)?)?;
        }
        if let Some((home, id)) = gone {
            tree.remove(home_key(home, id))?;
        }
    }
    Ok(())
}

fn moved<T>(changes: Vec<Change<T>>) -> impl Iterator<Item = (Option<Entries>, Option<Entries>)> {
    changes.into_iter().map(|change| (change.old, change.new))
}

/// Writes a batch into the trees, all or nothing, with the number under which its transactions go to the log of
/// transactions. A refused send refuses the batch: then the job and its state are returned, and nothing is written.
pub(super) fn commit(
    trees: &Trees,
    index: &Index,
    batch: &Batch,
    number: Option<u64>,
) -> Result<Result<Committed, (B256, InvalidTransition)>, JournalError> {
    let Trees { db: _, meta, recent_blocks, jobs, inputs, transactions, attempts, claims, ledger, answers: _ } = trees;
    let trees = (meta, recent_blocks, jobs, inputs, transactions, attempts, claims, ledger);
    let outcome = trees.transaction(|(meta, recent_blocks, jobs, inputs, transactions, attempts, claims, ledger)| {
        let before = Within { jobs, claims, ledger, index };
        let changes = Changes::of(batch, &before).map_err(|rejected| match rejected {
            Rejected::Send(id, refused) => ConflictableTransactionError::Abort(Abort::Refused(id, refused)),
            Rejected::Read(error) => error,
        })?;
        if let Some(number) = number {
            meta.insert(WRITTEN, &number.to_be_bytes())?;
        }
        if let Some(cursor) = &batch.cursor {
            meta.insert(CURSOR, encode(cursor)?)?;
        }
        for number in &batch.recent_blocks_gone {
            recent_blocks.remove(&number.to_be_bytes())?;
        }
        for block in &batch.recent_blocks {
            recent_blocks.insert(&block.number.to_be_bytes(), block.hash.as_slice())?;
        }
        write(jobs, &changes.jobs)?;
        for (home, id) in &changes.inputs_gone {
            inputs.remove(home_key(*home, *id))?;
        }
        for ((home, id), input) in &changes.inputs {
            inputs.insert(home_key(*home, *id), input.as_ref())?;
        }
        for (sender, nonce) in &batch.transactions_gone {
            transactions::forget(transactions, attempts, *sender, *nonce)?;
        }
        for transaction in &batch.transactions {
            transactions::put(transactions, attempts, transaction)?;
        }
        write(claims, &changes.claims)?;
        for sum in &changes.ledger {
            ledger.insert(entry_key(sum.hour, sum.model), encode(sum)?)?;
        }
        Ok(changes)
    });
    match outcome {
        Ok(Changes { jobs, claims, event_counts, refused, .. }) => {
            Ok(Ok(Committed { refused, event_counts, moved: moved(jobs).chain(moved(claims)).collect() }))
        }
        Err(TransactionError::Abort(Abort::Refused(id, refused))) => Ok(Err((id, refused))),
        Err(TransactionError::Abort(Abort::Record(error))) => Err(error.into()),
        Err(TransactionError::Storage(error)) => Err(error.into()),
    }
}
