//! The node's configuration: a TOML file and environment variables, read strictly, become [`Settings`], which are checked.
//!
//! Each section has a file, in which `section!` states every key once: name, type, unit, default, bounds, documentation,
//! and whether a running node takes over a change. Everything else comes from there.

use std::path::{Path, PathBuf};

use alloy::primitives::Address;
use toml::Value;

use crate::{
    chain::Endpoint,
    engine::{CudaOptions, EngineOptions, Limits, PluginOptions, ProviderOptions, TensorrtOptions},
    pricing::FeeSettings,
};

mod chain;
mod engine;
mod error;
mod example;
mod fees;
mod key;
mod keys;
mod node;
mod policy;
mod providers;
mod raw;
mod readers;
mod section;
mod value;

use key::SectionInfo;
use raw::RawConfig;
use section::Section;

pub use self::{
    chain::{ChainSettings, FinalityRule},
    engine::EngineSettings,
    error::ConfigError,
    keys::KeySettings,
    node::NodeSettings,
    policy::{ModelPolicySettings, PolicySettings},
};
pub use crate::{chain::Finality, engine::Provider};

/// The usual name of the configuration file.
pub const FILE_NAME: &str = "oraculum.toml";

/// A checked configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The chain to serve.
    pub chain: ChainSettings,
    /// Who the node is and what it serves.
    pub node: NodeSettings,
    /// How models are run.
    pub engine: EngineSettings,
    /// Options of the hardware's providers.
    pub providers: ProviderOptions,
    /// What a unit of gas may cost.
    pub fees: FeeSettings,
    /// What is answered, and what that may cost.
    pub policy: PolicySettings,
    /// Where the keys are.
    pub keys: KeySettings,
}

/// Every section, in the order of the example file.
fn sections() -> [SectionInfo; 9] {
    [
        ChainSettings::info(),
        NodeSettings::info(),
        EngineSettings::info(),
        CudaOptions::info(),
        TensorrtOptions::info(),
        PluginOptions::info(),
        FeeSettings::info(),
        PolicySettings::info(),
        KeySettings::info(),
    ]
}

/// Returns the configuration file with every key documented, as `oraculum init` writes it. `values` are TOML literals by
/// full key, in place of defaults; keys with neither are commented out.
#[must_use]
pub fn example(values: &[(&str, String)]) -> String {
    example::example(&sections(), values)
}

impl Settings {
    /// Reads a configuration file, overridden by the environment.
    ///
    /// # Errors
    /// `Unreadable` if the file cannot be read, and those of [`Settings::parse`].
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::check(&read_file(path)?)
    }

    /// Reads the configuration files of several chains, one each, which share one engine: the first file's. A file
    /// that has an `[engine]` section must say the same. The environment may not override what is each chain's own.
    ///
    /// # Errors
    /// Those of [`Settings::load`] for each file; `SharedVariable` for a variable that would set a key of each `[chain]`;
    /// `Value` for an `[engine]` that differs from the first file's.
    pub fn load_all(paths: &[PathBuf]) -> Result<Vec<Self>, ConfigError> {
        if paths.len() > 1 {
            raw::refuse_shared(environment().map(|(name, _)| name), &sections())?;
        }
        let mut all: Vec<Self> = Vec::with_capacity(paths.len());
        for path in paths {
            let raw = read_file(path)?;
            let mut settings = Self::check(&raw)?;
            if let Some(first) = all.first() {
                if !raw.has_section("engine") {
                    (settings.engine, settings.providers) = (first.engine.clone(), first.providers.clone());
                } else if settings.engine != first.engine || settings.providers != first.providers {
                    let reason =
                        "it differs from the first file's, and one engine serves all chains; leave the section out";
                    return Err(ConfigError::Value {
                        origin: path.display().to_string(),
                        key: "engine".into(),
                        reason: reason.into(),
                    });
                }
            }
            all.push(settings);
        }
        Ok(all)
    }

    /// Reads the text of a configuration file at `path`, overridden by `variables`.
    ///
    /// # Errors
    /// `Syntax` if the text is no TOML; `Unknown` or `UnknownVariable` for what names no key; `Value` for a value that is
    /// wrong by itself or beside another; `Missing` for a required key that is nowhere.
    pub fn parse(
        text: &str,
        path: &Path,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        Self::check(&RawConfig::parse(text, path, variables, &sections())?)
    }

    /// Returns the defaults for a chain, a coordinator and a node's owner. Paths are relative to `base`.
    ///
    /// # Errors
    /// `Value` for a chain id or address that no file may have, such as zero.
    pub fn new(
        base: &Path,
        endpoint: &Endpoint,
        chain_id: u64,
        coordinator: Address,
        owner: Address,
    ) -> Result<Self, ConfigError> {
        let mut raw = RawConfig::empty(&base.join(FILE_NAME));
        let id = i64::try_from(chain_id).unwrap_or_default();
        for (key, value) in [
            ("chain.rpc_urls", Value::Array(vec![endpoint.url().as_str().into()])),
            ("chain.chain_id", id.into()),
            ("chain.coordinator", coordinator.to_string().into()),
            ("node.owner", owner.to_string().into()),
        ] {
            raw.set(key.into(), "a configuration without a file".into(), value);
        }
        Self::check(&raw)
    }

    /// Options of the engine that models are run with.
    #[must_use]
    pub fn engine_options(&self) -> EngineOptions {
        let EngineSettings { runtime, judge, provider, device_ids, partial, queue, time_limit, load_limit, .. } =
            &self.engine;
        let limits = Limits { queue: *queue, run: *time_limit, load: *load_limit, ..Limits::default() };
        EngineOptions {
            runtime: runtime.clone(),
            judge: judge.clone(),
            worker: None,
            provider: *provider,
            devices: device_ids.clone(),
            providers: self.providers.clone(),
            partial: *partial,
            trust_models: self.engine.trust_models,
            memory: self.engine.memory << 20,
            gpu_memory: self.engine.gpu_memory << 20,
            limits,
        }
    }

    fn check(raw: &RawConfig) -> Result<Self, ConfigError> {
        let engine: EngineSettings = read_section(raw)?;
        let providers =
            ProviderOptions { cuda: read_section(raw)?, tensorrt: read_section(raw)?, plugin: read_section(raw)? };
        if engine.provider == Provider::Plugin && providers.plugin.library.is_none() {
            let reason = "it is `plugin`, and there is none; write its library into engine.plugin.library";
            return Err(raw.section(EngineSettings::NAME).wrong("provider", reason));
        }
        Ok(Self {
            providers,
            chain: read_section(raw)?,
            node: read_section(raw)?,
            engine,
            fees: read_section(raw)?,
            policy: read_section(raw)?,
            keys: read_section(raw)?,
        })
    }

    /// Returns the full names of the keys whose values differ from those of an older reading, and take effect with a
    /// restart only.
    #[must_use]
    pub fn changed_for_a_restart(&self, older: &Self) -> Vec<String> {
        let Self { chain, node, engine, providers: ProviderOptions { cuda, tensorrt, plugin }, fees, policy, keys } =
            self;
        [
            chain.changed_for_a_restart(&older.chain),
            node.changed_for_a_restart(&older.node),
            engine.changed_for_a_restart(&older.engine),
            cuda.changed_for_a_restart(&older.providers.cuda),
            tensorrt.changed_for_a_restart(&older.providers.tensorrt),
            plugin.changed_for_a_restart(&older.providers.plugin),
            fees.changed_for_a_restart(&older.fees),
            policy.changed_for_a_restart(&older.policy),
            keys.changed_for_a_restart(&older.keys),
        ]
        .concat()
    }
}

/// Full names of the keys of which a running node takes over a change.
#[cfg(test)]
pub(crate) fn reloadable_keys() -> Vec<String> {
    let keys = sections().into_iter().flat_map(|section| section.keys);
    keys.filter(|key| key.reloadable).map(|key| key.path()).collect()
}

/// The environment variables that override keys.
#[must_use]
pub fn variables() -> Vec<String> {
    let keys = sections().into_iter().flat_map(|section| section.keys);
    keys.map(|key| key.variable()).collect()
}

/// The error for an environment variable that is none of `known`, with the one that is likely meant.
#[must_use]
pub fn unknown_variable<'a>(variable: &str, known: impl Iterator<Item = &'a str> + Clone) -> ConfigError {
    raw::unknown_variable(variable, known)
}

fn read_section<S: Section>(raw: &RawConfig) -> Result<S, ConfigError> {
    S::read(&raw.section(S::NAME))
}

fn read_file(path: &Path) -> Result<RawConfig, ConfigError> {
    RawConfig::parse(&raw::text(path)?, path, environment(), &sections())
}

/// The variables of the environment that are Unicode.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

#[cfg(test)]
mod tests;
