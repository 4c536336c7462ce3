//! Keystore files: read, checked and written.

use std::{
    io::{Read, Write},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use alloy::{primitives::Address, signers::local::PrivateKeySigner};
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
/// Those of [`TypedPasswords::open`].
pub fn open(path: &Path, source: PasswordSource<'_>) -> Result<PrivateKeySigner, KeyError> {
    TypedPasswords::default().open(path, source).map(|(key, _)| key)
}

/// The passwords that a user has typed for keystores. Keystores often share one, so each is tried before another is asked for.
#[derive(Debug, Default)]
pub struct TypedPasswords(Mutex<Vec<Arc<Password>>>);

impl TypedPasswords {
    /// Opens a keystore with a password from `source`, and returns the key and that password.
    ///
    /// # Errors
    /// Those of [`decrypt`] and of [`PasswordSource::password`].
    pub fn open(&self, path: &Path, source: PasswordSource<'_>) -> Result<(PrivateKeySigner, Arc<Password>), KeyError> {
        self.open_by(path, || source.password(&format!("the keystore {}", path.display())))
    }

    fn open_by(
        &self,
        path: &Path,
        ask: impl FnOnce() -> Result<Password, KeyError>,
    ) -> Result<(PrivateKeySigner, Arc<Password>), KeyError> {
        let encrypted = read(path)?;
        let mut typed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for password in &*typed {
            match unlock(path, &encrypted, password) {
                Err(KeyError::WrongPassword { .. }) => {}
                opened => return opened.map(|key| (key, password.clone())),
            }
        }
        let password = Arc::new(ask()?);
        let key = unlock(path, &encrypted, &password)?;
        if password.is_typed() {
            typed.push(password.clone());
        }
        Ok((key, password))
    }
}

/// The account of a keystore, if the file names it. Needs no password.
///
/// # Errors
/// `NotFound` or `Unreadable` for the file, `NotAKeystore` for its contents.
pub fn address_of(path: &Path) -> Result<Option<Address>, KeyError> {
    read(path).map(|encrypted| encrypted.address)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Keystores with one password cost one question, and those with two cost two.
    #[test]
    fn each_password_is_asked_for_once() {
        let folder = tempfile::tempdir().unwrap();
        let passwords = ["correct horse", "battery staple", "correct horse", "battery staple"];
        let typed = |text: &str| Password::new(text.to_owned(), password::TYPED.to_owned());
        let paths = [0, 1, 2, 3].map(|number| folder.path().join(format!("{number}.json")));
        for (path, text) in paths.iter().zip(passwords) {
            create(path, &typed(text).unwrap(), Cost::Light).unwrap();
        }
        let (known, mut asked) = (TypedPasswords::default(), Vec::new());
        for (path, text) in paths.iter().zip(passwords) {
            let opened = known.open_by(path, || {
                asked.push(text);
                typed(text)
            });
            opened.unwrap();
        }
        assert_eq!(asked, ["correct horse", "battery staple"]);
    }
}
