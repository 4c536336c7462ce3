//! What changes in a folder of models while somebody serves them.

use std::collections::BTreeMap;

use super::{Model, ModelError, ModelStore, store::Fingerprint};

/// A store that is looked at again and again.
#[derive(Debug)]
pub struct StoreChanges {
    store: ModelStore,
    /// The folders as they were told of last.
    told: BTreeMap<String, Fingerprint>,
    /// The folders at the last look.
    seen: BTreeMap<String, Fingerprint>,
}

/// A change of a folder.
#[derive(Debug)]
pub struct StoreChange {
    /// Name of the folder.
    pub folder: String,
    /// The model that is in it now, or what is wrong with it; `None` where the folder is gone.
    pub model: Option<Result<Model, ModelError>>,
}

impl StoreChanges {
    /// Takes the store as it is now for known.
    #[must_use]
    pub fn since_now(store: ModelStore) -> Self {
        let told = store.fingerprints().unwrap_or_default();
        Self { store, seen: told.clone(), told }
    }

    /// Changes since the last call, each told once. A folder is told of when two looks find it the same, for it may be in
    /// the middle of being written.
    ///
    /// # Errors
    /// `ModelError::Read` for the store's folder.
    pub fn poll(&mut self) -> Result<Vec<StoreChange>, ModelError> {
        let now = self.store.fingerprints()?;
        let before = std::mem::replace(&mut self.seen, now);
        let mut changes = Vec::new();
        for (folder, fingerprint) in &self.seen {
            if self.told.get(folder) != Some(fingerprint) && before.get(folder) == Some(fingerprint) {
                self.told.insert(folder.clone(), fingerprint.clone());
                let model = Some(Model::open(&self.store.root().join(folder)));
                changes.push(StoreChange { folder: folder.clone(), model });
            }
        }
        let is_gone = |folder: &String| !self.seen.contains_key(folder) && !before.contains_key(folder);
        let gone: Vec<_> = self.told.keys().filter(|folder| is_gone(folder)).cloned().collect();
        for folder in gone {
            self.told.remove(&folder);
            changes.push(StoreChange { folder, model: None });
        }
        Ok(changes)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::model::tests::Draft;

    fn told(changes: &mut StoreChanges) -> Vec<String> {
        let change = |StoreChange { folder, model }| match model {
            Some(model) => format!("{folder} {}", model.is_ok()),
            None => format!("{folder} removed"),
        };
        changes.poll().unwrap().into_iter().map(change).collect()
    }

    #[test]
    fn a_folder_is_told_of_once_when_it_is_whole_and_again_when_it_changes() {
        let root = tempfile::tempdir().unwrap();
        let store = ModelStore::new(root.path());
        let draft = Draft::iris().write();
        fs::rename(draft.path(), root.path().join("known")).unwrap();
        let mut changes = StoreChanges::since_now(store.clone());
        assert_eq!(told(&mut changes), [""; 0]);

        let wine = root.path().join("wine");
        fs::create_dir(&wine).unwrap();
        fs::write(wine.join("card.json"), "{").unwrap();
        assert_eq!(told(&mut changes), [""; 0], "it may still be written");
        assert_eq!(told(&mut changes), ["wine false"]);
        assert_eq!(told(&mut changes), [""; 0]);
        let whole = Draft::iris().write();
        for name in ["card.json", "details.json", "model.onnx"] {
            fs::copy(whole.path().join(name), wine.join(name)).unwrap();
        }
        assert_eq!(told(&mut changes), [""; 0]);
        assert_eq!(told(&mut changes), ["wine true"]);

        store.remove("wine").unwrap();
        assert_eq!(told(&mut changes), [""; 0], "another may take its place");
        assert_eq!(told(&mut changes), ["wine removed"]);
        assert_eq!(told(&mut changes), [""; 0]);
    }
}
