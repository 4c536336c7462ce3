//! Why a key cannot be used.

use std::path::PathBuf;

use alloy::primitives::Address;

use super::password::PASSWORD_VARIABLE;

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
    #[error("the password from {source_of_password} is too weak to guard keys: {reason}; choose a longer one")]
    WeakPassword { source_of_password: String, reason: &'static str },
    #[error("cannot read the password file {path}: {reason}")]
    PasswordFile { path: PathBuf, reason: String },
    #[error("no password for {what}: set {PASSWORD_VARIABLE}, give a password file, or run on a terminal")]
    NoPassword { what: String },
    #[error("cannot read a password from the terminal: {0}")]
    Terminal(String),
    #[error("{path} exists already and is left as it is; choose another path")]
    Exists { path: PathBuf },
    #[error("{path} holds the key of {address} again; `keys.senders` needs different keys")]
    SameSender { path: PathBuf, address: Address },
    #[error("cannot write the keystore {path}: {reason}")]
    Unwritable { path: PathBuf, reason: String },
}
