//! Where sessions run.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Device of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "provider", content = "device")]
pub enum Device {
    /// The canonical judge, in a process of its own.
    Judge,
    /// The processor.
    Cpu,
    /// A CUDA device, by its number.
    Cuda(u32),
    /// A CUDA device by its number, by TensorRT.
    Tensorrt(u32),
    /// A device of the provider in a library of its own, by its number.
    Plugin(u32),
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Judge => f.write_str("judge"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(device) => write!(f, "cuda:{device}"),
            Self::Tensorrt(device) => write!(f, "tensorrt:{device}"),
            Self::Plugin(device) => write!(f, "plugin:{device}"),
        }
    }
}

/// Where a model runs.
pub(super) fn place(device: Device, partial: bool) -> String {
    format!("{device}{}", if partial { "+cpu" } else { "" })
}
