//! Keystore files: read, checked and written.

use std::{io::Write, path::Path};

use alloy::signers::local::PrivateKeySigner;
use eth_keystore::{EthKeystore, KdfparamsType, KeystoreError};
use zeroize::Zeroizing;

use super::{KeyError, Password, PasswordSource};

/// Opens a keystore with a password from `source`. The file is checked before anybody is asked for a password.
///
/// # Errors
/// Those of [`decrypt`] and of [`PasswordSource::password`].
pub fn open(path: &Path, source: PasswordSource<'_>) -> Result<PrivateKeySigner, KeyError> {
    check(path)?;
    decrypt(path, &source.password(&format!("the keystore {}", path.display()))?)
}

/// Opens a keystore with its password.
///
/// # Errors
/// `NotFound` or `Unreadable` for the file, `NotAKeystore` for its contents, `WrongPassword`.
pub fn decrypt(path: &Path, password: &Password) -> Result<PrivateKeySigner, KeyError> {
    check(path)?;
    let bad = |reason: String| KeyError::NotAKeystore { path: path.to_owned(), reason };
    let secret = eth_keystore::decrypt_key(path, password.text.as_bytes()).map(Zeroizing::new);
    let secret = secret.map_err(|error| match error {
        KeystoreError::MacMismatch => {
            KeyError::WrongPassword { path: path.to_owned(), source_of_password: password.source.clone() }
        }
        error => bad(error.to_string()),
    })?;
    PrivateKeySigner::from_slice(&secret).map_err(|_| bad("it holds no secp256k1 key".into()))
}

/// Refuses what the decryption takes for granted, so that no file can make it panic or eat all memory.
fn check(path: &Path) -> Result<(), KeyError> {
    let text = std::fs::read_to_string(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => KeyError::NotFound { path: path.to_owned() },
        _ => KeyError::Unreadable { path: path.to_owned(), reason: error.to_string() },
    })?;
    let bad = |reason: &str| Err(KeyError::NotAKeystore { path: path.to_owned(), reason: reason.into() });
    let crypto = match serde_json::from_str::<EthKeystore>(&text) {
        Ok(keystore) if keystore.version == 3 => keystore.crypto,
        Ok(_) => return bad("only version 3 is known"),
        Err(_) => return bad("it is no JSON of the Web3 Secret Storage form"),
    };
    if crypto.cipher != "aes-128-ctr" || crypto.cipherparams.iv.len() != 16 || crypto.ciphertext.len() != 32 {
        return bad("only 32-byte keys under aes-128-ctr are known");
    }
    let (dklen, affordable) = match crypto.kdfparams {
        KdfparamsType::Pbkdf2 { c, dklen, .. } => (dklen, c <= 10_000_000),
        KdfparamsType::Scrypt { dklen, n, p, r, .. } => {
            (dklen, n.is_power_of_two() && n > 1 && u64::from(n) * u64::from(r) <= 1 << 23 && p <= 16)
        }
    };
    if dklen < 32 || !affordable {
        return bad("its key derivation parameters are out of range");
    }
    Ok(())
}

/// Makes a new key in a new keystore, readable by its owner alone.
///
/// # Errors
/// Those of [`store`].
pub fn create(path: &Path, password: &Password) -> Result<PrivateKeySigner, KeyError> {
    let key = PrivateKeySigner::random();
    store(path, &key, password)?;
    Ok(key)
}

/// Writes a key into a new keystore, readable by its owner alone.
///
/// # Errors
/// `Exists` if there is a file already, `Unwritable` if the folder or the file cannot be made.
pub fn store(path: &Path, key: &PrivateKeySigner, password: &Password) -> Result<(), KeyError> {
    let unwritable = |reason: String| KeyError::Unwritable { path: path.to_owned(), reason };
    let failed = |error: std::io::Error| unwritable(error.to_string());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(failed)?;
    // The library names no permissions: it writes into a folder that only we can enter.
    let private = tempfile::tempdir_in(folder).map_err(failed)?;
    let secret = Zeroizing::new(key.to_bytes().0);
    let mut randomness = alloy::signers::k256::elliptic_curve::rand_core::OsRng;
    eth_keystore::encrypt_key(private.path(), &mut randomness, *secret, password.text.as_bytes(), Some("key"))
        .map_err(|error| unwritable(error.to_string()))?;
    let contents = std::fs::read(private.path().join("key")).map_err(failed)?;

    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => KeyError::Exists { path: path.to_owned() },
        _ => failed(error),
    })?;
    file.write_all(&contents).and_then(|()| file.sync_all()).map_err(failed)
}
