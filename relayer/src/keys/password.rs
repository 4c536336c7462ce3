//! Passwords of keystores, and where they come from.

use std::{
    collections::{BTreeSet, HashSet},
    fmt,
    io::IsTerminal,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use tracing::warn;
use zeroize::Zeroizing;

use super::KeyError;
use crate::text;

/// The environment variable with the keystores' password.
pub const PASSWORD_VARIABLE: &str = "ORACULUM_PASSWORD";

/// Where a password comes from that was typed.
pub(super) const TYPED: &str = "what you typed";

/// Characters of a new password at least, and how many of them differ.
const MIN_CHARACTERS: usize = 12;
const MIN_DIFFERENT: usize = 5;

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

    /// Password for something new. On a terminal it is asked for twice, and again while it is weak.
    ///
    /// # Errors
    /// As [`password`](Self::password); `WeakPassword` for one that is not typed.
    pub fn new_password(&self, what: &str) -> Result<Password, KeyError> {
        let Some(password) = self.unattended()? else { return ask_new(what, |question| prompt(what, question)) };
        match password.weakness() {
            Some(reason) => Err(KeyError::WeakPassword { source_of_password: password.source, reason }),
            None => Ok(password),
        }
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

    pub(super) fn is_typed(&self) -> bool {
        self.source == TYPED
    }

    /// Why a new key should not have this password: keystores can be tried out by whoever gets the file.
    fn weakness(&self) -> Option<&'static str> {
        let different = |text: &str| text.chars().collect::<HashSet<_>>().len();
        if self.text.chars().count() < MIN_CHARACTERS {
            Some("it has fewer than 12 characters")
        } else if different(&self.text) < MIN_DIFFERENT {
            Some("it has fewer than 5 different characters")
        } else {
            None
        }
    }

    /// Contents of a file without the end of its last line.
    ///
    /// # Errors
    /// `PasswordFile` if the file cannot be read or is not UTF-8, `EmptyPassword` if nothing is left.
    pub fn from_file(path: &Path) -> Result<Self, KeyError> {
        let unreadable = |reason: String| KeyError::PasswordFile { path: path.to_owned(), reason };
        let contents = std::fs::read(path).map(Zeroizing::new).map_err(|error| unreadable(error.to_string()))?;
        let text =
            std::str::from_utf8(text::without_bom(&contents)).map_err(|_| unreadable("it is not UTF-8 text".into()))?;
        let text = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
        warn_if_open_to_others(path, "password file");
        Self::new(text.to_owned(), format!("the file {}", path.display()))
    }
}

/// Asks for a new password until it is a good one, and twice the same.
fn ask_new(what: &str, mut ask: impl FnMut(&str) -> Result<Password, KeyError>) -> Result<Password, KeyError> {
    let mut question = format!("New password for {what}: ");
    loop {
        let password = match ask(&question) {
            Err(KeyError::EmptyPassword { .. }) => {
                question = "It is empty. Another one: ".to_owned();
                continue;
            }
            password => password?,
        };
        if let Some(reason) = password.weakness() {
            question = format!("It is too weak: {reason}. Another one: ");
            continue;
        }
        match ask("The same again: ") {
            Ok(again) if *again.text == *password.text => return Ok(password),
            Ok(_) | Err(KeyError::EmptyPassword { .. }) => question = "The two differ. Once more: ".to_owned(),
            Err(error) => return Err(error),
        }
    }
}

fn prompt(what: &str, question: &str) -> Result<Password, KeyError> {
    if !std::io::stdin().is_terminal() {
        return Err(KeyError::NoPassword { what: what.to_owned() });
    }
    let text = rpassword::prompt_password(question).map_err(|error| KeyError::Terminal(error.to_string()))?;
    Password::new(text, TYPED.to_owned())
}

/// Warns of a file with a secret that other users of this machine can read; once in the life of the process, for every key
/// that a password file opens reads it.
pub(super) fn warn_if_open_to_others(path: &Path, what: &str) {
    static WARNED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let mut warned = WARNED.lock().unwrap_or_else(PoisonError::into_inner);
    if others_can_read(path) && warned.insert(path.to_owned()) {
        warn!(path = %path.display(), "the {what} can be read by others; `chmod 600` it");
    }
}

#[cfg(unix)]
fn others_can_read(path: &Path) -> bool {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    std::fs::metadata(path).is_ok_and(|file| {
        let mode = file.permissions().mode();
        // Root gives a group what a service of that group is to read, as the guide has it under systemd.
        file.is_file() && (mode & 0o007 != 0 || mode & 0o070 != 0 && file.uid() != 0)
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    /// `init` asks again where a password is empty, weak, or typed differently the second time.
    #[test]
    fn a_new_password_is_asked_for_until_it_is_good() {
        let typed = ["", "short", "aaaaaaaaaaaaaaa", "correct horse", "correct hose", "correct horse", "correct horse"];
        let (mut typed, mut asked) = (typed.iter(), Vec::new());
        let password = ask_new("the keys", |question| {
            asked.push(question.to_owned());
            Password::new((*typed.next().unwrap()).to_owned(), "what you typed".into())
        });
        assert_eq!(*password.unwrap().text, "correct horse");
        assert_eq!(
            asked,
            [
                "New password for the keys: ",
                "It is empty. Another one: ",
                "It is too weak: it has fewer than 12 characters. Another one: ",
                "It is too weak: it has fewer than 5 different characters. Another one: ",
                "The same again: ",
                "The two differ. Once more: ",
                "The same again: ",
            ]
        );
    }

    #[test]
    fn a_weak_password_from_a_file_makes_no_key() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hunter2\n").unwrap();
        let source = PasswordSource { argument: Some(file.path()), config: None };
        let error = source.new_password("the keys").unwrap_err();
        assert!(
            matches!(error, KeyError::WeakPassword { .. }) && error.to_string().contains("12 characters"),
            "{error}"
        );
        assert!(source.password("the keys").is_ok());
    }
}
