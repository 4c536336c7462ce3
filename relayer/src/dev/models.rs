//! Model cards as the registry takes them.

use super::DevError;
use crate::abi::InferenceCoordinator as Coordinator;
use crate::model::{Model, ModelStore};
use crate::protocol::card::{Agreement, ModelCard};
use std::path::Path;

/// The models of a folder, all of which must be sound.
pub(super) fn read(folder: &Path) -> Result<Vec<Model>, DevError> {
    let summaries = ModelStore::new(folder).list()?;
    if summaries.is_empty() {
        return Err(DevError::NoModels { path: folder.to_owned() });
    }
    Ok(summaries.into_iter().map(|summary| summary.model).collect::<Result<_, _>>()?)
}

/// A card in the contract's types.
pub(super) fn card(card: &ModelCard) -> Coordinator::ModelCard {
    let agreement = card.agreement.iter().map(|rule| {
        let (kind, atol, rtol, gap) = match *rule {
            Agreement::Exact => (0, 0, 0, 0),
            Agreement::Elementwise { atol, rtol } => (1, atol.0, rtol.0, 0),
            Agreement::Argmax { gap } => (2, 0, 0, gap.0),
        };
        Coordinator::Agreement { kind, atol, rtol, gap }
    });
    Coordinator::ModelCard {
        fileHash: card.file_hash,
        detailsHash: card.details_hash,
        profileHash: card.profile_hash,
        agreement: agreement.collect(),
        verifier: card.verifier,
        maxInputBytes: card.max_input_bytes,
        maxOutputBytes: card.max_output_bytes,
    }
}
