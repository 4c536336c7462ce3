//! Keystore files: read, checked and written.

use std::{
    io::{Read, Write},
    path::Path,
};

use alloy::signers::local::PrivateKeySigner;
use zeroize::Zeroizing;

use super::{
    KeyError, Password, PasswordSource, password,
    secret_storage::{self, Cost, Encrypted},
};

/// Bytes of a keystore at most; real ones have some 500.
const MAX_BYTES: u64 = 1 << 16;

/// Opens a keystore with a password from `source`. The file is checked before anybody is asked for a password.
///
/// # Errors
/// Those of [`decrypt`] and of [`PasswordSource::password`].
pub fn open(path: &Path, source: PasswordSource<'_>) -> Result<PrivateKeySigner, KeyError> {
    let encrypted = read(path)?;
    unlock(path, &encrypted, &source.password(&format!("the keystore {}", path.display()))?)
}

/// Opens a keystore with its password.
///
/// # Errors
/// `NotFound` or `Unreadable` for the file, `NotAKeystore` for its contents, `WrongPassword`.
pub fn decrypt(path: &Path, password: &Password) -> Result<PrivateKeySigner, KeyError> {
    unlock(path, &read(path)?, password)
}

/// Looks whether a file is a keystore that some password opens.
///
/// # Errors
/// `NotFound` or `Unreadable` for the file, `NotAKeystore` for its contents.
pub(super) fn check(path: &Path) -> Result<(), KeyError> {
    read(path).map(drop)
}

fn unlock(path: &Path, encrypted: &Encrypted, password: &Password) -> Result<PrivateKeySigner, KeyError> {
    let bad = |reason: String| KeyError::NotAKeystore { path: path.to_owned(), reason };
    let wrong = || KeyError::WrongPassword { path: path.to_owned(), source_of_password: password.source.clone() };
    let secret = encrypted.decrypt(password.text.as_bytes()).ok_or_else(wrong)?;
    let key = PrivateKeySigner::from_slice(&*secret).map_err(|_| bad("it holds no secp256k1 key".into()))?;
    match encrypted.address.filter(|address| *address != key.address()) {
        Some(address) => Err(bad(format!("`address` is {address}, but the key is that of {}", key.address()))),
        None => Ok(key),
    }
}

fn read(path: &Path) -> Result<Encrypted, KeyError> {
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => KeyError::NotFound { path: path.to_owned() },
        _ => KeyError::Unreadable { path: path.to_owned(), reason: error.to_string() },
    };
    let mut json = Zeroizing::new(Vec::new());
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(MAX_BYTES + 1).read_to_end(&mut json).map_err(unreadable)?;
    let bad = |reason: String| KeyError::NotAKeystore { path: path.to_owned(), reason };
    if json.len() as u64 > MAX_BYTES {
        return Err(bad(format!("it has more than {MAX_BYTES} bytes")));
    }
    let encrypted = Encrypted::parse(&json).map_err(bad)?;
    password::warn_if_open_to_others(path, "keystore");
    Ok(encrypted)
}

/// Makes a new key in a new keystore, readable by its owner alone.
///
/// # Errors
/// Those of [`store`].
pub fn create(path: &Path, password: &Password, cost: Cost) -> Result<PrivateKeySigner, KeyError> {
    let key = PrivateKeySigner::random();
    store(path, &key, password, cost)?;
    Ok(key)
}

/// Writes a key into a new keystore, readable by its owner alone.
///
/// # Errors
/// `Exists` if there is a file already, `Unwritable` if the folder or the file cannot be made.
pub fn store(path: &Path, key: &PrivateKeySigner, password: &Password, cost: Cost) -> Result<(), KeyError> {
    let failed = |error: std::io::Error| KeyError::Unwritable { path: path.to_owned(), reason: error.to_string() };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(failed)?;
    let secret = Zeroizing::new(key.to_bytes().0);
    let contents = secret_storage::encrypt(&secret, key.address(), password.text.as_bytes(), cost);

    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => KeyError::Exists { path: path.to_owned() },
        _ => failed(error),
    })?;
    file.write_all(contents.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}
