//! A folder of models.

use std::{
    collections::BTreeMap,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    time::SystemTime,
};

use alloy::primitives::B256;

use super::{MAX_JSON_BYTES, Model, ModelError, Staged, graph, read_limited};

/// A folder whose subfolders with a `card.json` are models.
#[derive(Clone, Debug)]
pub struct ModelStore {
    root: PathBuf,
}

/// The files of a model's folder, as far as they tell of a change: name, size and time of the last change.
pub(super) type Fingerprint = Vec<(String, u64, Option<SystemTime>)>;

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
        let open = |folder: String| Summary { model: Model::open(&self.root.join(&folder)), folder };
        Ok(self.folders()?.into_iter().map(open).collect())
    }

    /// The files of each model's folder.
    pub(super) fn fingerprints(&self) -> Result<BTreeMap<String, Fingerprint>, ModelError> {
        let fingerprint = |folder: String| (fingerprint(&self.root.join(&folder)), folder);
        Ok(self.folders()?.into_iter().map(fingerprint).map(|(files, folder)| (folder, files)).collect())
    }

    /// Names of the models' folders, sorted.
    fn folders(&self) -> Result<Vec<String>, ModelError> {
        let failed = |error| ModelError::Read { path: self.root.clone(), error };
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut folders = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let folder = entry.file_name().to_string_lossy().into_owned();
            // A hidden folder is an addition that was cut off.
            if !folder.starts_with('.') && entry.path().join("card.json").exists() {
                folders.push(folder);
            }
        }
        folders.sort();
        Ok(folders)
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

    /// Copies a model's folder to be put into the store under the same folder name, once everything in it is checked but
    /// what only running it can tell.
    ///
    /// # Errors
    /// `ModelError::HiddenFolder` for a name that starts with a dot, `Refused` for the ONNX file, `Write` for the store; else as
    /// `Model::open`, `Model::read_file` and `OpenModelFile::weights`.
    pub fn stage(&self, source: &Path) -> Result<Staged, ModelError> {
        let source = source.canonicalize().map_err(|error| match error.kind() {
            ErrorKind::NotFound => ModelError::Missing { path: source.to_path_buf() },
            _ => ModelError::Read { path: source.to_path_buf(), error },
        })?;
        let model = Model::open(&source)?;
        let file = model.onnx().open()?;
        let bytes = file.read()?;
        let weights = file.weights(&graph::inspect(&bytes)?.external)?;
        let folder = source.file_name().ok_or_else(|| ModelError::Missing { path: source.join("card.json") })?;
        let name = model.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (card, details) = (read_json(&source.join("card.json"))?, read_json(&source.join("details.json"))?);
        let files = [(name.as_str(), &bytes[..]), ("card.json", &card), ("details.json", &details)];
        Staged::write(self, &folder.to_string_lossy(), &files, weights.as_ref())
    }

    /// Removes a model by its folder's name, its own name, or its id; returns the folder, with the model that was in it unless
    /// it was unsound.
    ///
    /// # Errors
    /// `ModelError::Unknown` or `Ambiguous`; `Write` where it cannot be removed.
    pub fn remove(&self, name: &str) -> Result<Summary, ModelError> {
        // An unsound folder is known by its own name only.
        let unsound = || self.list().ok()?.into_iter().find(|summary| summary.folder == name && summary.model.is_err());
        let summary = match unsound() {
            Some(summary) => summary,
            None => {
                let model = self.open(name)?;
                let folder = model.folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
                Summary { folder, model: Ok(model) }
            }
        };
        let path = self.root.join(&summary.folder);
        let failed = |error| ModelError::Write { path: path.clone(), error };
        // Out of sight in one step: nobody reads half a model.
        let gone = self.hidden(".removed-")?;
        fs::rename(&path, gone.path().join("model")).map_err(failed)?;
        gone.close().map_err(failed)?;
        Ok(summary)
    }

    /// Makes a folder in the store that nobody takes for a model.
    pub(super) fn hidden(&self, prefix: &str) -> Result<tempfile::TempDir, ModelError> {
        let failed = |error| ModelError::Write { path: self.root.clone(), error };
        fs::create_dir_all(&self.root).map_err(failed)?;
        let mut folder = tempfile::Builder::new();
        folder.prefix(prefix);
        #[cfg(unix)]
        folder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755));
        folder.tempdir_in(&self.root).map_err(failed)
    }
}

/// The files of a folder; nothing of one that is going away at this moment.
fn fingerprint(folder: &Path) -> Fingerprint {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let file = |entry: fs::DirEntry| {
        let metadata = entry.metadata().ok()?;
        Some((entry.file_name().to_string_lossy().into_owned(), metadata.len(), metadata.modified().ok()))
    };
    let mut files: Fingerprint = entries.filter_map(file).collect();
    files.sort();
    files
}

fn read_json(path: &Path) -> Result<Vec<u8>, ModelError> {
    read_limited(path, MAX_JSON_BYTES)
}
