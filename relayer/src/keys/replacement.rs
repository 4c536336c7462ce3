//! A new key in the place of a keystore's.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use alloy::signers::local::PrivateKeySigner;

use super::{Cost, KeyError, Password, PasswordSource, TypedPasswords, create};

/// A new key that is to take the place of the one in a keystore. Until it has, it lies beside it, in `NAME.new.json`, so that a
/// replacement that was broken off goes on with the same key.
#[derive(Debug)]
pub struct Replacement {
    keystore: PathBuf,
    beside: PathBuf,
    /// The new key.
    pub key: PrivateKeySigner,
}

impl Replacement {
    /// Makes the new key, or opens the one of a replacement that was broken off. Its password is that of the keystore.
    ///
    /// # Errors
    /// Those of [`TypedPasswords::open`] and [`create`]. Where there is no keystore, those of [`PasswordSource::new_password`].
    pub fn prepare(
        keystore: &Path,
        source: PasswordSource<'_>,
        typed: &TypedPasswords,
        cost: Cost,
    ) -> Result<Self, KeyError> {
        let beside = keystore.with_extension("new.json");
        let key = if beside.exists() {
            typed.open(&beside, source)?.0
        } else {
            let password = password(keystore, source, typed)?;
            create(&beside, &password, cost)?
        };
        Ok(Self { keystore: keystore.to_owned(), beside, key })
    }

    /// Puts the new key into the keystore's place, for the same users to read. Returns where the old one is now, if there was one.
    ///
    /// # Errors
    /// `Unwritable` if a file cannot be moved, or given to its user.
    pub fn finish(self) -> Result<Option<PathBuf>, KeyError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error: std::io::Error| KeyError::Unwritable { path, reason: error.to_string() }
        };
        let old = self.keystore.exists().then(|| free_name(&self.keystore));
        if let Some(old) = &old {
            copy_access(&self.keystore, &self.beside).map_err(failed(&self.beside))?;
            fs::rename(&self.keystore, old).map_err(failed(old))?;
        }
        fs::rename(&self.beside, &self.keystore).map_err(failed(&self.keystore))?;
        Ok(old)
    }
}

/// The password of a keystore, which whoever runs the node has; a new one where there is no keystore.
fn password(keystore: &Path, source: PasswordSource<'_>, typed: &TypedPasswords) -> Result<Arc<Password>, KeyError> {
    match typed.open(keystore, source) {
        Ok((_, password)) => Ok(password),
        Err(KeyError::NotFound { .. }) => source.new_password("the new key").map(Arc::new),
        Err(error) => Err(error),
    }
}

/// Lets those read a file who can read another: a node often runs as another user than the one who makes its keys.
#[cfg(unix)]
fn copy_access(from: &Path, to: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{MetadataExt, chown};
    let (wanted, has) = (fs::metadata(from)?, fs::metadata(to)?);
    if (wanted.uid(), wanted.gid()) != (has.uid(), has.gid()) {
        chown(to, Some(wanted.uid()), Some(wanted.gid()))?;
    }
    fs::set_permissions(to, wanted.permissions())
}

#[cfg(not(unix))]
fn copy_access(_: &Path, _: &Path) -> std::io::Result<()> {
    Ok(())
}

/// `NAME.old-1.json`, or the next that is free.
fn free_name(keystore: &Path) -> PathBuf {
    (1u32..)
        .map(|number| keystore.with_extension(format!("old-{number}.json")))
        .find(|path| !path.exists())
        .unwrap_or_else(|| keystore.with_extension("old.json"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::decrypt;

    #[test]
    fn a_replacement_that_was_broken_off_goes_on_with_its_key_and_the_old_key_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (keystore, file) = (folder.path().join("signer.json"), folder.path().join("password"));
        fs::write(&file, "correct horse").unwrap();
        let password = Password::from_file(&file).unwrap();
        let source = PasswordSource { argument: Some(&file), config: None };
        let prepare = || Replacement::prepare(&keystore, source, &TypedPasswords::default(), Cost::Light).unwrap();
        let mut keys = vec![create(&keystore, &password, Cost::Light).unwrap().address()];
        for number in 1..3 {
            let broken_off = prepare();
            assert_eq!(decrypt(&keystore, &password).unwrap().address(), *keys.last().unwrap());
            let again = prepare();
            assert_eq!(again.key.address(), broken_off.key.address());
            keys.push(again.key.address());
            let old = again.finish().unwrap().unwrap();
            assert_eq!(old, folder.path().join(format!("signer.old-{number}.json")));
            assert_eq!(decrypt(&old, &password).unwrap().address(), keys[number - 1]);
            assert_eq!(decrypt(&keystore, &password).unwrap().address(), keys[number]);
        }
        // A power cut between the two moves.
        let last = prepare();
        fs::rename(&keystore, folder.path().join("signer.old-3.json")).unwrap();
        assert_eq!(prepare().key.address(), last.key.address());
        assert_eq!(prepare().finish().unwrap(), None);
        assert_eq!(decrypt(&keystore, &password).unwrap().address(), last.key.address());
    }
}
