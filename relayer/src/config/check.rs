//! From what was written to what can be used.

use std::{
    collections::BTreeMap,
    fmt::Display,
    net::SocketAddr,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use alloy::primitives::Address;

use super::{
    ChainSettings, ConfigError, EngineSettings, Finality, KeySettings, ModelPolicySettings, NodeSettings,
    PolicySettings, Settings,
    fingerprint::ConfigFingerprint,
    raw::{Config, RawConfig},
};
use crate::{
    chain::{Endpoint, Tag},
    pricing::FeeSettings,
};

const GWEI: f64 = 1e9;

/// Fees above this are a slip of the unit: gwei, not wei.
const MAX_GWEI: f64 = 1e6;

/// More than there is.
const MAX_ETHER: f64 = 1e9;

pub(super) fn check(written: RawConfig) -> Result<Settings, ConfigError> {
    let Config { chain, node, engine, fees, policy, keys } = &written.config;
    let wrong = |key: &str, reason: String| ConfigError::Value { origin: written.origin(key), key: key.into(), reason };
    let address = |key: &str, text: &Option<String>, remedy: &str| {
        let text = text.as_ref().ok_or_else(|| ConfigError::Missing {
            file: written.file.clone(),
            key: key.into(),
            remedy: remedy.into(),
        })?;
        let address = Address::from_str(text)
            .map_err(|_| wrong(key, format!("`{text}` is no address; write 0x and 40 hexadecimal digits")))?;
        if address.is_zero() {
            return Err(wrong(key, format!("it is the zero address; {remedy}")));
        }
        Ok(address)
    };
    let seconds = |key: &str, value: f64, range: RangeInclusive<f64>| {
        within(value, &range, "seconds").map(Duration::from_secs_f64).map_err(|reason| wrong(key, reason))
    };
    let gwei = |key: &str, value: f64| {
        within(value, &(0.0..=MAX_GWEI), "gwei")
            .map(|gwei| (gwei * GWEI).round() as u128)
            .map_err(|reason| wrong(key, reason))
    };
    let whole = |key: &str, value: u64, range: RangeInclusive<u64>, unit: &str| {
        within(value, &range, unit).map_err(|reason| wrong(key, reason))
    };
    let path = |path: &Path| resolve(&written.base, path);

    let max_fee_per_gas = gwei("fees.max_fee_per_gas", fees.max_fee_per_gas)?;
    let min_priority_fee = gwei("fees.min_priority_fee", fees.min_priority_fee)?;
    if max_fee_per_gas == 0 {
        return Err(wrong("fees.max_fee_per_gas", "no transaction is mined for 0 gwei; allow more".into()));
    }
    let bump_percent = whole("fees.bump_percent", fees.bump_percent.into(), 10..=100, "per cent")? as u32;
    let work_cap = FeeSettings { max_fee_per_gas, min_priority_fee, bump_percent }.work_cap();
    if min_priority_fee > work_cap {
        let (most, cap) = (work_cap as f64 / GWEI, fees.max_fee_per_gas);
        let reason = format!(
            "an answer may offer {most:.3} gwei, a raise of {bump_percent} per cent below fees.max_fee_per_gas, {cap} gwei; lower it"
        );
        return Err(wrong("fees.min_priority_fee", reason));
    }
    let ether = |key: &str, value: f64| {
        within(value, &(0.0..=MAX_ETHER), "ETH").map(wei_of).map_err(|reason| wrong(key, reason))
    };
    let pay = |key: &str, text: &str| min_fee(text).map_err(|reason| wrong(key, reason));
    let margin = |key: &str, value: i64| {
        within(value, &(-100..=100_000), "per cent").map(|value| value as i32).map_err(|reason| wrong(key, reason))
    };
    let mut models = BTreeMap::new();
    for (name, of) in &policy.models {
        let key = |field: &str| format!("policy.models.\"{name}\".{field}");
        let terms = ModelPolicySettings {
            min_fee: of.min_fee.as_ref().map(|text| pay(&key("min_fee"), text)).transpose()?,
            margin_percent: of.margin_percent.map(|value| margin(&key("margin_percent"), value)).transpose()?,
        };
        models.insert(name.clone(), terms);
    }
    if keys.senders.is_empty() {
        return Err(wrong("keys.senders", "it is empty; write the keystore of a key that pays for gas".into()));
    }
    if engine.device_ids.is_empty() {
        return Err(wrong("engine.device_ids", "it is empty; write the numbers of the GPUs, such as [0]".into()));
    }

    let confirmations = whole("chain.confirmations", chain.confirmations, 0..=8000, "blocks")?;
    let finality = match chain.finality.as_str() {
        "depth" => Finality::Depth(confirmations),
        "safe" => Finality::Tag(Tag::Safe),
        "finalized" => Finality::Tag(Tag::Finalized),
        other => {
            let reason = format!("`{other}` is no way to be final; write \"depth\", \"safe\" or \"finalized\"");
            return Err(wrong("chain.finality", reason));
        }
    };
    let reorg_depth = whole("chain.reorg_depth", chain.reorg_depth, 1..=8000, "blocks")?;
    if matches!(finality, Finality::Depth(depth) if depth > reorg_depth) {
        let reason = format!("it is below chain.confirmations, {confirmations} blocks; raise it");
        return Err(wrong("chain.reorg_depth", reason));
    }

    let rpc_urls = endpoints(&chain.rpc_urls).map_err(|reason| wrong("chain.rpc_urls", reason))?;
    let quorum = chain.quorum;
    if !(1..=rpc_urls.len()).contains(&quorum) {
        let reason = format!("{quorum} of {} endpoints cannot agree; write 1 to {0}", rpc_urls.len());
        return Err(wrong("chain.quorum", reason));
    }
    let requests_per_second = within(chain.requests_per_second, &(0.0..=1e6), "requests per second")
        .map_err(|reason| wrong("chain.requests_per_second", reason))?;

    Ok(Settings {
        chain: ChainSettings {
            rpc_urls,
            chain_id: whole("chain.chain_id", chain.chain_id, 1..=u64::MAX, "")?,
            coordinator: address("chain.coordinator", &chain.coordinator, "write the address of the coordinator")?,
            deployment_block: chain.deployment_block,
            finality,
            reorg_depth,
            start_timeout: seconds("chain.start_timeout", chain.start_timeout, 0.0..=86_400.0)?,
            request_timeout: seconds("chain.request_timeout", chain.request_timeout, 0.1..=600.0)?,
            poll_interval: seconds("chain.poll_interval", chain.poll_interval, 0.001..=600.0)?,
            quorum,
            requests_per_second,
            ca_file: chain.ca_file.as_deref().map(path),
            log_page: whole("chain.log_page", chain.log_page, 1..=1_000_000, "blocks")?,
        },
        node: NodeSettings {
            owner: address("node.owner", &node.owner, "write the address that owns the node's seats")?,
            models_dir: path(&node.models_dir),
            data_dir: path(&node.data_dir),
            serve: node.serve.clone(),
            status_listen: listen(&node.status_listen, node.status_public)
                .map_err(|reason| wrong("node.status_listen", reason))?,
        },
        engine: EngineSettings {
            runtime: engine.runtime.as_deref().map(path),
            provider: engine.provider,
            device_ids: engine.device_ids.clone(),
            queue: whole("engine.queue", engine.queue as u64, 1..=1_000_000, "runs")? as usize,
            time_limit: seconds("engine.time_limit", engine.time_limit, 0.001..=86_400.0)?,
        },
        fees: FeeSettings { max_fee_per_gas, min_priority_fee, bump_percent },
        policy: PolicySettings {
            min_fee: pay("policy.min_fee", &policy.min_fee)?,
            margin_percent: margin("policy.margin_percent", policy.margin_percent)?,
            max_spend_per_hour: policy
                .max_spend_per_hour
                .map(|value| ether("policy.max_spend_per_hour", value))
                .transpose()?,
            balance_alert: ether("policy.balance_alert", policy.balance_alert)?,
            max_batch: whole("policy.max_batch", policy.max_batch as u64, 1..=1_000, "answers")? as usize,
            batch_wait: seconds("policy.batch_wait", policy.batch_wait, 0.0..=60.0)?,
            models,
        },
        keys: KeySettings {
            signer: path(&keys.signer),
            senders: keys.senders.iter().map(|sender| path(sender)).collect(),
            password_file: keys.password_file.as_deref().map(path),
        },
        said: ConfigFingerprint::of(&written.config),
    })
}

pub(super) fn defaults(
    base: &Path,
    endpoint: Endpoint,
    chain_id: u64,
    coordinator: Address,
    owner: Address,
) -> Settings {
    let Config { chain, node, engine, fees, policy, keys } = Config::default();
    let wei = |gwei: f64| (gwei * GWEI).round() as u128;
    Settings {
        chain: ChainSettings {
            rpc_urls: vec![endpoint],
            chain_id,
            coordinator,
            deployment_block: chain.deployment_block,
            finality: Finality::Depth(chain.confirmations),
            reorg_depth: chain.reorg_depth,
            start_timeout: Duration::from_secs_f64(chain.start_timeout),
            request_timeout: Duration::from_secs_f64(chain.request_timeout),
            poll_interval: Duration::from_secs_f64(chain.poll_interval),
            quorum: chain.quorum,
            requests_per_second: chain.requests_per_second,
            ca_file: None,
            log_page: chain.log_page,
        },
        node: NodeSettings {
            owner,
            models_dir: resolve(base, &node.models_dir),
            data_dir: resolve(base, &node.data_dir),
            serve: node.serve,
            status_listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
        },
        engine: EngineSettings {
            runtime: engine.runtime,
            provider: engine.provider,
            device_ids: engine.device_ids,
            queue: engine.queue,
            time_limit: Duration::from_secs_f64(engine.time_limit),
        },
        fees: FeeSettings {
            max_fee_per_gas: wei(fees.max_fee_per_gas),
            min_priority_fee: wei(fees.min_priority_fee),
            bump_percent: fees.bump_percent,
        },
        policy: PolicySettings {
            min_fee: 0,
            margin_percent: policy.margin_percent as i32,
            max_spend_per_hour: policy.max_spend_per_hour.map(wei_of),
            balance_alert: wei_of(policy.balance_alert),
            max_batch: policy.max_batch,
            batch_wait: Duration::from_secs_f64(policy.batch_wait),
            models: BTreeMap::new(),
        },
        keys: KeySettings {
            signer: resolve(base, &keys.signer),
            senders: keys.senders.iter().map(|sender| resolve(base, sender)).collect(),
            password_file: keys.password_file,
        },
        said: ConfigFingerprint::default(),
    }
}

fn wei_of(ether: f64) -> u128 {
    (ether * 1e18).round() as u128
}

fn resolve(base: &Path, path: &Path) -> PathBuf {
    base.join(path)
}

/// NaN is in no range.
fn within<T: PartialOrd + Display + Copy>(value: T, range: &RangeInclusive<T>, unit: &str) -> Result<T, String> {
    if range.contains(&value) {
        return Ok(value);
    }
    let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
    Err(format!("{value} is out of range; write {} to {}{unit}", range.start(), range.end()))
}

fn endpoints(texts: &[String]) -> Result<Vec<Endpoint>, String> {
    if texts.is_empty() {
        return Err("it is empty; write one or more URLs such as [\"http://127.0.0.1:8545\"]".into());
    }
    let mut endpoints: Vec<Endpoint> = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        let endpoint = text.parse().map_err(|reason| format!("number {}: {reason}", index + 1))?;
        if endpoints.contains(&endpoint) {
            return Err(format!("{endpoint} is listed twice; an endpoint does not back itself up"));
        }
        endpoints.push(endpoint);
    }
    Ok(endpoints)
}

fn min_fee(text: &str) -> Result<u128, String> {
    text.replace('_', "")
        .parse::<u128>()
        .ok()
        .filter(|fee| *fee < 1 << 96)
        .ok_or_else(|| format!("`{text}` is no fee; write wei as a whole number in quotes, such as \"1000000000\""))
}

fn listen(text: &str, public: bool) -> Result<Option<SocketAddr>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let address: SocketAddr =
        text.parse().map_err(|_| format!("`{text}` is no address and port; write one such as 127.0.0.1:0"))?;
    if !address.ip().is_loopback() && !public {
        return Err(format!(
            "{address} can be publish_head by others; write a loopback address such as 127.0.0.1:0, or allow it with \
             node.status_public = true"
        ));
    }
    Ok(Some(address))
}
