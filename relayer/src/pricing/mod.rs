//! Fees and gas of transactions: pure arithmetic.

mod fees;
pub(crate) mod gas;

pub use fees::{FeeSettings, Fees, replacement_fees, suggest_fees};
