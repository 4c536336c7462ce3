//! What the operator wrote: a TOML file, read strictly, and environment variables over it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use serde::Deserialize;
use toml::{
    Value,
    de::{DeTable, DeValue, ValueDeserializer},
};

use super::{
    error::ConfigError,
    key::{Key, KeyInfo, SectionInfo},
    value::{Kind, RawValue},
};
use crate::text;

/// Values as written, each with the place that it comes from. They are never printed: an endpoint can carry a secret.
pub(super) struct RawConfig {
    /// The file's name as shown.
    file: String,
    /// The folder in which relative paths start.
    base: PathBuf,
    /// The values by full key.
    values: BTreeMap<String, RawValue>,
    /// The sections that the file has, even if they are empty.
    sections: BTreeSet<&'static str>,
}

impl RawConfig {
    /// A configuration at `path` in which nothing is written.
    pub(super) fn empty(path: &Path) -> Self {
        let base = path.parent().unwrap_or(Path::new("")).to_owned();
        Self { file: path.display().to_string(), base, values: BTreeMap::new(), sections: BTreeSet::new() }
    }

    /// Reads the text of the file at `path`, and `variables` over it. `known` are the sections that there are.
    ///
    /// # Errors
    /// `Syntax` if the text is no TOML; `Unknown` or `UnknownVariable` for what names no key; `Value` for a section that is
    /// a value, or a variable whose text is not of its key's kind.
    pub(super) fn parse(
        text: &str,
        path: &Path,
        variables: impl IntoIterator<Item = (String, String)>,
        known: &[SectionInfo],
    ) -> Result<Self, ConfigError> {
        let mut raw = Self::empty(path);
        raw.add_file(text, known)?;
        for (variable, text) in variables {
            let Some(key) = key_of(&variable, known)? else { continue };
            let value = key.kind.parse(&text).map_err(|reason| ConfigError::Value {
                origin: variable.clone(),
                key: key.path(),
                reason,
            })?;
            raw.set(key.path(), variable, value);
        }
        Ok(raw)
    }

    fn add_file(&mut self, text: &str, known: &[SectionInfo]) -> Result<(), ConfigError> {
        let file = self.file.clone();
        let line = |offset: usize| 1 + text.get(..offset).unwrap_or_default().matches('\n').count();
        let origin = |offset: usize| format!("{file}, line {}", line(offset));
        let syntax = |error: toml::de::Error| {
            let offset = error.span().map_or(0, |span| span.start);
            // The name of the key only: a value may be secret, and its line may begin within it.
            let line_start = text.get(..offset).unwrap_or_default().rsplit('\n').next().unwrap_or_default();
            let name = line_start.split_once('=').map(|(key, _)| key.trim());
            let reason = match name.filter(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')) {
                Some(name) => format!("{name}: {}", error.message()),
                None => error.message().to_owned(),
            };
            ConfigError::Syntax { file: file.clone(), line: line(offset), reason: text::one_line(&reason) }
        };
        for (name, section) in DeTable::parse(text).map_err(syntax)?.into_inner() {
            let at = origin(name.span().start);
            let outermost = || known.iter().filter(|known| !known.name.contains('.'));
            let section_info = outermost().find(|known| known.name == name.get_ref()).ok_or_else(|| {
                let names = outermost().map(|known| known.name);
                unknown(&at, &format!("section `{}`", name.get_ref()), name.get_ref(), names)
            })?;
            self.add_section(section_info, &at, section.into_inner(), known, &origin, &syntax)?;
        }
        Ok(())
    }

    /// Takes in a section, which begins at `at`, and those within it.
    fn add_section(
        &mut self,
        section: &SectionInfo,
        at: &str,
        value: DeValue<'_>,
        known: &[SectionInfo],
        origin: &dyn Fn(usize) -> String,
        syntax: &dyn Fn(toml::de::Error) -> ConfigError,
    ) -> Result<(), ConfigError> {
        let DeValue::Table(keys) = value else {
            let reason = format!("it is a value; write a section that begins with [{}]", section.name);
            return Err(ConfigError::Value { origin: at.to_owned(), key: section.name.into(), reason });
        };
        self.sections.insert(section.name);
        let within =
            |known: &&SectionInfo| known.name.strip_prefix(section.name).is_some_and(|name| name.starts_with('.'));
        for (name, value) in keys {
            let at = origin(name.span().start);
            let path = format!("{}.{}", section.name, name.get_ref());
            if let Some(inner) = known.iter().find(|known| known.name == path) {
                self.add_section(inner, &at, value.into_inner(), known, origin, syntax)?;
                continue;
            }
            let sections = known.iter().filter(within).filter_map(|known| known.name.rsplit('.').next());
            let key = known_key(&section.keys, sections, name.get_ref(), &format!("[{}]", section.name), &at)?;
            let value = Value::deserialize(ValueDeserializer::from(value)).map_err(syntax)?;
            self.set(key.path(), at, value);
        }
        Ok(())
    }

    /// The table under `path` that is a part of the value `parent`, such as one model's in `policy.models`.
    ///
    /// # Errors
    /// `Value` if `value` is no table; `Unknown` if it has a key that is not among `known`.
    pub(super) fn nested(parent: &RawValue, path: &str, value: Value, known: &[KeyInfo]) -> Result<Self, ConfigError> {
        let RawValue { origin, base, .. } = parent;
        let mut raw =
            Self { file: origin.clone(), base: base.clone(), values: BTreeMap::new(), sections: BTreeSet::new() };
        let keys = match value {
            Value::Table(keys) => keys,
            value => {
                let (key, origin, base) = (path.to_owned(), origin.clone(), base.clone());
                return Err(RawValue { key, origin, base, value }.wrong_kind(Kind::Table));
            }
        };
        for (name, value) in keys {
            known_key(known, std::iter::empty(), &name, path, origin)?;
            raw.set(format!("{path}.{name}"), origin.clone(), value);
        }
        Ok(raw)
    }

    /// Writes a value over what there is, in the name of `origin`.
    pub(super) fn set(&mut self, key: String, origin: String, value: Value) {
        let raw = RawValue { key: key.clone(), origin, base: self.base.clone(), value };
        self.values.insert(key, raw);
    }

    /// Whether the file has a section, even an empty one.
    pub(super) fn has_section(&self, name: &str) -> bool {
        self.sections.contains(name)
    }

    /// What is written in the section under a path, such as `chain`.
    pub(super) fn section<'a>(&'a self, path: &'a str) -> RawSection<'a> {
        RawSection { raw: self, path }
    }
}

/// What is written in one section.
pub(super) struct RawSection<'a> {
    raw: &'a RawConfig,
    path: &'a str,
}

impl RawSection<'_> {
    /// The checked value of a key under its name.
    ///
    /// # Errors
    /// As `Key::read` and `Key::read_absent`.
    pub(super) fn read<T>(&self, name: &str, key: &Key<T>) -> Result<T, ConfigError> {
        let path = format!("{}.{name}", self.path);
        if let Some(written) = self.raw.values.get(&path) {
            return key.read(written);
        }
        let RawConfig { file, base, .. } = self.raw;
        let default = |value| RawValue { key: path.clone(), origin: file.clone(), base: base.clone(), value };
        key.read_absent(&path, file, default)
    }

    /// The error for the value of a key under its name, with a reason that ends in a remedy.
    pub(super) fn wrong(&self, name: &str, reason: impl Into<String>) -> ConfigError {
        let key = format!("{}.{name}", self.path);
        let origin = self.raw.values.get(&key).map_or(&self.raw.file, |value| &value.origin).clone();
        ConfigError::Value { origin, key, reason: reason.into() }
    }
}

/// The text of a file.
///
/// # Errors
/// `Unreadable` if it cannot be read.
pub(super) fn text(path: &Path) -> Result<String, ConfigError> {
    let unreadable = |reason: String| ConfigError::Unreadable { file: path.display().to_string(), reason };
    let bytes = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
    let text = std::str::from_utf8(text::without_bom(&bytes));
    text.map(str::to_owned).map_err(|_| unreadable("it is not UTF-8 text".into()))
}

/// Refuses variables that would give several chains the same endpoints, id or coordinator.
///
/// # Errors
/// `SharedVariable` for a variable of a key of `[chain]`; `UnknownVariable` for one that names no key of a section.
pub(super) fn refuse_shared(
    variables: impl IntoIterator<Item = String>,
    known: &[SectionInfo],
) -> Result<(), ConfigError> {
    for variable in variables {
        if let Some(key) = key_of(&variable, known)?.filter(|key| key.section == "chain") {
            return Err(ConfigError::SharedVariable { variable, key: key.path() });
        }
    }
    Ok(())
}

/// The key that an environment variable overrides; `None` if the variable is about something else.
fn key_of<'a>(variable: &str, known: &'a [SectionInfo]) -> Result<Option<&'a KeyInfo>, ConfigError> {
    let Some(rest) = variable.strip_prefix("ORACULUM_") else { return Ok(None) };
    let names =
        |section: &&SectionInfo| rest.strip_prefix(&section.variable()).is_some_and(|name| name.starts_with('_'));
    // A section within another has the longer name.
    let Some(section) = known.iter().filter(names).max_by_key(|section| section.name.len()) else { return Ok(None) };
    let found = section.keys.iter().find(|key| key.variable() == variable);
    found.map(Some).ok_or_else(|| {
        let variables: Vec<_> = section.keys.iter().map(KeyInfo::variable).collect();
        unknown_variable(variable, variables.iter().map(String::as_str))
    })
}

/// The error for a variable that means nothing, beside those that mean something.
pub(super) fn unknown_variable<'a>(variable: &str, known: impl Iterator<Item = &'a str> + Clone) -> ConfigError {
    let near = nearest(variable, known).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    ConfigError::UnknownVariable { variable: text::shown(variable), remedy: format!("unset it{near}") }
}

/// The key of a name in a section, in which there are other sections, too.
fn known_key<'a>(
    known: &'a [KeyInfo],
    sections: impl Iterator<Item = &'a str> + Clone,
    name: &str,
    section: &str,
    origin: &str,
) -> Result<&'a KeyInfo, ConfigError> {
    known.iter().find(|key| key.name == name).ok_or_else(|| {
        let names = known.iter().map(|key| key.name).chain(sections);
        unknown(origin, &format!("key `{name}` in {section}"), name, names)
    })
}

fn unknown<'a>(origin: &str, what: &str, name: &str, known: impl Iterator<Item = &'a str> + Clone) -> ConfigError {
    let remedy = suggestion(name, known);
    ConfigError::Unknown { origin: origin.to_owned(), what: text::shown(what), remedy }
}

/// The known name that is likely meant, or all where none is near.
fn suggestion<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    match nearest(name, known.clone()) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => format!("there are {}", known.collect::<Vec<_>>().join(", ")),
    }
}

fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |known: &&str| strsim::damerau_levenshtein(name, known);
    known.min_by_key(distance).filter(|nearest| distance(nearest) <= 1 + name.len() / 4)
}
