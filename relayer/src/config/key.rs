//! What a section states about a key: how its value is read, what holds where it is not written, and whether a running
//! node takes over a change.

use serde::Deserialize;
use toml::{Value, de::ValueDeserializer};

use super::{
    error::ConfigError,
    value::{Kind, RawValue},
};

type Read<T> = Box<dyn Fn(&RawValue) -> Result<T, ConfigError>>;

/// How a value is read and checked. `readers` has those there are; `default`, `required`, `optional` or `or_empty` makes a
/// key of one.
pub(super) struct Reader<T> {
    kind: Kind,
    range: Option<String>,
    read: Read<T>,
}

impl<T: 'static> Reader<T> {
    /// A reader of the values that `take` finds to be of a kind.
    pub(super) fn of(kind: Kind, take: fn(&Value) -> Option<T>) -> Self {
        let read = move |raw: &RawValue| take(&raw.value).ok_or_else(|| raw.wrong_kind(kind));
        Self { kind, range: None, read: Box::new(read) }
    }

    /// The same, followed by a conversion or check, whose error is the reason why the value is wrong.
    pub(super) fn then<U>(self, next: impl Fn(T) -> Result<U, String> + 'static) -> Reader<U> {
        self.then_at(move |value, raw| next(value).map_err(|reason| raw.wrong(reason)))
    }

    /// The same, followed by a conversion that needs to know where the value was written.
    pub(super) fn then_at<U>(self, next: impl Fn(T, &RawValue) -> Result<U, ConfigError> + 'static) -> Reader<U> {
        let read = self.read;
        Reader { kind: self.kind, range: self.range, read: Box::new(move |raw| next(read(raw)?, raw)) }
    }

    /// The same, with the range that it holds values to, as the example file tells it.
    pub(super) fn within(self, range: String) -> Self {
        Self { range: Some(range), ..self }
    }

    /// A key that has a default, which is TOML.
    pub(super) fn default(self, literal: &'static str) -> Key<T> {
        Key { reader: self, literal, absent: Absent::Default, reloadable: false }
    }

    /// A key that has to be written, with a sample in TOML, and the remedy where it is not.
    pub(super) fn required(self, sample: &'static str, remedy: &'static str) -> Key<T> {
        Key { reader: self, literal: sample, absent: Absent::Missing { remedy }, reloadable: false }
    }

    /// A key that may be left out, with a sample in TOML.
    pub(super) fn optional(self, sample: &'static str) -> Key<Option<T>> {
        let reader = self.then(|value| Ok(Some(value)));
        Key { reader, literal: sample, absent: Absent::Value(|| None), reloadable: false }
    }

    /// A key that is empty where it is left out, with a sample in TOML.
    pub(super) fn or_empty(self, sample: &'static str) -> Key<T>
    where
        T: Default,
    {
        Key { reader: self, literal: sample, absent: Absent::Value(T::default), reloadable: false }
    }
}

/// What holds where a key is not written.
enum Absent<T> {
    /// The key's literal.
    Default,
    /// An error.
    Missing { remedy: &'static str },
    /// A value that cannot be written.
    Value(fn() -> T),
}

/// A key whose checked value is a `T`.
pub(super) struct Key<T> {
    reader: Reader<T>,
    /// The default as TOML, or a sample where there is none.
    literal: &'static str,
    absent: Absent<T>,
    reloadable: bool,
}

impl<T> Key<T> {
    /// The same key, of which a running node takes over a change (SIGHUP). Only what `policy::Policy` is made of may be so.
    pub(super) fn reloadable(self) -> Self {
        Self { reloadable: true, ..self }
    }

    /// Whether a running node takes over a change.
    pub(super) fn is_reloadable(&self) -> bool {
        self.reloadable
    }

    /// The checked value of what was written.
    ///
    /// # Errors
    /// `Value` if it is of another kind, out of range or otherwise wrong.
    pub(super) fn read(&self, raw: &RawValue) -> Result<T, ConfigError> {
        (self.reader.read)(raw)
    }

    /// The value of a key that was not written. `raw` makes a raw value of a literal.
    ///
    /// # Errors
    /// `Missing` if the key is required; `Value` never, for tests read every default.
    pub(super) fn read_absent(&self, key: &str, file: &str, raw: impl Fn(Value) -> RawValue) -> Result<T, ConfigError> {
        match &self.absent {
            Absent::Default => self.read(&raw(literal(self.literal))),
            Absent::Value(value) => Ok(value()),
            Absent::Missing { remedy } => {
                Err(ConfigError::Missing { file: file.into(), key: key.into(), remedy: (*remedy).into() })
            }
        }
    }

    /// The description of this key under its name in a section, with its documentation, line by line.
    pub(super) fn describe(&self, section: &'static str, name: &'static str, docs: &'static [&'static str]) -> KeyInfo {
        KeyInfo {
            section,
            name,
            docs,
            kind: self.reader.kind,
            range: self.reader.range.clone(),
            literal: self.literal,
            has_default: matches!(self.absent, Absent::Default),
            reloadable: self.reloadable,
        }
    }
}

/// A TOML literal of ours as a value.
fn literal(text: &str) -> Value {
    let parsed = ValueDeserializer::parse(text).and_then(Value::deserialize);
    // What is no TOML is of the wrong kind for every key but texts, and found by the test that reads every default.
    parsed.unwrap_or_else(|_| Value::String(text.to_owned()))
}

/// What there is to know about a key, whatever its type.
#[derive(Clone, Debug)]
pub(super) struct KeyInfo {
    pub(super) section: &'static str,
    pub(super) name: &'static str,
    /// The documentation, line by line.
    pub(super) docs: &'static [&'static str],
    pub(super) kind: Kind,
    /// The range and unit of its numbers, both ends included, such as `1 to 8000 blocks`.
    pub(super) range: Option<String>,
    /// The default as TOML, or a sample where there is none.
    pub(super) literal: &'static str,
    pub(super) has_default: bool,
    /// Whether a running node takes over a change.
    pub(super) reloadable: bool,
}

/// What there is to know about a section, whatever its type.
pub(super) struct SectionInfo {
    pub(super) name: &'static str,
    /// What the section is about, line by line.
    pub(super) about: &'static [&'static str],
    pub(super) keys: Vec<KeyInfo>,
}

impl SectionInfo {
    /// The name as environment variables have it.
    pub(super) fn variable(&self) -> String {
        self.name.replace('.', "_").to_uppercase()
    }
}

impl KeyInfo {
    /// The name in full, such as `chain.rpc_urls`.
    pub(super) fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// The default as TOML; `None` where there is none.
    pub(super) fn default(&self) -> Option<&'static str> {
        self.has_default.then_some(self.literal)
    }

    /// The environment variable that overrides the key.
    pub(super) fn variable(&self) -> String {
        format!("ORACULUM_{}", self.path().replace('.', "_")).to_uppercase()
    }
}
