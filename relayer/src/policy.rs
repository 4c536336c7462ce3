//! Prices and limits of an operator: the part of the configuration that changes while the node runs.

use std::{collections::HashMap, time::Duration};

use alloy::primitives::B256;

use crate::{
    config::Settings,
    domain::SeatAssignment,
    pricing::{
        FeeSettings,
        gas::{self, Expected},
    },
    protocol::{payout, request::Request},
};

/// Terms that a request's pay is held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PriceTerms {
    /// Least pay for an answer, wei.
    pub min_pay: u128,
    /// Per cent by which the pay must exceed what the answer's gas costs; −100 to answer at any cost.
    pub margin_percent: i32,
}

impl PriceTerms {
    /// Pay that these terms ask for a use of gas and bytes, wei.
    pub(crate) fn asks(&self, expected: Expected, price: Price) -> u128 {
        let cost = u128::from(expected.gas)
            .saturating_mul(price.gas)
            .saturating_add(u128::from(expected.bytes).saturating_mul(price.byte));
        let percent = u128::try_from(100 + i64::from(self.margin_percent)).unwrap_or(0);
        self.min_pay.max(cost.saturating_mul(percent).div_ceil(100))
    }
}

/// Present price of a transaction, wei.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    /// Price of gas, wei per gas: base fee and priority fee.
    pub gas: u128,
    /// Price of a transaction's bytes, wei per byte, on chains that ask for that besides (OP-style chains, for the chain below).
    pub byte: u128,
}

/// Result of holding a request's pay to the terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profitability {
    /// The request pays.
    Worth,
    /// The request does not pay at the present price of gas.
    NotNow {
        /// Pay that would be enough, wei.
        asks: u128,
    },
    /// The request would not pay at the least price at which this node sends either.
    Never {
        /// Pay that would be enough then, wei.
        asks: u128,
    },
}

/// A checked policy. Stages read it from a watch channel, anew for every decision.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Fee settings of transactions.
    pub fees: FeeSettings,
    /// Terms of models that have none of their own.
    pub terms: PriceTerms,
    /// Terms by the id of the model.
    pub models: HashMap<B256, PriceTerms>,
    /// Most that transactions may cost in an hour, wei; `None` for no limit.
    pub max_spend_per_hour: Option<u128>,
    /// Balance of a sending key below which the operator is warned, wei.
    pub balance_alert: u128,
    /// Answers in one transaction at most; at least 1.
    pub max_batch: usize,
    /// Time for which a signed answer may wait for others.
    pub batch_wait: Duration,
}

impl Policy {
    /// Reads the policy of a configuration, where `id` knows the served models' ids by name.
    ///
    /// # Errors
    /// A sentence with the name under `policy.models` that `id` does not know.
    pub fn new(settings: &Settings, id: impl Fn(&str) -> Option<B256>) -> Result<Self, String> {
        let policy = &settings.policy;
        let terms = PriceTerms { min_pay: policy.min_fee, margin_percent: policy.margin_percent };
        let models = policy.models.iter().map(|(name, of)| {
            let model = id(name).ok_or_else(|| {
                format!("policy.models names `{name}`, which this node does not serve: correct the name, or serve it")
            })?;
            let min_pay = of.min_fee.unwrap_or(terms.min_pay);
            let margin_percent = of.margin_percent.unwrap_or(terms.margin_percent);
            Ok((model, PriceTerms { min_pay, margin_percent }))
        });
        Ok(Self {
            fees: settings.fees,
            terms,
            models: models.collect::<Result<_, String>>()?,
            max_spend_per_hour: policy.max_spend_per_hour,
            balance_alert: policy.balance_alert,
            max_batch: policy.max_batch,
            batch_wait: policy.batch_wait,
        })
    }

    /// Holds a request's pay for an answer with `output` bytes from a seat to the terms:
    ///
    /// ```text
    /// pays = share of the seat's position (`protocol::payout`)
    /// asks = max(min_pay, cost · (100 + margin_percent) / 100, rounded up)
    /// cost = gas · price + bytes · data price, of the answer and of its part of a claim
    /// ```
    #[must_use]
    pub fn judge(&self, request: &Request, assignment: &SeatAssignment, output: usize, price: Price) -> Profitability {
        let (pays, asks) = self.price(request, assignment, output, price);
        if pays >= asks {
            return Profitability::Worth;
        }
        let expected = gas::expected(request, assignment, output);
        let least = self.terms(request.model_id).asks(expected, Price { gas: self.fees.min_priority_fee, byte: 0 });
        if pays < least { Profitability::Never { asks: least } } else { Profitability::NotNow { asks } }
    }

    /// Pay of a request for an answer with `output` bytes from a seat, and the pay that the terms ask for, wei.
    pub(crate) fn price(
        &self,
        request: &Request,
        assignment: &SeatAssignment,
        output: usize,
        price: Price,
    ) -> (u128, u128) {
        let expected = gas::expected(request, assignment, output);
        let pays = payout::share(request, assignment.position(request.quorum));
        (pays, self.terms(request.model_id).asks(expected, price))
    }

    /// Pay that an answer must at least bring not to be a loss, wei: what it costs, less where the terms allow a loss.
    #[must_use]
    pub(crate) fn breaks_even_at(&self, model: B256, expected: Expected, price: Price) -> u128 {
        let margin_percent = self.terms(model).margin_percent.min(0);
        PriceTerms { min_pay: 0, margin_percent }.asks(expected, price)
    }

    /// Terms of requests for a model.
    #[must_use]
    pub fn terms(&self, model: B256) -> PriceTerms {
        self.models.get(&model).copied().unwrap_or(self.terms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{MODEL, policy, request};

    /// Pays 1,000 wei, and is expected to use 115,000 gas and 1,280 bytes with its part of a claim.
    fn judged(change: impl Fn(&mut Policy), price: Price) -> Profitability {
        let mut policy = Policy { terms: PriceTerms { min_pay: 0, margin_percent: 0 }, ..policy() };
        policy.fees.min_priority_fee = 0;
        change(&mut policy);
        let assignment = SeatAssignment { seat: 0, rank: 0, eligible: 1, holes: Vec::new() };
        policy.judge(&request(0, 1), &assignment, 0, price)
    }

    const FREE: Price = Price { gas: 0, byte: 0 };

    #[test]
    fn pay_is_held_to_the_cost_of_gas_and_bytes_with_the_margin() {
        assert_eq!(judged(|_| {}, FREE), Profitability::Worth);
        assert_eq!(judged(|_| {}, Price { gas: 1, byte: 0 }), Profitability::NotNow { asks: 115_000 });
        assert_eq!(judged(|_| {}, Price { gas: 0, byte: 2 }), Profitability::NotNow { asks: 2 * 1_280 });
        let margin = |policy: &mut Policy| policy.terms.margin_percent = 50;
        assert_eq!(judged(margin, Price { gas: 1, byte: 0 }), Profitability::NotNow { asks: 172_500 });
        assert_eq!(
            judged(|policy| policy.terms.margin_percent = -100, Price { gas: 9, byte: 9 }),
            Profitability::Worth
        );
    }

    #[test]
    fn what_would_not_pay_at_the_least_price_never_does() {
        let least = |policy: &mut Policy| policy.fees.min_priority_fee = 1;
        assert_eq!(judged(least, Price { gas: 5, byte: 0 }), Profitability::Never { asks: 115_000 });
        let fee = |policy: &mut Policy| policy.terms.min_pay = 1_001;
        assert_eq!(judged(fee, FREE), Profitability::Never { asks: 1_001 });
    }

    #[test]
    fn a_models_own_terms_go_before_the_common_ones() {
        let own = |policy: &mut Policy| {
            policy.terms.min_pay = 1_001;
            policy.models.insert(MODEL, PriceTerms { min_pay: 1_000, margin_percent: 0 });
        };
        assert_eq!(judged(own, FREE), Profitability::Worth);
    }
}
