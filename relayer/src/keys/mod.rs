//! Keys in encrypted keystores (Web3 Secret Storage, as Geth, Foundry and others write), and their passwords.
//!
//! A password comes from a file, from the environment or from a terminal, never from an argument. Neither keys nor
//! passwords are ever printed, and both are wiped from memory when they are dropped.

use std::{
    fmt,
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
};

use alloy::{primitives::Address, signers::local::PrivateKeySigner};
use eth_keystore::{EthKeystore, KdfparamsType, KeystoreError};
use tracing::warn;
use zeroize::Zeroizing;

use crate::config::KeySettings;

/// The environment variable with the keystores' password.
pub const PASSWORD_VARIABLE: &str = "ORACULUM_PASSWORD";

/// The keys of a running node.
#[derive(Clone)]
pub struct Keys {
    /// Signs answers.
    pub signer: PrivateKeySigner,
    /// Pay for gas, each with transactions of its own. Never empty.
    pub senders: Vec<PrivateKeySigner>,
}

/// Why a key cannot be used. The display is one line with the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum KeyError {
    #[error("there is no keystore at {path}; `oraculum init` makes one, or correct the path")]
    NotFound { path: PathBuf },
    #[error("cannot read the keystore {path}: {reason}")]
    Unreadable { path: PathBuf, reason: String },
    #[error("{path} is not a keystore that can be used: {reason}")]
    NotAKeystore { path: PathBuf, reason: String },
    #[error("wrong password for the keystore {path}; check {source_of_password}")]
    WrongPassword { path: PathBuf, source_of_password: String },
    #[error("the password from {source_of_password} is empty; a keystore needs one")]
    EmptyPassword { source_of_password: String },
    #[error("cannot read the password file {path}: {reason}")]
    PasswordFile { path: PathBuf, reason: String },
    #[error("no password for {what}: set {PASSWORD_VARIABLE}, give a password file, or run on a terminal")]
    NoPassword { what: String },
    #[error("cannot read a password from the terminal: {0}")]
    Terminal(String),
    #[error("the two passwords differ; nothing was written")]
    PasswordsDiffer,
    #[error("{path} exists already and is left as it is; choose another path")]
    Exists { path: PathBuf },
    #[error("{path} holds the key of {address} again; `keys.senders` needs different keys")]
    SameSender { path: PathBuf, address: Address },
    #[error("cannot write the keystore {path}: {reason}")]
    Unwritable { path: PathBuf, reason: String },
}

/// A keystore's password.
pub struct Password {
    text: Zeroizing<String>,
    source: String,
}

/// Where passwords may come from.
#[derive(Clone, Copy, Debug, Default)]
pub struct PasswordSource<'a> {
    /// A file named on the command line, before everything else.
    pub argument: Option<&'a Path>,
    /// A file named in the configuration, after the environment.
    pub config: Option<&'a Path>,
}

impl PasswordSource<'_> {
    /// The password of something that exists, such as `the keystore keys/signer.json`: from the argument's file, else
    /// [`PASSWORD_VARIABLE`], else the configuration's file, else a terminal.
    pub fn password(&self, what: &str) -> Result<Password, KeyError> {
        match self.unattended()? {
            Some(password) => Ok(password),
            None => prompt(what, &format!("Password of {what}: ")),
        }
    }

    /// A password for something new. On a terminal it is asked for twice.
    pub fn new_password(&self, what: &str) -> Result<Password, KeyError> {
        if let Some(password) = self.unattended()? {
            return Ok(password);
        }
        let password = prompt(what, &format!("New password for {what}: "))?;
        let again = prompt(what, "The same again: ")?;
        if *password.text != *again.text {
            return Err(KeyError::PasswordsDiffer);
        }
        Ok(password)
    }

    fn unattended(&self) -> Result<Option<Password>, KeyError> {
        if let Some(path) = self.argument {
            return Password::from_file(path).map(Some);
        }
        if let Ok(text) = std::env::var(PASSWORD_VARIABLE) {
            return Password::new(text, PASSWORD_VARIABLE.to_owned()).map(Some);
        }
        self.config.map(Password::from_file).transpose()
    }
}

impl Password {
    /// A password, and where it came from as errors name it.
    pub fn new(text: String, source: String) -> Result<Self, KeyError> {
        let text = Zeroizing::new(text);
        if text.is_empty() {
            return Err(KeyError::EmptyPassword { source_of_password: source });
        }
        Ok(Self { text, source })
    }

    /// The contents of a file, without the end of its last line.
    pub fn from_file(path: &Path) -> Result<Self, KeyError> {
        let unreadable = |reason: String| KeyError::PasswordFile { path: path.to_owned(), reason };
        let contents = std::fs::read(path).map(Zeroizing::new).map_err(|error| unreadable(error.to_string()))?;
        let text = std::str::from_utf8(&contents).map_err(|_| unreadable("it is not UTF-8 text".into()))?;
        let text = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
        if others_can_read(path) {
            warn!(path = %path.display(), "the password file can be read by others; `chmod 600` it");
        }
        Self::new(text.to_owned(), format!("the file {}", path.display()))
    }
}

fn prompt(what: &str, question: &str) -> Result<Password, KeyError> {
    if !std::io::stdin().is_terminal() {
        return Err(KeyError::NoPassword { what: what.to_owned() });
    }
    let text = rpassword::prompt_password(question).map_err(|error| KeyError::Terminal(error.to_string()))?;
    Password::new(text, "what you typed".to_owned())
}

impl Keys {
    /// Opens the keystores of a node. One password opens both, unless it is typed: then each is asked for.
    pub fn load(settings: &KeySettings, password_file: Option<&Path>) -> Result<Self, KeyError> {
        let source = PasswordSource { argument: password_file, config: settings.password_file.as_deref() };
        let signer = open(&settings.signer, source)?;
        let sender = |path: &PathBuf| if *path == settings.signer { Ok(signer.clone()) } else { open(path, source) };
        let senders = settings.senders.iter().map(sender).collect::<Result<Vec<_>, _>>()?;
        for (index, key) in senders.iter().enumerate() {
            if senders[..index].iter().any(|other| other.address() == key.address()) {
                return Err(KeyError::SameSender { path: settings.senders[index].clone(), address: key.address() });
            }
        }
        Ok(Self { signer, senders })
    }
}

/// Opens a keystore with a password from `source`.
pub fn open(path: &Path, source: PasswordSource<'_>) -> Result<PrivateKeySigner, KeyError> {
    // Before anybody is asked for a password.
    check(path)?;
    decrypt(path, &source.password(&format!("the keystore {}", path.display()))?)
}

/// Opens a keystore.
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

/// What the decryption takes for granted, so that no file can make it panic or eat all memory.
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
pub fn create(path: &Path, password: &Password) -> Result<PrivateKeySigner, KeyError> {
    let key = PrivateKeySigner::random();
    store(path, &key, password)?;
    Ok(key)
}

/// Writes a key into a new keystore, readable by its owner alone.
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

#[cfg(unix)]
fn others_can_read(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn others_can_read(_: &Path) -> bool {
    false
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let senders: Vec<_> = self.senders.iter().map(PrivateKeySigner::address).collect();
        f.debug_struct("Keys").field("signer", &self.signer.address()).field("senders", &senders).finish()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Password(from {})", self.source)
    }
}

#[cfg(test)]
mod tests;
