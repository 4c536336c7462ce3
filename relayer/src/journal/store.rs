//! The adapter over sled.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use alloy::primitives::{B256, Bytes};
use serde::{Serialize, de::DeserializeOwned};
use sled::Tree;

use super::{
    Batch, Claim, Entry, Journal, JournalError, Position, Slot, Tally, View, commit,
    index::{self, Entries, Home, Indexed},
    slots,
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
    /// Under the keys of their jobs.
    pub(super) inputs: Tree,
    pub(super) slots: Tree,
    pub(super) signed: Tree,
    pub(super) claims: Tree,
    pub(super) books: Tree,
    pub(super) index: Tree,
    counts: Mutex<Counts>,
    homes: RwLock<Homes>,
}

/// Where the records lie, by their ids. It is kept in memory, some 50 bytes each: in a tree, ids come in no order, and each
/// write would touch a page of its own, which makes sled's files grow to many times what is in them.
#[derive(Debug, Default)]
pub(super) struct Homes {
    pub(super) jobs: HashMap<B256, Home>,
    pub(super) claims: HashMap<B256, Home>,
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
        for view in entries.views() {
            *self.views.entry(view).or_default() += change;
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
            signed: db.open_tree("signed")?,
            claims: db.open_tree("claims")?,
            books: db.open_tree("books")?,
            index: db.open_tree("index")?,
            counts: Mutex::default(),
            homes: RwLock::default(),
            db,
        };
        for tree in [&journal.jobs, &journal.claims, &journal.index] {
            tree.iter().keys().try_for_each(|key| journal.remember(&key?))?;
        }
        Ok(journal)
    }

    /// Counts a key that is in a tree, and remembers the record that lies there.
    fn remember(&self, key: &[u8]) -> Result<(), JournalError> {
        let first = *key.first().ok_or_else(damaged)?;
        if first == 0 {
            let model = index::due_model(key).ok_or_else(damaged)?;
            *self.counts().due.entry(model).or_default() += 1;
            return Ok(());
        }
        // A view that is no more is nobody's; compacting drops its keys.
        let Some(view) = View::ALL.into_iter().find(|view| *view as u8 == first) else { return Ok(()) };
        *self.counts().views.entry(view).or_default() += 1;
        let at = index::position(key).ok_or_else(damaged)?;
        match view {
            View::Requested => drop(self.homes_mut().jobs.insert(at.id, (view, at.height))),
            View::Vesting | View::Paid => drop(self.homes_mut().claims.insert(at.id, (view, at.height))),
            _ => {}
        }
        Ok(())
    }

    fn homes(&self) -> RwLockReadGuard<'_, Homes> {
        self.homes.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever writes records holds this meanwhile.
    pub(super) fn homes_mut(&self) -> RwLockWriteGuard<'_, Homes> {
        self.homes.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
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

    pub(super) fn trees(&self) -> [&Tree; 9] {
        let Self { meta, ring, jobs, inputs, slots, signed, claims, books, index, .. } = self;
        [meta, ring, jobs, inputs, slots, signed, claims, books, index]
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

    pub(super) fn put_job(&self, job: &Job, input: Option<&Bytes>) -> Result<(), JournalError> {
        if let Some(input) = input {
            self.inputs.insert(index::home_key(job.entries().home, job.task().id), input.as_ref())?;
        }
        self.put_indexed(&self.jobs, job)
    }

    pub(super) fn put_claim(&self, claim: &Claim) -> Result<(), JournalError> {
        self.put_indexed(&self.claims, claim)
    }

    pub(super) fn put_entry(&self, entry: &Entry) -> Result<(), JournalError> {
        self.books.insert(entry_key(entry), serde_json::to_vec(entry)?)?;
        Ok(())
    }

    fn put_indexed<T: Indexed + Serialize>(&self, tree: &Tree, record: &T) -> Result<(), JournalError> {
        let entries = record.entries();
        let key = index::home_key(entries.home, entries.id);
        tree.insert(&key, serde_json::to_vec(record)?)?;
        self.remember(&key)?;
        entries.keys().try_for_each(|key| {
            self.index.insert(&key, &[])?;
            self.remember(&key)
        })
    }

    fn in_view(
        &self,
        view: View,
        range: Range<Position>,
    ) -> impl DoubleEndedIterator<Item = Result<Position, JournalError>> {
        let tree = match view {
            View::Requested => &self.jobs,
            View::Vesting | View::Paid => &self.claims,
            _ => &self.index,
        };
        positions(tree, index::view_key(view, range.start)..index::view_key(view, range.end))
    }
}

fn get<T: DeserializeOwned>(tree: &Tree, home: Option<&Home>, id: B256) -> Result<Option<T>, JournalError> {
    let Some(home) = home else { return Ok(None) };
    Ok(tree.get(index::home_key(*home, id))?.map(|bytes| serde_json::from_slice(&bytes)).transpose()?)
}

fn positions(tree: &Tree, range: Range<Vec<u8>>) -> impl DoubleEndedIterator<Item = Result<Position, JournalError>> {
    // An empty range is a mistake to sled.
    let end = range.end.max(range.start.clone());
    tree.range(range.start..end).keys().map(|key| index::position(&key?).ok_or_else(damaged))
}

pub(super) fn damaged() -> JournalError {
    JournalError::Store(sled::Error::Corruption { at: None, bt: () })
}

/// The blocks of a ring, ascending.
pub(super) fn blocks(ring: &Tree) -> impl Iterator<Item = Result<BlockRef, JournalError>> + use<> {
    ring.iter().map(|entry| {
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
    fn commit(&self, batch: &Batch) -> Result<Vec<(B256, Illegal)>, JournalError> {
        commit::commit(self, batch)
    }

    fn cursor(&self) -> Result<Option<BlockRef>, JournalError> {
        Ok(self.meta.get(CURSOR)?.map(|bytes| serde_json::from_slice(&bytes)).transpose()?)
    }

    fn ring(&self) -> Result<Vec<BlockRef>, JournalError> {
        blocks(&self.ring).collect()
    }

    fn job(&self, id: B256) -> Result<Option<Job>, JournalError> {
        let homes = self.homes();
        get(&self.jobs, homes.jobs.get(&id), id)
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
        positions(&self.index, index::due_key(model, range.start)..index::due_key(model, range.end))
            .take(limit)
            .collect()
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
        let Some(home) = self.homes().jobs.get(&id).copied() else { return Ok(None) };
        Ok(self.inputs.get(index::home_key(home, id))?.map(|bytes| Bytes::copy_from_slice(&bytes)))
    }

    fn slots(&self) -> Result<Vec<Slot>, JournalError> {
        slots::all_of(&self.slots, &self.signed).collect()
    }

    fn claim(&self, id: B256) -> Result<Option<Claim>, JournalError> {
        let homes = self.homes();
        get(&self.claims, homes.claims.get(&id), id)
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
