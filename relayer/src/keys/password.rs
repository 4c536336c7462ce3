//! Passwords of keystores, and where they come from.

use std::{
    collections::BTreeSet,
    fmt,
    io::IsTerminal,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use tracing::warn;
use zeroize::Zeroizing;

use super::KeyError;

/// The environment variable with the keystores' password.
pub const PASSWORD_VARIABLE: &str = "ORACULUM_PASSWORD";

/// A keystore's password.
pub struct Password {
    pub(super) text: Zeroizing<String>,
    pub(super) source: String,
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
    /// Password of something that exists, such as `the keystore keys/signer.json`: from the argument's file, else
    /// [`PASSWORD_VARIABLE`], else the configuration's file, else a terminal.
    ///
    /// # Errors
    /// `PasswordFile` or `EmptyPassword` for the first of these that is given; `NoPassword` if none is and there is no
    /// terminal; `Terminal` if it cannot be read.
    pub fn password(&self, what: &str) -> Result<Password, KeyError> {
        match self.unattended()? {
            Some(password) => Ok(password),
            None => prompt(what, &format!("Password of {what}: ")),
        }
    }

    /// Password for something new. On a terminal it is asked for twice.
    ///
    /// # Errors
    /// As [`password`](Self::password); `PasswordsDiffer` if the second input is another.
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
    /// Password `text`; `source` is how errors name where it came from.
    ///
    /// # Errors
    /// `EmptyPassword`.
    pub fn new(text: String, source: String) -> Result<Self, KeyError> {
        let text = Zeroizing::new(text);
        if text.is_empty() {
            return Err(KeyError::EmptyPassword { source_of_password: source });
        }
        Ok(Self { text, source })
    }

    /// Contents of a file without the end of its last line.
    ///
    /// # Errors
    /// `PasswordFile` if the file cannot be read or is not UTF-8, `EmptyPassword` if nothing is left.
    pub fn from_file(path: &Path) -> Result<Self, KeyError> {
        let unreadable = |reason: String| KeyError::PasswordFile { path: path.to_owned(), reason };
        let contents = std::fs::read(path).map(Zeroizing::new).map_err(|error| unreadable(error.to_string()))?;
        let text = std::str::from_utf8(&contents).map_err(|_| unreadable("it is not UTF-8 text".into()))?;
        let text = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
        warn_if_others_can_read(path);
        Self::new(text.to_owned(), format!("the file {}", path.display()))
    }
}

/// Warns once in the life of the process: every key that a file opens reads it, and those of all nodes may be one file's.
fn warn_if_others_can_read(path: &Path) {
    static WARNED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let mut warned = WARNED.lock().unwrap_or_else(PoisonError::into_inner);
    if others_can_read(path) && warned.insert(path.to_owned()) {
        warn!(path = %path.display(), "the password file can be read by others; `chmod 600` it");
    }
}

fn prompt(what: &str, question: &str) -> Result<Password, KeyError> {
    if !std::io::stdin().is_terminal() {
        return Err(KeyError::NoPassword { what: what.to_owned() });
    }
    let text = rpassword::prompt_password(question).map_err(|error| KeyError::Terminal(error.to_string()))?;
    Password::new(text, "what you typed".to_owned())
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

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Password(from {})", self.source)
    }
}
