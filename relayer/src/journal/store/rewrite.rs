//! Writing a journal anew, record by record: for an older layout, without sled's garbage, or from exported lines.
//!
//! The new journal is written beside the old one, as `db-new`, brought to the disk, and renamed: the old one is `db-old` for
//! a moment. A crash leaves one of the two complete, and the next opening finds it.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use alloy::primitives::Bytes;
use serde::Serialize;
use sled::Tree;

use super::{
    answers,
    record::Record,
    transactions,
    trees::{CURSOR, IDENTITY, SCHEMA, damaged, entry_key, folder},
    writes::Writes,
};
use crate::{
    domain::{Entry, Job, TrackedTransaction},
    journal::{
        Journal, JournalError, SledJournal, VERSION,
        index::{Entries, Indexed, home_key},
    },
};

/// The database's folder, and its names while it is rewritten.
pub(super) const DB: &str = "db";
pub(super) const NEW: &str = "db-new";
pub(super) const OLD: &str = "db-old";

/// How long opening waits for a database that is in use.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// Writes a journal of records beside the one that is there, on the disk itself; `swap` then puts it in its place.
pub(super) fn rewrite(
    path: &Path,
    records: impl Iterator<Item = Result<Record, JournalError>>,
) -> Result<(), JournalError> {
    let new = path.join(NEW);
    // What a crash left is of no use.
    remove(path, NEW)?;
    let written = (|| {
        let journal = SledJournal::with(&new, open_database(&new)?)?;
        for record in records {
            journal.put(&record?)?;
        }
        journal.trees.meta.insert(SCHEMA, serde_json::to_vec(&VERSION)?)?;
        journal.sync()
    })();
    if written.is_err() {
        // It is of no use, and would be in the way.
        let _ = fs::remove_dir_all(&new);
    }
    written
}

/// Puts a rewritten journal in the place of the old one, if there is an old one.
pub(super) fn swap(path: &Path) -> Result<(), JournalError> {
    if path.join(DB).exists() {
        rename(path, DB, OLD)?;
    }
    rename(path, NEW, DB)?;
    // The names are on the disk before the old journal is gone.
    fs::File::open(path).and_then(|file| file.sync_all()).map_err(|source| folder(path, source))?;
    remove(path, OLD)
}

/// Finishes or takes back a rewriting that a crash cut off. `open` gets the database's folder.
pub(super) fn recover(
    path: &Path,
    open: impl FnOnce(&Path) -> Result<sled::Db, JournalError>,
) -> Result<sled::Db, JournalError> {
    if !path.join(DB).exists() && path.join(OLD).exists() {
        rename(path, OLD, DB)?;
    }
    let db = open(&path.join(DB))?;
    // Nobody else is at it: what a crash left is of no use.
    remove(path, NEW)?;
    remove(path, OLD)?;
    Ok(db)
}

/// Opens a database. One that is in use is tried again for a while: sled's threads keep it for a moment after it was
/// closed, and so does a process that is about to end.
pub(super) fn open_database(path: &Path) -> Result<sled::Db, JournalError> {
    let config = sled::Config::new().path(path).cache_capacity(16 << 20).flush_every_ms(None);
    let began = Instant::now();
    loop {
        // sled panics on some damaged files instead of returning an error.
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| config.open())) {
            Ok(Err(error)) if is_locked(&error) && began.elapsed() < LOCK_TIMEOUT => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Ok(opened) => return Ok(opened?),
            Err(_) => return Err(damaged()),
        }
    }
}

pub(super) fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(io) if io.kind() == std::io::ErrorKind::WouldBlock || io.to_string().contains("lock"))
}

fn rename(path: &Path, from: &str, to: &str) -> Result<(), JournalError> {
    fs::rename(path.join(from), path.join(to)).map_err(|source| folder(&path.join(from), source))
}

fn remove(path: &Path, name: &str) -> Result<(), JournalError> {
    match fs::remove_dir_all(path.join(name)) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(folder(&path.join(name), source)),
        _ => Ok(()),
    }
}

/// Writing records as they are, which is only for a journal that nobody uses yet.
impl SledJournal {
    fn put(&self, record: &Record) -> Result<(), JournalError> {
        let trees = &self.trees;
        match record {
            Record::Journal { identity, .. } => {
                trees.meta.insert(IDENTITY, serde_json::to_vec(identity)?)?;
            }
            Record::Cursor(block) => {
                trees.meta.insert(CURSOR, serde_json::to_vec(block)?)?;
            }
            Record::RecentBlock(block) => {
                trees.recent_blocks.insert(block.number.to_be_bytes(), block.hash.as_slice())?;
            }
            Record::Job { job, input } => self.put_job(job, input.as_ref())?,
            Record::TrackedTransaction(transaction) => self.put_transaction(transaction)?,
            Record::Claim(claim) => self.put_indexed(&trees.claims, &**claim)?,
            Record::Entry(entry) => self.put_entry(entry)?,
            Record::SignedAnswer(answer) => {
                if answers::digest(&trees.answers, answer)?.is_some() {
                    return Err(JournalError::Twice(format!("the answer to request {}", answer.request)));
                }
                self.put_all(|writes| {
                    answers::put(writes, answer);
                    Ok(())
                })?;
            }
            Record::SigningLimits(limits) => self.put_all(|writes| answers::put_limits(writes, limits))?,
        }
        Ok(())
    }

    fn put_job(&self, job: &Job, input: Option<&Bytes>) -> Result<(), JournalError> {
        if let Some(input) = input {
            self.trees.inputs.insert(home_key(job.entries().home, job.task().id), input.as_ref())?;
        }
        self.put_indexed(&self.trees.jobs, job)
    }

    fn put_transaction(&self, transaction: &TrackedTransaction) -> Result<(), JournalError> {
        if transactions::is_there(&self.trees.transactions, transaction)? {
            return Err(JournalError::Twice(format!("nonce {} of {}", transaction.nonce, transaction.sender)));
        }
        self.put_all(|writes| transactions::put(writes, transaction))
    }

    fn put_all(&self, change: impl FnOnce(&mut Writes<'_>) -> Result<(), JournalError>) -> Result<(), JournalError> {
        let mut writes = Writes::over(&self.trees);
        change(&mut writes)?;
        Ok(self.trees.put(&writes.finish())?)
    }

    fn put_entry(&self, entry: &Entry) -> Result<(), JournalError> {
        if self.trees.ledger.insert(entry_key(entry.hour, entry.model), serde_json::to_vec(entry)?)?.is_some() {
            return Err(JournalError::Twice(format!("hour {} of model {}", entry.hour, entry.model)));
        }
        Ok(())
    }

    fn put_indexed<T: Indexed + Serialize>(&self, tree: &Tree, record: &T) -> Result<(), JournalError> {
        let Entries { id, home, .. } = record.entries();
        self.find(record)?;
        tree.insert(home_key(home, id), serde_json::to_vec(record)?)?;
        Ok(())
    }
}
