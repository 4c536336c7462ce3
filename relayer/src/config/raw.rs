//! What the operator wrote: a TOML file, read strictly, and environment variables over it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::{
    ConfigError,
    example::{KEYS, Key, Kind, SECTIONS},
};

/// The file's contents as written. It is never printed: the endpoint can carry a secret.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Config {
    pub(super) chain: Chain,
    pub(super) node: Node,
    pub(super) engine: Engine,
    pub(super) fees: Fees,
    pub(super) policy: Policy,
    pub(super) keys: Keys,
}

macro_rules! section {
    ($name:ident { $($field:ident: $type:ty = $default:expr),* $(,)? }) => {
        #[derive(Clone, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub(super) struct $name { $(pub(super) $field: $type),* }
        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default),* }
            }
        }
    };
}

section!(Chain {
    rpc_urls: Vec<String> = vec!["http://127.0.0.1:8545".into()],
    chain_id: u64 = 31337,
    coordinator: Option<String> = None,
    deployment_block: u64 = 0,
    finality: String = "depth".into(),
    confirmations: u64 = 2,
    reorg_depth: u64 = 64,
    start_timeout: f64 = 60.0,
    request_timeout: f64 = 10.0,
    poll_interval: f64 = 1.0,
    quorum: usize = 1,
    requests_per_second: f64 = 0.0,
    ca_file: Option<PathBuf> = None,
    log_page: u64 = 2000,
});
section!(Node {
    owner: Option<String> = None,
    models_dir: PathBuf = "models".into(),
    data_dir: PathBuf = "data".into(),
    serve: Vec<String> = Vec::new(),
    status_listen: String = "127.0.0.1:0".into(),
    status_public: bool = false,
});
section!(Engine {
    runtime: Option<PathBuf> = None,
    provider: super::Provider = super::Provider::Cpu,
    device_ids: Vec<u32> = vec![0],
    queue: usize = 64,
    time_limit: f64 = 10.0,
});
section!(Fees { max_fee_per_gas: f64 = 100.0, min_priority_fee: f64 = 0.1, bump_percent: u32 = 15 });
section!(Policy {
    min_fee: String = "0".into(),
    margin_percent: i64 = 0,
    max_spend_per_hour: Option<f64> = None,
    balance_alert: f64 = 0.05,
    max_batch: usize = 32,
    batch_wait: f64 = 0.0,
    models: BTreeMap<String, ModelPolicy> = BTreeMap::new(),
});
section!(ModelPolicy { min_fee: Option<String> = None, margin_percent: Option<i64> = None });
section!(Keys {
    signer: PathBuf = "keys/signer.json".into(),
    senders: Vec<PathBuf> = vec!["keys/sender.json".into()],
    password_file: Option<PathBuf> = None,
});

/// What was written, and where each value came from.
pub(super) struct RawConfig {
    pub(super) config: Config,
    /// The file's name as shown.
    pub(super) file: String,
    /// Where relative paths start.
    pub(super) base: PathBuf,
    /// The environment variable of each key that one overrides, by full key.
    pub(super) overridden: BTreeMap<String, String>,
}

impl RawConfig {
    /// The file or environment variable that a key's value comes from.
    pub(super) fn origin(&self, key: &str) -> String {
        self.overridden.get(key).unwrap_or(&self.file).clone()
    }
}

pub(super) fn read(
    text: &str,
    path: &Path,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<RawConfig, ConfigError> {
    let file = path.display().to_string();
    // Read once as it is, so that a mistake is named with its line.
    let syntax = |error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        // The name only: a value may be secret.
        let key = before.rsplit('\n').next().and_then(|line| line.split_once('='));
        let reason = match key {
            Some((key, _)) => format!("{}: {}", key.trim(), error.message()),
            None => error.message().to_owned(),
        };
        ConfigError::Syntax { file: file.clone(), line: 1 + before.matches('\n').count(), reason }
    };
    toml::from_str::<Config>(text).map_err(syntax)?;
    let mut table: Table = toml::from_str(text).map_err(syntax)?;

    let mut overridden = BTreeMap::new();
    for (variable, value) in variables {
        let Some(key) = key_of(&variable)? else { continue };
        let wrong = |reason| ConfigError::Value { origin: variable.clone(), key: key.path(), reason };
        let section = table.entry(key.section).or_insert_with(|| Value::Table(Table::new()));
        let Value::Table(section) = section else { continue };
        section.insert(key.name.to_owned(), literal(key.kind, &value).map_err(wrong)?);
        // One at a time, so that a wrong value is laid to its variable.
        Config::deserialize(table.clone()).map_err(|error| wrong(error.message().to_owned()))?;
        overridden.insert(key.path(), variable);
    }
    let config = Config::deserialize(table).map_err(syntax)?;
    let base = path.parent().unwrap_or(Path::new("")).to_owned();
    Ok(RawConfig { config, file, base, overridden })
}

/// The text of a file.
pub(super) fn text(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path)
        .map_err(|error| ConfigError::Unreadable { file: path.display().to_string(), reason: error.to_string() })
}

/// Whether a file that was read already has a section.
pub(super) fn has_section(path: &Path, section: &str) -> Result<bool, ConfigError> {
    Ok(toml::from_str::<Table>(&text(path)?).is_ok_and(|table| table.contains_key(section)))
}

/// Variables that would give several chains the same endpoints, id or coordinator.
pub(super) fn refuse_shared(variables: impl IntoIterator<Item = String>) -> Result<(), ConfigError> {
    for variable in variables {
        if let Some(key) = key_of(&variable)?.filter(|key| key.section == "chain") {
            return Err(ConfigError::SharedVariable { variable, key: key.path() });
        }
    }
    Ok(())
}

/// The key that an environment variable overrides; `None` if it is about something else.
fn key_of(variable: &str) -> Result<Option<&'static Key>, ConfigError> {
    let Some(rest) = variable.strip_prefix("ORACULUM_") else { return Ok(None) };
    let Some((section, _)) = SECTIONS
        .iter()
        .find(|(section, _)| rest.strip_prefix(&section.to_uppercase()).is_some_and(|name| name.starts_with('_')))
    else {
        return Ok(None);
    };
    if let Some(key) = KEYS.iter().find(|key| key.variable() == variable) {
        return Ok(Some(key));
    }
    let known: Vec<_> = KEYS.iter().filter(|key| key.section == *section).map(Key::variable).collect();
    Err(ConfigError::UnknownVariable {
        variable: variable.to_owned(),
        remedy: format!("unset it, or use one of {}", known.join(", ")),
    })
}

fn literal(kind: Kind, text: &str) -> Result<Value, String> {
    let integer =
        |text: &str| text.trim().parse::<i64>().map(Value::Integer).map_err(|_| format!("`{text}` is no whole number"));
    let items = || text.split(',').map(str::trim).filter(|item| !item.is_empty());
    Ok(match kind {
        Kind::Text => Value::String(text.to_owned()),
        Kind::Integer => integer(text)?,
        Kind::Number => Value::Float(text.trim().parse().map_err(|_| format!("`{text}` is no number"))?),
        Kind::Boolean => {
            Value::Boolean(text.trim().parse().map_err(|_| format!("`{text}` is neither true nor false"))?)
        }
        Kind::Table => return Err("a table has no variable; write it in the file".into()),
        Kind::Texts => Value::Array(items().map(|item| Value::String(item.to_owned())).collect()),
        Kind::Integers => Value::Array(items().map(integer).collect::<Result<_, _>>()?),
    })
}
