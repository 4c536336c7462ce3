//! The adapter over sled.

mod answers;
mod flusher;
mod line;
mod migrate;
mod open;
mod plan;
mod record;
mod rewrite;
mod transactions;
mod transfer;
mod trees;
mod wal;
mod writes;

pub use record::Record;

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use alloy::primitives::{B256, Bytes};
use serde::de::DeserializeOwned;
use sled::Tree;
use tracing::warn;

use self::{
    answers::Marker,
    flusher::Flusher,
    line::{Line, TreeName},
    plan::{Plan, plan},
    trees::{CURSOR, Trees, all, blocks, damaged},
    wal::Wal,
    writes::Writes,
};
use super::{
    Batch, EventCount, Journal, JournalError, RecordSignedError, SigningLimits,
    changes::EventCounts,
    index::{Index, Indexed, Position, View, home_key, position, view_key},
    signing::PRUNE_BATCH,
};
use crate::{
    chain::BlockRef,
    domain::{Claim, Entry, InvalidTransition, Job, SignedAnswer, TrackedTransaction},
};

/// Records that one step of a long operation takes.
const STEP: usize = 1_024;

/// The journal in a sled database, with a write-ahead log before it: a kill takes nothing that was committed.
#[derive(Debug)]
pub struct SledJournal {
    /// The database's.
    folder: PathBuf,
    trees: Trees,
    index: RwLock<Index>,
    event_counts: Mutex<EventCounts>,
    signing: Mutex<Signing>,
    /// Whoever writes holds this. Locked after `signing`, and before `index`.
    wal: Arc<Mutex<Wal>>,
    _flusher: Flusher,
}

/// What may be signed, and whether records of that wait for the disk.
#[derive(Debug)]
struct Signing {
    limits: SigningLimits,
    /// Whether the file beside the database says so.
    marked: bool,
}

impl SledJournal {
    /// The journal in an open database, with what that lost of the log. Reads every job and claim.
    fn with(folder: &Path, db: sled::Db) -> Result<Self, JournalError> {
        let trees = Trees::open(db)?;
        let last = recover(&trees, folder)?;
        let limits = answers::limits(&trees.meta)?;
        let wal = Arc::new(Mutex::new(Wal::after(folder, last)));
        let flusher = Flusher::start(wal.clone(), trees.db.clone(), folder)?;
        let journal = Self {
            folder: folder.to_owned(),
            trees,
            index: RwLock::default(),
            event_counts: Mutex::default(),
            signing: Mutex::new(Signing { limits, marked: false }),
            wal,
            _flusher: flusher,
        };
        journal.jobs().try_for_each(|job| journal.find(&job?))?;
        journal.claims().try_for_each(|claim| journal.find(&claim?))?;
        Ok(journal)
    }

    /// Commits writes that change no job and no claim.
    fn write(&self, change: impl FnOnce(&mut Writes<'_>) -> Result<(), JournalError>) -> Result<(), JournalError> {
        let mut wal = self.wal();
        let mut writes = Writes::over(&self.trees);
        change(&mut writes)?;
        let line = wal.append(writes.finish())?;
        self.write_line(&mut wal, &line)
    }

    /// Writes a line of the log to the trees.
    fn write_line(&self, wal: &mut Wal, line: &Line) -> Result<(), JournalError> {
        Ok(self.trees.write(line).inspect_err(|error| wal.fail(error))?)
    }

    /// Takes over what the file beside the database says: whether records wait for the disk, and whether some may be lost.
    pub(crate) fn expect_signed(&self, marked: bool, lost: bool) -> Result<(), JournalError> {
        let mut signing = self.signing();
        signing.marked = marked || lost;
        if lost {
            signing.limits.unknown = true;
            self.write(|writes| answers::put_limits(writes, &signing.limits))?;
            warn!(
                "what was signed may be forgotten, after a loss of power or without the old journal: requests that are \
                 older than this start are not answered"
            );
        }
        Ok(())
    }

    /// The journal's folder, in which the database's is.
    fn path(&self) -> &Path {
        self.folder.parent().unwrap_or(&self.folder)
    }

    fn signing(&self) -> MutexGuard<'_, Signing> {
        self.signing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wal(&self) -> MutexGuard<'_, Wal> {
        wal::lock(&self.wal)
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

    fn counts(&self) -> MutexGuard<'_, EventCounts> {
        self.event_counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All jobs, one at a time, in the order of their requests.
    pub fn jobs(&self) -> impl Iterator<Item = Result<Job, JournalError>> {
        all(&self.trees.jobs)
    }

    /// All claims, one at a time: those to be claimed, then the paid ones.
    pub fn claims(&self) -> impl Iterator<Item = Result<Claim, JournalError>> {
        all(&self.trees.claims)
    }

    /// Bytes of its files.
    ///
    /// # Errors
    /// `Store`.
    pub fn disk_bytes(&self) -> Result<u64, JournalError> {
        Ok(self.trees.db.size_on_disk()?)
    }

    /// At most `limit` places of a view in a range, in order or from the far end.
    fn places(
        &self,
        view: View,
        range: Range<Position>,
        limit: usize,
        from_end: bool,
    ) -> Result<Vec<Position>, JournalError> {
        // Held, so that a record that moves is in one place.
        let index = self.index();
        let tree = match view {
            View::Requested => &self.trees.jobs,
            View::Vesting | View::Paid => &self.trees.claims,
            _ => return taken(index.of_state(view, range).map(Ok), limit, from_end),
        };
        // An empty range is a mistake to sled.
        let [start, end] = [range.start, range.end.max(range.start)].map(|at| view_key(view, at));
        taken(tree.range(start..end).keys().map(|key| position(&key?).ok_or_else(damaged)), limit, from_end)
    }
}

/// Writes what the trees lost of the log, and deletes that; returns the number of the last commit.
///
/// # Errors
/// `Torn` if the trees have a part of a commit whose line is lost; `Store` or `Folder`.
fn recover(trees: &Trees, path: &Path) -> Result<u64, JournalError> {
    let (written, begun) = (trees.written()?, trees.begun()?);
    let lines = wal::lines(path, written)?;
    let last = lines.last().map_or(written, |line| line.number);
    if begun > last {
        return Err(JournalError::Torn(begun));
    }
    lines.iter().try_for_each(|line| trees.write(line))?;
    trees.db.flush()?;
    wal::clear(path)?;
    Ok(last)
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
    Ok(tree.get(home_key(home, id))?.map(|bytes| serde_json::from_slice(&bytes)).transpose()?)
}

impl Journal for SledJournal {
    fn commit(&self, batch: &Batch) -> Result<Vec<(B256, InvalidTransition)>, JournalError> {
        let mut wal = self.wal();
        let Plan { writes, refused, event_counts, moved } = match plan(&self.trees, &self.index(), batch)? {
            Ok(plan) => plan,
            Err(refused) => return Ok(vec![refused]),
        };
        let line = if writes.is_empty() { None } else { Some(wal.append(writes)?) };
        // Held until what was written is known to whoever reads.
        let mut index = self.index_mut();
        line.map_or(Ok(()), |line| self.write_line(&mut wal, &line))?;
        for (old, new) in moved {
            index.replace(old.as_ref(), new);
        }
        drop(index);
        let mut counts = self.counts();
        for (event, count) in event_counts {
            *counts.entry(event).or_default() += count;
        }
        Ok(refused)
    }

    fn record_signed(&self, answer: &SignedAnswer) -> Result<(), RecordSignedError> {
        let mut signing = self.signing();
        if !signing.limits.check(answer, answers::digest(&self.trees.answers, answer)?)? {
            return Ok(());
        }
        if !signing.marked {
            Marker::now(false).write(self.path())?;
            signing.marked = true;
        }
        self.write(|writes| {
            answers::put(writes, answer);
            Ok(())
        })?;
        Ok(())
    }

    fn signed_answers(&self) -> Result<Vec<SignedAnswer>, JournalError> {
        answers::all_of(&self.trees.answers).collect()
    }

    fn prune_signed(&self, last_final: u64) -> Result<(), JournalError> {
        let mut signing = self.signing();
        let due = answers::due(&self.trees.answers, last_final, PRUNE_BATCH)?;
        if due.is_empty() {
            return Ok(());
        }
        let limits = signing.limits.pruned_to(last_final);
        self.write(|writes| {
            due.into_iter().for_each(|key| writes.remove(TreeName::Answers, key.as_ref()));
            answers::put_limits(writes, &limits)
        })?;
        signing.limits = limits;
        Ok(())
    }

    fn caught_up(&self) -> Result<(), JournalError> {
        let mut signing = self.signing();
        if !signing.limits.unknown {
            return Ok(());
        }
        let limits = signing.limits.caught_up(self.cursor()?.map(|block| block.number));
        self.write(|writes| answers::put_limits(writes, &limits))?;
        signing.limits = limits;
        drop(signing);
        self.sync()
    }

    fn cursor(&self) -> Result<Option<BlockRef>, JournalError> {
        Ok(self.trees.meta.get(CURSOR)?.map(|bytes| serde_json::from_slice(&bytes)).transpose()?)
    }

    fn recent_blocks(&self) -> Result<Vec<BlockRef>, JournalError> {
        blocks(&self.trees.recent_blocks).collect()
    }

    fn job(&self, id: B256) -> Result<Option<Job>, JournalError> {
        get(&self.trees.jobs, &self.index(), id)
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

    fn event_counts(&self) -> Vec<EventCount> {
        EventCount::list(&self.counts())
    }

    fn input(&self, id: B256) -> Result<Option<Bytes>, JournalError> {
        let index = self.index();
        let Some(home) = Job::home(&index, id) else { return Ok(None) };
        Ok(self.trees.inputs.get(home_key(home, id))?.map(|bytes| Bytes::copy_from_slice(&bytes)))
    }

    fn transactions(&self) -> Result<Vec<TrackedTransaction>, JournalError> {
        // Held, so that a transaction is there with its signed bytes.
        let _index = self.index();
        transactions::all_of(&self.trees.transactions, &self.trees.attempts).collect()
    }

    fn transactions_without_bytes(&self) -> Result<Vec<TrackedTransaction>, JournalError> {
        all(&self.trees.transactions).collect()
    }

    fn claim(&self, id: B256) -> Result<Option<Claim>, JournalError> {
        get(&self.trees.claims, &self.index(), id)
    }

    fn ledger(&self, from_hour: u64) -> Result<Vec<Entry>, JournalError> {
        let entries = self.trees.ledger.range(from_hour.to_be_bytes().as_slice()..);
        entries.values().map(|value| Ok(serde_json::from_slice(&value?)?)).collect()
    }

    fn clear(&self) -> Result<(), JournalError> {
        // Without a cursor the scan begins anew, whatever is still here if this is cut off.
        self.write(|writes| {
            writes.remove(TreeName::Meta, CURSOR);
            Ok(())
        })?;
        let all = || Position::first_at(0)..Position::last_at(u64::MAX);
        let ids = |at: Vec<Position>| at.into_iter().map(|at| at.id).collect::<Vec<_>>();
        let recent_blocks_gone = self.recent_blocks()?.into_iter().map(|block| block.number).collect();
        self.commit(&Batch { recent_blocks_gone, ..Batch::default() })?;
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
        // No answer is recorded between the disk and the word that it has all.
        let mut signing = self.signing();
        wal::flush(&self.wal, &self.trees.db)?;
        wal::sync_database(&self.folder)?;
        if std::mem::take(&mut signing.marked) {
            Marker::now(true).write(self.path())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
