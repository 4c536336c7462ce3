//! What can go wrong with a call.

use serde_json::Value;

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection ends.
    Cut,
    /// No answer comes.
    Silence,
    /// HTTP 429.
    TooMany,
    /// HTTP 500.
    Broken,
    /// JSON-RPC error −32005.
    Limit,
    /// The answer is late.
    Delay,
    /// The call is made twice, and answered twice where the transport allows it.
    Twice,
    /// The answer is that of a node some blocks behind.
    Stale,
    /// A block with logs is said to have none.
    EmptyLogs,
    /// A transaction is taken in, and an error told.
    TakenAndDenied,
    /// A transaction is said to be taken in, and lost.
    PromisedAndLost,
}

impl Fault {
    /// What any call can meet.
    const OF_ALL: [Self; 7] =
        [Self::Cut, Self::Silence, Self::TooMany, Self::Broken, Self::Limit, Self::Delay, Self::Twice];
    /// What heads can meet.
    pub(super) const OF_HEADS: &'static [Self] = &[Self::Silence, Self::Twice, Self::Delay];

    /// What a call can meet. Logs asked for by a range of heights are empty only where the endpoint is behind: of older
    /// ones nothing but a second endpoint could tell the truth.
    pub(super) fn of(method: &str, params: &Value) -> Vec<Self> {
        let own: &[Self] = match method {
            "eth_sendRawTransaction" => &[Self::TakenAndDenied, Self::PromisedAndLost],
            "eth_getLogs" if params[0].get("blockHash").is_some() => &[Self::Stale, Self::EmptyLogs],
            _ => &[Self::Stale],
        };
        [&Self::OF_ALL, own].concat()
    }

    /// Its name in a report.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::Silence => "silence",
            Self::TooMany => "429",
            Self::Broken => "500",
            Self::Limit => "-32005",
            Self::Delay => "delay",
            Self::Twice => "twice",
            Self::Stale => "stale",
            Self::EmptyLogs => "empty logs",
            Self::TakenAndDenied => "taken and denied",
            Self::PromisedAndLost => "promised and lost",
        }
    }
}
