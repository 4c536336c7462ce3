//! Keys in encrypted keystores (Web3 Secret Storage, as Geth, Foundry and others write), and their passwords.
//!
//! A password comes from a file, from the environment or from a terminal, never from an argument. Neither keys nor
//! passwords are ever printed, and both are wiped from memory when they are dropped.

mod error;
mod keystore;
mod password;

pub use error::KeyError;
pub use keystore::{create, decrypt, open, store};
pub use password::{PASSWORD_VARIABLE, Password, PasswordSource};

use std::{
    fmt,
    path::{Path, PathBuf},
};

use alloy::signers::local::PrivateKeySigner;

use crate::config::KeySettings;

/// The keys of a running node.
#[derive(Clone)]
pub struct Keys {
    /// Signs answers.
    pub signer: PrivateKeySigner,
    /// Pay for gas, each with transactions of its own. Never empty.
    pub senders: Vec<PrivateKeySigner>,
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

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let senders: Vec<_> = self.senders.iter().map(PrivateKeySigner::address).collect();
        f.debug_struct("Keys").field("signer", &self.signer.address()).field("senders", &senders).finish()
    }
}

#[cfg(test)]
mod tests;
