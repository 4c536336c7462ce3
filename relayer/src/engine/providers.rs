//! What an operator may say about the hardware that runs models.
//!
//! What would have two machines, or two starts of one, give different bits is not among it: TF32 is off, and algorithms are never
//! chosen by how fast they were a moment ago (`EXHAUSTIVE` convolutions, tunable operators, TensorRT's sparsity).

use std::{fmt, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::device::Device;

/// Hardware that is to run models.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// The processor, always; the reference profile.
    Cpu,
    /// An NVIDIA GPU by CUDA, or the start fails.
    Cuda,
    /// An NVIDIA GPU by TensorRT, and by CUDA what TensorRT does not take; or the start fails.
    Tensorrt,
    /// A provider in a library of its own, or the start fails.
    Plugin,
    /// A GPU by CUDA if it can be used, else the processor, with a warning.
    #[default]
    Auto,
}

impl Provider {
    /// A device of the provider by its number; of `Auto`, the one that is tried.
    pub(super) fn device(self, number: u32) -> Device {
        match self {
            Self::Cpu => Device::Cpu,
            Self::Cuda | Self::Auto => Device::Cuda(number),
            Self::Tensorrt => Device::Tensorrt(number),
            Self::Plugin => Device::Plugin(number),
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::Tensorrt => "tensorrt",
            Self::Plugin => "plugin",
            Self::Auto => "auto",
        })
    }
}

/// Options of the providers; each has those of its own name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderOptions {
    /// Options of CUDA, which hold for what runs beside TensorRT, too.
    pub cuda: CudaOptions,
    /// Options of TensorRT.
    pub tensorrt: TensorrtOptions,
    /// The provider in a library of its own.
    pub plugin: PluginOptions,
}

/// Options of CUDA.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CudaOptions {
    /// Bytes that a session's arena may take on its device.
    pub memory_limit: Option<u64>,
    /// How that arena grows.
    pub arena: ArenaGrowth,
    /// How an algorithm for a convolution is chosen.
    pub convolution: ConvolutionSearch,
}

/// How a session's memory on a device grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ArenaGrowth {
    /// By steps that double.
    #[default]
    Doubling,
    /// By as much as is asked for.
    Exact,
}

/// How an algorithm for a convolution is chosen, without timing any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConvolutionSearch {
    /// The one that always works.
    #[default]
    Default,
    /// The one that cuDNN's rules expect to be fastest.
    Heuristic,
}

/// Options of TensorRT.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorrtOptions {
    /// Folder in which built engines, and timings of their parts, are kept.
    pub cache: Option<PathBuf>,
    /// Whether half precision may be used.
    pub fp16: bool,
    /// Bytes of scratch memory that an engine may use.
    pub workspace: Option<u64>,
}

/// A provider in a library of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginOptions {
    /// The library.
    pub library: Option<PathBuf>,
    /// Name of the provider, where the library has several.
    pub name: Option<String>,
    /// Options of the provider, by their names.
    pub options: Vec<(String, String)>,
}

impl ProviderOptions {
    /// What options add to the profile string of a device, each with a `;` before it: those that may change an output's bits.
    pub(super) fn in_profile(&self, device: Device) -> String {
        let mut told = String::new();
        let cuda = matches!(device, Device::Cuda(_) | Device::Tensorrt(_));
        if cuda && self.cuda.convolution == ConvolutionSearch::Heuristic {
            told += ";convolution=heuristic";
        }
        if matches!(device, Device::Tensorrt(_)) && self.tensorrt.fp16 {
            told += ";fp16=true";
        }
        if matches!(device, Device::Plugin(_)) {
            if let Some(name) = &self.plugin.name {
                told += &format!(";plugin={name}");
            }
            for (key, value) in &self.plugin.options {
                told += &format!(";{key}={value}");
            }
        }
        told
    }
}

/// What sessions are opened with, in whichever process they are: it can be sent to another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Execution {
    /// The operator's options, with the plugin's name once that is known.
    pub options: ProviderOptions,
    /// Whether the processor may run the part of a model that a device does not take.
    pub partial: bool,
    /// Libraries to load before the provider's, in this order.
    pub preload: Vec<Preload>,
}

/// A library to load before a provider's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Preload {
    /// Its path, or a name that the system's loader finds.
    pub path: PathBuf,
    /// Whether the provider cannot do without it.
    pub is_required: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_tells_the_options_that_change_bits_and_no_others() {
        let mut options = ProviderOptions::default();
        options.cuda.memory_limit = Some(1 << 30);
        options.cuda.arena = ArenaGrowth::Exact;
        options.tensorrt.workspace = Some(1 << 30);
        options.plugin.name = Some("SomeProvider".into());
        for device in [Device::Cpu, Device::Judge, Device::Cuda(0), Device::Tensorrt(0)] {
            assert_eq!(options.in_profile(device), "", "{device}");
        }
        options.cuda.convolution = ConvolutionSearch::Heuristic;
        options.tensorrt.fp16 = true;
        options.plugin.options = vec![("precision".into(), "FP16".into())];
        assert_eq!(options.in_profile(Device::Cuda(1)), ";convolution=heuristic");
        assert_eq!(options.in_profile(Device::Tensorrt(0)), ";convolution=heuristic;fp16=true");
        assert_eq!(options.in_profile(Device::Plugin(0)), ";plugin=SomeProvider;precision=FP16");
        assert_eq!(options.in_profile(Device::Cpu), "");
    }
}
