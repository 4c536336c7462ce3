//! The keys that a commit writes, until they are a line of the log.

use std::collections::BTreeMap;

use serde::{Serialize, de::DeserializeOwned};

use super::{
    line::{KeyWrite, TreeName},
    trees::{Trees, read},
};
use crate::journal::{JournalError, changes::Change, index::home_key};

/// Keys that are written, each once. Who reads here reads what was written.
pub(super) struct Writes<'a> {
    trees: &'a Trees,
    values: BTreeMap<TreeName, BTreeMap<Vec<u8>, Option<Vec<u8>>>>,
}

impl<'a> Writes<'a> {
    pub(super) fn over(trees: &'a Trees) -> Self {
        Self { trees, values: BTreeMap::new() }
    }

    /// The record under a key.
    ///
    /// # Errors
    /// `Store` or `Record`.
    pub(super) fn read<T: DeserializeOwned>(&self, tree: TreeName, key: &[u8]) -> Result<Option<T>, JournalError> {
        match self.values.get(&tree).and_then(|values| values.get(key)) {
            Some(written) => Ok(written.as_ref().map(|value| serde_json::from_slice(value)).transpose()?),
            None => read(self.trees.get(tree), key),
        }
    }

    /// Whether there is something under a key.
    ///
    /// # Errors
    /// `Store`.
    pub(super) fn has(&self, tree: TreeName, key: &[u8]) -> Result<bool, JournalError> {
        match self.values.get(&tree).and_then(|values| values.get(key)) {
            Some(written) => Ok(written.is_some()),
            None => Ok(self.trees.get(tree).contains_key(key)?),
        }
    }

    pub(super) fn put(&mut self, tree: TreeName, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.values.entry(tree).or_default().insert(key.into(), Some(value.into()));
    }

    /// Puts a record.
    ///
    /// # Errors
    /// `Record`.
    pub(super) fn put_record(
        &mut self,
        tree: TreeName,
        key: impl Into<Vec<u8>>,
        record: &impl Serialize,
    ) -> Result<(), JournalError> {
        // As much as a job takes: it does not grow as it is written.
        let mut bytes = Vec::with_capacity(1_536);
        serde_json::to_writer(&mut bytes, record)?;
        self.put(tree, key, bytes);
        Ok(())
    }

    pub(super) fn remove(&mut self, tree: TreeName, key: impl Into<Vec<u8>>) {
        self.values.entry(tree).or_default().insert(key.into(), None);
    }

    pub(super) fn finish(self) -> Vec<KeyWrite> {
        let of_tree = |(tree, values): (TreeName, BTreeMap<_, _>)| {
            values.into_iter().map(move |(key, value)| KeyWrite { tree: tree as i32, key, value })
        };
        self.values.into_iter().flat_map(of_tree).collect()
    }

    /// Puts and removes what records a change of them moves.
    ///
    /// # Errors
    /// `Record`.
    pub(super) fn put_all<T: Serialize>(&mut self, tree: TreeName, changes: &[Change<T>]) -> Result<(), JournalError> {
        for change in changes {
            let (put, gone) = change.homes();
            if let Some(((home, id), record)) = put {
                self.put_record(tree, home_key(home, id), record)?;
            }
            if let Some((home, id)) = gone {
                self.remove(tree, home_key(home, id));
            }
        }
        Ok(())
    }
}
