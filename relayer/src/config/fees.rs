//! `[fees]`, which are `pricing::FeeSettings`: written in gwei, held in wei.

use super::{
    error::ConfigError,
    raw::RawSection,
    readers::{gwei, whole},
    section::section,
};
use crate::pricing::FeeSettings;

section! {
    /// What a unit of gas may cost.
    struct FeeSettings = "fees" {
        /// Gwei per unit of gas, at most; while the chain asks for more, answers wait.
        max_fee_per_gas: u128 = gwei().default("100").reloadable(),
        /// Gwei per unit of gas that the block's producer gets, at least.
        min_priority_fee: u128 = gwei().default("0.1").reloadable(),
        /// Per cent by which a stuck transaction's fees are raised.
        bump_percent: u32 = whole(10..=100, "per cent").default("15").reloadable(),
    }
    check consistent
}

fn consistent(fees: &FeeSettings, raw: &RawSection) -> Result<(), ConfigError> {
    if fees.max_fee_per_gas == 0 {
        return Err(raw.wrong("max_fee_per_gas", "no transaction is mined for 0 gwei; allow more"));
    }
    let work_cap = fees.work_cap();
    if fees.min_priority_fee > work_cap {
        let in_gwei = |wei: u128| wei as f64 / 1e9;
        let reason = format!(
            "an answer may offer {:.3} gwei, a raise of {} per cent below fees.max_fee_per_gas, {} gwei; lower it",
            in_gwei(work_cap),
            fees.bump_percent,
            in_gwei(fees.max_fee_per_gas),
        );
        return Err(raw.wrong("min_priority_fee", reason));
    }
    Ok(())
}
