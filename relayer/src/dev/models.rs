//! The cards of a folder of models, as the registry takes them.

use super::DevError;
use crate::abi::InferenceCoordinator as Coordinator;
use crate::protocol::card::Tolerance;
use alloy::primitives::{Address, B256};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::path::Path;

/// A model to register.
pub(super) struct Model {
    pub(super) name: String,
    pub(super) id: B256,
    pub(super) card: Coordinator::ModelCard,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CardFile {
    name: String,
    sha256: B256,
    details: B256,
    profile: String,
    agreement: Vec<Rule>,
    verifier: Address,
    max_input_bytes: u32,
    max_output_bytes: u32,
    model_id: B256,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
enum Rule {
    Exact,
    Elementwise { atol: String, rtol: String },
    Argmax { gap: String },
}

pub(super) fn read(folder: &Path) -> Result<Vec<Model>, DevError> {
    let none = || DevError::NoModels { path: folder.to_owned() };
    let mut models = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|_| none())?.flatten() {
        let path = entry.path().join("card.json");
        if !path.is_file() {
            continue;
        }
        let bad = |reason: String| DevError::Model { path: entry.path(), reason };
        let text = std::fs::read_to_string(&path).map_err(|error| bad(error.to_string()))?;
        let file: CardFile = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
        let tolerance = |text: &str| text.parse::<Tolerance>().map(|t| t.0).map_err(|error| bad(error.to_string()));
        let mut agreement = Vec::new();
        for rule in &file.agreement {
            let (kind, atol, rtol, gap) = match rule {
                Rule::Exact => (0, 0, 0, 0),
                Rule::Elementwise { atol, rtol } => (1, tolerance(atol)?, tolerance(rtol)?, 0),
                Rule::Argmax { gap } => (2, 0, 0, tolerance(gap)?),
            };
            agreement.push(Coordinator::Agreement { kind, atol, rtol, gap });
        }
        let card = Coordinator::ModelCard {
            fileHash: file.sha256,
            detailsHash: file.details,
            profileHash: B256::from_slice(&Sha256::digest(file.profile.as_bytes())),
            agreement,
            verifier: file.verifier,
            maxInputBytes: file.max_input_bytes,
            maxOutputBytes: file.max_output_bytes,
        };
        models.push(Model { name: file.name, id: file.model_id, card });
    }
    if models.is_empty() {
        return Err(none());
    }
    models.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(models)
}
