//! The keys of a node: `signer` is what the stages sign with, `keystore` where local keys come from (Web3 Secret Storage, as
//! Geth, Foundry and others write).
//!
//! A password comes from a file, from the environment or from a terminal, never from an argument. Neither keys nor
//! passwords are ever printed, and both are wiped from memory when they are dropped.

mod error;
mod keystore;
mod password;
mod replacement;
mod secret_storage;
mod signer;

pub use error::KeyError;
pub use keystore::{TypedPasswords, address_of, create, decrypt, open, store};
pub use password::{PASSWORD_VARIABLE, Password, PasswordSource};
pub use replacement::Replacement;
pub use secret_storage::Cost;
pub use signer::{SignCall, SignError, Signer, SignerHealth, Signing};

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::config::KeySettings;

/// The keys of a running node.
#[derive(Clone)]
pub struct Keys {
    /// Signs answers.
    pub signer: Arc<dyn Signer>,
    /// Pay for gas, each with transactions of its own. Never empty.
    pub senders: Vec<Arc<dyn Signer>>,
}

impl Keys {
    /// Opens the keystores of a node. One password opens all, unless it is typed: then each password is asked for once.
    ///
    /// # Errors
    /// Those of [`open`]; `SameSender` if two of `keys.senders` hold one key.
    pub fn load(
        settings: &KeySettings,
        password_file: Option<&Path>,
        typed: &TypedPasswords,
    ) -> Result<Self, KeyError> {
        let source = PasswordSource { argument: password_file, config: settings.password_file.as_deref() };
        let open = |path: &Path| typed.open(path, source).map(|(key, _)| Arc::new(key) as Arc<dyn Signer>);
        let signer = open(&settings.signer)?;
        let sender = |path: &PathBuf| if *path == settings.signer { Ok(signer.clone()) } else { open(path) };
        let senders = settings.senders.iter().map(sender).collect::<Result<Vec<_>, _>>()?;
        for (index, key) in senders.iter().enumerate() {
            if senders[..index].iter().any(|other| other.address() == key.address()) {
                return Err(KeyError::SameSender { path: settings.senders[index].clone(), address: key.address() });
            }
        }
        Ok(Self { signer, senders })
    }
}

/// Looks at the keystores of a node without opening them.
///
/// # Errors
/// `NotFound`, `Unreadable` or `NotAKeystore` for the first that cannot be used, `PasswordFile` for the password's file.
pub fn check(settings: &KeySettings) -> Result<(), KeyError> {
    for path in settings.senders.iter().chain([&settings.signer]) {
        keystore::check(path)?;
    }
    settings.password_file.as_deref().map(Password::from_file).transpose()?;
    Ok(())
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let senders: Vec<_> = self.senders.iter().map(|key| key.address()).collect();
        f.debug_struct("Keys").field("signer", &self.signer.address()).field("senders", &senders).finish()
    }
}

#[cfg(test)]
mod tests;
