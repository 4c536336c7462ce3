//! Export and import: all that a journal holds as JSON lines.

use std::{
    fs,
    io::{BufRead, Write},
    path::Path,
};

use alloy::primitives::Bytes;

use super::{
    answers::{self, Marker},
    record::Record,
    rewrite::{DB, OLD, rewrite, swap},
    transactions,
    trees::{IDENTITY, all, folder},
};
use crate::journal::{FIRST_LINES, Identity, Journal, JournalError, SigningLimits, SledJournal, VERSION};

impl SledJournal {
    /// What the journal was written for; `None` while it is empty.
    ///
    /// # Errors
    /// `Store` or `Record`.
    pub fn identity(&self) -> Result<Option<Identity>, JournalError> {
        Ok(self.trees.meta.get(IDENTITY)?.map(|bytes| serde_json::from_slice(&bytes)).transpose()?)
    }

    /// Everything, one record at a time.
    ///
    /// # Errors
    /// `Store` or `Record`.
    pub fn records(&self) -> Result<impl Iterator<Item = Result<Record, JournalError>>, JournalError> {
        let trees = &self.trees;
        let head = self.identity()?.map(|identity| Record::Journal { version: VERSION, identity });
        let recent_blocks = self.recent_blocks()?.into_iter().map(Record::RecentBlock);
        let inputs = trees.inputs.clone();
        let jobs = trees.jobs.iter().map(move |entry| {
            let (key, job) = entry?;
            let input = inputs.get(key)?.map(|bytes| Bytes::copy_from_slice(&bytes));
            Ok(Record::Job { job: serde_json::from_slice(&job)?, input })
        });
        let transactions = transactions::all_of(&trees.transactions, &trees.attempts)
            .map(|transaction| Ok(Record::TrackedTransaction(Box::new(transaction?))));
        let claims = all(&trees.claims).map(|claim| Ok(Record::Claim(Box::new(claim?))));
        let ledger = all(&trees.ledger).map(|entry| Ok(Record::Entry(entry?)));
        let first = head.into_iter().chain(self.cursor()?.map(Record::Cursor)).chain(recent_blocks).map(Ok);
        let signed = answers::all_of(&trees.answers).map(|answer| Ok(Record::SignedAnswer(answer?)));
        let limits = answers::limits(&trees.meta)?;
        let limits = (limits != SigningLimits::default()).then_some(Record::SigningLimits(limits)).map(Ok);
        Ok(first.chain(jobs).chain(transactions).chain(claims).chain(ledger).chain(signed).chain(limits))
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

    /// Makes a journal in a folder that has none of what `export` wrote; returns how many lines that was. If the folder's
    /// last journal signed answers, some may have come after the export: then what is older than the next start is not
    /// answered.
    ///
    /// # Errors
    /// `Exists` if there is one, `Lines` for a line that cannot be used.
    pub fn import(path: &Path, lines: impl BufRead) -> Result<usize, JournalError> {
        if path.join(DB).exists() || path.join(OLD).exists() {
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
        if Marker::read(path)?.is_some() {
            Marker::lost().write(path)?;
        }
        swap(path)?;
        Ok(count)
    }
}
