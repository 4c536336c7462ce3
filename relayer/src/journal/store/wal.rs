//! The transactions and signed answers of the last moments, beside the database. What sled is given stays in the process for a while, and
//! its flush waits for the disk: usually less than a millisecond, on a busy disk hundreds. What is appended to a file is
//! the operating system's at once, and a kill does not take it.
//!
//! Each commit that writes any has a number, which is in sled with it, and a line here. When the journal is
//! opened, lines with higher numbers than sled's are what sled lost. All else that it lost is found again: jobs in the
//! chain's logs, and what they come to by looking at the transactions. A file that has grown is left for a new one, and
//! deleted as soon as sled has its lines on the disk.

use std::{
    borrow::Cow,
    fs::{self, File},
    io::{BufRead, BufReader, ErrorKind, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use tracing::warn;

use super::trees::folder;
use crate::{
    domain::{SignedAnswer, TrackedTransaction},
    journal::JournalError,
};

/// Bytes after which a new file is begun.
const LARGE: u64 = if cfg!(test) { 4 << 10 } else { 8 << 20 };
/// What the files' names begin with; a number follows.
const NAME: &str = "outbox-";

/// What one commit wrote that a kill must not take.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Line<'a> {
    /// The commit's number, from 1.
    pub(super) number: u64,
    #[serde(rename = "slots")]
    pub(super) transactions: Cow<'a, [TrackedTransaction]>,
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub(super) answers: Cow<'a, [SignedAnswer]>,
}

/// The file that is written, once there is something to write.
#[derive(Debug)]
pub(super) struct Wal {
    folder: PathBuf,
    /// The number of the next commit.
    next: u64,
    file: Option<(File, u64)>,
}

impl Wal {
    /// In the database's folder, after the commit of this number.
    pub(super) fn after(folder: &Path, number: u64) -> Self {
        Self { folder: folder.to_owned(), next: number + 1, file: None }
    }

    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Appends what the commit wrote that took the next number.
    pub(super) fn append(
        &mut self,
        transactions: &[TrackedTransaction],
        answers: &[SignedAnswer],
        db: &sled::Db,
    ) -> Result<(), JournalError> {
        let number = self.next;
        self.next += 1;
        let mut line =
            serde_json::to_vec(&Line { number, transactions: transactions.into(), answers: answers.into() })?;
        line.push(b'\n');
        let (mut file, bytes) = match self.file.take() {
            Some(file) => file,
            None => {
                let path = self.folder.join(format!("{NAME}{number}"));
                (File::create(&path).map_err(|source| folder(&path, source))?, 0)
            }
        };
        // After a failure, with half a line perhaps, the next commit begins a new file.
        file.write_all(&line).map_err(|source| folder(&self.folder, source))?;
        let bytes = bytes + line.len() as u64;
        if bytes < LARGE {
            self.file = Some((file, bytes));
        } else {
            let (db, files) = (db.clone(), files(&self.folder)?);
            // It waits for the disk. Where no thread can be had, the next file's does it.
            let deleting = std::thread::Builder::new().spawn(move || {
                if db.flush().is_ok() {
                    delete(&files);
                }
            });
            drop(deleting);
        }
        Ok(())
    }
}

/// The lines of a folder's files after a number, in order.
pub(super) fn lines(path: &Path, after: u64) -> Result<Vec<Line<'static>>, JournalError> {
    let mut lines = Vec::new();
    for file in files(path)? {
        let failed = |source| folder(&file, source);
        for line in BufReader::new(File::open(&file).map_err(failed)?).split(b'\n') {
            let line = line.map_err(failed)?;
            match serde_json::from_slice::<Line<'static>>(&line) {
                Ok(line) if line.number > after => lines.push(line),
                Ok(_) => {}
                // The disk was full, or power was lost: it was not broadcast, or there is nothing to be done.
                Err(error) => warn!(%error, file = %file.display(), "half a line"),
            }
        }
    }
    lines.sort_by_key(|line| line.number);
    Ok(lines)
}

/// Deletes the files of a folder.
pub(super) fn clear(path: &Path) -> Result<(), JournalError> {
    delete(&files(path)?);
    Ok(())
}

fn delete(files: &[PathBuf]) {
    for file in files {
        match fs::remove_file(file) {
            // One that stays has nothing that sled has not.
            Err(error) if error.kind() != ErrorKind::NotFound => {
                warn!(%error, file = %file.display(), "cannot delete a file of the journal");
            }
            _ => {}
        }
    }
}

fn files(path: &Path) -> Result<Vec<PathBuf>, JournalError> {
    let entries = fs::read_dir(path).map_err(|source| folder(path, source))?;
    let names = entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(NAME));
    Ok(names.map(|entry| entry.path()).collect())
}
