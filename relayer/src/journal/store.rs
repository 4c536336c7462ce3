//! The adapter over sled.

use std::{
    collections::BTreeMap,
    fs,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use alloy::primitives::{Address, B256, Bytes};
use serde::de::DeserializeOwned;
use sled::Tree;

use super::{
    Batch, Claim, Entry, Journal, JournalError, Position, Slot, Tally, View, commit,
    index::{self, Entries, Indexed},
};
use crate::{
    chain::BlockRef,
    lifecycle::{Illegal, Job},
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
    pub(super) index: Tree,
    counts: Mutex<Counts>,
}

/// How many records the views have; negative numbers are changes.
#[derive(Debug, Default)]
pub(super) struct Counts {
    views: BTreeMap<View, isize>,
    /// Open jobs by model, without zeros.
    due: BTreeMap<B256, isize>,
    /// What happened, by model, event and reason.
    events: BTreeMap<(B256, &'static str, &'static str), u64>,
}

impl Counts {
    pub(super) fn note(&mut self, entries: &Entries, change: isize) {
        for (view, _) in &entries.views {
            *self.views.entry(*view).or_default() += change;
        }
        if let Some((model, _)) = entries.due {
            *self.due.entry(model).or_default() += change;
        }
    }

    pub(super) fn apply(&mut self, changes: &Self) {
        for (view, change) in &changes.views {
            *self.views.entry(*view).or_default() += change;
        }
        for (model, change) in &changes.due {
            *self.due.entry(*model).or_default() += change;
        }
        self.due.retain(|_, count| *count != 0);
        for (event, count) in &changes.events {
            *self.events.entry(*event).or_default() += count;
        }
    }

    pub(super) fn happened(&mut self, model: B256, (event, reason): (&'static str, &'static str)) {
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
            match key.first() {
                Some(0) => *counts.due.entry(index::due_model(&key).ok_or_else(damaged)?).or_default() += 1,
                Some(first) => {
                    // A view that is no more is nobody's; compacting drops its keys.
                    let view = View::ALL.into_iter().find(|view| *view as u8 == *first);
                    view.into_iter().for_each(|view| *counts.views.entry(view).or_default() += 1);
                }
                None => return Err(damaged()),
            }
        }
        Ok(journal)
    }

    pub(super) fn counts(&self) -> MutexGuard<'_, Counts> {
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
        self.put_keys(&job.entries())
    }

    pub(super) fn put_claim(&self, claim: &Claim) -> Result<(), JournalError> {
        self.claims.insert(claim.id, serde_json::to_vec(claim)?)?;
        self.put_keys(&claim.entries())
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

pub(super) fn all<T: DeserializeOwned>(tree: &Tree) -> impl Iterator<Item = Result<T, JournalError>> + use<T> {
    tree.iter().values().map(|value| Ok(serde_json::from_slice(&value?)?))
}

/// Sender and nonce, so that a sender's transactions are in order.
pub(super) fn slot_key(sender: Address, nonce: u64) -> Vec<u8> {
    [sender.as_slice(), &nonce.to_be_bytes()].concat()
}

/// Hour and model: the books of a day are a range of keys.
pub(super) fn entry_key(entry: &Entry) -> Vec<u8> {
    [&entry.hour.to_be_bytes(), entry.model.as_slice()].concat()
}

impl Journal for SledJournal {
    fn commit(&self, batch: &Batch) -> Result<Vec<(B256, Illegal)>, JournalError> {
        commit::commit(self, batch)
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
        self.counts().views.get(&view).map_or(0, |count| count.unsigned_abs())
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
            let paid = self.walk(View::Paid, all(), STEP)?;
            let claims_gone = ids([self.walk(View::Vesting, all(), STEP)?, paid].concat());
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
