//! One batch as one transaction over all trees. What it does to a record is worked out in memory: each is read once and
//! written once, however often the batch changes it, and not at all if it comes and goes.

use std::collections::{BTreeMap, HashMap};

use alloy::primitives::B256;
use serde::{Serialize, de::DeserializeOwned};
use sled::{
    Transactional,
    transaction::{ConflictableTransactionError, TransactionError, TransactionalTree},
};

use super::{
    Batch, Claim, Entry, JournalError, SledJournal,
    index::{Entries, Home, Indexed, home_key},
    slots,
    store::{CURSOR, Counts, entry_key},
};
use crate::lifecycle::{Illegal, Job, Move, Seen};

pub(super) enum Abort {
    Record(serde_json::Error),
    Refused(B256, Illegal),
}

pub(super) type Step<T> = Result<T, ConflictableTransactionError<Abort>>;

pub(super) fn encode<T: Serialize>(value: &T) -> Step<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| ConflictableTransactionError::Abort(Abort::Record(error)))
}

pub(super) fn read<T: DeserializeOwned>(tree: &TransactionalTree, key: &[u8]) -> Step<Option<T>> {
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
    homes: &'a HashMap<B256, Home>,
    records: BTreeMap<B256, Changed<T>>,
}

impl<'a, T: Indexed + Serialize + DeserializeOwned> Changes<'a, T> {
    fn of(tree: &'a TransactionalTree, homes: &'a HashMap<B256, Home>) -> Self {
        Self { tree, homes, records: BTreeMap::new() }
    }

    fn find(&self, id: B256) -> Step<Option<T>> {
        self.homes.get(&id).map_or(Ok(None), |home| read(self.tree, &home_key(*home, id)))
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

    /// Writes what became of the records, and keeps the views in step; returns the records that lie elsewhere now.
    fn write(&self, index: &TransactionalTree, counts: &mut Counts) -> Step<Moved> {
        let mut moved = Moved::new();
        for (id, Changed { old, now }) in &self.records {
            let new = now.as_ref().map(T::entries);
            let [gone, come] = [old, &new].map(|entries| entries.iter().flat_map(Entries::keys).collect::<Vec<_>>());
            for key in gone.iter().filter(|key| !come.contains(key)) {
                index.remove(key.as_slice())?;
            }
            for key in come.iter().filter(|key| !gone.contains(key)) {
                index.insert(key.as_slice(), &[])?;
            }
            old.iter().for_each(|entries| counts.note(entries, -1));
            new.iter().for_each(|entries| counts.note(entries, 1));
            let [old, new] = [old, &new].map(|entries| entries.as_ref().map(|entries| entries.home));
            if let (Some(record), Some(home)) = (now, new) {
                self.tree.insert(home_key(home, *id), encode(record)?)?;
            }
            if old != new {
                old.map(|home| self.tree.remove(home_key(home, *id))).transpose()?;
                moved.push((*id, new));
            }
        }
        Ok(moved)
    }
}

/// Records and where they lie now, if anywhere.
type Moved = Vec<(B256, Option<Home>)>;

fn follow(homes: &mut HashMap<B256, Home>, moved: Moved) {
    for (id, home) in moved {
        match home {
            Some(home) => drop(homes.insert(id, home)),
            None => drop(homes.remove(&id)),
        }
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

/// See [`Journal::commit`](super::Journal::commit).
pub(super) fn commit(journal: &SledJournal, batch: &Batch) -> Result<Vec<(B256, Illegal)>, JournalError> {
    let SledJournal { meta, ring, jobs, inputs, slots, signed, claims, books, index, .. } = journal;
    // Held until what was written is known to whoever reads.
    let mut homes = journal.homes_mut();
    let trees = (meta, ring, jobs, inputs, slots, signed, claims, books, index);
    let outcome = trees.transaction(|(meta, ring, jobs, inputs, slots, signed, claims, books, index)| {
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
        let mut jobs = Changes::of(jobs, &homes.jobs);
        let refused = change_jobs(batch, &mut jobs, inputs, &mut counts)?;
        let jobs_moved = jobs.write(index, &mut counts)?;
        for (sender, nonce) in &batch.slots_gone {
            slots::forget(slots, signed, *sender, *nonce)?;
        }
        for slot in &batch.slots {
            slots::put(slots, signed, slot)?;
        }
        let mut claims = Changes::<Claim>::of(claims, &homes.claims);
        for id in &batch.claims_gone {
            claims.set(*id, None)?;
        }
        for claim in &batch.claims {
            claims.set(claim.id, Some(claim.clone()))?;
        }
        let claims_moved = claims.write(index, &mut counts)?;
        for entry in &batch.booked {
            add_to_books(books, entry)?;
        }
        Ok((refused, counts, jobs_moved, claims_moved))
    });
    match outcome {
        Ok((refused, counts, jobs_moved, claims_moved)) => {
            follow(&mut homes.jobs, jobs_moved);
            follow(&mut homes.claims, claims_moved);
            drop(homes);
            journal.counts().apply(&counts);
            Ok(refused)
        }
        Err(TransactionError::Abort(Abort::Refused(id, illegal))) => Ok(vec![(id, illegal)]),
        Err(TransactionError::Abort(Abort::Record(error))) => Err(error.into()),
        Err(TransactionError::Storage(error)) => Err(error.into()),
    }
}
