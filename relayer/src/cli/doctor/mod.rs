//! `oraculum doctor`: what this machine has of what a node needs, and what is missing.

mod checks;
mod hardware;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use serde::Serialize;

use self::checks::{Check, State};
use super::{CommandResult, infer::ProviderArg, print, print_json_line, tell};
use crate::{
    config::{FILE_NAME, Settings},
    engine::{EngineOptions, Limits, PluginOptions, Provider, ProviderOptions},
    text,
};

/// Time that a model may take to load in a trial, the compiling of the judge included.
const LOAD_LIMIT: Duration = Duration::from_secs(180);

/// Say what this machine has of what a node needs, and what to install where something is missing.
///
/// It looks for ONNX Runtime, the canonical judge and what isolates models, and has each run the smallest model; of a GPU it looks for
/// driver and libraries as a start would. Exit code 1 if something is missing for what the configuration asks.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  oraculum doctor
  oraculum doctor --config my-node/oraculum.toml
  oraculum doctor --gpu --json")]
pub(super) struct DoctorArgs {
    /// Look for the hardware that is asked for, and its libraries, too: that of the configuration, else an NVIDIA GPU. Where the
    /// configuration asks for the processor alone, nothing that is missing counts.
    #[arg(long)]
    gpu: bool,
    /// The node's configuration file [default: oraculum.toml in this folder, if there is one].
    #[arg(long, value_name = "FILE", env = "ORACULUM_CONFIG")]
    config: Option<PathBuf>,
    /// What models are to run on, where there is no configuration; looks for it as --gpu does.
    #[arg(long, value_enum, conflicts_with = "config", help_heading = "Engine")]
    provider: Option<ProviderArg>,
    /// The library of an execution provider that is a plugin, for --provider plugin.
    #[arg(long, value_name = "LIBRARY", required_if_eq("provider", "plugin"), help_heading = "Engine")]
    plugin: Option<PathBuf>,
    /// The provider's name, where the library of --plugin has several.
    #[arg(long, value_name = "NAME", requires = "plugin", help_heading = "Engine")]
    plugin_name: Option<String>,
    /// The ONNX Runtime library, where there is no configuration; else it is looked for as by other commands.
    #[arg(long, value_name = "LIBRARY", conflicts_with = "config", help_heading = "Engine")]
    runtime: Option<PathBuf>,
    /// Print one JSON object: {"usable": …, "checks": [{"name", "state": "ok", "missing" or "absent", "detail", "remedy"}]}.
    #[arg(long)]
    json: bool,
}

/// What is printed as JSON.
#[derive(Serialize)]
struct Report<'a> {
    usable: bool,
    checks: &'a [Check],
}

impl DoctorArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// That something is missing, after it is printed what.
    pub(super) async fn run(self) -> CommandResult {
        let mut checks = Vec::new();
        let configuration = self.configuration();
        let options = self.options(configuration.as_deref(), &mut checks);
        // The judge needs no other runtime.
        let processor = EngineOptions { provider: Provider::Cpu, runtime: None, ..options.clone() };
        checks.push(checks::runtime(&options).await);
        checks.push(checks::judge(&processor).await);
        checks.extend(checks::isolation());
        let asked = (options.provider != Provider::Cpu).then_some(options.provider);
        if self.gpu || asked.is_some() {
            let provider = asked.unwrap_or(Provider::Cuda);
            let looked_at = EngineOptions { provider, ..options };
            checks.extend(hardware::look(&looked_at).await.into_iter().map(|check| match asked {
                // With `auto`, the processor does it as well.
                Some(Provider::Auto) => check.not_asked_for(),
                None if configuration.is_some() => check.not_asked_for(),
                _ => check,
            }));
        }
        let missing = checks.iter().filter(|check| check.state == State::Missing).count();
        if self.json {
            print_json_line(&Report { usable: missing == 0, checks: &checks })?;
        } else {
            for check in &checks {
                print(&check.line())?;
            }
        }
        let hangs = checks.iter().any(|check| check.hangs);
        let told = match missing {
            0 => None,
            1 => Some("one thing is missing: see above".to_owned()),
            _ => Some(format!("{missing} things are missing: see above")),
        };
        if hangs {
            // What hangs in a driver would keep the process from ending.
            tell!("error: {}", told.unwrap_or_default());
            std::process::exit(1);
        }
        told.map_or(Ok(()), |told| Err(told.into()))
    }

    /// The configuration that says what is asked for; without one, the flags do.
    fn configuration(&self) -> Option<PathBuf> {
        let flags_tell = self.provider.is_some() || self.runtime.is_some();
        let here = (!flags_tell && Path::new(FILE_NAME).is_file()).then(|| FILE_NAME.into());
        self.config.clone().or(here)
    }

    /// The engine that is asked for. A configuration that cannot be used is told of, and the defaults are looked at.
    fn options(&self, configuration: Option<&Path>, checks: &mut Vec<Check>) -> EngineOptions {
        let limits = Limits { load: LOAD_LIMIT, ..Limits::default() };
        let plugin =
            PluginOptions { library: self.plugin.clone(), name: self.plugin_name.clone(), ..PluginOptions::default() };
        let mut options = EngineOptions {
            runtime: self.runtime.clone(),
            provider: self.provider.map_or(if self.gpu { Provider::Cuda } else { Provider::Cpu }, Provider::from),
            providers: ProviderOptions { plugin, ..ProviderOptions::default() },
            limits,
            ..EngineOptions::default()
        };
        if let Some(path) = configuration {
            let shown = path.display().to_string();
            checks.push(match Settings::load(path) {
                Ok(settings) => {
                    options = EngineOptions { limits, ..settings.engine_options() };
                    Check::ok("configuration", format!("{shown}, provider {}", options.provider))
                }
                Err(error) => {
                    options.provider = Provider::Cpu;
                    Check::missing("configuration", text::escaped(&error.to_string()), None)
                }
            });
        }
        options
    }
}
