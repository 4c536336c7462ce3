//! What is typed.

use std::{path::PathBuf, time::Duration};

use clap::{Parser, ValueEnum};
use oraculum::engine::{EngineOptions, Limits, PluginOptions, Provider, ProviderOptions};

/// Checks all that only a GPU shows, and writes a report in Markdown; exit code 1 if something is not as it should be.
#[derive(Clone, Debug, Parser)]
#[command(name = "gpu-check")]
pub(crate) struct Arguments {
    /// The report.
    #[arg(long, value_name = "FILE", default_value = "gpu-check.md")]
    pub report: PathBuf,
    /// What the report says of its time and place.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub note: String,
    /// Have the processor stand in for the GPU, with small models: to try the check itself.
    #[arg(long)]
    pub rehearse: bool,
    /// What is checked.
    #[arg(long, value_enum, default_value_t = ProviderArg::Cuda)]
    provider: ProviderArg,
    /// Number of the device.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    device: u32,
    /// The library of an execution provider that is a plugin, for `--provider plugin`.
    #[arg(long, value_name = "LIBRARY", required_if_eq("provider", "plugin"))]
    plugin: Option<PathBuf>,
    /// The provider's name, where that library has several.
    #[arg(long, value_name = "NAME", requires = "plugin")]
    plugin_name: Option<String>,
    /// Sections to run; all, if none is named.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "SECTION")]
    pub only: Vec<Section>,
    /// Run this section in this process, and print its part of the report.
    #[arg(long, value_enum, hide = true)]
    pub section: Option<Section>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ProviderArg {
    Cpu,
    Cuda,
    Tensorrt,
    Plugin,
}

/// A part of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Section {
    Device,
    Refusals,
    Judge,
    Determinism,
    Memory,
    Loss,
    Batching,
    Throughput,
    Conformance,
    /// The other half of `throughput`, which needs a process of its own.
    #[value(hide = true)]
    Bare,
}

impl Section {
    /// Every part, in the order of the report: what matters most comes first.
    pub(crate) const ALL: [Self; 9] = [
        Self::Device,
        Self::Refusals,
        Self::Judge,
        Self::Determinism,
        Self::Memory,
        Self::Loss,
        Self::Batching,
        Self::Throughput,
        Self::Conformance,
    ];

    /// The heading.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Device => "Device and driver",
            Self::Refusals => "Refusals",
            Self::Judge => "Against the judge",
            Self::Determinism => "Determinism",
            Self::Memory => "Memory limit",
            Self::Loss => "Loss of the device",
            Self::Batching => "Batching",
            Self::Throughput => "Throughput beside a bare session",
            Self::Conformance => "Conformance",
            Self::Bare => "Bare session",
        }
    }

    /// Time that it may take. The sum is more than all may take together: few come near theirs.
    pub(crate) fn limit(self) -> Duration {
        Duration::from_secs(match self {
            // The first to read a gigabyte of libraries from the disk.
            Self::Device => 60,
            // The judge may have to be compiled.
            Self::Judge => 70,
            Self::Conformance | Self::Throughput | Self::Bare => 60,
            // Every model has a process, which a driver takes seconds to start.
            Self::Determinism | Self::Memory | Self::Loss => 50,
            Self::Refusals | Self::Batching => 30,
        })
    }
}

impl Arguments {
    /// What is checked.
    pub(crate) fn provider(&self) -> Provider {
        match self.provider {
            _ if self.rehearse => Provider::Cpu,
            ProviderArg::Cpu => Provider::Cpu,
            ProviderArg::Cuda => Provider::Cuda,
            ProviderArg::Tensorrt => Provider::Tensorrt,
            ProviderArg::Plugin => Provider::Plugin,
        }
    }

    /// The device's number.
    pub(crate) fn device(&self) -> u32 {
        self.device
    }

    /// What is checked, in words.
    pub(crate) fn subject(&self) -> String {
        match self.provider() {
            Provider::Cpu => "the processor".to_owned(),
            provider => format!("{provider}:{}", self.device),
        }
    }

    /// An engine on what is checked, that refuses what it would have to give to the processor; models run as in a node, each in a
    /// process of its own.
    pub(crate) fn engine(&self) -> EngineOptions {
        let plugin =
            PluginOptions { library: self.plugin.clone(), name: self.plugin_name.clone(), options: Vec::new() };
        EngineOptions {
            provider: self.provider(),
            devices: vec![self.device],
            providers: ProviderOptions { plugin, ..ProviderOptions::default() },
            // The first convolution may read hundreds of megabytes of kernels from the disk.
            limits: Limits { load: Duration::from_secs(60), run: Duration::from_secs(30), ..Limits::default() },
            ..EngineOptions::default()
        }
    }

    /// The same, but models run in this process: their answers are the same, and they start in no time.
    pub(crate) fn engine_here(&self) -> EngineOptions {
        EngineOptions { trust_models: true, ..self.engine() }
    }

    /// The arguments again, for the process of a section.
    pub(crate) fn again(&self, section: Section) -> Vec<String> {
        let named = |value: &dyn ValueEnumName| value.name();
        let mut arguments =
            vec!["--section".to_owned(), named(&section), "--provider".to_owned(), named(&self.provider)];
        arguments.extend(["--device".to_owned(), self.device.to_string()]);
        arguments.extend(self.rehearse.then(|| "--rehearse".to_owned()));
        for (flag, value) in [
            ("--plugin", self.plugin.as_ref().map(|path| path.display().to_string())),
            ("--plugin-name", self.plugin_name.clone()),
        ] {
            arguments.extend(value.into_iter().flat_map(|value| [flag.to_owned(), value]));
        }
        arguments
    }
}

/// The name of a value as it is typed.
trait ValueEnumName {
    fn name(&self) -> String;
}

impl<T: ValueEnum> ValueEnumName for T {
    fn name(&self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}
