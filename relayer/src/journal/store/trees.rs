//! The trees of the database and how records are written in them: the ground on which this adapter stands.

use std::path::Path;

use alloy::primitives::B256;
use serde::de::DeserializeOwned;
use sled::Tree;

use super::line::{KeyWrite, Line, TreeName};
use crate::{chain::BlockRef, journal::JournalError};

/// The key of the last block whose logs were taken in.
pub(super) const CURSOR: &[u8] = b"cursor";
/// The key of the number of the last commit of which something may be in the trees.
pub(super) const BEGUN: &[u8] = b"begun";
/// The key of the number of the last commit that is in the trees as a whole.
const WRITTEN: &[u8] = b"written";
/// The key of what the journal was written for.
pub(super) const IDENTITY: &[u8] = b"identity";
/// The key of the layout's version. The first layout has none.
pub(super) const SCHEMA: &[u8] = b"schema";

/// Every tree. The names on the disk are those of the first layout that had them.
#[derive(Debug)]
pub(super) struct Trees {
    pub(super) db: sled::Db,
    pub(super) meta: Tree,
    pub(super) recent_blocks: Tree,
    pub(super) jobs: Tree,
    /// Under the keys of their jobs.
    pub(super) inputs: Tree,
    pub(super) transactions: Tree,
    /// The signed bytes of the transactions' attempts, in pieces.
    pub(super) attempts: Tree,
    pub(super) claims: Tree,
    pub(super) ledger: Tree,
    /// Digests of signed answers, in the order in which they are forgotten.
    pub(super) answers: Tree,
}

impl Trees {
    pub(super) fn open(db: sled::Db) -> Result<Self, JournalError> {
        Ok(Self {
            meta: db.open_tree("meta")?,
            recent_blocks: db.open_tree("ring")?,
            jobs: db.open_tree("jobs")?,
            inputs: db.open_tree("inputs")?,
            transactions: db.open_tree("slots")?,
            attempts: db.open_tree("signed")?,
            claims: db.open_tree("claims")?,
            ledger: db.open_tree("books")?,
            answers: db.open_tree("answers")?,
            db,
        })
    }

    pub(super) fn get(&self, name: TreeName) -> &Tree {
        match name {
            TreeName::Meta => &self.meta,
            TreeName::RecentBlocks => &self.recent_blocks,
            TreeName::Jobs => &self.jobs,
            TreeName::Inputs => &self.inputs,
            TreeName::Transactions => &self.transactions,
            TreeName::Attempts => &self.attempts,
            TreeName::Claims => &self.claims,
            TreeName::Ledger => &self.ledger,
            TreeName::Answers => &self.answers,
        }
    }

    pub(super) fn each(&self) -> [&Tree; 9] {
        let Self { db: _, meta, recent_blocks, jobs, inputs, transactions, attempts, claims, ledger, answers } = self;
        [meta, recent_blocks, jobs, inputs, transactions, attempts, claims, ledger, answers]
    }

    /// Writes a line of the log.
    ///
    /// # Errors
    /// The database's; what was written of it then is written again when the journal is opened.
    pub(super) fn write(&self, line: &Line) -> Result<(), sled::Error> {
        let number = line.number.to_be_bytes();
        self.meta.insert(BEGUN, &number)?;
        self.put(&line.writes)?;
        self.meta.insert(WRITTEN, &number)?;
        Ok(())
    }

    /// Writes keys one after another.
    ///
    /// # Errors
    /// The database's.
    pub(super) fn put(&self, writes: &[KeyWrite]) -> Result<(), sled::Error> {
        for write in writes {
            let tree = self.get(write.tree());
            match &write.value {
                Some(value) => tree.insert(&write.key, value.as_slice())?,
                None => tree.remove(&write.key)?,
            };
        }
        Ok(())
    }

    /// The number of the last commit that is here as a whole; 0 if there was none.
    ///
    /// # Errors
    /// `Store`.
    pub(super) fn written(&self) -> Result<u64, JournalError> {
        self.number(WRITTEN)
    }

    /// The number of the last commit of which something may be here; 0 if there was none.
    ///
    /// # Errors
    /// `Store`.
    pub(super) fn begun(&self) -> Result<u64, JournalError> {
        self.number(BEGUN)
    }

    fn number(&self, key: &[u8]) -> Result<u64, JournalError> {
        let number = |bytes: sled::IVec| <[u8; 8]>::try_from(bytes.as_ref()).map(u64::from_be_bytes);
        Ok(self.meta.get(key)?.map(number).transpose().map_err(|_| damaged())?.unwrap_or(0))
    }
}

/// The record under a key.
pub(super) fn read<T: DeserializeOwned>(tree: &Tree, key: &[u8]) -> Result<Option<T>, JournalError> {
    Ok(tree.get(key)?.map(|bytes| serde_json::from_slice(&bytes)).transpose()?)
}

/// The records of a tree in the order of their keys, one at a time.
pub(super) fn all<T: DeserializeOwned>(tree: &Tree) -> impl Iterator<Item = Result<T, JournalError>> + use<T> {
    tree.iter().values().map(|value| Ok(serde_json::from_slice(&value?)?))
}

/// The remembered blocks, ascending.
pub(super) fn blocks(recent_blocks: &Tree) -> impl Iterator<Item = Result<BlockRef, JournalError>> + use<> {
    recent_blocks.iter().map(|entry| {
        let (key, value) = entry?;
        let number = <[u8; 8]>::try_from(key.as_ref()).map_err(|_| damaged())?;
        let hash = B256::try_from(value.as_ref()).map_err(|_| damaged())?;
        Ok(BlockRef { number: u64::from_be_bytes(number), hash })
    })
}

/// Hour and model: the entries of a day are a range of keys.
pub(super) fn entry_key(hour: u64, model: B256) -> Vec<u8> {
    [&hour.to_be_bytes(), model.as_slice()].concat()
}

pub(super) fn damaged() -> JournalError {
    JournalError::Store(sled::Error::Corruption { at: None, bt: () })
}

pub(super) fn folder(path: &Path, source: std::io::Error) -> JournalError {
    JournalError::Folder { path: path.display().to_string(), source }
}
