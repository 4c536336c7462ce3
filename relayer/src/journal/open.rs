//! Opening a journal: whose it is, whether it can be read, and what is done if it cannot.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use tracing::warn;

use super::{Claim, Entry, Identity, Journal, JournalError, SledJournal, Slot, store::all};
use crate::lifecycle::Job;

const IDENTITY: &[u8] = b"identity";

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
        all::<Job>(&journal.jobs).try_for_each(|job| job.map(drop))?;
        all::<Slot>(&journal.slots).try_for_each(|slot| slot.map(drop))?;
        all::<Claim>(&journal.claims).try_for_each(|claim| claim.map(drop))?;
        all::<Entry>(&journal.books).try_for_each(|entry| entry.map(drop))?;
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
