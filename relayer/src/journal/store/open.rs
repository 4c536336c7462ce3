//! Opening a journal: whose it is, which layout it has, whether it can be read, and what is done if not.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use tracing::{info, warn};

use super::{
    answers::{self, Marker},
    line::TreeName,
    migrate::{outbox, v1, v2},
    rewrite::{DB, OLD, is_locked, open_database, recover, rewrite, swap},
    transactions,
    trees::{BEGUN, IDENTITY, SCHEMA, all, folder},
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
    /// compacted, and one that is proven to be damaged is moved aside: the chain has all it held but the ledger.
    ///
    /// # Errors
    /// `Locked` if another process has it open, `Foreign` if it was written for another deployment, `Newer` if a
    /// later version wrote it, `Folder` if its files cannot be read and written: then all of it stays as it is.
    pub fn open(path: &Path, identity: &Identity) -> Result<Self, JournalError> {
        fs::create_dir_all(path).map_err(|source| folder(path, source))?;
        let journal = match Self::open_sound(path) {
            Err(error) if is_damage(&error) => {
                probe(path)?;
                let aside = move_aside(path)?;
                warn!(%error, aside = %aside.display(), "the journal is damaged: moved aside, rebuilding it from the chain");
                Self::open_sound(path)?
            }
            other => other?,
        };
        match journal.identity()? {
            None => journal.write(|writes| {
                writes.put_record(TreeName::Meta, IDENTITY, identity)?;
                writes.put_record(TreeName::Meta, SCHEMA, &VERSION)
            })?,
            Some(found) if !found.is_deployment_of(identity) => {
                return Err(JournalError::Foreign { path: path.display().to_string(), found: Box::new(found) });
            }
            // What was signed stays on record by request, so the new key signs no other answer to one either.
            Some(found) if found.signer != identity.signer => {
                info!(from = %found.signer, to = %identity.signer, "the journal goes on with another signing key");
                journal.write(|writes| writes.put_record(TreeName::Meta, IDENTITY, identity))?;
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
            // Of which file, sled does not say.
            JournalError::Store(sled::Error::Io(source)) => folder(&path.join(DB), source),
            error => error,
        };
        let db = recover(path, |db| open_database(db).map_err(locked))?;
        let at = path.join(DB);
        let meta = db.open_tree("meta")?;
        let schema: Option<u32> = meta.get(SCHEMA)?.map(|bytes| serde_json::from_slice(&bytes)).transpose()?;
        match schema {
            Some(VERSION) => Self::with(&at, db),
            // It is new, or its first commit is to be made whole from the log. The first layout had no log.
            None if !meta.contains_key(IDENTITY)? || meta.contains_key(BEGUN)? => Self::with(&at, db),
            // They had another log. The third kept in a tree what is now in memory; names of states are read as before.
            Some(3..=5) => {
                db.drop_tree("index")?;
                let journal = Self::with(&at, db)?;
                outbox::take_over(&journal, &at, journal.trees.written()?)?;
                meta.insert(SCHEMA, serde_json::to_vec(&VERSION)?)?;
                journal.sync()?;
                Ok(journal)
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

/// Whether an error proves that the journal's content is damaged, if its files can be read and written.
fn is_damage(error: &JournalError) -> bool {
    matches!(
        error,
        JournalError::Store(
            sled::Error::Corruption { .. } | sled::Error::Unsupported(_) | sled::Error::ReportableBug(_)
        ) | JournalError::Record(_)
            | JournalError::Twice(_)
            | JournalError::Torn(_)
    )
}

/// Files that a database has open at once, and more.
const DESCRIPTORS: usize = 32;
/// Bytes that a database wants to write when it is opened.
const ROOM: usize = 1 << 20;

/// Finds out whether the journal's files can be read and written: where they cannot, nothing that is read tells of damage.
///
/// # Errors
/// `Folder` for the first file that cannot, or the folder if there is no room or no descriptor.
fn probe(path: &Path) -> Result<(), JournalError> {
    let mut folders = vec![path.join(DB)];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(&at).map_err(|source| folder(&at, source))? {
            let file = entry.map_err(|source| folder(&at, source))?.path();
            if file.is_dir() {
                folders.push(file);
                continue;
            }
            let opened = File::options().read(true).write(true).open(&file);
            let read = opened.and_then(|mut content| io::copy(&mut content, &mut io::sink()));
            read.map_err(|source| folder(&file, source))?;
        }
    }
    let writes = || {
        let _open: Vec<_> = (0..DESCRIPTORS).map(|_| File::open(path)).collect::<Result<_, _>>()?;
        let mut file = tempfile::tempfile_in(path)?;
        file.write_all(&vec![1; ROOM])?;
        file.sync_all()
    };
    writes().map_err(|source| folder(path, source))
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
