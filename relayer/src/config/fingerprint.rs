//! What each key says, remembered without the value, so that a later reading can tell what changed.

use std::{collections::BTreeMap, fmt};

use alloy::primitives::{B256, keccak256};

use super::file::Config;

/// Fingerprints of values, which may be secret.
#[derive(Clone, Default)]
pub(super) struct ConfigFingerprint(BTreeMap<String, B256>);

impl ConfigFingerprint {
    pub(super) fn of(config: &Config) -> Self {
        // A configuration that was read can be written.
        let table = toml::Table::try_from(config).unwrap_or_default();
        let mut said = BTreeMap::new();
        for (section, keys) in &table {
            for (name, value) in keys.as_table().into_iter().flatten() {
                said.insert(format!("{section}.{name}"), keccak256(value.to_string()));
            }
        }
        Self(said)
    }

    /// The keys that say something else, or are in one of both only.
    pub(super) fn changed(&self, other: &Self) -> Vec<String> {
        let mut keys: Vec<_> =
            self.0.keys().chain(other.0.keys()).filter(|key| self.0.get(*key) != other.0.get(*key)).collect();
        keys.sort_unstable();
        keys.dedup();
        keys.into_iter().cloned().collect()
    }
}

impl fmt::Debug for ConfigFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Said")
    }
}
