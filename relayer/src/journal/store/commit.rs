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
    index::{Entries, Index, Indexed, home_key},
    transactions,
    trees::{Abort, CURSOR, Step, Trees, WRITTEN, encode, entry_key, read},
};
use crate::{
    domain::{Claim, Entry, InvalidTransition, Job, Seen, Transition},
    journal::{Batch, JournalError},
};

/// What happened, by model, event and reason.
pub(super) type EventCounts = BTreeMap<(B256, &'static str, &'static str), u64>;

/// What a commit wrote, as far as it concerns what is kept in memory beside the trees.
pub(super) struct Committed {
    /// Moves that were left out.
    pub(super) refused: Vec<(B256, InvalidTransition)>,
    pub(super) event_counts: EventCounts,
    /// What changes in the index.
    pub(super) moved: Vec<Moved>,
}

/// A record that a batch changes: where it was found before, and what becomes of it.
struct Changed<T> {
    old: Option<Entries>,
    now: Option<T>,
}

/// The records of one tree that a batch changes.
struct Changes<'a, T> {
    tree: &'a TransactionalTree,
    index: &'a Index,
    records: BTreeMap<B256, Changed<T>>,
}

/// A record as the index had it, and as it is to have it.
pub(super) type Moved = (Option<Entries>, Option<Entries>);

impl<'a, T: Indexed + Serialize + DeserializeOwned> Changes<'a, T> {
    fn of(tree: &'a TransactionalTree, index: &'a Index) -> Self {
        Self { tree, index, records: BTreeMap::new() }
    }

    fn find(&self, id: B256) -> Step<Option<T>> {
        T::home(self.index, id).map_or(Ok(None), |home| read(self.tree, &home_key(home, id)))
    }

    /// A record as the batch has made it so far.
    fn get(&mut self, id: B256) -> Step<&mut Option<T>> {
        use std::collections::btree_map::Entry::{Occupied, Vacant};
        let found = if self.records.contains_key(&id) { None } else { self.find(id)? };
        Ok(match self.records.entry(id) {
            Occupied(entry) => &mut entry.into_mut().now,
            Vacant(entry) => &mut entry.insert(Changed { old: found.as_ref().map(T::entries), now: found }).now,
        })
    }

    fn set(&mut self, id: B256, record: Option<T>) -> Step<()> {
        *self.get(id)? = record;
        Ok(())
    }

    /// Writes what became of the records; returns what changes in the index.
    fn write(self) -> Step<Vec<Moved>> {
        let mut moved = Vec::with_capacity(self.records.len());
        for (id, Changed { old, now }) in self.records {
            let new = now.as_ref().map(T::entries);
            let [before, after] = [&old, &new].map(|entries| entries.as_ref().map(|entries| entries.home));
            if let (Some(record), Some(home)) = (&now, after) {
                self.tree.insert(home_key(home, id), encode(record)?)?;
            }
            if before != after {
                before.map(|home| self.tree.remove(home_key(home, id))).transpose()?;
            }
            moved.push((old, new));
        }
        Ok(moved)
    }
}

/// Changes jobs and their inputs; returns the moves that were refused.
fn change_jobs(
    batch: &Batch,
    jobs: &mut Changes<'_, Job>,
    inputs: &TransactionalTree,
    event_counts: &mut EventCounts,
) -> Step<Vec<(B256, InvalidTransition)>> {
    let mut refused = Vec::new();
    for id in &batch.vanished {
        jobs.set(*id, None)?;
    }
    for (task, _) in &batch.seen {
        *event_counts.entry((task.request.model_id, "seen", "")).or_default() += 1;
        jobs.set(task.id, Some(Job::Seen(Seen { task: task.clone() })))?;
    }
    for (id, step) in &batch.moves {
        let job = jobs.get(*id)?;
        let moved = job.clone().map_or(Err(InvalidTransition("unknown")), |job| job.apply(step.clone()));
        match moved {
            Ok(moved) => {
                let (event, reason) = step.labels();
                *event_counts.entry((moved.task().request.model_id, event, reason)).or_default() += 1;
                *job = Some(moved);
            }
            Err(illegal) if matches!(step, Transition::Sent { .. }) => {
                return Err(ConflictableTransactionError::Abort(Abort::Refused(*id, illegal)));
            }
            Err(illegal) => refused.push((*id, illegal)),
        }
    }
    let is_over = |now: &Option<Job>| now.as_ref().is_none_or(Job::is_closed);
    for Changed { old, now } in jobs.records.values() {
        let home = now.as_ref().map(|job| job.entries().home);
        if let Some(old) = old
            && (is_over(now) || home != Some(old.home))
        {
            inputs.remove(home_key(old.home, old.id))?;
        }
    }
    for (task, input) in &batch.seen {
        if let Some(job) = jobs.get(task.id)?.as_ref().filter(|job| !job.is_closed()) {
            inputs.insert(home_key(job.entries().home, task.id), input.as_ref())?;
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

/// Writes a batch into the trees, all or nothing, with the number under which its transactions go to the log of
/// transactions. A refused send refuses the batch: then the job and its state are returned, and nothing is written.
pub(super) fn commit(
    trees: &Trees,
    index: &Index,
    batch: &Batch,
    number: Option<u64>,
) -> Result<Result<Committed, (B256, InvalidTransition)>, JournalError> {
    let Trees { db: _, meta, recent_blocks, jobs, inputs, slots, attempts, claims, books } = trees;
    let trees = (meta, recent_blocks, jobs, inputs, slots, attempts, claims, books);
    let outcome = trees.transaction(|(meta, recent_blocks, jobs, inputs, slots, attempts, claims, books)| {
        let mut event_counts = EventCounts::new();
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
        let mut jobs = Changes::of(jobs, index);
        let refused = change_jobs(batch, &mut jobs, inputs, &mut event_counts)?;
        let mut moved = jobs.write()?;
        for (sender, nonce) in &batch.slots_gone {
            transactions::forget(slots, attempts, *sender, *nonce)?;
        }
        for slot in &batch.slots {
            transactions::put(slots, attempts, slot)?;
        }
        let mut claims = Changes::<Claim>::of(claims, index);
        for id in &batch.claims_gone {
            claims.set(*id, None)?;
        }
        for claim in &batch.claims {
            claims.set(claim.id, Some(claim.clone()))?;
        }
        moved.extend(claims.write()?);
        for entry in &batch.booked {
            add_to_books(books, entry)?;
        }
        Ok(Committed { refused, event_counts, moved })
    });
    match outcome {
        Ok(committed) => Ok(Ok(committed)),
        Err(TransactionError::Abort(Abort::Refused(id, illegal))) => Ok(Err((id, illegal))),
        Err(TransactionError::Abort(Abort::Record(error))) => Err(error.into()),
        Err(TransactionError::Storage(error)) => Err(error.into()),
    }
}
