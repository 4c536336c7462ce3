//! Files of any size, read in pieces.

use std::{
    fs::File,
    io::{ErrorKind, Read, Seek},
    path::Path,
};

use alloy::primitives::B256;
use sha2::{Digest, Sha256};

use super::{
    ModelError,
    foreign::{self, Foreign},
};

/// Bytes of a file in memory while its hash is computed.
const HASH_BUFFER: usize = 1 << 20;

/// What a file is that is not the expected one; `None` if it does not say or cannot be read.
pub(super) fn recognise(mut file: &File) -> Option<Foreign> {
    file.rewind().ok()?;
    let mut beginning = Vec::new();
    file.take(foreign::LOOKED_AT as u64).read_to_end(&mut beginning).ok()?;
    foreign::recognise(&beginning)
}

/// Opens a file to be read.
pub(super) fn open(path: &Path) -> Result<File, ModelError> {
    File::open(path).map_err(|error| unread(path, error))
}

/// The error of a file that cannot be read.
pub(super) fn unread(path: &Path, error: std::io::Error) -> ModelError {
    match error.kind() {
        ErrorKind::NotFound => ModelError::Missing { path: path.to_path_buf() },
        _ => ModelError::Read { path: path.to_path_buf(), error },
    }
}

/// SHA-256 of a file of `max` bytes at most, read in pieces.
pub(super) fn hash(path: &Path, mut file: &File, max: u64) -> Result<B256, ModelError> {
    let failed = |error| ModelError::Read { path: path.to_path_buf(), error };
    file.rewind().map_err(failed)?;
    let (mut hash, mut piece, mut length) = (Sha256::new(), vec![0; HASH_BUFFER], 0);
    loop {
        let read = match file.read(&mut piece) {
            Ok(0) => return Ok(B256::from_slice(&hash.finalize())),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed(error)),
        };
        length += read as u64;
        if length > max {
            return Err(ModelError::TooLarge { path: path.to_path_buf(), max });
        }
        hash.update(&piece[..read]);
    }
}
