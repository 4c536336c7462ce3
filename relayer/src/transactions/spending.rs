//! What was spent, against what may be, and what gas costs now.

use alloy::primitives::{U256, utils::format_units};
use tracing::{info, warn};

use super::Transactions;
use crate::{chain::Chain, domain::ChainHead, journal::Journal, node::StageError, policy::Price};

/// What final transactions cost in the present hour of the chain's clock.
#[derive(Debug, Default)]
pub(super) struct HourlySpending {
    hour: Option<u64>,
    /// Wei.
    spent: u128,
    /// Whether the operator knows that the hour's money is spent.
    limit_reported: bool,
}

/// The hour of a head's time, counted from 1970.
pub(super) fn hour_of(head: &ChainHead) -> u64 {
    head.header.timestamp / 3_600
}

impl<C: Chain, J: Journal> Transactions<C, J> {
    /// Reads from the ledger what the hour's final transactions cost.
    pub(super) fn read_spending(&mut self, hour: u64) -> Result<(), StageError> {
        let entries = self.node.journal.ledger(hour)?;
        let spent = entries.iter().fold(0, |sum: u128, entry| sum.saturating_add(entry.spent));
        let limit_reported = self.spending.limit_reported && self.spending.hour == Some(hour);
        self.spending = HourlySpending { hour: Some(hour), spent, limit_reported };
        Ok(())
    }

    /// Begins a new hour with a head that is in one.
    pub(super) fn follow_the_hour(&mut self, head: &ChainHead) -> Result<(), StageError> {
        let hour = hour_of(head);
        if self.spending.hour == Some(hour) { Ok(()) } else { self.read_spending(hour) }
    }

    /// Whether `cost` more, in wei, would pass `policy.max_spend_per_hour`. What is not final yet counts into the present hour:
    /// in full while it can still cost all its gas limit at its fee cap.
    pub(super) fn exceeds_hourly_limit(&self, cost: U256) -> bool {
        let Some(limit) = self.node.policy.borrow().max_spend_per_hour else { return false };
        let open: U256 = self.queues.tracked().map(|tracked| tracked.state.bound(self.data_fee.per_byte)).sum();
        U256::from(self.spending.spent) + open + cost > U256::from(limit)
    }

    /// Tells the operator, once an hour, that the hour's money is spent.
    pub(super) fn report_hourly_limit(&mut self) {
        if !std::mem::replace(&mut self.spending.limit_reported, true) {
            let limit = self.node.policy.borrow().max_spend_per_hour;
            warn!(spent = self.spending.spent, limit, "`policy.max_spend_per_hour` is reached: answers wait");
        }
    }

    /// Whether base fee and suggested priority fee together pass the cap for work: what is sent now would wait in the pool,
    /// and in the way of what comes after it.
    pub(crate) fn is_above_fee_cap(&self) -> bool {
        let fees = self.suggest_fees();
        self.base_fee().saturating_add(fees.priority_fee) > fees.max_fee
    }

    /// Tells the operator when answers begin to wait for cheaper gas, and when they do not any more.
    pub(super) fn report_fee_cap(&mut self) {
        let above_fee_cap = self.is_above_fee_cap();
        if above_fee_cap == std::mem::replace(&mut self.above_fee_cap_reported, above_fee_cap) {
            return;
        }
        let gwei = |wei: u128| format_units(wei, "gwei").unwrap_or_default();
        let (base_fee, priority_fee) = (gwei(self.base_fee()), gwei(self.suggest_fees().priority_fee));
        if above_fee_cap {
            warn!(base_fee, priority_fee, "gas costs more than `fees.max_fee_per_gas` allows, gwei: answers wait");
        } else {
            info!(base_fee, priority_fee, "gas is cheap enough again, gwei");
        }
    }

    /// Publishes what gas costs now.
    pub(super) fn publish_price(&self, head: &ChainHead) {
        let gas = head.header.base_fee.saturating_add(self.suggest_fees().priority_fee);
        self.node.price.send_replace(Some(Price { gas, byte: self.data_fee.per_byte }));
    }
}
