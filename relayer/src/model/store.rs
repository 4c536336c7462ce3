//! A folder of models.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use alloy::primitives::B256;

use super::{Model, ModelError, graph};

/// A folder whose subfolders with a `card.json` are models.
#[derive(Clone, Debug)]
pub struct ModelStore {
    root: PathBuf,
}

/// A folder of the store.
#[derive(Debug)]
pub struct Summary {
    /// Name of the folder.
    pub folder: String,
    /// The model, or what is wrong with its folder.
    pub model: Result<Model, ModelError>,
}

impl ModelStore {
    /// Names the store in a folder, which need not exist yet.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Folder of the store.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Every model, sound or not, by folder name. ONNX files are not read.
    ///
    /// # Errors
    /// `ModelError::Read` for the store's folder.
    pub fn list(&self) -> Result<Vec<Summary>, ModelError> {
        let failed = |error| ModelError::Read { path: self.root.clone(), error };
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut summaries = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let folder = entry.file_name().to_string_lossy().into_owned();
            // A hidden folder is an addition that was cut off.
            if !folder.starts_with('.') && entry.path().join("card.json").exists() {
                summaries.push(Summary { folder, model: Model::open(&entry.path()) });
            }
        }
        summaries.sort_by(|a, b| a.folder.cmp(&b.folder));
        Ok(summaries)
    }

    /// Opens a model by its folder's name, its own name, or its id.
    ///
    /// # Errors
    /// `ModelError::Unknown`, or `Ambiguous` where several have the name; else as `Model::open`.
    pub fn open(&self, name: &str) -> Result<Model, ModelError> {
        let plain = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\']);
        if plain && self.root.join(name).join("card.json").exists() {
            return Model::open(&self.root.join(name));
        }
        let id = name.parse::<B256>().ok();
        let models = self.list()?.into_iter().filter_map(|summary| summary.model.ok());
        let mut found: Vec<_> = models.filter(|model| model.name == name || Some(model.id) == id).collect();
        match (found.pop(), found.is_empty()) {
            (Some(model), true) => Ok(model),
            (Some(model), false) if id.is_some() => Ok(model),
            (Some(_), false) => Err(ModelError::Ambiguous { name: name.to_owned(), store: self.root.clone() }),
            (None, _) => Err(ModelError::Unknown { name: name.to_owned(), store: self.root.clone() }),
        }
    }

    /// Copies a model's folder into the store, under the same folder name, once everything in it is checked. Adding what
    /// is there already changes nothing.
    ///
    /// # Errors
    /// `ModelError::HiddenFolder` for a name that starts with a dot, `Occupied` where another model has it, `Refused` for the
    /// ONNX file, `Write` for the store; else as `Model::open` and `Model::read_file`.
    pub fn add(&self, source: &Path) -> Result<Model, ModelError> {
        let source = source.canonicalize().map_err(|error| ModelError::Read { path: source.to_path_buf(), error })?;
        let model = Model::open(&source)?;
        let bytes = model.read_file()?;
        graph::inspect(&bytes)?;
        let name = source.file_name().ok_or_else(|| ModelError::Missing { path: source.join("card.json") })?;
        if name.to_string_lossy().starts_with('.') {
            return Err(ModelError::HiddenFolder { path: source });
        }
        let target = self.root.join(name);
        if target.exists() {
            let present = Model::open(&target).ok().filter(|present| present.id == model.id);
            let present = present.filter(|present| present.onnx().open().and_then(|file| file.verify()).is_ok());
            return present.ok_or(ModelError::Occupied { path: target });
        }
        let failed = |error| ModelError::Write { path: target.clone(), error };
        fs::create_dir_all(&self.root).map_err(failed)?;
        // Another process sees the whole model or nothing: a folder is renamed in one step.
        let mut staging = tempfile::Builder::new();
        staging.prefix(".adding-");
        #[cfg(unix)]
        staging.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755));
        let staging = staging.tempdir_in(&self.root).map_err(failed)?;
        let file_name = model.file.file_name().unwrap_or_default();
        fs::write(staging.path().join(file_name), &bytes).map_err(failed)?;
        for name in ["card.json", "details.json"] {
            fs::copy(source.join(name), staging.path().join(name)).map_err(failed)?;
        }
        // What was copied is what counts, should the source have changed meanwhile.
        Model::open(staging.path())?.onnx().open()?.verify()?;
        fs::rename(staging.path(), &target).map_err(failed)?;
        let _ = staging.keep();
        Model::open(&target)
    }
}
