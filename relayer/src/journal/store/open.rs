//! Opening a journal: whose it is, which layout it has, whether it can be read, and what is done if not.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use tracing::{info, warn};

use super::{
    answers::{self, Marker},
    migrate::{v1, v2},
    rewrite::{DB, OLD, is_locked, open_database, recover, rewrite, swap},
    transactions,
    trees::{IDENTITY, SCHEMA, all, folder},
};
use crate::{
    domain::Entry,
    journal::{Identity, Journal, JournalError, SledJournal, VERSION},
};

/// Files smaller than this are never compacted, in bytes.
const SMALL: u64 = if cfg!(test) { 4 << 20 } else { 64 << 20 };
/// Files this many times larger than what is in them are.
const BLOATED: u64 = 4;

impl SledJournal {
    /// Opens or creates the journal in a folder. One of an older layout is brought to this one, a bloated one is
    /// compacted, and a damaged one is moved aside: the chain has all it held.
    ///
    /// # Errors
    /// `Locked` if another process has it open, `Foreign` if it was written for another deployment or key, `Newer` if a
    /// later version wrote it.
    pub fn open(path: &Path, identity: &Identity) -> Result<Self, JournalError> {
        fs::create_dir_all(path).map_err(|source| folder(path, source))?;
        let journal = match Self::open_sound(path) {
            Err(error @ (JournalError::Store(_) | JournalError::Record(_) | JournalError::Twice(_)))
                if !is_full(&error) =>
            {
                let aside = move_aside(path)?;
                warn!(%error, aside = %aside.display(), "the journal is damaged: moved aside, rebuilding it from the chain");
                Self::open_sound(path)?
            }
            other => other?,
        };
        match journal.identity()? {
            None => {
                journal.trees.meta.insert(IDENTITY, serde_json::to_vec(identity)?)?;
                journal.trees.meta.insert(SCHEMA, serde_json::to_vec(&VERSION)?)?;
            }
            Some(found) if found != *identity => {
                return Err(JournalError::Foreign { path: path.display().to_string(), found: Box::new(found) });
            }
            Some(_) => {}
        }
        Ok(journal)
    }

    /// Opens the journal of a node that does not run.
    ///
    /// # Errors
    /// `Missing` if there is none, `Locked` if another process has it open.
    pub fn open_existing(path: &Path) -> Result<Self, JournalError> {
        if !path.join(DB).is_dir() && !path.join(OLD).is_dir() {
            return Err(JournalError::Missing(path.display().to_string()));
        }
        Self::open_sound(path)
    }

    fn open_sound(path: &Path) -> Result<Self, JournalError> {
        let is_new = !path.join(DB).exists() && !path.join(OLD).exists();
        let marker = Marker::read(path)?;
        let lost = marker.as_ref().is_some_and(|marker| is_new || marker.tells_of_loss());
        if lost {
            // On the disk before there is a database that does not know.
            Marker::lost().write(path)?;
        }
        let journal = Self::open_content(path)?;
        journal.expect_signed(marker.is_some_and(|marker| marker.is_open()), lost)?;
        Ok(journal)
    }

    fn open_content(path: &Path) -> Result<Self, JournalError> {
        let mut journal = Self::open_layout(path)?;
        // Records that cannot be read are found now, while the journal can still be rebuilt.
        let content = journal.check()?;
        let on_disk = journal.disk_bytes()?;
        if on_disk > SMALL.max(content.saturating_mul(BLOATED)) {
            rewrite(path, journal.records()?)?;
            drop(journal);
            swap(path)?;
            journal = Self::open_layout(path)?;
            info!(from = on_disk, to = journal.disk_bytes()?, content, "compacted the journal, in bytes");
        }
        Ok(journal)
    }

    /// Opens what is there in today's layout.
    fn open_layout(path: &Path) -> Result<Self, JournalError> {
        let locked = |error| match error {
            JournalError::Store(error) if is_locked(&error) => JournalError::Locked(path.display().to_string()),
            error => error,
        };
        let db = recover(path, |db| open_database(db).map_err(locked))?;
        let at = path.join(DB);
        let meta = db.open_tree("meta")?;
        let schema: Option<u32> = meta.get(SCHEMA)?.map(|bytes| serde_json::from_slice(&bytes)).transpose()?;
        match schema {
            Some(VERSION) => Self::with(&at, db),
            // It is new.
            None if meta.get(IDENTITY)?.is_none() => Self::with(&at, db),
            // It kept in a tree what is now in memory.
            // and names of states that are read as before.
            Some(3 | 4) => {
                db.drop_tree("index")?;
                meta.insert(SCHEMA, serde_json::to_vec(&VERSION)?)?;
                Self::with(&at, db)
            }
            // The first layout did not say which it is.
            None | Some(2) => {
                info!(from = schema.unwrap_or(1), to = VERSION, "bringing the journal to this version's layout");
                match schema {
                    None => rewrite(path, v1::records(&db)?)?,
                    Some(_) => rewrite(path, v2::records(&db)?)?,
                }
                drop((meta, db));
                swap(path)?;
                Self::open_layout(path)
            }
            Some(found) => Err(JournalError::Newer { path: path.display().to_string(), found }),
        }
    }

    /// Reads every record but jobs and claims, which were read already; returns the bytes of all.
    fn check(&self) -> Result<u64, JournalError> {
        self.cursor()?;
        self.recent_blocks()?;
        transactions::all_of(&self.trees.transactions, &self.trees.attempts)
            .try_for_each(|transaction| transaction.map(drop))?;
        answers::all_of(&self.trees.answers).try_for_each(|answer| answer.map(drop))?;
        all::<Entry>(&self.trees.ledger).try_for_each(|entry| entry.map(drop))?;
        let mut bytes = 0;
        for tree in self.trees.each() {
            for entry in tree.iter() {
                let (key, value) = entry?;
                bytes += (key.len() + value.len()) as u64;
            }
        }
        Ok(bytes)
    }
}

/// A disk without room is no damage: the journal may have been on its way into another layout.
fn is_full(error: &JournalError) -> bool {
    matches!(error, JournalError::Store(sled::Error::Io(io)) if io.kind() == std::io::ErrorKind::StorageFull)
}

fn move_aside(path: &Path) -> Result<PathBuf, JournalError> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let aside = (0..)
        .map(|n| path.join(format!("damaged-{seconds}-{n}")))
        .find(|aside| !aside.exists())
        .unwrap_or_else(|| path.join("damaged"));
    fs::rename(path.join(DB), &aside).map_err(|source| folder(path, source))?;
    Ok(aside)
}
