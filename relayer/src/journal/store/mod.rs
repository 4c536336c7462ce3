//! The adapter over sled.

mod answers;
mod commit;
mod migrate;
mod open;
mod record;
mod rewrite;
mod transactions;
mod transfer;
mod trees;
mod wal;

pub use record::Record;

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use alloy::primitives::{B256, Bytes};
use serde::de::DeserializeOwned;
use sled::Tree;
use tracing::warn;

use self::{
    answers::Marker,
    commit::{Committed, commit},
    trees::{CURSOR, Trees, WRITTEN, all, blocks, damaged, folder},
    wal::Wal,
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

/// The journal in a sled database.
#[derive(Debug)]
pub struct SledJournal {
    /// The database's.
    folder: PathBuf,
    trees: Trees,
    index: RwLock<Index>,
    event_counts: Mutex<EventCounts>,
    signing: Mutex<Signing>,
    /// Locked after `signing`, and before `index`.
    wal: Mutex<Wal>,
}

/// What may be signed, and whether records of that wait for the disk.
#[derive(Debug)]
struct Signing {
    limits: SigningLimits,
    /// Whether the file beside the database says so.
    marked: bool,
}

impl SledJournal {
    /// The journal in an open database, with what that lost of the log of transactions. Reads every job and claim.
    fn with(folder: &Path, db: sled::Db) -> Result<Self, JournalError> {
        let trees = Trees::open(db)?;
        let written = trees.written()?;
        let limits = answers::limits(&trees.meta)?;
        let journal = Self {
            folder: folder.to_owned(),
            trees,
            index: RwLock::default(),
            event_counts: Mutex::default(),
            signing: Mutex::new(Signing { limits, marked: false }),
            wal: Mutex::new(Wal::after(folder, written)),
        };
        journal.jobs().try_for_each(|job| journal.find(&job?))?;
        journal.claims().try_for_each(|claim| journal.find(&claim?))?;
        let lost = wal::lines(folder, written)?;
        if let Some(last) = lost.last() {
            let last = last.number;
            for answer in lost.iter().flat_map(|line| line.answers.iter()) {
                answers::restore(&journal.trees.answers, answer)?;
            }
            for transaction in lost.into_iter().flat_map(|line| line.transactions.into_owned()) {
                // Whatever is under its nonce, this came after that.
                let transactions_gone = vec![(transaction.sender, transaction.nonce)];
                journal
                    .write(&Batch { transactions_gone, transactions: vec![transaction], ..Batch::default() }, None)?;
            }
            journal.trees.meta.insert(WRITTEN, &last.to_be_bytes())?;
            *journal.wal() = Wal::after(folder, last);
        }
        journal.trees.db.flush()?;
        wal::clear(folder)?;
        Ok(journal)
    }

    /// Writes a batch, all or nothing, with the number of its line in the log of transactions. Returns what was refused,
    /// and whether anything was written.
    fn write(
        &self,
        batch: &Batch,
        number: Option<u64>,
    ) -> Result<(Vec<(B256, InvalidTransition)>, bool), JournalError> {
        // Held until what was written is known to whoever reads.
        let mut index = self.index_mut();
        let Committed { refused, event_counts, moved } = match commit(&self.trees, &index, batch, number)? {
            Ok(committed) => committed,
            Err(refused) => return Ok((vec![refused], false)),
        };
        for (old, new) in moved {
            index.replace(old.as_ref(), new);
        }
        drop(index);
        let mut counts = self.counts();
        for (event, count) in event_counts {
            *counts.entry(event).or_default() += count;
        }
        Ok((refused, true))
    }

    /// Takes over what the file beside the database says: whether records wait for the disk, and whether some may be lost.
    fn expect_signed(&self, marked: bool, lost: bool) -> Result<(), JournalError> {
        let mut signing = self.signing();
        signing.marked = marked || lost;
        if lost {
            signing.limits.unknown = true;
            answers::set_limits(&self.trees.meta, &signing.limits)?;
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
        let tree = match view {
            View::Requested => &self.trees.jobs,
            View::Vesting | View::Paid => &self.trees.claims,
            _ => return taken(self.index().of_state(view, range).map(Ok), limit, from_end),
        };
        // An empty range is a mistake to sled.
        let [start, end] = [range.start, range.end.max(range.start)].map(|at| view_key(view, at));
        taken(tree.range(start..end).keys().map(|key| position(&key?).ok_or_else(damaged)), limit, from_end)
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
    Ok(tree.get(home_key(home, id))?.map(|bytes| serde_json::from_slice(&bytes)).transpose()?)
}

impl Journal for SledJournal {
    fn commit(&self, batch: &Batch) -> Result<Vec<(B256, InvalidTransition)>, JournalError> {
        if !batch.has_pending_transactions() {
            return Ok(self.write(batch, None)?.0);
        }
        let mut wal = self.wal();
        let (refused, written) = self.write(batch, Some(wal.next()))?;
        if written {
            wal.append(&batch.transactions, &[], &self.trees.db)?;
        }
        Ok(refused)
    }

    fn record_signed(&self, answer: &SignedAnswer) -> Result<(), RecordSignedError> {
        let Trees { db, answers, .. } = &self.trees;
        let mut signing = self.signing();
        if !signing.limits.check(answer, answers::digest(answers, answer)?)? {
            return Ok(());
        }
        if !signing.marked {
            Marker::now(false).write(self.path())?;
            signing.marked = true;
        }
        let mut wal = self.wal();
        answers::put(&self.trees, answer, wal.next())?;
        if let Err(error) = wal.append(&[], std::slice::from_ref(answer), db) {
            // Else the same answer would be taken next time, and a kill could take the record.
            answers::take_back(answers, answer)?;
            return Err(error.into());
        }
        Ok(())
    }

    fn signed_answers(&self) -> Result<Vec<SignedAnswer>, JournalError> {
        answers::all_of(&self.trees.answers).collect()
    }

    fn prune_signed(&self, last_final: u64) -> Result<(), JournalError> {
        let Trees { meta, answers, .. } = &self.trees;
        let mut signing = self.signing();
        let due = answers::due(answers, last_final, PRUNE_BATCH)?;
        if due.is_empty() {
            return Ok(());
        }
        let limits = signing.limits.pruned_to(last_final);
        answers::set_limits(meta, &limits)?;
        signing.limits = limits;
        for key in due {
            answers.remove(key)?;
        }
        Ok(())
    }

    fn caught_up(&self) -> Result<(), JournalError> {
        let mut signing = self.signing();
        if !signing.limits.unknown {
            return Ok(());
        }
        let limits = signing.limits.caught_up(self.cursor()?.map(|block| block.number));
        answers::set_limits(&self.trees.meta, &limits)?;
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
        self.trees.meta.remove(CURSOR)?;
        let all = || Position::first_at(0)..Position::last_at(u64::MAX);
        let ids = |at: Vec<Position>| at.into_iter().map(|at| at.id).collect::<Vec<_>>();
        self.trees.recent_blocks.clear()?;
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
        self.trees.db.flush()?;
        // sled's flush does not reach the disk by itself (its issue 1452).
        let file = self.folder.join("db");
        fs::File::open(&file).and_then(|file| file.sync_all()).map_err(|source| folder(&file, source))?;
        if std::mem::take(&mut signing.marked) {
            Marker::now(true).write(self.path())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
