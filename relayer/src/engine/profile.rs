//! Devices, execution profiles, and the profiles of cards.

use std::fmt;

use alloy::primitives::B256;
use oraculum_judge::{Profile, WASM_SHA256};
use serde::Serialize;

pub use super::device::Device;
use super::{device::place, error::LoadError};

/// Settings of every session of a native reference, as they stand in profile strings after the runtime's version.
pub const SETTINGS: &str = "provider=cpu;intra_op=1;inter_op=1;execution=sequential;optimization=basic";

/// What decides about a model's outputs in a dispute, as a card's profile string says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reference {
    /// The canonical judge.
    Judge(Profile),
    /// ONNX Runtime of this version, on the processor.
    Native(String),
}

impl Reference {
    /// Reads a profile string.
    ///
    /// # Errors
    /// `LoadError::UnknownProfile` for one that this engine cannot judge by.
    pub(crate) fn of(profile: &str) -> Result<Self, LoadError> {
        if let Some(version) = native_version(profile) {
            return Ok(Self::Native(version.to_owned()));
        }
        let unknown = |reason| LoadError::UnknownProfile { profile: profile.to_owned(), reason };
        profile.parse().map(Self::Judge).map_err(unknown)
    }
}

/// Model file, runtime and device that an answer was computed with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExecutionProfile {
    /// SHA-256 of the ONNX file.
    pub file_hash: B256,
    /// Version of ONNX Runtime.
    pub runtime: String,
    /// Device that the model ran on.
    #[serde(flatten)]
    pub device: Device,
    /// Whether a GPU was preferred (`auto`) and could not be used.
    pub provider_fallback: bool,
    /// Whether the processor runs a part of the model, which the device does not take (`engine.partial`).
    pub partial: bool,
    /// Options of the provider that may change bits, each with a `;` before it; empty where none is set.
    pub options: String,
}

impl ExecutionProfile {
    /// Where the model runs, such as `cuda:0`; `cuda:0+cpu` where the processor runs a part.
    #[must_use]
    pub fn place(&self) -> String {
        place(self.device, self.partial)
    }
}

impl fmt::Display for ExecutionProfile {
    /// A profile string as cards have it for the processor, and in its manner for other devices.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.device == Device::Judge {
            return write!(f, "onnxruntime-wasm={};sha256={WASM_SHA256}", self.runtime);
        }
        let settings = SETTINGS.strip_prefix("provider=cpu").unwrap_or_default();
        write!(f, "onnxruntime={};provider={}{settings}{}", self.runtime, self.place(), self.options)
    }
}

/// Version of the runtime in the profile string of a native reference.
fn native_version(profile: &str) -> Option<&str> {
    let (runtime, settings) = profile.split_once(';')?;
    (settings == SETTINGS).then(|| runtime.strip_prefix("onnxruntime="))?
}
