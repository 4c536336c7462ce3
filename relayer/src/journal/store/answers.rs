//! Signed answers, and whether lost power took any.
//!
//! A record is written as every commit is, so a kill takes none. It does not wait for the disk, which can take hundreds of
//! milliseconds. Instead a small file, `signing.json`, is brought to the
//! disk before the first answer after a sync is signed. It says under which boot of the machine that was: if the next
//! opening finds it under another boot, power may have taken records, and nothing is signed for requests as old as that
//! without a record. The file is beside the database's folder, so it also tells of a database that was deleted or moved
//! away as damaged.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    path::Path,
};

use alloy::primitives::B256;
use serde::{Deserialize, Serialize};
use sled::Tree;

use super::{
    line::TreeName,
    trees::{damaged, folder},
    writes::Writes,
};
use crate::{
    chain::BlockRef,
    domain::SignedAnswer,
    journal::{JournalError, SigningLimits},
};

/// The key of the limits.
const LIMITS: &[u8] = b"signing";
/// The file that outlives the database.
const FILE: &str = "signing.json";

/// Where an answer lies: in the order in which it is forgotten.
fn key(answer: &SignedAnswer) -> Vec<u8> {
    let SignedAnswer { request, block, deadline, .. } = answer;
    let block_number = block.number.to_be_bytes();
    [&deadline.to_be_bytes(), request.as_slice(), &block_number, block.hash.as_slice()].concat()
}

fn answer(key: &[u8], digest: &[u8]) -> Option<SignedAnswer> {
    let number = |at: usize| Some(u64::from_be_bytes(*key.get(at..)?.first_chunk()?));
    let word = |at: usize| B256::try_from(key.get(at..at + 32)?).ok();
    let block = BlockRef { number: number(40)?, hash: word(48)? };
    Some(SignedAnswer { request: word(8)?, block, digest: B256::try_from(digest).ok()?, deadline: number(0)? })
}

/// All signed answers, by deadline.
pub(super) fn all_of(answers: &Tree) -> impl Iterator<Item = Result<SignedAnswer, JournalError>> + use<> {
    answers.iter().map(|entry| {
        let (key, digest) = entry?;
        answer(&key, &digest).ok_or_else(damaged)
    })
}

/// The digest that was signed for the same request in the same block.
pub(super) fn digest(answers: &Tree, answer: &SignedAnswer) -> Result<Option<B256>, JournalError> {
    let digest = answers.get(key(answer))?;
    digest.map(|digest| B256::try_from(digest.as_ref()).map_err(|_| damaged())).transpose()
}

/// Puts an answer.
pub(super) fn put(writes: &mut Writes<'_>, answer: &SignedAnswer) {
    writes.put(TreeName::Answers, key(answer), answer.digest.as_slice());
}

/// Keys of at most `limit` answers whose deadline is `last` or earlier.
pub(super) fn due(answers: &Tree, last: u64, limit: usize) -> Result<Vec<sled::IVec>, JournalError> {
    let end = last.saturating_add(1).to_be_bytes();
    Ok(answers.range(..end.as_slice()).keys().take(limit).collect::<Result<_, _>>()?)
}

pub(super) fn limits(meta: &Tree) -> Result<SigningLimits, JournalError> {
    let limits = meta.get(LIMITS)?.map(|bytes| serde_json::from_slice(&bytes)).transpose()?;
    Ok(limits.unwrap_or_default())
}

/// Puts the limits.
///
/// # Errors
/// `Record`.
pub(super) fn put_limits(writes: &mut Writes<'_>, limits: &SigningLimits) -> Result<(), JournalError> {
    writes.put_record(TreeName::Meta, LIMITS, limits)
}

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Marker {
    /// The machine's boot during which something was signed; empty where the machine does not tell.
    boot: String,
    /// Whether all that was signed is on the disk.
    synced: bool,
}

impl Marker {
    pub(super) fn now(synced: bool) -> Self {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self { boot: boot.trim().to_owned(), synced }
    }

    /// What tells of a loss at every opening until the next sync.
    pub(super) fn lost() -> Self {
        Self { boot: String::new(), synced: false }
    }

    /// What the file in a journal's folder says: `None` if nothing was ever signed.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, JournalError> {
        let file = path.join(FILE);
        match fs::read(&file) {
            // Half a file is of a moment in which power was lost.
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).unwrap_or_else(|_| Self::lost()))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(folder(&file, source)),
        }
    }

    /// Whether records may have been lost since it was written, the database being there still.
    pub(super) fn tells_of_loss(&self) -> bool {
        !self.synced && (self.boot.is_empty() || self.boot != Self::now(false).boot)
    }

    /// Whether what was signed is in the operating system's hands only.
    pub(super) fn is_open(&self) -> bool {
        !self.synced
    }

    /// Brings it to the disk.
    pub(super) fn write(&self, path: &Path) -> Result<(), JournalError> {
        let (new, file) = (path.join("signing.json-new"), path.join(FILE));
        let bytes = serde_json::to_vec(self)?;
        let written = (|| {
            let mut out = File::create(&new)?;
            out.write_all(&bytes)?;
            out.sync_all()?;
            fs::rename(&new, &file)?;
            File::open(path)?.sync_all()
        })();
        written.map_err(|source| folder(&file, source))
    }
}
