//! `card.json`: a model card as people write and read it.

use std::path::Path;

use alloy::primitives::{Address, B256};
use serde::{Deserialize, Serialize};

use super::{MAX_JSON_BYTES, ModelError, field_error, read_limited, sha256};
use crate::{
    protocol::card::{Agreement, ModelCard, Tolerance},
    text,
};

/// The file's keys. Unknown ones are errors: one that was misspelt must not count as left out.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CardFile {
    pub name: String,
    pub file: String,
    pub sha256: B256,
    pub details: B256,
    pub profile: String,
    pub agreement: Vec<Rule>,
    pub verifier: Address,
    pub max_input_bytes: u32,
    pub max_output_bytes: u32,
    pub model_id: B256,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields, tag = "kind")]
pub(super) enum Rule {
    Exact {},
    Elementwise { atol: String, rtol: String },
    Argmax { gap: String },
}

impl From<&Agreement> for Rule {
    fn from(rule: &Agreement) -> Self {
        match rule {
            Agreement::Exact => Self::Exact {},
            Agreement::Elementwise { atol, rtol } => {
                Self::Elementwise { atol: atol.to_string(), rtol: rtol.to_string() }
            }
            Agreement::Argmax { gap } => Self::Argmax { gap: gap.to_string() },
        }
    }
}

/// A rule as `card.json` has it.
#[must_use]
pub fn agreement_json(rule: &Agreement) -> serde_json::Value {
    serde_json::to_value(Rule::from(rule)).unwrap_or_default()
}

/// Size of inputs and of outputs at most, in bytes: the contracts' own limit.
pub const MAX_BYTES: u32 = 131_072;

pub(super) fn read(path: &Path) -> Result<CardFile, ModelError> {
    let bytes = read_limited(path, MAX_JSON_BYTES)?;
    let mut json = serde_json::Deserializer::from_slice(text::without_bom(&bytes));
    let card = serde_path_to_error::deserialize(&mut json).map_err(|error| syntax(path, field_error(&error)))?;
    json.end().map_err(|error| syntax(path, error.to_string()))?;
    Ok(card)
}

fn syntax(path: &Path, reason: String) -> ModelError {
    ModelError::Syntax { path: path.to_path_buf(), reason }
}

impl CardFile {
    /// Builds the card, if it keeps the registry's rules and has the id that the file gives.
    ///
    /// # Errors
    /// `ModelError::Syntax` for a tolerance, `InvalidCard` for a broken rule, `IdMismatch` for another id.
    pub(super) fn card(&self, path: &Path) -> Result<ModelCard, ModelError> {
        let card = self.without_id(path)?;
        let actual = card.model_id();
        if actual != self.model_id {
            return Err(ModelError::IdMismatch { path: path.to_path_buf(), expected: self.model_id, actual });
        }
        Ok(card)
    }

    /// Builds the card, whatever id the file gives.
    ///
    /// # Errors
    /// `ModelError::Syntax` for a tolerance, `InvalidCard` for a broken rule.
    pub(super) fn without_id(&self, path: &Path) -> Result<ModelCard, ModelError> {
        let tolerance =
            |text: &String| text.parse::<Tolerance>().map_err(|error| syntax(path, format!("in `agreement`, {error}")));
        let rule = |rule: &Rule| {
            Ok(match rule {
                Rule::Exact {} => Agreement::Exact,
                Rule::Elementwise { atol, rtol } => {
                    Agreement::Elementwise { atol: tolerance(atol)?, rtol: tolerance(rtol)? }
                }
                Rule::Argmax { gap } => Agreement::Argmax { gap: tolerance(gap)? },
            })
        };
        let card = ModelCard {
            file_hash: self.sha256,
            details_hash: self.details,
            profile_hash: sha256(self.profile.as_bytes()),
            agreement: self.agreement.iter().map(rule).collect::<Result<_, ModelError>>()?,
            verifier: self.verifier,
            max_input_bytes: self.max_input_bytes,
            max_output_bytes: self.max_output_bytes,
        };
        let rules = [
            (!card.file_hash.is_zero(), "sha256 is not zero"),
            ((1..=16).contains(&card.agreement.len()), "agreement has 1 to 16 rules, one per output"),
            ((1..=MAX_BYTES).contains(&card.max_input_bytes), "maxInputBytes is 1 to 131072"),
            ((1..=MAX_BYTES).contains(&card.max_output_bytes), "maxOutputBytes is 1 to 131072"),
            (is_plain_name(&self.file), "file is the name of a file in the same folder"),
            (is_model_name(&self.name), "name is 1 to 64 of a–z, 0–9, `.`, `_`, `-` and `/`"),
        ];
        if let Some((_, rule)) = rules.into_iter().find(|(kept, _)| !kept) {
            return Err(ModelError::InvalidCard { path: path.to_path_buf(), rule });
        }
        Ok(card)
    }
}

fn is_plain_name(name: &str) -> bool {
    Path::new(name).file_name().is_some_and(|last| last == name) && !name.contains(['/', '\\'])
}

/// Whether the coordinator takes a name for a model.
#[must_use]
pub fn is_model_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-/".contains(&byte);
    (1..=64).contains(&name.len()) && name.bytes().all(allowed)
}
