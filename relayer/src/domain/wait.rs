//! What an open request waits for.

use std::fmt;

/// Reason for which an open request is not answered yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WaitReason {
    /// Until then only other seats may answer.
    Turn,
    /// Its pay does not cover the answer at the present price of gas.
    CheaperGas,
    /// Gas costs more than `fees.max_fee_per_gas`.
    FeeCap,
    /// The hour's money is spent.
    SpendingLimit,
    /// No sending key can pay for gas.
    Funds,
    /// Its model did not run.
    Model,
    /// Requests with earlier deadlines go first.
    Queue,
    /// So much is due before it that it can hardly be in time: it is run when nothing else is to be.
    Overload,
    /// No endpoint could read its input, or try its answer.
    Endpoint,
}

impl WaitReason {
    /// Label under which metrics count those that wait.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Turn => "turn",
            Self::CheaperGas => "cheaper_gas",
            Self::FeeCap => "fee_cap",
            Self::SpendingLimit => "spending_limit",
            Self::Funds => "funds",
            Self::Model => "model",
            Self::Queue => "queue",
            Self::Overload => "overload",
            Self::Endpoint => "endpoint",
        }
    }
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Turn => "it is the turn of other seats",
            Self::CheaperGas => "its pay does not cover the answer at the present price of gas",
            Self::FeeCap => "gas costs more than `fees.max_fee_per_gas` allows",
            Self::SpendingLimit => "`policy.max_spend_per_hour` is reached",
            Self::Funds => "no sending key can pay for gas",
            Self::Model => "its model did not run",
            Self::Queue => "requests with earlier deadlines go first",
            Self::Overload => "its model can hardly be run for it in time, and requests that can be in time go first",
            Self::Endpoint => "no endpoint could read its input, or try its answer",
        })
    }
}

/// A request's wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// Reason of the wait.
    pub reason: WaitReason,
    /// Pay of the request to this node, and what its answer would have to pay at the price of gas when the wait began, or, where
    /// that is the reason, now; wei. `None` where neither is known.
    pub price: Option<(u128, u128)>,
    /// Height of the head at which it is looked at again.
    pub next_look: u64,
}
