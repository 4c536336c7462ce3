//! ONNX files, known by their hash, of which no more is kept in memory than is needed.

use std::{
    fs::File,
    io::{Read, Seek, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use alloy::primitives::{B256, Bytes};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    ModelError,
    foreign::{self, Foreign},
    pieces::{hash, open, recognise},
    weights::{Beside, ListedFile, OpenWeights},
};

/// Size at which a protobuf message, and so an ONNX file, ends.
const MAX_FILE_BYTES: u64 = 2 << 30;

/// Path of an ONNX file, and the SHA-256 that it must have. Nothing of it is in memory, unless it was made there.
#[derive(Clone, Debug)]
pub struct ModelFile {
    place: Place,
    sha256: B256,
    weights: Arc<Beside>,
}

#[derive(Clone, Debug)]
enum Place {
    Disk(PathBuf),
    Memory(Bytes),
}

/// An ONNX file, held open: renaming another one over its path does not change what is read here.
#[derive(Clone, Debug)]
pub struct OpenModelFile {
    place: OpenPlace,
    sha256: B256,
    weights: Arc<Beside>,
}

#[derive(Clone, Debug)]
enum OpenPlace {
    Disk { path: PathBuf, file: Arc<File> },
    Memory(Bytes),
}

impl ModelFile {
    /// Names the file at `path`, which must have the hash `sha256` whenever it is read. Weights may lie in the files of its
    /// folder that are listed, and have to lie in each of them.
    #[must_use]
    pub fn with_hash(path: PathBuf, sha256: B256, weights: Vec<ListedFile>) -> Self {
        Self { place: Place::Disk(path), sha256, weights: Arc::new(Beside::Listed(weights)) }
    }

    /// Reads the file at `path` once, in pieces, and takes the hash that it has now for its own. Weights may lie in any files
    /// below its folder, which are taken as they are.
    ///
    /// # Errors
    /// `ModelError::Missing`, `Read` or `TooLarge`.
    pub fn of_path(path: &Path) -> Result<Self, ModelError> {
        let sha256 = hash(path, &open(path)?, MAX_FILE_BYTES)?;
        Ok(Self { place: Place::Disk(path.to_path_buf()), sha256, weights: Arc::new(Beside::AsFound) })
    }

    /// Takes a file that exists in memory only, with all its weights; it stays there.
    #[must_use]
    pub fn in_memory(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let sha256 = B256::from_slice(&Sha256::digest(&bytes));
        Self { sha256, place: Place::Memory(bytes), weights: Arc::new(Beside::Nothing) }
    }

    /// SHA-256 of the file.
    #[must_use]
    pub fn sha256(&self) -> B256 {
        self.sha256
    }

    /// Opens the file, unchecked.
    ///
    /// # Errors
    /// `ModelError::Missing` or `Read`.
    pub fn open(&self) -> Result<OpenModelFile, ModelError> {
        let place = match &self.place {
            Place::Disk(path) => OpenPlace::Disk { path: path.clone(), file: Arc::new(open(path)?) },
            Place::Memory(bytes) => OpenPlace::Memory(bytes.clone()),
        };
        Ok(OpenModelFile { place, sha256: self.sha256, weights: self.weights.clone() })
    }
}

/// What a process is told of a model's file that it is given open.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ForChild {
    path: PathBuf,
    sha256: B256,
    weights: Beside,
}

impl OpenModelFile {
    /// SHA-256 that the file must have.
    #[must_use]
    pub fn sha256(&self) -> B256 {
        self.sha256
    }

    /// The file for another process to have as its standard output, and what tells `from_parent` there the rest. A file that is
    /// in memory is written out, without a name. Without weights in other files the process is told of no folder.
    ///
    /// # Errors
    /// `ModelError::Read`.
    pub fn for_child(&self, has_weights: bool) -> Result<(File, ForChild), ModelError> {
        let (path, file) = match &self.place {
            OpenPlace::Disk { path, file } => (std::path::absolute(path).unwrap_or(path.clone()), file.try_clone()),
            OpenPlace::Memory(bytes) => (PathBuf::from("the file in memory"), unnamed(bytes)),
        };
        let file = file.map_err(|error| ModelError::Read { path: path.clone(), error })?;
        let weights = if has_weights { (*self.weights).clone() } else { Beside::Nothing };
        Ok((file, ForChild { path, sha256: self.sha256, weights }))
    }

    /// The file that another process has given to this one as its standard output.
    ///
    /// # Errors
    /// `ModelError::Missing` or `Read`.
    pub fn from_parent(ForChild { path, sha256, weights }: ForChild) -> Result<Self, ModelError> {
        // Opened anew by this path the file has a position of its own.
        let file = open(Path::new(if cfg!(target_os = "linux") { "/proc/self/fd/1" } else { "/dev/fd/1" }))?;
        let place = OpenPlace::Disk { path, file: Arc::new(file) };
        Ok(Self { place, sha256, weights: Arc::new(weights) })
    }

    /// The folder in which files with weights may lie, if any may.
    #[must_use]
    pub fn weights_folder(&self) -> Option<&Path> {
        match (&self.place, &*self.weights) {
            (OpenPlace::Memory(_), _) | (_, Beside::Nothing) => None,
            (OpenPlace::Disk { path, .. }, _) => path.parent(),
        }
    }

    /// Reads the whole file, and checks the bytes it returns.
    ///
    /// # Errors
    /// `ModelError::Read` or `TooLarge`; `Altered` where the hash is another.
    pub fn read(&self) -> Result<Bytes, ModelError> {
        let (path, file) = match &self.place {
            OpenPlace::Disk { path, file } => (path, file),
            OpenPlace::Memory(bytes) => return Ok(bytes.clone()),
        };
        let failed = |error| ModelError::Read { path: path.clone(), error };
        let mut file: &File = file;
        file.rewind().map_err(failed)?;
        // One piece of the right size: growing by doubling would hold the file twice.
        let length = file.metadata().map_err(failed)?.len().min(MAX_FILE_BYTES);
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default() + 1);
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(ModelError::TooLarge { path: path.clone(), max: MAX_FILE_BYTES });
        }
        self.check(path, B256::from_slice(&Sha256::digest(&bytes)), || foreign::recognise(&bytes))?;
        Ok(bytes.into())
    }

    /// Opens the files below the model's folder that hold weights, which are those that it names: `Signature::external`. Their
    /// sizes are checked, and not their hashes. `None` if it names none.
    ///
    /// # Errors
    /// `ModelError::Unlisted` or `Unused` where the list has others; `Missing`, `Read`, `Symlink` or `Size` for a file; `Refused`
    /// for a model in memory.
    pub fn weights(&self, named: &[String]) -> Result<Option<OpenWeights>, ModelError> {
        let folder = match &self.place {
            OpenPlace::Disk { path, .. } => path.parent().unwrap_or(Path::new("")),
            OpenPlace::Memory(_) => Path::new(""),
        };
        self.weights.open(folder, named)
    }

    /// Size in bytes, now.
    ///
    /// # Errors
    /// `ModelError::Read`.
    pub fn size(&self) -> Result<u64, ModelError> {
        match &self.place {
            OpenPlace::Disk { path, file } => {
                let metadata = file.metadata().map_err(|error| ModelError::Read { path: path.clone(), error })?;
                Ok(metadata.len())
            }
            OpenPlace::Memory(bytes) => Ok(bytes.len() as u64),
        }
    }

    /// Reads the file in pieces of 1 MiB, and checks its hash.
    ///
    /// # Errors
    /// `ModelError::Read` or `TooLarge`; `Altered` where the hash is another.
    pub fn verify(&self) -> Result<(), ModelError> {
        match &self.place {
            OpenPlace::Disk { path, file } => self.check(path, hash(path, file, MAX_FILE_BYTES)?, || recognise(file)),
            OpenPlace::Memory(_) => Ok(()),
        }
    }

    /// A path under which this very file can be opened once more, whatever lies at its own path by now; `None` where the
    /// system has no such paths, or the file is in memory.
    #[must_use]
    pub fn pinned_path(&self) -> Option<PathBuf> {
        match &self.place {
            #[cfg(target_os = "linux")]
            OpenPlace::Disk { file, .. } => {
                use std::os::fd::AsRawFd;
                let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
                path.exists().then_some(path)
            }
            _ => None,
        }
    }

    fn check(&self, path: &Path, actual: B256, found: impl Fn() -> Option<Foreign>) -> Result<(), ModelError> {
        if actual == self.sha256 {
            return Ok(());
        }
        Err(ModelError::Altered { path: path.to_path_buf(), expected: self.sha256, actual, found: found() })
    }
}

/// A file with these bytes, which can be read only, and whose name is gone.
fn unnamed(bytes: &[u8]) -> std::io::Result<File> {
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(bytes)?;
    File::open(file.path())
}
