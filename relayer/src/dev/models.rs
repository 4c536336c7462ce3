//! The models that a deployment begins with.

use std::path::Path;

use super::DevError;
use crate::model::{Model, ModelStore};

/// The models of a folder, all of which must be sound.
///
/// # Errors
/// `NoModels`, or `Model` for the first that is not.
pub(super) fn read(folder: &Path) -> Result<Vec<Model>, DevError> {
    let summaries = ModelStore::new(folder).list()?;
    if summaries.is_empty() {
        return Err(DevError::NoModels { path: folder.to_owned() });
    }
    Ok(summaries.into_iter().map(|summary| summary.model).collect::<Result<_, _>>()?)
}
