//! Devices, execution profiles, and the reference profile.

use std::fmt;

use alloy::primitives::B256;
use serde::Serialize;

/// Settings of every session of the reference, as they stand in profile strings after the runtime's version.
pub const SETTINGS: &str = "provider=cpu;intra_op=1;inter_op=1;execution=sequential;optimization=basic";

/// Device of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase", tag = "provider", content = "device")]
pub enum Device {
    /// The processor: the reference.
    Cpu,
    /// A CUDA device, by its number.
    Cuda(u32),
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(device) => write!(f, "cuda:{device}"),
        }
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
}

impl fmt::Display for ExecutionProfile {
    /// A profile string as cards have it, the reference's own for the CPU.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = SETTINGS.strip_prefix("provider=cpu").unwrap_or_default();
        write!(f, "onnxruntime={};provider={}{settings}", self.runtime, self.device)
    }
}

/// Version of the runtime in a reference profile string; `None` if this engine cannot run such a profile.
pub fn reference_version(profile: &str) -> Option<&str> {
    let (runtime, settings) = profile.split_once(';')?;
    (settings == SETTINGS).then(|| runtime.strip_prefix("onnxruntime="))?
}
