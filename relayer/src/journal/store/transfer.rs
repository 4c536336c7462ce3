//! All that a journal holds, one record after another: what is exported and imported, and how a journal is rewritten, be
//! it in another layout or without sled's garbage.

use std::{
    fs,
    io::{BufRead, Write},
    path::Path,
};

use alloy::primitives::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    CURSOR, all,
    open::{IDENTITY, NEW, SCHEMA, folder, open_quietly, remove, swap},
    slots,
};
use crate::{
    chain::BlockRef,
    domain::{Claim, Entry, Job, TrackedTransaction},
    journal::{FIRST_LINES, Identity, Journal, JournalError, SledJournal, VERSION},
};

/// One line of an exported journal. The first is `Journal`; the others come in any order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// Whose it is, and the version of the lines.
    Journal {
        /// [`VERSION`].
        version: u32,
        /// What it was written for.
        identity: Identity,
    },
    /// The last block taken in.
    Cursor(BlockRef),
    /// A remembered block.
    #[serde(alias = "ring")]
    RecentBlock(BlockRef),
    /// A job.
    Job {
        /// It.
        job: Box<Job>,
        /// Its input, if it is not closed.
        input: Option<Bytes>,
    },
    /// A transaction.
    #[serde(alias = "slot")]
    TrackedTransaction(Box<TrackedTransaction>),
    /// Pay to be claimed.
    Claim(Box<Claim>),
    /// A line of the books.
    Entry(Entry),
}

impl SledJournal {
    /// What the journal was written for; `None` while it is empty.
    ///
    /// # Errors
    /// `Store` or `Record`.
    pub fn identity(&self) -> Result<Option<Identity>, JournalError> {
        Ok(self.meta.get(IDENTITY)?.map(|bytes| serde_json::from_slice(&bytes)).transpose()?)
    }

    /// Everything, one record at a time.
    ///
    /// # Errors
    /// `Store` or `Record`.
    pub fn records(&self) -> Result<impl Iterator<Item = Result<Record, JournalError>>, JournalError> {
        let head = self.identity()?.map(|identity| Record::Journal { version: VERSION, identity });
        let recent_blocks = self.recent_blocks()?.into_iter().map(Record::RecentBlock);
        let inputs = self.inputs.clone();
        let jobs = self.jobs.iter().map(move |entry| {
            let (key, job) = entry?;
            let input = inputs.get(key)?.map(|bytes| Bytes::copy_from_slice(&bytes));
            Ok(Record::Job { job: serde_json::from_slice(&job)?, input })
        });
        let slots =
            slots::all_of(&self.slots, &self.signed).map(|slot| Ok(Record::TrackedTransaction(Box::new(slot?))));
        let claims = all(&self.claims).map(|claim| Ok(Record::Claim(Box::new(claim?))));
        let books = all(&self.books).map(|entry| Ok(Record::Entry(entry?)));
        let first = head.into_iter().chain(self.cursor()?.map(Record::Cursor)).chain(recent_blocks).map(Ok);
        Ok(first.chain(jobs).chain(slots).chain(claims).chain(books))
    }

    /// Writes everything as JSON lines; returns how many.
    ///
    /// # Errors
    /// `Store` or `Record`, or `Lines` if `out` fails.
    pub fn export(&self, out: &mut impl Write) -> Result<usize, JournalError> {
        let mut count = 0;
        for record in self.records()? {
            serde_json::to_writer(&mut *out, &record?)?;
            count += 1;
            out.write_all(b"\n").map_err(|error| JournalError::Lines { line: count, reason: error.to_string() })?;
        }
        out.flush().map_err(|error| JournalError::Lines { line: count, reason: error.to_string() })?;
        Ok(count)
    }

    /// Makes a journal in a folder that has none of what `export` wrote; returns how many lines that was.
    ///
    /// # Errors
    /// `Exists` if there is one, `Lines` for a line that cannot be used.
    pub fn import(path: &Path, lines: impl BufRead) -> Result<usize, JournalError> {
        if path.join("db").exists() {
            return Err(JournalError::Exists(path.display().to_string()));
        }
        fs::create_dir_all(path).map_err(|source| folder(path, source))?;
        let mut count = 0;
        let records = lines.lines().enumerate().map(|(number, line)| {
            count = number + 1;
            let wrong = |reason: String| JournalError::Lines { line: number + 1, reason };
            let record = serde_json::from_str(&line.map_err(|error| wrong(error.to_string()))?)
                .map_err(|error| wrong(error.to_string()))?;
            match (&record, number) {
                (Record::Journal { version: FIRST_LINES..=VERSION, .. }, 0) => Ok(record),
                (Record::Journal { version, .. }, 0) => Err(wrong(format!(
                    "it is of version {version}, and versions {FIRST_LINES} to {VERSION} can be read"
                ))),
                (_, 0) | (Record::Journal { .. }, _) => {
                    Err(wrong("the first line, and no other, is the `journal`'s own".into()))
                }
                _ => Ok(record),
            }
        });
        rewrite(path, records).map_err(|error| match error {
            JournalError::Twice(_) => JournalError::Lines { line: count, reason: error.to_string() },
            error => error,
        })?;
        swap(path)?;
        Ok(count)
    }

    /// Writes a record as it is. Only for a journal that nobody uses yet.
    fn put(&self, record: &Record) -> Result<(), JournalError> {
        match record {
            Record::Journal { identity, .. } => {
                self.meta.insert(IDENTITY, serde_json::to_vec(identity)?)?;
            }
            Record::Cursor(block) => {
                self.meta.insert(CURSOR, serde_json::to_vec(block)?)?;
            }
            Record::RecentBlock(block) => {
                self.recent_blocks.insert(block.number.to_be_bytes(), block.hash.as_slice())?;
            }
            Record::Job { job, input } => self.put_job(job, input.as_ref())?,
            Record::TrackedTransaction(slot) => self.put_slot(slot)?,
            Record::Claim(claim) => self.put_claim(claim)?,
            Record::Entry(entry) => self.put_entry(entry)?,
        }
        Ok(())
    }
}

/// Writes a journal of records beside the one that is there, on the disk itself; `swap` then puts it in its place.
pub(super) fn rewrite(
    path: &Path,
    records: impl Iterator<Item = Result<Record, JournalError>>,
) -> Result<(), JournalError> {
    let new = path.join(NEW);
    // What a crash left is of no use.
    remove(path, NEW)?;
    let written = (|| {
        let db = open_quietly(&new)?;
        let journal = SledJournal::with(&new, db)?;
        for record in records {
            journal.put(&record?)?;
        }
        journal.meta.insert(SCHEMA, serde_json::to_vec(&VERSION)?)?;
        journal.sync()
    })();
    if written.is_err() {
        // It is of no use, and would be in the way.
        let _ = fs::remove_dir_all(&new);
    }
    written
}
