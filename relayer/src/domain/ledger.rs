//! Earnings and costs of the node.

use alloy::primitives::B256;
use serde::{Deserialize, Serialize};

/// Cost and earnings of one model in one hour of the chain's clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Hour of the entry, hours since 1970.
    pub hour: u64,
    /// Id of the model; zero for what serves no model, such as a transaction that fills its nonce.
    pub model: B256,
    /// Cost of final transactions, wei.
    pub spent: u128,
    /// Pay for answers of ours that became final, wei; negative where a reorganisation takes more back.
    pub earned: i128,
    /// Number of those answers.
    pub answers: i64,
}

impl Entry {
    /// The sum of two entries of one hour and model. It stays at the bounds of its types rather than overflow.
    #[must_use]
    pub fn plus(self, other: &Self) -> Self {
        Self {
            spent: self.spent.saturating_add(other.spent),
            earned: self.earned.saturating_add(other.earned),
            answers: self.answers.saturating_add(other.answers),
            ..self
        }
    }
}
