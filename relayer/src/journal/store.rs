//! The adapter over sled.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use alloy::primitives::{Address, B256, Bytes};
use serde::{Serialize, de::DeserializeOwned};
use sled::{
    Transactional, Tree,
    transaction::{ConflictableTransactionError, TransactionError, TransactionalTree},
};
use tracing::warn;

use super::{Batch, Claim, Entry, Identity, Journal, JournalError, Slot};
use crate::{
    chain::BlockRef,
    lifecycle::{Illegal, Job, Move, Seen},
};

const IDENTITY: &[u8] = b"identity";
const CURSOR: &[u8] = b"cursor";

/// The journal in a sled database.
#[derive(Debug)]
pub struct SledJournal {
    path: PathBuf,
    db: sled::Db,
    meta: Tree,
    ring: Tree,
    jobs: Tree,
    inputs: Tree,
    slots: Tree,
    claims: Tree,
    books: Tree,
}

impl SledJournal {
    /// Opens or creates the journal in a folder. A damaged database is moved aside: the chain has all it held.
    ///
    /// # Errors
    /// `Locked` if another process has it open, `Foreign` if it was written for another deployment or key.
    pub fn open(path: &Path, identity: &Identity) -> Result<Self, JournalError> {
        fs::create_dir_all(path).map_err(|source| folder(path, source))?;
        match Self::try_open(path, identity) {
            Err(JournalError::Store(error)) if is_locked(&error) => {
                Err(JournalError::Locked(path.display().to_string()))
            }
            Err(error @ (JournalError::Store(_) | JournalError::Record(_))) => {
                let aside = move_aside(path)?;
                warn!(%error, aside = %aside.display(), "the journal is damaged: moved aside, rebuilding it from the chain");
                Self::try_open(path, identity)
            }
            other => other,
        }
    }

    /// Opens the journal of a node that does not run, to read it.
    ///
    /// # Errors
    /// `Missing` if there is none, `Locked` if another process has it open.
    pub fn open_existing(path: &Path) -> Result<Self, JournalError> {
        if !path.join("db").is_dir() {
            return Err(JournalError::Missing(path.display().to_string()));
        }
        let db = open_quietly(&path.join("db")).map_err(|error| match error {
            JournalError::Store(error) if is_locked(&error) => JournalError::Locked(path.display().to_string()),
            error => error,
        })?;
        Self::with(path, db)
    }

    fn with(path: &Path, db: sled::Db) -> Result<Self, JournalError> {
        Ok(Self {
            path: path.to_owned(),
            meta: db.open_tree("meta")?,
            ring: db.open_tree("ring")?,
            jobs: db.open_tree("jobs")?,
            inputs: db.open_tree("inputs")?,
            slots: db.open_tree("slots")?,
            claims: db.open_tree("claims")?,
            books: db.open_tree("books")?,
            db,
        })
    }

    fn try_open(path: &Path, identity: &Identity) -> Result<Self, JournalError> {
        let journal = Self::with(path, open_quietly(&path.join("db"))?)?;
        match journal.meta.get(IDENTITY)? {
            None => {
                journal.meta.insert(IDENTITY, serde_json::to_vec(identity)?)?;
            }
            Some(bytes) => {
                let found: Identity = serde_json::from_slice(&bytes)?;
                if found != *identity {
                    return Err(JournalError::Foreign { path: path.display().to_string(), found: Box::new(found) });
                }
            }
        }
        // Records that cannot be read are found now, while the journal can still be rebuilt.
        journal.cursor()?;
        journal.ring()?;
        journal.slots()?;
        journal.claims()?;
        journal.jobs(&|_| false)?;
        Ok(journal)
    }
}

/// sled panics on some damaged files instead of returning an error.
fn open_quietly(path: &Path) -> Result<sled::Db, JournalError> {
    let config = sled::Config::new().path(path).cache_capacity(32 << 20).flush_every_ms(Some(200));
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| config.open())) {
        Ok(opened) => Ok(opened?),
        Err(_) => Err(JournalError::Store(sled::Error::Corruption { at: None, bt: () })),
    }
}

fn folder(path: &Path, source: std::io::Error) -> JournalError {
    JournalError::Folder { path: path.display().to_string(), source }
}

fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(io) if io.kind() == std::io::ErrorKind::WouldBlock || io.to_string().contains("lock"))
}

fn move_aside(path: &Path) -> Result<PathBuf, JournalError> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let aside = (0..)
        .map(|n| path.join(format!("damaged-{seconds}-{n}")))
        .find(|aside| !aside.exists())
        .unwrap_or_else(|| path.join("damaged"));
    fs::rename(path.join("db"), &aside).map_err(|source| folder(path, source))?;
    Ok(aside)
}

enum Abort {
    Record(serde_json::Error),
    Refused(B256, Illegal),
}

type Step<T> = Result<T, ConflictableTransactionError<Abort>>;

fn write<T: Serialize>(tree: &TransactionalTree, key: &[u8], value: &T) -> Step<()> {
    let bytes = serde_json::to_vec(value).map_err(|error| ConflictableTransactionError::Abort(Abort::Record(error)))?;
    tree.insert(key, bytes)?;
    Ok(())
}

fn read_job(tree: &TransactionalTree, id: B256) -> Step<Option<Job>> {
    tree.get(id)?
        .map(|bytes| serde_json::from_slice(&bytes))
        .transpose()
        .map_err(|error| ConflictableTransactionError::Abort(Abort::Record(error)))
}

/// Sender and nonce, so that a sender's transactions are in order.
fn slot_key(sender: Address, nonce: u64) -> Vec<u8> {
    [sender.as_slice(), &nonce.to_be_bytes()].concat()
}

/// Hour and model: the books of a day are a range of keys.
fn add_to_books(books: &TransactionalTree, entry: &Entry) -> Step<()> {
    let key = [&entry.hour.to_be_bytes(), entry.model.as_slice()].concat();
    let mut sum = *entry;
    if let Some(bytes) = books.get(&key)? {
        let old: Entry = serde_json::from_slice(&bytes)
            .map_err(|error| ConflictableTransactionError::Abort(Abort::Record(error)))?;
        sum.spent = old.spent.saturating_add(entry.spent);
        sum.earned = old.earned.saturating_add(entry.earned);
        sum.answers = old.answers.saturating_add(entry.answers);
    }
    write(books, &key, &sum)
}

fn all<T: DeserializeOwned>(tree: &Tree) -> Result<Vec<T>, JournalError> {
    tree.iter().values().map(|value| Ok(serde_json::from_slice(&value?)?)).collect()
}

impl Journal for SledJournal {
    fn commit(&self, batch: &Batch) -> Result<Vec<(B256, Illegal)>, JournalError> {
        let trees = (&self.meta, &self.ring, &self.jobs, &self.inputs, &self.slots, &self.claims, &self.books);
        let outcome = trees.transaction(|(meta, ring, jobs, inputs, slots, claims, books)| {
            let mut refused = Vec::new();
            if let Some(cursor) = &batch.cursor {
                write(meta, CURSOR, cursor)?;
            }
            for number in &batch.ring_gone {
                ring.remove(&number.to_be_bytes())?;
            }
            for block in &batch.ring {
                ring.insert(&block.number.to_be_bytes(), block.hash.as_slice())?;
            }
            for id in &batch.vanished {
                jobs.remove(id.as_slice())?;
                inputs.remove(id.as_slice())?;
            }
            for (task, input) in &batch.seen {
                write(jobs, task.id.as_slice(), &Job::Seen(Seen { task: task.clone() }))?;
                inputs.insert(task.id.as_slice(), input.as_ref())?;
            }
            for (id, step) in &batch.moves {
                let must = matches!(step, Move::Sent { .. });
                let moved = match read_job(jobs, *id)? {
                    None => Err(Illegal("unknown")),
                    Some(job) => job.apply(step.clone()),
                };
                match moved {
                    Ok(job) => {
                        if job.is_closed() {
                            inputs.remove(id.as_slice())?;
                        }
                        write(jobs, id.as_slice(), &job)?;
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
                write(slots, &slot_key(slot.sender, slot.nonce), slot)?;
            }
            for id in &batch.claims_gone {
                claims.remove(id.as_slice())?;
            }
            for claim in &batch.claims {
                write(claims, claim.id.as_slice(), claim)?;
            }
            for entry in &batch.booked {
                add_to_books(books, entry)?;
            }
            Ok(refused)
        });
        match outcome {
            Ok(refused) => Ok(refused),
            Err(TransactionError::Abort(Abort::Refused(id, illegal))) => Ok(vec![(id, illegal)]),
            Err(TransactionError::Abort(Abort::Record(error))) => Err(error.into()),
            Err(TransactionError::Storage(error)) => Err(error.into()),
        }
    }

    fn cursor(&self) -> Result<Option<BlockRef>, JournalError> {
        Ok(self.meta.get(CURSOR)?.map(|bytes| serde_json::from_slice(&bytes)).transpose()?)
    }

    fn ring(&self) -> Result<Vec<BlockRef>, JournalError> {
        let damaged = || JournalError::Store(sled::Error::Corruption { at: None, bt: () });
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

    fn jobs(&self, pick: &dyn Fn(&Job) -> bool) -> Result<Vec<Job>, JournalError> {
        let mut picked = Vec::new();
        for value in self.jobs.iter().values() {
            let job = serde_json::from_slice(&value?)?;
            if pick(&job) {
                picked.push(job);
            }
        }
        Ok(picked)
    }

    fn input(&self, id: B256) -> Result<Option<Bytes>, JournalError> {
        Ok(self.inputs.get(id)?.map(|bytes| Bytes::copy_from_slice(&bytes)))
    }

    fn slots(&self) -> Result<Vec<Slot>, JournalError> {
        all(&self.slots)
    }

    fn claims(&self) -> Result<Vec<Claim>, JournalError> {
        all(&self.claims)
    }

    fn claim(&self, id: B256) -> Result<Option<Claim>, JournalError> {
        Ok(self.claims.get(id)?.map(|bytes| serde_json::from_slice(&bytes)).transpose()?)
    }

    fn books(&self, from_hour: u64) -> Result<Vec<Entry>, JournalError> {
        let entries = self.books.range(from_hour.to_be_bytes().as_slice()..);
        entries.values().map(|value| Ok(serde_json::from_slice(&value?)?)).collect()
    }

    fn clear(&self) -> Result<(), JournalError> {
        for tree in [&self.ring, &self.jobs, &self.inputs, &self.claims] {
            tree.clear()?;
        }
        self.meta.remove(CURSOR)?;
        Ok(())
    }

    fn sync(&self) -> Result<(), JournalError> {
        self.db.flush()?;
        // sled's flush does not reach the disk by itself (its issue 1452).
        let file = self.path.join("db").join("db");
        fs::File::open(&file).and_then(|file| file.sync_all()).map_err(|source| folder(&file, source))
    }
}
