//! One batch as one transaction over all trees. What it does to a record is worked out in memory: each is read once and
//! written once, however often the batch changes it, and not at all if it comes and goes.

use std::collections::BTreeMap;

use alloy::primitives::B256;
use serde::{Serialize, de::DeserializeOwned};
use sled::{
    Transactional,
    transaction::{ConflictableTransactionError, TransactionError, TransactionalTree},
};

use super::{
    Batch, Claim, Entry, JournalError, SledJournal,
    index::{Entries, Indexed},
    store::{CURSOR, Counts, entry_key, slot_key},
};
use crate::lifecycle::{Illegal, Job, Move, Seen};

enum Abort {
    Record(serde_json::Error),
    Refused(B256, Illegal),
}

type Step<T> = Result<T, ConflictableTransactionError<Abort>>;

fn encode<T: Serialize>(value: &T) -> Step<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| ConflictableTransactionError::Abort(Abort::Record(error)))
}

fn read<T: DeserializeOwned>(tree: &TransactionalTree, key: &[u8]) -> Step<Option<T>> {
    tree.get(key)?
        .map(|bytes| serde_json::from_slice(&bytes))
        .transpose()
        .map_err(|error| ConflictableTransactionError::Abort(Abort::Record(error)))
}

/// A record that a batch changes: where it was found before, and what becomes of it.
struct Changed<T> {
    old: Option<Entries>,
    now: Option<T>,
}

/// The records of one tree that a batch changes.
struct Changes<'a, T> {
    tree: &'a TransactionalTree,
    records: BTreeMap<B256, Changed<T>>,
}

impl<'a, T: Indexed + Serialize + DeserializeOwned> Changes<'a, T> {
    fn of(tree: &'a TransactionalTree) -> Self {
        Self { tree, records: BTreeMap::new() }
    }

    /// A record as the batch has made it so far.
    fn get(&mut self, id: B256) -> Step<&mut Option<T>> {
        use std::collections::btree_map::Entry::{Occupied, Vacant};
        Ok(match self.records.entry(id) {
            Occupied(entry) => &mut entry.into_mut().now,
            Vacant(entry) => {
                let now: Option<T> = read(self.tree, id.as_slice())?;
                &mut entry.insert(Changed { old: now.as_ref().map(T::entries), now }).now
            }
        })
    }

    fn set(&mut self, id: B256, record: Option<T>) -> Step<()> {
        *self.get(id)? = record;
        Ok(())
    }

    /// Writes what became of the records, and keeps the views in step.
    fn write(&self, index: &TransactionalTree, counts: &mut Counts) -> Step<()> {
        for (id, Changed { old, now }) in &self.records {
            let new = now.as_ref().map(T::entries);
            let [gone, come] = [old, &new].map(|entries| entries.as_ref().map_or_else(Vec::new, Entries::keys));
            for key in gone.iter().filter(|key| !come.contains(key)) {
                index.remove(key.as_slice())?;
            }
            for key in come.iter().filter(|key| !gone.contains(key)) {
                index.insert(key.as_slice(), &[])?;
            }
            old.iter().for_each(|entries| counts.note(entries, -1));
            new.iter().for_each(|entries| counts.note(entries, 1));
            match now {
                Some(record) => drop(self.tree.insert(id.as_slice(), encode(record)?)?),
                None if old.is_some() => drop(self.tree.remove(id.as_slice())?),
                None => {}
            }
        }
        Ok(())
    }
}

/// Changes jobs and their inputs; returns the moves that were refused.
fn change_jobs(
    batch: &Batch,
    jobs: &mut Changes<'_, Job>,
    inputs: &TransactionalTree,
    counts: &mut Counts,
) -> Step<Vec<(B256, Illegal)>> {
    let mut refused = Vec::new();
    for id in &batch.vanished {
        jobs.set(*id, None)?;
    }
    for (task, _) in &batch.seen {
        counts.happened(task.request.model_id, ("seen", ""));
        jobs.set(task.id, Some(Job::Seen(Seen { task: task.clone() })))?;
    }
    for (id, step) in &batch.moves {
        let job = jobs.get(*id)?;
        let moved = job.clone().map_or(Err(Illegal("unknown")), |job| job.apply(step.clone()));
        match moved {
            Ok(moved) => {
                counts.happened(moved.task().request.model_id, step.labels());
                *job = Some(moved);
            }
            Err(illegal) if matches!(step, Move::Sent { .. }) => {
                return Err(ConflictableTransactionError::Abort(Abort::Refused(*id, illegal)));
            }
            Err(illegal) => refused.push((*id, illegal)),
        }
    }
    let is_over = |now: &Option<Job>| now.as_ref().is_none_or(Job::is_closed);
    for (task, input) in &batch.seen {
        if !is_over(jobs.get(task.id)?) {
            inputs.insert(task.id.as_slice(), input.as_ref())?;
        }
    }
    for (id, Changed { old, now }) in &jobs.records {
        if old.is_some() && is_over(now) {
            inputs.remove(id.as_slice())?;
        }
    }
    Ok(refused)
}

fn add_to_books(books: &TransactionalTree, entry: &Entry) -> Step<()> {
    let key = entry_key(entry);
    let mut sum = *entry;
    if let Some(old) = read::<Entry>(books, &key)? {
        sum.spent = old.spent.saturating_add(entry.spent);
        sum.earned = old.earned.saturating_add(entry.earned);
        sum.answers = old.answers.saturating_add(entry.answers);
    }
    books.insert(key, encode(&sum)?)?;
    Ok(())
}

/// See [`Journal::commit`](super::Journal::commit).
pub(super) fn commit(journal: &SledJournal, batch: &Batch) -> Result<Vec<(B256, Illegal)>, JournalError> {
    let SledJournal { meta, ring, jobs, inputs, slots, claims, books, index, .. } = journal;
    let trees = (meta, ring, jobs, inputs, slots, claims, books, index);
    let outcome = trees.transaction(|(meta, ring, jobs, inputs, slots, claims, books, index)| {
        let mut counts = Counts::default();
        if let Some(cursor) = &batch.cursor {
            meta.insert(CURSOR, encode(cursor)?)?;
        }
        for number in &batch.ring_gone {
            ring.remove(&number.to_be_bytes())?;
        }
        for block in &batch.ring {
            ring.insert(&block.number.to_be_bytes(), block.hash.as_slice())?;
        }
        let mut jobs = Changes::of(jobs);
        let refused = change_jobs(batch, &mut jobs, inputs, &mut counts)?;
        jobs.write(index, &mut counts)?;
        for (sender, nonce) in &batch.slots_gone {
            slots.remove(slot_key(*sender, *nonce))?;
        }
        for slot in &batch.slots {
            slots.insert(slot_key(slot.sender, slot.nonce), encode(slot)?)?;
        }
        let mut claims = Changes::<Claim>::of(claims);
        for id in &batch.claims_gone {
            claims.set(*id, None)?;
        }
        for claim in &batch.claims {
            claims.set(claim.id, Some(claim.clone()))?;
        }
        claims.write(index, &mut counts)?;
        for entry in &batch.booked {
            add_to_books(books, entry)?;
        }
        Ok((refused, counts))
    });
    match outcome {
        Ok((refused, counts)) => {
            journal.counts().apply(&counts);
            // sled keeps what is written in memory for a while, and SIGKILL takes that: a transaction is broadcast
            // once this returns, and must be known to the next life. All else the chain can tell again.
            if !batch.slots.is_empty() {
                journal.db.flush()?;
            }
            Ok(refused)
        }
        Err(TransactionError::Abort(Abort::Refused(id, illegal))) => Ok(vec![(id, illegal)]),
        Err(TransactionError::Abort(Abort::Record(error))) => Err(error.into()),
        Err(TransactionError::Storage(error)) => Err(error.into()),
    }
}
