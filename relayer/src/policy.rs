//! What an operator answers for, and what it may cost: the part of the configuration that changes while the node runs.

use std::{collections::HashMap, time::Duration};

use alloy::primitives::B256;

use crate::{config::Settings, submitter::fees::FeeSettings};

/// What a request has to pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The least fee and submit fee together, wei.
    pub min_pay: u128,
    /// Per cent by which they must exceed what the answer's gas costs; −100 to answer at any cost.
    pub margin_percent: i32,
}

/// A checked policy. Stages read it from a watch channel, anew for every decision.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// What to pay for gas.
    pub fees: FeeSettings,
    /// The terms of models that have none of their own.
    pub terms: Terms,
    /// Terms by model.
    pub models: HashMap<B256, Terms>,
    /// The most that transactions may cost in an hour, wei.
    pub max_spend_per_hour: Option<u128>,
    /// The balance of a sending key below which the operator is told, wei.
    pub balance_alert: u128,
    /// The most answers in one transaction, at least 1.
    pub max_batch: usize,
    /// How long a signed answer may wait for others.
    pub batch_wait: Duration,
}

impl Policy {
    /// The policy of a configuration, where `id` knows the served models' ids by name.
    ///
    /// # Errors
    /// The name under `policy.models` that `id` does not know.
    pub fn new(settings: &Settings, id: impl Fn(&str) -> Option<B256>) -> Result<Self, String> {
        let policy = &settings.policy;
        let terms = Terms { min_pay: policy.min_fee, margin_percent: policy.margin_percent };
        let models = policy.models.iter().map(|(name, of)| {
            let model = id(name).ok_or_else(|| {
                format!("policy.models names `{name}`, which this node does not serve: correct the name, or serve it")
            })?;
            let min_pay = of.min_fee.unwrap_or(terms.min_pay);
            let margin_percent = of.margin_percent.unwrap_or(terms.margin_percent);
            Ok((model, Terms { min_pay, margin_percent }))
        });
        Ok(Self {
            fees: FeeSettings {
                cap: settings.fees.max_fee_per_gas,
                min_tip: settings.fees.min_priority_fee,
                bump_percent: settings.fees.bump_percent,
            },
            terms,
            models: models.collect::<Result<_, String>>()?,
            max_spend_per_hour: policy.max_spend_per_hour,
            balance_alert: policy.balance_alert,
            max_batch: policy.max_batch,
            batch_wait: policy.batch_wait,
        })
    }

    /// What a request for a model has to pay.
    #[must_use]
    pub fn terms(&self, model: B256) -> Terms {
        self.models.get(&model).copied().unwrap_or(self.terms)
    }
}
