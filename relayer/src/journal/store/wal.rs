//! The write-ahead log, beside the database. What sled is given stays in the process for a while, and its transactions wake
//! its threads twice each; what is appended to a file is the operating system's at once, and a kill does not take it.
//!
//! ```text
//! commit ──▶ a line: its number and its writes ──▶ the trees, between the marks BEGUN and WRITTEN
//! flush  ──▶ the log on the disk ──▶ the trees on the disk ──▶ the full files of the log are deleted
//! open   ──▶ the lines after WRITTEN, written anew
//! ```
//!
//! A line says what every key comes to, so writing it again changes nothing. A line is its length, its checksum and a
//! protobuf message. One that is cut off or altered ends its file: it was never committed, or power took it. The numbers
//! are consecutive, and a line that is missing ends the log: the kernel may have brought a later file to the disk before an
//! earlier one.
//!
//! No flush brings a commit of the trees to the disk before its line. sled does, now and then: it writes a buffer as soon as
//! that is full, and asks nobody. If power is lost then, the trees may have a part of a commit without a line; the marks
//! tell, and the journal is `Torn`.

use std::{
    fs::{self, File},
    io::{ErrorKind, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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
    /// The number of the last line.
    last: u64,
    /// The number of the last line that is on the disk, in the log and in the trees.
    flushed: u64,
    file: Option<LogFile>,
    /// Files that are not written any more.
    full: Vec<LogFile>,
    /// Why the database takes nothing any more.
    failed: Option<sled::Error>,
}

/// A file of the log.
#[derive(Debug, Clone)]
pub(super) struct LogFile {
    file: Arc<File>,
    path: PathBuf,
    bytes: u64,
    /// The numbers of its first and its last line.
    first: u64,
    last: u64,
}

/// What of the log is to be brought to the disk.
struct Unsynced {
    /// The number of the last line in it.
    last: u64,
    files: Vec<LogFile>,
    /// The folder, if it has new files.
    folder: Option<PathBuf>,
}

impl LogFile {
    /// Makes a file that begins with the line of this number.
    fn create(parent: &Path, first: u64) -> Result<Self, JournalError> {
        let path = parent.join(format!("{NAME}{first}"));
        let file = File::create(&path).map_err(|source| folder(&path, source))?;
        Ok(Self { file: Arc::new(file), path, bytes: 0, first, last: first })
    }
}

impl Wal {
    /// In the database's folder, after the commit of this number.
    pub(super) fn after(folder: &Path, number: u64) -> Self {
        Self { folder: folder.to_owned(), last: number, flushed: number, file: None, full: Vec::new(), failed: None }
    }

    /// Appends a line; returns it with its number.
    ///
    /// # Errors
    /// `Folder`: then the line is not there when the journal is opened again, and the next one gets its number. `Store`
    /// after the database failed.
    pub(super) fn append(&mut self, writes: Vec<KeyWrite>) -> Result<Line, JournalError> {
        if let Some(error) = &self.failed {
            return Err(error.clone().into());
        }
        let line = Line { number: self.last + 1, writes };
        let log = match &mut self.file {
            Some(log) => log,
            none => none.insert(LogFile::create(&self.folder, line.number)?),
        };
        let bytes = framed(&line);
        if let Err(source) = log.file.write_all_at(&bytes, log.bytes) {
            // If a part of the line stays, it is passed over, and the next line is written over it.
            let _ = log.file.set_len(log.bytes);
            return Err(folder(&log.path, source));
        }
        self.last = line.number;
        log.last = line.number;
        log.bytes += bytes.len() as u64;
        if log.bytes >= LARGE {
            self.full.extend(self.file.take());
        }
        Ok(line)
    }

    /// Takes no line any more, for the database failed: only another opening mends that.
    pub(super) fn fail(&mut self, error: &sled::Error) {
        self.failed = Some(error.clone());
    }

    /// Begins a new file with the next line.
    #[cfg(test)]
    pub(super) fn leave(&mut self) {
        self.full.extend(self.file.take());
    }

    /// Whether there is anything for a flush to do.
    pub(super) fn is_unflushed(&self) -> bool {
        self.last > self.flushed || !self.full.is_empty()
    }

    /// What is to be brought to the disk if that has the lines up to a number.
    fn unsynced(&self, after: u64) -> Unsynced {
        let files: Vec<_> = self.full.iter().chain(&self.file).filter(|log| log.last > after).cloned().collect();
        let is_new = files.iter().any(|log| log.first > after);
        Unsynced { last: self.last, files, folder: is_new.then(|| self.folder.clone()) }
    }
}

impl Unsynced {
    /// # Errors
    /// `Folder`.
    fn sync(&self) -> Result<(), JournalError> {
        for log in &self.files {
            log.file.sync_data().map_err(|source| folder(&log.path, source))?;
        }
        let Some(path) = &self.folder else { return Ok(()) };
        File::open(path).and_then(|file| file.sync_all()).map_err(|source| folder(path, source))
    }
}

pub(super) fn lock(wal: &Mutex<Wal>) -> MutexGuard<'_, Wal> {
    wal.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Brings the log to the disk, then the trees, and deletes files of the log that nothing needs any more.
///
/// # Errors
/// `Store` or `Folder`: then another flush does what this one did not.
pub(super) fn flush(wal: &Mutex<Wal>, db: &sled::Db) -> Result<(), JournalError> {
    let held = lock(wal);
    let before = held.unsynced(held.flushed);
    drop(held);
    // The disk may take its time for the most of it, and commits go on.
    before.sync()?;
    let mut held = lock(wal);
    // Commits wait while the rest follows and the trees are written, which are to have no commit that the log lacks.
    held.unsynced(before.last).sync()?;
    db.flush()?;
    held.flushed = held.last;
    let at = held.folder.clone();
    let full: Vec<_> = held.full.iter().map(|log| log.path.clone()).collect();
    drop(held);
    if !full.is_empty() {
        sync_database(&at)?;
        delete(&full);
        lock(wal).full.retain(|log| !full.contains(&log.path));
    }
    Ok(())
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

/// The lines of a folder's files after a number, in order, up to the first that is missing.
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
    let consecutive = lines.iter().zip(after + 1..).take_while(|(line, number)| line.number == *number).count();
    if consecutive < lines.len() {
        warn!(lines = lines.len() - consecutive, "lost power took a line of the log; those after it are passed over");
        lines.truncate(consecutive);
    }
    Ok(lines)
}

/// Deletes the log of a folder, once the disk has the database's file.
///
/// # Errors
/// `Folder`: a line that was passed over must not stay, for a later one gets its number.
pub(super) fn clear(path: &Path) -> Result<(), JournalError> {
    let files = files(path)?;
    if !files.is_empty() {
        sync_database(path)?;
    }
    files.iter().try_for_each(|file| fs::remove_file(file).map_err(|source| folder(file, source)))
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
