//! The model that a user names.

use std::path::Path;

use crate::model::{Model, ModelError, ModelFile, ModelStore};

/// A model that a command is about.
#[derive(Debug)]
pub(super) enum NamedModel {
    /// A bare ONNX file.
    File(ModelFile),
    /// A model with its card.
    Card(Box<Model>),
}

impl NamedModel {
    /// An ONNX file, a model's folder, or a model of the store by its folder's name, its own name or its id.
    ///
    /// # Errors
    /// As `ModelFile::of_path`, `Model::open` and `ModelStore::open`.
    pub(super) fn find(name: &str, store: &ModelStore) -> Result<Self, ModelError> {
        let path = Path::new(name);
        if path.is_file() {
            return Ok(Self::File(ModelFile::of_path(path)?));
        }
        let model = if path.join("card.json").is_file() { Model::open(path)? } else { store.open(name)? };
        Ok(Self::Card(Box::new(model)))
    }
}
