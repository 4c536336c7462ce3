//! The node's configuration: what the operator wrote, read strictly, becomes [`Settings`], which are checked.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use alloy::primitives::Address;

use crate::{
    chain::{Endpoint, RootCertificates},
    pricing::FeeSettings,
};

mod check;
mod example;
mod fingerprint;
mod raw;

pub use crate::chain::Finality;
pub use crate::engine::Provider;
pub use example::example;

/// The usual name of the configuration file.
pub const FILE_NAME: &str = "oraculum.toml";

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The chain to serve.
    pub chain: ChainSettings,
    /// Who the node is and what it serves.
    pub node: NodeSettings,
    /// How models are run.
    pub engine: EngineSettings,
    /// What a unit of gas may cost.
    pub fees: FeeSettings,
    /// What is answered, and what that may cost.
    pub policy: PolicySettings,
    /// Where the keys are.
    pub keys: KeySettings,
    said: fingerprint::ConfigFingerprint,
}

/// The chain to serve, and how it is read.
#[derive(Clone, Debug)]
pub struct ChainSettings {
    /// The endpoints; at least one.
    pub rpc_urls: Vec<Endpoint>,
    /// The chain's id.
    pub chain_id: u64,
    /// The coordinator.
    pub coordinator: Address,
    /// The block in which the coordinator was deployed.
    pub deployment_block: u64,
    /// When a block counts as final.
    pub finality: Finality,
    /// The deepest reorganisation that is rewound, in blocks; at least the depth of `finality`, and at least 1.
    pub reorg_depth: u64,
    /// How long an endpoint that is down is tried again at start.
    pub start_timeout: Duration,
    /// How long one call may take.
    pub request_timeout: Duration,
    /// The pace of polling.
    pub poll_interval: Duration,
    /// Endpoints that must agree on what moves money: 1 to the number of endpoints.
    pub quorum: usize,
    /// Calls per second and endpoint, at most; 0 for no limit.
    pub requests_per_second: f64,
    /// Authorities trusted beside the public ones, in PEM.
    pub ca_file: Option<PathBuf>,
    /// Blocks per query of past logs, at most; at least 1.
    pub log_page: u64,
}

impl ChainSettings {
    /// Who may vouch for the endpoints.
    pub fn trust(&self) -> Result<RootCertificates, ConfigError> {
        let own = self.ca_file.as_deref().map(RootCertificates::from_file).transpose();
        Ok(own.map_err(ConfigError::CaFile)?.unwrap_or_default())
    }
}

/// Who the node is, what it serves, and where it keeps its journal.
#[derive(Clone, Debug)]
pub struct NodeSettings {
    /// The account that owns the seats.
    pub owner: Address,
    /// The folder of models.
    pub models_dir: PathBuf,
    /// The folder of the journal.
    pub data_dir: PathBuf,
    /// Names or ids of the models to load and answer for; empty for all in `models_dir`.
    pub serve: Vec<String>,
    /// Where the local status is served: a loopback address, or nowhere.
    pub status_listen: Option<SocketAddr>,
}

/// How models are run.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineSettings {
    /// ONNX Runtime's library; `None` looks for it.
    pub runtime: Option<PathBuf>,
    /// What models run on.
    pub provider: Provider,
    /// GPUs by CUDA's numbers; at least one.
    pub device_ids: Vec<u32>,
    /// Runs that may wait per model; at least 1.
    pub queue: usize,
    /// How long one run may take.
    pub time_limit: Duration,
}

/// What is answered, and what that may cost. Amounts are wei.
#[derive(Clone, Debug)]
pub struct PolicySettings {
    /// The least fee, below 2^96.
    pub min_fee: u128,
    /// Per cent by which pay must exceed the estimated cost of gas, from −100, which is at any cost.
    pub margin_percent: i32,
    /// The most that transactions may cost in an hour.
    pub max_spend_per_hour: Option<u128>,
    /// The balance of a sending key below which the operator is told.
    pub balance_alert: u128,
    /// The most answers in one transaction, at least 1.
    pub max_batch: usize,
    /// How long a signed answer may wait for others.
    pub batch_wait: Duration,
    /// What is different for a model, by its name or id.
    pub models: BTreeMap<String, ModelPolicySettings>,
}

/// What is different for one model.
#[derive(Clone, Copy, Debug)]
pub struct ModelPolicySettings {
    /// As in `PolicySettings`.
    pub min_fee: Option<u128>,
    /// As in `PolicySettings`.
    pub margin_percent: Option<i32>,
}

/// Where the keys are.
#[derive(Clone, Debug)]
pub struct KeySettings {
    /// The keystore that signs answers.
    pub signer: PathBuf,
    /// The keystores that pay for gas; at least one.
    pub senders: Vec<PathBuf>,
    /// A file with the password of all.
    pub password_file: Option<PathBuf>,
}

/// Why a configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum ConfigError {
    #[error("cannot read {file}: {reason}; `oraculum init` writes a configuration to start from")]
    Unreadable { file: String, reason: String },
    #[error("{file}, line {line}: {reason}")]
    Syntax { file: String, line: usize, reason: String },
    /// `origin` is the file or the environment variable that the value comes from.
    #[error("{origin}: {key} is wrong: {reason}")]
    Value { origin: String, key: String, reason: String },
    #[error("{file}: {key} is missing; {remedy}")]
    Missing { file: String, key: String, remedy: String },
    #[error("the environment variable {variable} would set {key} of every chain alike; write it into each file")]
    SharedVariable { variable: String, key: String },
    #[error("{0}; correct `chain.ca_file`")]
    CaFile(String),
    #[error("the environment variable {variable} names no key of the configuration: {remedy}")]
    UnknownVariable { variable: String, remedy: String },
}

impl Settings {
    /// Reads a configuration file, overridden by the environment.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = raw::text(path)?;
        let variables =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self::parse(&text, path, variables)
    }

    /// Reads the configuration files of several chains, one each, which share one engine: the first file's. A file
    /// that has an `[engine]` section must say the same. The environment may not override what is each chain's own.
    pub fn load_all(paths: &[PathBuf]) -> Result<Vec<Self>, ConfigError> {
        let [first, others @ ..] = paths else { return Ok(Vec::new()) };
        if !others.is_empty() {
            let variables = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
            raw::refuse_shared(variables)?;
        }
        let first = Self::load(first)?;
        let mut all = vec![first.clone()];
        for path in others {
            let mut next = Self::load(path)?;
            if !raw::has_section(path, "engine")? {
                next.engine = first.engine.clone();
            } else if next.engine != first.engine {
                let reason =
                    "it differs from the first file's, and one engine serves all chains; leave the section out";
                return Err(ConfigError::Value {
                    origin: path.display().to_string(),
                    key: "engine".into(),
                    reason: reason.into(),
                });
            }
            all.push(next);
        }
        Ok(all)
    }

    /// Reads the text of a configuration file at `path`, overridden by `variables`.
    pub fn parse(
        text: &str,
        path: &Path,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        check::check(raw::read(text, path, variables)?)
    }

    /// The keys that say something else than in an older reading, and take effect with a restart only: all but those of
    /// `[fees]` and `[policy]`.
    #[must_use]
    pub fn changed_for_a_restart(&self, older: &Self) -> Vec<String> {
        let mut changed = self.said.changed(&older.said);
        changed.retain(|key| !key.starts_with("fees.") && !key.starts_with("policy."));
        changed
    }

    /// The defaults for a chain, a coordinator and a node's owner. Paths are relative to `base`.
    pub fn new(base: &Path, endpoint: Endpoint, chain_id: u64, coordinator: Address, owner: Address) -> Self {
        check::defaults(base, endpoint, chain_id, coordinator, owner)
    }
}

#[cfg(test)]
mod tests;
