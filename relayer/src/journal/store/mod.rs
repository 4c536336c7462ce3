//! The adapter over sled.

mod commit;
mod index;
mod migrate;
mod open;
mod slots;
mod transfer;
mod wal;

pub use index::{Position, View};
pub use transfer::Record;

use std::{
    collections::BTreeMap,
    fs,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use alloy::primitives::{B256, Bytes};
use serde::{Serialize, de::DeserializeOwned};
use sled::Tree;

use self::{
    index::{Entries, Index, Indexed},
    wal::Wal,
};
use super::{Batch, Journal, JournalError, Tally};
use crate::{
    chain::BlockRef,
    domain::{Claim, Entry, InvalidTransition, Job, TrackedTransaction},
};

pub(super) const CURSOR: &[u8] = b"cursor";
/// The number of the last commit that wrote transactions.
pub(super) const WRITTEN: &[u8] = b"written";
/// Records that one step of a long operation takes.
const STEP: usize = 1_024;

/// The journal in a sled database.
#[derive(Debug)]
pub struct SledJournal {
    /// The database's.
    folder: PathBuf,
    pub(super) db: sled::Db,
    pub(super) meta: Tree,
    pub(super) recent_blocks: Tree,
    pub(super) jobs: Tree,
    /// Under the keys of their jobs.
    pub(super) inputs: Tree,
    pub(super) slots: Tree,
    pub(super) signed: Tree,
    pub(super) claims: Tree,
    pub(super) books: Tree,
    index: RwLock<Index>,
    event_counts: Mutex<EventCounts>,
    wal: Mutex<Wal>,
}

/// What happened, by model, event and reason.
pub(super) type EventCounts = BTreeMap<(B256, &'static str, &'static str), u64>;

impl SledJournal {
    /// The journal in an open database, with what that lost of the outbox. Reads every job and claim.
    pub(super) fn with(folder: &Path, db: sled::Db) -> Result<Self, JournalError> {
        let meta = db.open_tree("meta")?;
        let number = |bytes: sled::IVec| <[u8; 8]>::try_from(bytes.as_ref()).map(u64::from_be_bytes);
        let written = meta.get(WRITTEN)?.map(number).transpose().map_err(|_| damaged())?.unwrap_or(0);
        let journal = Self {
            folder: folder.to_owned(),
            meta,
            recent_blocks: db.open_tree("ring")?,
            jobs: db.open_tree("jobs")?,
            inputs: db.open_tree("inputs")?,
            slots: db.open_tree("slots")?,
            signed: db.open_tree("signed")?,
            claims: db.open_tree("claims")?,
            books: db.open_tree("books")?,
            index: RwLock::default(),
            event_counts: Mutex::default(),
            wal: Mutex::new(Wal::after(folder, written)),
            db,
        };
        journal.jobs().try_for_each(|job| journal.find(&job?))?;
        journal.claims().try_for_each(|claim| journal.find(&claim?))?;
        let lost = wal::lines(folder, written)?;
        if let Some(last) = lost.last() {
            let last = last.number;
            for slot in lost.into_iter().flat_map(|line| line.slots) {
                // Whatever is under its nonce, this came after that.
                let slots_gone = vec![(slot.sender, slot.nonce)];
                commit::commit(&journal, &Batch { slots_gone, slots: vec![slot], ..Batch::default() }, None)?;
            }
            journal.meta.insert(WRITTEN, &last.to_be_bytes())?;
            *journal.wal() = Wal::after(folder, last);
        }
        journal.db.flush()?;
        wal::clear(folder)?;
        Ok(journal)
    }

    fn wal(&self) -> MutexGuard<'_, Wal> {
        self.wal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a record to the index.
    fn find<T: Indexed>(&self, record: &T) -> Result<(), JournalError> {
        let entries = record.entries();
        let mut index = self.index_mut();
        if T::home(&index, entries.id).is_some() {
            return Err(JournalError::Twice(format!("request {}", entries.id)));
        }
        index.add(entries);
        Ok(())
    }

    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever writes records holds this meanwhile.
    fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn event_counts(&self) -> MutexGuard<'_, EventCounts> {
        self.event_counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All jobs, one at a time, in the order of their requests.
    pub fn jobs(&self) -> impl Iterator<Item = Result<Job, JournalError>> {
        all(&self.jobs)
    }

    /// All claims, one at a time: those to be claimed, then the paid ones.
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
        let Self { meta, recent_blocks, jobs, inputs, slots, signed, claims, books, .. } = self;
        [meta, recent_blocks, jobs, inputs, slots, signed, claims, books]
    }

    pub(super) fn put_job(&self, job: &Job, input: Option<&Bytes>) -> Result<(), JournalError> {
        if let Some(input) = input {
            self.inputs.insert(index::home_key(job.entries().home, job.task().id), input.as_ref())?;
        }
        self.put_indexed(&self.jobs, job)
    }

    pub(super) fn put_claim(&self, claim: &Claim) -> Result<(), JournalError> {
        self.put_indexed(&self.claims, claim)
    }

    pub(super) fn put_slot(&self, slot: &TrackedTransaction) -> Result<(), JournalError> {
        if slots::is_there(&self.slots, slot)? {
            return Err(JournalError::Twice(format!("nonce {} of {}", slot.nonce, slot.sender)));
        }
        commit::commit(self, &Batch { slots: vec![slot.clone()], ..Batch::default() }, None)?;
        Ok(())
    }

    pub(super) fn put_entry(&self, entry: &Entry) -> Result<(), JournalError> {
        if self.books.insert(entry_key(entry), serde_json::to_vec(entry)?)?.is_some() {
            return Err(JournalError::Twice(format!("hour {} of model {}", entry.hour, entry.model)));
        }
        Ok(())
    }

    fn put_indexed<T: Indexed + Serialize>(&self, tree: &Tree, record: &T) -> Result<(), JournalError> {
        let Entries { id, home, .. } = record.entries();
        self.find(record)?;
        tree.insert(index::home_key(home, id), serde_json::to_vec(record)?)?;
        Ok(())
    }

    /// At most `limit` places of a view in a range, in order or from the far end.
    fn places(
        &self,
        view: View,
        range: Range<Position>,
        limit: usize,
        from_end: bool,
    ) -> Result<Vec<Position>, JournalError> {
        let tree = match view {
            View::Requested => &self.jobs,
            View::Vesting | View::Paid => &self.claims,
            _ => return taken(self.index().of_state(view, range).map(Ok), limit, from_end),
        };
        // An empty range is a mistake to sled.
        let [start, end] = [range.start, range.end.max(range.start)].map(|at| index::view_key(view, at));
        taken(tree.range(start..end).keys().map(|key| index::position(&key?).ok_or_else(damaged)), limit, from_end)
    }
}

fn taken(
    places: impl DoubleEndedIterator<Item = Result<Position, JournalError>>,
    limit: usize,
    from_end: bool,
) -> Result<Vec<Position>, JournalError> {
    if from_end { places.rev().take(limit).collect() } else { places.take(limit).collect() }
}

fn get<T: Indexed + DeserializeOwned>(tree: &Tree, index: &Index, id: B256) -> Result<Option<T>, JournalError> {
    let Some(home) = T::home(index, id) else { return Ok(None) };
    Ok(tree.get(index::home_key(home, id))?.map(|bytes| serde_json::from_slice(&bytes)).transpose()?)
}

pub(super) fn damaged() -> JournalError {
    JournalError::Store(sled::Error::Corruption { at: None, bt: () })
}

/// The blocks of a ring, ascending.
pub(super) fn blocks(recent_blocks: &Tree) -> impl Iterator<Item = Result<BlockRef, JournalError>> + use<> {
    recent_blocks.iter().map(|entry| {
        let (key, value) = entry?;
        let number = <[u8; 8]>::try_from(key.as_ref()).map_err(|_| damaged())?;
        let hash = B256::try_from(value.as_ref()).map_err(|_| damaged())?;
        Ok(BlockRef { number: u64::from_be_bytes(number), hash })
    })
}

pub(super) fn all<T: DeserializeOwned>(tree: &Tree) -> impl Iterator<Item = Result<T, JournalError>> + use<T> {
    tree.iter().values().map(|value| Ok(serde_json::from_slice(&value?)?))
}

/// Hour and model: the books of a day are a range of keys.
pub(super) fn entry_key(entry: &Entry) -> Vec<u8> {
    [&entry.hour.to_be_bytes(), entry.model.as_slice()].concat()
}

impl Journal for SledJournal {
    fn commit(&self, batch: &Batch) -> Result<Vec<(B256, InvalidTransition)>, JournalError> {
        // That one was mined is asked for again at a start.
        if batch.slots.iter().all(|slot| slot.mined.is_some()) {
            return commit::commit(self, batch, None);
        }
        commit::commit(self, batch, Some(&mut self.wal()))
    }

    fn cursor(&self) -> Result<Option<BlockRef>, JournalError> {
        Ok(self.meta.get(CURSOR)?.map(|bytes| serde_json::from_slice(&bytes)).transpose()?)
    }

    fn recent_blocks(&self) -> Result<Vec<BlockRef>, JournalError> {
        blocks(&self.recent_blocks).collect()
    }

    fn job(&self, id: B256) -> Result<Option<Job>, JournalError> {
        get(&self.jobs, &self.index(), id)
    }

    fn walk(&self, view: View, range: Range<Position>, limit: usize) -> Result<Vec<Position>, JournalError> {
        self.places(view, range, limit, false)
    }

    fn walk_back(&self, view: View, range: Range<Position>, limit: usize) -> Result<Vec<Position>, JournalError> {
        self.places(view, range, limit, true)
    }

    fn count(&self, view: View) -> usize {
        self.index().count(view)
    }

    fn due(&self, model: B256, range: Range<Position>, limit: usize) -> Result<Vec<Position>, JournalError> {
        Ok(self.index().due(model, range).take(limit).collect())
    }

    fn waiting(&self) -> Vec<(B256, usize)> {
        self.index().waiting()
    }

    fn tally(&self) -> Vec<Tally> {
        let tally = |(&(model, event, reason), &count)| Tally { model, event, reason, count };
        self.event_counts().iter().map(tally).collect()
    }

    fn input(&self, id: B256) -> Result<Option<Bytes>, JournalError> {
        let index = self.index();
        let Some(home) = Job::home(&index, id) else { return Ok(None) };
        Ok(self.inputs.get(index::home_key(home, id))?.map(|bytes| Bytes::copy_from_slice(&bytes)))
    }

    fn slots(&self) -> Result<Vec<TrackedTransaction>, JournalError> {
        slots::all_of(&self.slots, &self.signed).collect()
    }

    fn slots_without_bytes(&self) -> Result<Vec<TrackedTransaction>, JournalError> {
        all(&self.slots).collect()
    }

    fn claim(&self, id: B256) -> Result<Option<Claim>, JournalError> {
        get(&self.claims, &self.index(), id)
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
        self.recent_blocks.clear()?;
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

    fn sync(&self) -> Result<(), JournalError> {
        self.db.flush()?;
        // sled's flush does not reach the disk by itself (its issue 1452).
        let file = self.folder.join("db");
        fs::File::open(&file)
            .and_then(|file| file.sync_all())
            .map_err(|source| JournalError::Folder { path: file.display().to_string(), source })
    }
}

#[cfg(test)]
mod tests;
