//! The adapter over sled.

use std::{
    collections::BTreeMap,
    fs,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use alloy::primitives::{Address, B256, Bytes};
use serde::{Serialize, de::DeserializeOwned};
use sled::{
    Transactional, Tree,
    transaction::{ConflictableTransactionError, TransactionError, TransactionalTree},
};

use super::{
    Batch, Claim, Entry, Journal, JournalError, Position, Slot, Tally, View,
    index::{self, Entries},
};
use crate::{
    chain::BlockRef,
    lifecycle::{Illegal, Job, Move, Seen},
};

pub(super) const CURSOR: &[u8] = b"cursor";
/// Records that one step of a long operation takes.
const STEP: usize = 1_024;

/// The journal in a sled database.
#[derive(Debug)]
pub struct SledJournal {
    pub(super) path: PathBuf,
    pub(super) db: sled::Db,
    pub(super) meta: Tree,
    pub(super) ring: Tree,
    pub(super) jobs: Tree,
    pub(super) inputs: Tree,
    pub(super) slots: Tree,
    pub(super) claims: Tree,
    pub(super) books: Tree,
    index: Tree,
    counts: Mutex<Counts>,
}

/// How many records the views have; negative numbers are changes.
#[derive(Debug, Default)]
struct Counts {
    views: [isize; View::ALL.len()],
    /// Open jobs by model, without zeros.
    due: BTreeMap<B256, isize>,
    /// What happened, by model, event and reason.
    events: BTreeMap<(B256, &'static str, &'static str), u64>,
}

impl Counts {
    fn note(&mut self, entries: &Entries, change: isize) {
        for (view, _) in entries.views {
            self.views[view.slot()] += change;
        }
        if let Some((model, _)) = entries.due {
            *self.due.entry(model).or_default() += change;
        }
    }

    fn apply(&mut self, changes: &Self) {
        self.views.iter_mut().zip(changes.views).for_each(|(count, change)| *count += change);
        for (model, change) in &changes.due {
            *self.due.entry(*model).or_default() += change;
        }
        self.due.retain(|_, count| *count != 0);
        for (event, count) in &changes.events {
            *self.events.entry(*event).or_default() += count;
        }
    }

    fn happened(&mut self, model: B256, (event, reason): (&'static str, &'static str)) {
        *self.events.entry((model, event, reason)).or_default() += 1;
    }
}

impl SledJournal {
    /// The journal in an open database, whose views are counted.
    pub(super) fn with(path: &Path, db: sled::Db) -> Result<Self, JournalError> {
        let journal = Self {
            path: path.to_owned(),
            meta: db.open_tree("meta")?,
            ring: db.open_tree("ring")?,
            jobs: db.open_tree("jobs")?,
            inputs: db.open_tree("inputs")?,
            slots: db.open_tree("slots")?,
            claims: db.open_tree("claims")?,
            books: db.open_tree("books")?,
            index: db.open_tree("index")?,
            counts: Mutex::default(),
            db,
        };
        for key in journal.index.iter().keys() {
            let key = key?;
            let mut counts = journal.counts();
            match key.first().and_then(|first| View::ALL.into_iter().find(|view| *view as u8 == *first)) {
                Some(view) => counts.views[view.slot()] += 1,
                None => *counts.due.entry(index::due_model(&key).ok_or_else(damaged)?).or_default() += 1,
            }
        }
        Ok(journal)
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All jobs, one at a time, in no order.
    pub fn jobs(&self) -> impl Iterator<Item = Result<Job, JournalError>> {
        all(&self.jobs)
    }

    /// All claims, one at a time, in no order.
    pub fn claims(&self) -> impl Iterator<Item = Result<Claim, JournalError>> {
        all(&self.claims)
    }

    /// Bytes of its files.
    ///
    /// # Errors
    /// `Store`.
    pub fn disk_bytes(&self) -> Result<u64, JournalError> {
        Ok(self.db.size_on_disk()?)
    }

    pub(super) fn trees(&self) -> [&Tree; 8] {
        [&self.meta, &self.ring, &self.jobs, &self.inputs, &self.slots, &self.claims, &self.books, &self.index]
    }

    /// Puts everything on the disk; the database is in `folder`.
    pub(super) fn sync_at(&self, folder: &Path) -> Result<(), JournalError> {
        self.db.flush()?;
        // sled's flush does not reach the disk by itself (its issue 1452).
        let file = folder.join("db");
        fs::File::open(&file)
            .and_then(|file| file.sync_all())
            .map_err(|source| JournalError::Folder { path: file.display().to_string(), source })
    }

    pub(super) fn put_job(&self, job: &Job) -> Result<(), JournalError> {
        self.jobs.insert(job.task().id, serde_json::to_vec(job)?)?;
        self.put_keys(&index::of_job(job))
    }

    pub(super) fn put_claim(&self, claim: &Claim) -> Result<(), JournalError> {
        self.claims.insert(claim.id, serde_json::to_vec(claim)?)?;
        self.put_keys(&index::of_claim(claim))
    }

    pub(super) fn put_slot(&self, slot: &Slot) -> Result<(), JournalError> {
        self.slots.insert(slot_key(slot.sender, slot.nonce), serde_json::to_vec(slot)?)?;
        Ok(())
    }

    pub(super) fn put_entry(&self, entry: &Entry) -> Result<(), JournalError> {
        self.books.insert(entry_key(entry), serde_json::to_vec(entry)?)?;
        Ok(())
    }

    fn put_keys(&self, entries: &Entries) -> Result<(), JournalError> {
        entries.keys().into_iter().try_for_each(|key| Ok(self.index.insert(key, &[]).map(drop)?))
    }

    fn positions(&self, range: Range<Vec<u8>>) -> impl DoubleEndedIterator<Item = Result<Position, JournalError>> {
        // An empty range is a mistake to sled.
        let end = range.end.max(range.start.clone());
        self.index.range(range.start..end).keys().map(|key| index::position(&key?).ok_or_else(damaged))
    }

    fn in_view(
        &self,
        view: View,
        range: Range<Position>,
    ) -> impl DoubleEndedIterator<Item = Result<Position, JournalError>> {
        self.positions(index::view_key(view, range.start)..index::view_key(view, range.end))
    }
}

pub(super) fn damaged() -> JournalError {
    JournalError::Store(sled::Error::Corruption { at: None, bt: () })
}

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

pub(super) fn all<T: DeserializeOwned>(tree: &Tree) -> impl Iterator<Item = Result<T, JournalError>> + use<T> {
    tree.iter().values().map(|value| Ok(serde_json::from_slice(&value?)?))
}

/// Sender and nonce, so that a sender's transactions are in order.
fn slot_key(sender: Address, nonce: u64) -> Vec<u8> {
    [sender.as_slice(), &nonce.to_be_bytes()].concat()
}

/// Hour and model: the books of a day are a range of keys.
fn entry_key(entry: &Entry) -> Vec<u8> {
    [&entry.hour.to_be_bytes(), entry.model.as_slice()].concat()
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

/// Records of one tree, and the views in step with them.
struct Indexed<'a> {
    tree: &'a TransactionalTree,
    index: &'a TransactionalTree,
}

impl Indexed<'_> {
    fn put<T: Serialize>(
        &self,
        id: B256,
        old: Option<Entries>,
        new: Option<(&T, Entries)>,
        changes: &mut Counts,
    ) -> Step<()> {
        let entries = new.as_ref().map(|(_, entries)| entries);
        if old.as_ref() != entries {
            if let Some(old) = &old {
                for key in old.keys() {
                    self.index.remove(key)?;
                }
                changes.note(old, -1);
            }
            if let Some(new) = entries {
                for key in new.keys() {
                    self.index.insert(key, &[])?;
                }
                changes.note(new, 1);
            }
        }
        match new {
            Some((record, _)) => self.tree.insert(id.as_slice(), encode(record)?)?,
            None => self.tree.remove(id.as_slice())?,
        };
        Ok(())
    }
}

impl Journal for SledJournal {
    fn commit(&self, batch: &Batch) -> Result<Vec<(B256, Illegal)>, JournalError> {
        let trees =
            (&self.meta, &self.ring, &self.jobs, &self.inputs, &self.slots, &self.claims, &self.books, &self.index);
        let outcome = trees.transaction(|(meta, ring, jobs, inputs, slots, claims, books, index)| {
            let (mut refused, mut counts) = (Vec::new(), Counts::default());
            if let Some(cursor) = &batch.cursor {
                meta.insert(CURSOR, encode(cursor)?)?;
            }
            for number in &batch.ring_gone {
                ring.remove(&number.to_be_bytes())?;
            }
            for block in &batch.ring {
                ring.insert(&block.number.to_be_bytes(), block.hash.as_slice())?;
            }
            let records = Indexed { tree: jobs, index };
            for id in &batch.vanished {
                let old = read::<Job>(jobs, id.as_slice())?;
                records.put::<Job>(*id, old.as_ref().map(index::of_job), None, &mut counts)?;
                inputs.remove(id.as_slice())?;
            }
            for (task, input) in &batch.seen {
                let old = read::<Job>(jobs, task.id.as_slice())?;
                let job = Job::Seen(Seen { task: task.clone() });
                counts.happened(task.request.model_id, ("seen", ""));
                let new = Some((&job, index::of_job(&job)));
                records.put(task.id, old.as_ref().map(index::of_job), new, &mut counts)?;
                inputs.insert(task.id.as_slice(), input.as_ref())?;
            }
            for (id, step) in &batch.moves {
                let must = matches!(step, Move::Sent { .. });
                let (old, moved) = match read::<Job>(jobs, id.as_slice())? {
                    None => (None, Err(Illegal("unknown"))),
                    Some(job) => (Some(index::of_job(&job)), job.apply(step.clone())),
                };
                match moved {
                    Ok(job) => {
                        counts.happened(job.task().request.model_id, step.labels());
                        if job.is_closed() {
                            inputs.remove(id.as_slice())?;
                        }
                        records.put(*id, old, Some((&job, index::of_job(&job))), &mut counts)?;
                    }
                    Err(illegal) if must => {
                        return Err(ConflictableTransactionError::Abort(Abort::Refused(*id, illegal)));
                    }
                    Err(illegal) => refused.push((*id, illegal)),
                }
            }
            for (sender, nonce) in &batch.slots_gone {
                slots.remove(slot_key(*sender, *nonce))?;
            }
            for slot in &batch.slots {
                slots.insert(slot_key(slot.sender, slot.nonce), encode(slot)?)?;
            }
            let records = Indexed { tree: claims, index };
            for id in &batch.claims_gone {
                let old = read::<Claim>(claims, id.as_slice())?;
                records.put::<Claim>(*id, old.as_ref().map(index::of_claim), None, &mut counts)?;
            }
            for claim in &batch.claims {
                let old = read::<Claim>(claims, claim.id.as_slice())?;
                let new = Some((claim, index::of_claim(claim)));
                records.put(claim.id, old.as_ref().map(index::of_claim), new, &mut counts)?;
            }
            for entry in &batch.booked {
                add_to_books(books, entry)?;
            }
            Ok((refused, counts))
        });
        match outcome {
            Ok((refused, counts)) => {
                self.counts().apply(&counts);
                Ok(refused)
            }
            Err(TransactionError::Abort(Abort::Refused(id, illegal))) => Ok(vec![(id, illegal)]),
            Err(TransactionError::Abort(Abort::Record(error))) => Err(error.into()),
            Err(TransactionError::Storage(error)) => Err(error.into()),
        }
    }

    fn cursor(&self) -> Result<Option<BlockRef>, JournalError> {
        Ok(self.meta.get(CURSOR)?.map(|bytes| serde_json::from_slice(&bytes)).transpose()?)
    }

    fn ring(&self) -> Result<Vec<BlockRef>, JournalError> {
        self.ring
            .iter()
            .map(|entry| {
                let (key, value) = entry?;
                let number = <[u8; 8]>::try_from(key.as_ref()).map_err(|_| damaged())?;
                let hash = B256::try_from(value.as_ref()).map_err(|_| damaged())?;
                Ok(BlockRef { number: u64::from_be_bytes(number), hash })
            })
            .collect()
    }

    fn job(&self, id: B256) -> Result<Option<Job>, JournalError> {
        Ok(self.jobs.get(id)?.map(|bytes| serde_json::from_slice(&bytes)).transpose()?)
    }

    fn walk(&self, view: View, range: Range<Position>, limit: usize) -> Result<Vec<Position>, JournalError> {
        self.in_view(view, range).take(limit).collect()
    }

    fn walk_back(&self, view: View, range: Range<Position>, limit: usize) -> Result<Vec<Position>, JournalError> {
        self.in_view(view, range).rev().take(limit).collect()
    }

    fn count(&self, view: View) -> usize {
        self.counts().views[view.slot()].unsigned_abs()
    }

    fn due(&self, model: B256, range: Range<Position>, limit: usize) -> Result<Vec<Position>, JournalError> {
        self.positions(index::due_key(model, range.start)..index::due_key(model, range.end)).take(limit).collect()
    }

    fn waiting(&self) -> Vec<(B256, usize)> {
        self.counts().due.iter().map(|(model, count)| (*model, count.unsigned_abs())).collect()
    }

    fn tally(&self) -> Vec<Tally> {
        let counts = self.counts();
        let tally = |(&(model, event, reason), &count)| Tally { model, event, reason, count };
        counts.events.iter().map(tally).collect()
    }

    fn input(&self, id: B256) -> Result<Option<Bytes>, JournalError> {
        Ok(self.inputs.get(id)?.map(|bytes| Bytes::copy_from_slice(&bytes)))
    }

    fn slots(&self) -> Result<Vec<Slot>, JournalError> {
        all(&self.slots).collect()
    }

    fn claim(&self, id: B256) -> Result<Option<Claim>, JournalError> {
        Ok(self.claims.get(id)?.map(|bytes| serde_json::from_slice(&bytes)).transpose()?)
    }

    fn books(&self, from_hour: u64) -> Result<Vec<Entry>, JournalError> {
        let entries = self.books.range(from_hour.to_be_bytes().as_slice()..);
        entries.values().map(|value| Ok(serde_json::from_slice(&value?)?)).collect()
    }

    fn clear(&self) -> Result<(), JournalError> {
        // Without a cursor the scan begins anew, whatever is still here if this is cut off.
        self.meta.remove(CURSOR)?;
        let all = || Position::first_at(0)..Position::last_at(u64::MAX);
        let ids = |at: Vec<Position>| at.into_iter().map(|at| at.id).collect::<Vec<_>>();
        self.ring.clear()?;
        loop {
            let vanished = ids(self.walk(View::Requested, all(), STEP)?);
            let claims_gone = ids(self.walk(View::Fulfilled, all(), STEP)?);
            if vanished.is_empty() && claims_gone.is_empty() {
                return Ok(());
            }
            self.commit(&Batch { vanished, claims_gone, ..Batch::default() })?;
        }
    }

    fn persist(&self) -> Result<(), JournalError> {
        self.db.flush()?;
        Ok(())
    }

    fn sync(&self) -> Result<(), JournalError> {
        self.sync_at(&self.path.join("db"))
    }
}
