//! Models on disk: a folder per model, with its card, its details and its file, each checked against the others.
//!
//! ```text
//! onnx-models/iris/card.json      what the card's hash commits to, and the hash: the model's id
//!                  details.json   canonical JSON: inputs, outputs, probes, licence, and the files with weights
//!                  model.onnx
//!                  …              files with weights, where the model has such
//! ```

mod card_file;
mod changes;
mod details;
mod file;
pub mod foreign;
pub mod graph;
mod pieces;
mod staged;
mod store;
mod weights;

pub use card_file::{MAX_BYTES, agreement_json, is_model_name};
pub use changes::{StoreChange, StoreChanges};
pub use details::{Details, Probe};
pub use file::{ForChild, ModelFile, OpenModelFile};
pub use staged::{NewModel, Staged, default_rule};
pub use store::{ModelStore, Summary};
pub use weights::{ListedFile, OpenWeights};

use std::{
    fs,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

use alloy::primitives::{B256, Bytes};
use sha2::{Digest, Sha256};

use self::foreign::Foreign;
use crate::{protocol::card::ModelCard, text};

/// Size of a card or its details at most, in bytes.
const MAX_JSON_BYTES: u64 = 16 << 20;

/// Reason for which a model cannot be read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum ModelError {
    #[error("there is no model `{name}` in {}: `oraculum model list` lists the models", store.display())]
    Unknown { name: String, store: PathBuf },
    #[error("`{name}` is the name of several models in {}: say which by its folder or id", store.display())]
    Ambiguous { name: String, store: PathBuf },
    #[error("{} is missing: a model's folder holds its card.json, its details.json and its file", path.display())]
    Missing { path: PathBuf },
    #[error("{} cannot be read: {error}", path.display())]
    Read { path: PathBuf, error: std::io::Error },
    #[error("{} cannot be written: {error}", path.display())]
    Write { path: PathBuf, error: std::io::Error },
    #[error("{} is larger than the {max} bytes that are read", path.display())]
    TooLarge { path: PathBuf, max: u64 },
    #[error("{} is not valid: {reason}", path.display())]
    Syntax { path: PathBuf, reason: String },
    #[error("{} has SHA-256 {actual}, but {expected} is expected: {}", path.display(), why_altered(found))]
    Altered { path: PathBuf, expected: B256, actual: B256, found: Option<Foreign> },
    #[error("{} has {actual} bytes, but details.json lists {expected}: {}", path.display(), why_altered(found))]
    Size { path: PathBuf, expected: u64, actual: u64, found: Option<Foreign> },
    #[error("{} holds weights of the model, but details.json does not list it: make the model anew with `oraculum model new`", path.display())]
    Unlisted { path: PathBuf },
    #[error("{} is listed in details.json, but holds no weights of the model: make the model anew with `oraculum model new`", path.display())]
    Unused { path: PathBuf },
    #[error("{} is or lies behind a symbolic link, which files with weights must not: put the file itself there", path.display())]
    Symlink { path: PathBuf },
    #[error("{} was changed while the model was in use: leave files with weights as they are, and load the model again", path.display())]
    Touched { path: PathBuf },
    #[error("{} hashes to {actual}, but gives {expected} as modelId: it was altered, so fetch the model again", path.display())]
    IdMismatch { path: PathBuf, expected: B256, actual: B256 },
    #[error("{} breaks a rule of cards: {rule}", path.display())]
    InvalidCard { path: PathBuf, rule: &'static str },
    #[error("{} starts with a dot, which models' folders must not: rename it", path.display())]
    HiddenFolder { path: PathBuf },
    #[error("{} holds another model already: --replace puts this one in its place, or choose another name", path.display())]
    Occupied { path: PathBuf },
    #[error(
        "`{name}` is the name of the model in {} already: --replace puts this one in its place, or choose another name",
        path.display()
    )]
    NameInUse { name: String, path: PathBuf },
    #[error(transparent)]
    Refused(#[from] crate::model::graph::Refused),
}

/// A model's card with everything it commits to but the file itself, which `onnx` names and `read_file` reads.
#[derive(Clone, Debug)]
pub struct Model {
    /// Hash of the card.
    pub id: B256,
    /// Name that people use, such as `iris/v1`; the card does not commit to it.
    pub name: String,
    /// Card, whose hash is the model's id.
    pub card: ModelCard,
    /// Reference profile string, whose hash is in the card.
    pub profile: String,
    /// Canonical document whose hash is in the card.
    pub details: Details,
    /// Folder of the model.
    pub folder: PathBuf,
    /// Path of the ONNX file.
    pub file: PathBuf,
}

impl Model {
    /// Reads a model's folder and checks all but the ONNX file.
    ///
    /// # Errors
    /// `ModelError::Missing`, `Read` or `TooLarge` for a file; `Syntax` for what is in it; `Altered` for details that are not
    /// the card's; `InvalidCard` or `IdMismatch` for a card.
    pub fn open(folder: &Path) -> Result<Self, ModelError> {
        let card_path = folder.join("card.json");
        let card_file = card_file::read(&card_path)?;
        let details_path = folder.join("details.json");
        let details = read_limited(&details_path, MAX_JSON_BYTES)?;
        check_hash(&details_path, &details, card_file.details)?;
        let card = card_file.card(&card_path)?;
        let details = Details::parse(&details_path, &details)?;
        if details.files.iter().any(|file| file.path == card_file.file) {
            let reason = "it lists the model's own file among those with weights".to_owned();
            return Err(ModelError::Syntax { path: details_path, reason });
        }
        Ok(Self {
            id: card_file.model_id,
            card,
            details,
            file: folder.join(&card_file.file),
            folder: folder.to_path_buf(),
            name: card_file.name,
            profile: card_file.profile,
        })
    }

    /// The ONNX file, with the hash that the card commits to.
    #[must_use]
    pub fn onnx(&self) -> ModelFile {
        ModelFile::with_hash(self.file.clone(), self.card.file_hash, self.details.files.clone())
    }

    /// Reads the ONNX file, and checks the bytes it returns against the card.
    ///
    /// # Errors
    /// `ModelError::Missing`, `Read` or `TooLarge`; `Altered` where the hash is another.
    pub fn read_file(&self) -> Result<Bytes, ModelError> {
        self.onnx().open()?.read()
    }

    /// Reads the ONNX file and the files with weights in pieces, and checks their hashes.
    ///
    /// # Errors
    /// `ModelError::Missing`, `Read`, `TooLarge`, `Symlink` or `Size`; `Altered` where a hash is another, `Touched` where a file
    /// is written to meanwhile.
    pub fn verify(&self) -> Result<(), ModelError> {
        let file = self.onnx().open()?;
        file.verify()?;
        let listed: Vec<_> = self.details.files.iter().map(|file| file.path.clone()).collect();
        file.weights(&listed)?.map_or(Ok(()), |weights| weights.verify())
    }
}

fn why_altered(found: &Option<Foreign>) -> String {
    match found {
        Some(found) => format!("it is {found}"),
        None => "it was altered, so fetch the model again".to_owned(),
    }
}

/// What is wrong in a JSON file, with the field that it is wrong in.
fn field_error(error: &serde_path_to_error::Error<serde_json::Error>) -> String {
    let (path, reason) = (error.path().to_string(), error.inner().to_string());
    // What is wrong with the whole has no path.
    let field = if path == "." { reason } else { format!("{path}: {reason}") };
    text::one_line(&field)
}

fn sha256(bytes: &[u8]) -> B256 {
    B256::from_slice(&Sha256::digest(bytes))
}

fn check_hash(path: &Path, bytes: &[u8], expected: B256) -> Result<(), ModelError> {
    let actual = sha256(bytes);
    if actual == expected {
        return Ok(());
    }
    let found = None;
    Err(ModelError::Altered { path: path.to_path_buf(), expected, actual, found })
}

fn read_limited(path: &Path, max: u64) -> Result<Vec<u8>, ModelError> {
    let path = || path.to_path_buf();
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => ModelError::Missing { path: path() },
        _ => ModelError::Read { path: path(), error },
    };
    let mut bytes = Vec::new();
    fs::File::open(path()).map_err(failed)?.take(max + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > max { Err(ModelError::TooLarge { path: path(), max }) } else { Ok(bytes) }
}

#[cfg(test)]
pub(crate) mod tests;
