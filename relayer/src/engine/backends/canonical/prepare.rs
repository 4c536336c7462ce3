//! What a process of the judge does before its model decides what runs.

use std::{fs, path::Path};

use alloy::primitives::Bytes;
use oraculum_judge::{Judge, Limits, OpenError};

use super::super::child::{
    sandbox,
    wire::{Failure, FailureKind, JudgeOptions},
    worker::failure,
};
use crate::model::OpenModelFile;

/// The judge, and a model that nobody has looked at yet.
pub(super) struct Prepared {
    pub judge: Judge,
    /// The model's file.
    pub model: Bytes,
    /// What a session may use.
    pub limits: Limits,
}

/// Reads the model's file, opens the judge, and isolates the process.
///
/// # Errors
/// `FailureKind::Judge` where the judge cannot be used, `File` where the model's file cannot be read, `Runtime` where the process
/// cannot be isolated.
pub(super) fn prepare(
    file: &OpenModelFile,
    options: &JudgeOptions,
    preparing: &mut dyn FnMut(String) -> Result<(), String>,
) -> Result<Prepared, Failure> {
    let unusable = |reason: String| failure(FailureKind::Judge, reason);
    let model = file.read().map_err(|error| failure(FailureKind::File, error.to_string()))?;
    sandbox::die_first();
    let (wasm, cache) = (Path::new(&options.wasm), Path::new(&options.cache));
    let bytes = fs::read(wasm).map_err(|error| unusable(format!("{}: {error}", wasm.display())))?;
    // A node that is gone by now is noticed by the next message to it.
    let compiling =
        || drop(preparing("compiling the canonical judge for this machine, which takes up to a minute, once".into()));
    let judge = Judge::open_tested(&bytes, cache, compiling).map_err(|error| match error {
        OpenError::NotTheJudge { .. } => unusable(format!("{}: {error}", wasm.display())),
        error => unusable(error.to_string()),
    })?;
    drop(bytes);
    // From here on it is the model that decides what runs.
    sandbox::enter().map_err(|reason| failure(FailureKind::Runtime, format!("it cannot be isolated: {reason}")))?;
    let limits = Limits { memory: options.memory, fuel: options.fuel };
    Ok(Prepared { judge, model, limits })
}
