//! A value as the operator wrote it, and the forms that values have.

use std::path::PathBuf;

use toml::Value;

use super::error::ConfigError;
use crate::text;

/// A value as it was written, and where. It is never printed: an endpoint can carry a secret.
pub(super) struct RawValue {
    /// The key in full, such as `chain.rpc_urls`.
    pub(super) key: String,
    /// The file with the line, or the environment variable, that the value comes from.
    pub(super) origin: String,
    /// The folder in which relative paths start.
    pub(super) base: PathBuf,
    pub(super) value: Value,
}

impl RawValue {
    /// The error for this value, with a reason that ends in a remedy.
    pub(super) fn wrong(&self, reason: impl Into<String>) -> ConfigError {
        let reason = text::one_line(&reason.into());
        ConfigError::Value { origin: self.origin.clone(), key: self.key.clone(), reason }
    }

    /// The error for a value of another kind. It does not repeat the value.
    pub(super) fn wrong_kind(&self, expected: Kind) -> ConfigError {
        let found = match &self.value {
            Value::Array(items) => {
                let mut types: Vec<_> = items.iter().map(Value::type_str).collect();
                types.dedup();
                format!("array of {}", types.join(", "))
            }
            other => other.type_str().to_owned(),
        };
        self.wrong(format!("its type is {found}; write {}", expected.remedy()))
    }
}

/// The form of a key's value in TOML, which also says how an environment variable is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Integer,
    /// A float, or an integer that stands for one.
    Number,
    Boolean,
    /// Texts, joined by commas in an environment variable.
    Texts,
    /// Integers, joined by commas in an environment variable.
    Integers,
    /// A table, which no environment variable sets.
    Table,
}

impl Kind {
    /// The value that the text of an environment variable stands for.
    ///
    /// # Errors
    /// The reason why the text is no such value.
    pub(super) fn parse(self, text: &str) -> Result<Value, String> {
        let integer = |text: &str| {
            text::whole_number(text)
                .map(Value::Integer)
                .ok_or_else(|| format!("`{}` is no whole number", text::shown(text)))
        };
        let items = || text.split(',').map(str::trim).filter(|item| !item.is_empty());
        Ok(match self {
            Self::Text => Value::String(text.to_owned()),
            Self::Integer => integer(text)?,
            Self::Number => {
                Value::Float(text.trim().parse().map_err(|_| format!("`{}` is no number", text::shown(text)))?)
            }
            Self::Boolean => Value::Boolean(
                text.trim().parse().map_err(|_| format!("`{}` is neither true nor false", text::shown(text)))?,
            ),
            Self::Texts => Value::Array(items().map(|item| Value::String(item.to_owned())).collect()),
            Self::Integers => Value::Array(items().map(integer).collect::<Result<_, _>>()?),
            Self::Table => return Err("a table has no variable; write it in the file".into()),
        })
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Text => "text in quotes",
            Self::Integer => "a whole number",
            Self::Number => "a number",
            Self::Boolean => "true or false",
            Self::Texts => "a list of texts in quotes, such as [\"a\", \"b\"]",
            Self::Integers => "a list of whole numbers, such as [0, 1]",
            Self::Table => "a table, such as { name = { … } }",
        }
    }
}
