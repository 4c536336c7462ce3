//! `[policy]`.

use std::{collections::BTreeMap, time::Duration};

use super::{
    key::Reader,
    raw::RawConfig,
    readers::{ether, seconds, wei, whole},
    section::{Section, section},
    value::Kind,
};

section! {
    /// What is answered, and what that may cost.
    pub struct PolicySettings = "policy" {
        /// The least fee in wei for which a request is answered.
        min_fee: u128 = wei().default("\"0\"").reloadable(),
        /// Per cent by which a request's fee must exceed the gas that answering and claiming cost; -100 answers at any cost.
        margin_percent: i32 = margin().default("0").reloadable(),
        /// ETH that all transactions may cost in an hour; above it answers wait. Without it, there is no such limit.
        max_spend_per_hour: Option<u128> = ether().optional("0.5").reloadable(),
        /// ETH on a sending key below which a warning is logged, once until it is funded again.
        balance_alert: u128 = ether().default("0.05").reloadable(),
        /// Answers in one transaction, at most.
        max_batch: usize = whole(1..=1_000, "answers").default("32").reloadable(),
        /// Seconds for which a signed answer may wait for others. With 0 batches form only while the chain is busy.
        batch_wait: Duration = seconds(0.0..=60.0).default("0").reloadable(),
        /// What is different for a model, by its name or id: min_fee and margin_percent.
        models: BTreeMap<String, ModelPolicySettings> = models()
            .or_empty("{ \"iris/v1\" = { min_fee = \"1000000000000\", margin_percent = 50 } }")
            .reloadable(),
    }
}

section! {
    /// What is different for one model.
    pub struct ModelPolicySettings = "policy.models" {
        /// The model's `PolicySettings::min_fee`.
        min_fee: Option<u128> = wei().optional("\"1000000000000\"").reloadable(),
        /// The model's `PolicySettings::margin_percent`.
        margin_percent: Option<i32> = margin().optional("50").reloadable(),
    }
}

fn margin() -> Reader<i32> {
    whole(-100..=100_000, "per cent")
}

/// A table of a model's settings by its name or id.
fn models() -> Reader<BTreeMap<String, ModelPolicySettings>> {
    Reader::of(Kind::Table, |value| value.as_table().cloned()).then_at(|models, raw| {
        let read = |(name, value): (String, toml::Value)| {
            let path = format!("{}.\"{name}\"", raw.key);
            let nested = RawConfig::nested(raw, &path, value, &ModelPolicySettings::keys())?;
            Ok((name, ModelPolicySettings::read(&nested.section(&path))?))
        };
        models.into_iter().map(read).collect()
    })
}
