//! Fees and gas of transactions: pure arithmetic.

mod fees;
pub(crate) mod gas;

pub use fees::{FeeMarket, FeeSettings, Fees, replacement_fees, suggest_fees};
