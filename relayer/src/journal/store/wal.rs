//! The write-ahead log, beside the database. What sled is given stays in the process for a while, and its transactions wake
//! its threads twice each; what is appended to a file is the operating system's at once, and a kill does not take it.
//!
//! ```text
//! commit ──▶ a line: its number and its writes ──▶ the trees, between the marks BEGUN and WRITTEN
//! flush  ──▶ the log on the disk ──▶ the trees on the disk ──▶ a full file of the log is deleted
//! open   ──▶ the lines after WRITTEN, written anew
//! ```
//!
//! A line says what every key comes to, so writing it again changes nothing. A line is its length, its checksum and a
//! protobuf message. One that is cut off or altered ends its file: it was never committed, or power took it.

use std::{
    fs::{self, File},
    io::{ErrorKind, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use prost::Message;
use tracing::warn;

use super::{
    line::{KeyWrite, Line},
    trees::folder,
};
use crate::journal::JournalError;

/// Bytes after which a new file is begun.
const LARGE: u64 = if cfg!(test) { 4 << 10 } else { 8 << 20 };
/// What the files' names begin with; the number of their first line follows.
const NAME: &str = "wal-";
/// Bytes of a line's length and of its checksum.
const WORD: usize = 4;

/// The file that is written, once there is something to write, and what is not on the disk yet.
#[derive(Debug)]
pub(super) struct Wal {
    /// The database's.
    folder: PathBuf,
    /// The number of the next line.
    next: u64,
    file: Option<LogFile>,
    /// Files that are not written any more.
    full: Vec<LogFile>,
    /// Whether anything was appended since the last call of `unflushed`.
    grown: bool,
}

/// A file of the log.
#[derive(Debug, Clone)]
pub(super) struct LogFile {
    file: Arc<File>,
    path: PathBuf,
    bytes: u64,
}

/// What is to be brought to the disk.
pub(super) struct Unflushed {
    files: Vec<LogFile>,
    /// Those of them that are not needed once the trees are on the disk.
    full: Vec<PathBuf>,
}

impl Wal {
    /// In the database's folder, after the commit of this number.
    pub(super) fn after(folder: &Path, number: u64) -> Self {
        Self { folder: folder.to_owned(), next: number + 1, file: None, full: Vec::new(), grown: false }
    }

    /// Appends a line; returns it with its number.
    ///
    /// # Errors
    /// `Folder`: then the line is not there when the journal is opened again.
    pub(super) fn append(&mut self, writes: Vec<KeyWrite>) -> Result<Line, JournalError> {
        let line = Line { number: self.next, writes };
        self.next += 1;
        let mut log = match self.file.take() {
            Some(log) => log,
            None => {
                let path = self.folder.join(format!("{NAME}{}", line.number));
                let file = File::create(&path).map_err(|source| folder(&path, source))?;
                LogFile { file: Arc::new(file), path, bytes: 0 }
            }
        };
        let bytes = framed(&line);
        if let Err(source) = log.file.as_ref().write_all(&bytes) {
            // With half a line in it, a file takes no others: the next commit begins a new one.
            let error = folder(&log.path, source);
            self.full.push(log);
            return Err(error);
        }
        self.grown = true;
        log.bytes += bytes.len() as u64;
        if log.bytes < LARGE {
            self.file = Some(log);
        } else {
            self.full.push(log);
        }
        Ok(line)
    }

    /// Begins a new file with the next line.
    #[cfg(test)]
    pub(super) fn leave(&mut self) {
        self.full.extend(self.file.take());
    }

    /// What is to be brought to the disk; `None` if that is nothing.
    pub(super) fn unflushed(&mut self) -> Option<Unflushed> {
        if !std::mem::take(&mut self.grown) {
            return None;
        }
        let files = self.full.iter().chain(&self.file).cloned().collect();
        Some(Unflushed { files, full: self.full.drain(..).map(|log| log.path).collect() })
    }
}

impl Unflushed {
    /// Brings the log to the disk, then what the trees have of it, and deletes files that nothing needs any more.
    ///
    /// # Errors
    /// `Store` or `Folder`.
    pub(super) fn flush(self, db: &sled::Db, path: &Path) -> Result<(), JournalError> {
        for log in &self.files {
            log.file.sync_data().map_err(|source| folder(&log.path, source))?;
        }
        db.flush()?;
        if !self.full.is_empty() {
            sync_database(path)?;
            delete(&self.full);
        }
        Ok(())
    }
}

/// Brings the database's file to the disk, which sled's flush does not by itself (its issue 1452).
pub(super) fn sync_database(path: &Path) -> Result<(), JournalError> {
    let file = path.join("db");
    File::open(&file).and_then(|file| file.sync_all()).map_err(|source| folder(&file, source))
}

fn framed(line: &Line) -> Vec<u8> {
    let length = line.encoded_len();
    let mut bytes = Vec::with_capacity(2 * WORD + length);
    bytes.extend((length as u32).to_le_bytes());
    bytes.extend([0; WORD]);
    // It fails only where there is no room, and a vector grows.
    let _ = line.encode(&mut bytes);
    let checksum = crc32fast::hash(&bytes[2 * WORD..]);
    bytes[WORD..2 * WORD].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// The first line of the bytes, and the bytes after it; `None` if they do not begin with a whole one.
fn first_line(bytes: &[u8]) -> Option<(Line, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<WORD>()?;
    let (checksum, rest) = rest.split_first_chunk::<WORD>()?;
    let (message, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let is_whole = crc32fast::hash(message) == u32::from_le_bytes(*checksum);
    Some((Line::decode(message).ok().filter(|_| is_whole)?, rest))
}

/// The lines of a folder's files after a number, in order.
///
/// # Errors
/// `Folder` for a file that cannot be read.
pub(super) fn lines(path: &Path, after: u64) -> Result<Vec<Line>, JournalError> {
    let mut lines = Vec::new();
    for file in files(path)? {
        let mut bytes = Vec::new();
        File::open(&file).and_then(|mut log| log.read_to_end(&mut bytes)).map_err(|source| folder(&file, source))?;
        let mut rest = bytes.as_slice();
        while let Some((line, next)) = first_line(rest) {
            rest = next;
            if line.number > after {
                lines.push(line);
            }
        }
        if !rest.is_empty() {
            warn!(bytes = rest.len(), file = %file.display(), "the log ends in what is no whole line; it is passed over");
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
            // One that stays has nothing that the trees have not.
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
