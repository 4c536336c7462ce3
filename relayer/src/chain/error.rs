//! Errors of endpoints: the one place where their messages become variants.

use alloy::{
    primitives::Bytes,
    transports::{RpcError, TransportError, TransportErrorKind},
};

use super::{Endpoint, reply::NotJsonRpc};
use crate::text::cut;

/// Characters of an unexpected answer that are shown.
const SHOWN: usize = 120;

/// Failure of a call to an endpoint, or of the endpoint itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// No answer in time.
    #[error("{endpoint} did not answer in {seconds} s")]
    Timeout {
        /// Endpoint without its secrets.
        endpoint: String,
        /// Time-out of the call, seconds.
        seconds: u64,
    },
    /// The connection to the endpoint failed.
    #[error("cannot reach {endpoint}: {reason}")]
    Unreachable {
        /// Endpoint without its secrets.
        endpoint: String,
        /// Message of the transport, without secrets.
        reason: String,
    },
    /// The endpoint was asked too often.
    #[error("the endpoint limits the rate of calls: {0}")]
    RateLimited(String),
    /// A log query spans too many blocks or results.
    #[error("the endpoint refuses a log query of this size: {0}")]
    RangeTooLarge(String),
    /// The endpoint has not seen the block.
    #[error("the endpoint does not know the block: {0}")]
    UnknownBlock(String),
    /// The endpoint has this very transaction in its pool or on its chain.
    #[error("the endpoint knows the transaction already")]
    AlreadyKnown,
    /// The nonce is used already.
    #[error("nonce too low")]
    NonceTooLow,
    /// A replacement must pay more.
    #[error("replacement transaction underpriced")]
    Underpriced,
    /// The fee is below what the endpoint takes in.
    #[error("fee too low for the next block: {0}")]
    FeeTooLow(String),
    /// The account cannot pay for the transaction.
    #[error("insufficient funds for gas")]
    InsufficientFunds,
    /// The call reverted; the data is the contract's error.
    #[error("reverted with {}", cut(&_0.to_string(), SHOWN))]
    Reverted(Bytes),
    /// The gas limit is below the intrinsic cost, or ran out.
    #[error("out of gas: {0}")]
    OutOfGas(String),
    /// The endpoint is on another chain.
    #[error("{endpoint} is on chain {found}, not {expected}")]
    WrongChain {
        /// Endpoint without its secrets.
        endpoint: String,
        /// Id of the endpoint's chain.
        found: u64,
        /// Id of the configured chain.
        expected: u64,
    },
    /// Too few endpoints can be read from now.
    #[error("no endpoint can be read from now: {0}")]
    Unready(String),
    /// Anything else the endpoint said.
    #[error("the endpoint answered error {code}: {message}")]
    Other {
        /// Code of the JSON-RPC error.
        code: i64,
        /// Message of the endpoint, without secrets.
        message: String,
    },
    /// An answer that is not what the method promises.
    #[error("{endpoint} answers {method} with {reason}")]
    Malformed {
        /// Endpoint without its secrets.
        endpoint: String,
        /// JSON-RPC method that was called.
        method: &'static str,
        /// What the answer is, in one line.
        reason: String,
    },
}

impl ChainError {
    /// Tells whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Timeout { .. }
            | Self::Unreachable { .. }
            | Self::RateLimited(_)
            | Self::UnknownBlock(_)
            | Self::FeeTooLow(_)
            | Self::InsufficientFunds
            | Self::Other { .. }
            | Self::Unready(_)
            | Self::Malformed { .. } => true,
            Self::WrongChain { .. }
            | Self::RangeTooLarge(_)
            | Self::AlreadyKnown
            | Self::NonceTooLow
            | Self::Underpriced
            | Self::Reverted(_)
            | Self::OutOfGas(_) => false,
        }
    }

    /// Returns the least priority fee that a refusal names, wei per gas, where it does, as geth does.
    #[must_use]
    pub fn least_priority_fee(&self) -> Option<u128> {
        let Self::FeeTooLow(words) = self else { return None };
        let (_, after) = words.split_once("minimum needed ")?;
        after.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    }

    /// Returns the number of blocks that a refusal of a log query calls the most, where its words do.
    #[must_use]
    pub fn most_blocks(&self) -> Option<u64> {
        let Self::RangeTooLarge(words) = self else { return None };
        let lower = words.to_lowercase();
        let said = ["up to", "at most", "maximum", "limited to", "over", "max"];
        let (_, after) = said.iter().find_map(|hint| lower.split_once(hint))?;
        let number = after.split(|c: char| !(c.is_alphanumeric() || c == ',')).find_map(|word| {
            let (digits, factor) = word.strip_suffix('k').map_or((word, 1), |digits| (digits, 1_000));
            digits.replace(',', "").parse::<u64>().ok()?.checked_mul(factor)
        });
        number.filter(|blocks| *blocks > 0)
    }

    /// Label under which metrics count the error.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Timeout { .. } => "timeout",
            Self::Unreachable { .. } => "unreachable",
            Self::RateLimited(_) => "rate_limited",
            Self::RangeTooLarge(_) => "range_too_large",
            Self::UnknownBlock(_) => "unknown_block",
            Self::AlreadyKnown => "already_known",
            Self::NonceTooLow => "nonce_too_low",
            Self::Underpriced => "underpriced",
            Self::FeeTooLow(_) => "fee_too_low",
            Self::InsufficientFunds => "insufficient_funds",
            Self::Reverted(_) => "reverted",
            Self::OutOfGas(_) => "out_of_gas",
            Self::WrongChain { .. } => "wrong_chain",
            Self::Unready(_) => "unready",
            Self::Other { .. } => "other",
            Self::Malformed { .. } => "malformed",
        }
    }
}

/// Names a transport's error; nobody else reads an endpoint's messages.
pub(crate) fn classify(method: &'static str, error: TransportError, endpoint: &Endpoint) -> ChainError {
    let unreachable =
        |reason: &str| ChainError::Unreachable { endpoint: endpoint.to_string(), reason: endpoint.scrub(reason) };
    let malformed = |what: &str, text: &str| {
        let (what, text) = (endpoint.scrub(what), cut(&endpoint.scrub(text), SHOWN));
        let reason = if text.is_empty() { what } else { format!("{what}: {text}") };
        ChainError::Malformed { endpoint: endpoint.to_string(), method, reason }
    };
    match error {
        RpcError::ErrorResp(payload) => {
            let data = payload.as_revert_data();
            match by_message(payload.code, &endpoint.scrub(&payload.message), data) {
                // −32005 says both, often with the same words; only a query of logs has a range.
                ChainError::RangeTooLarge(words) if method != "eth_getLogs" => ChainError::RateLimited(words),
                error => error,
            }
        }
        RpcError::Transport(TransportErrorKind::HttpError(http)) if http.status == 429 => {
            ChainError::RateLimited(format!("HTTP {}", http.status))
        }
        RpcError::Transport(TransportErrorKind::HttpError(http)) => {
            let body = cut(&endpoint.scrub(&http.body), SHOWN);
            unreachable(format!("HTTP {}: {body}", http.status).trim_end_matches([':', ' ']))
        }
        RpcError::Transport(TransportErrorKind::Custom(error)) if error.is::<NotJsonRpc>() => {
            let (what, text) = error.downcast_ref::<NotJsonRpc>().map_or(("", ""), |other| (&other.what, &other.text));
            malformed(what, text)
        }
        RpcError::Transport(kind) => unreachable(&causes(&kind)),
        RpcError::DeserError { err, text } => malformed(&format!("a result of another shape ({err})"), &text),
        RpcError::NullResp => malformed("null", ""),
        other => malformed("something unexpected", &other.to_string()),
    }
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        next = cause.source();
    }
    text
}

/// `data` is what a contract reverted with, whose words say nothing about the endpoint.
fn by_message(code: i64, message: &str, data: Option<Bytes>) -> ChainError {
    let lower = message.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if let Some(data) = data {
        ChainError::Reverted(data)
    } else if has(&["already known", "already imported", "alreadyknown", "known transaction"]) {
        ChainError::AlreadyKnown
    } else if has(&["nonce too low", "nonce is too low", "oldnonce"]) {
        ChainError::NonceTooLow
    } else if has(&["replacement transaction underpriced", "replacement underpriced"]) {
        ChainError::Underpriced
    } else if has(&["insufficient funds", "insufficientfunds", "not enough funds"]) {
        ChainError::InsufficientFunds
    } else if has(&["underpriced", "max fee per gas less than block base fee", "fee cap less than block base fee"]) {
        ChainError::FeeTooLow(message.into())
    } else if has(&[
        "out of gas",
        "outofgas",
        "intrinsic gas too low",
        "gas required exceeds",
        "gas floor",
        "intrinsic gas too high",
    ]) {
        ChainError::OutOfGas(message.into())
    } else if has(&["revert"]) {
        ChainError::Reverted(Bytes::new())
    } else if has(&[
        "unknown block",
        "block not found",
        "header not found",
        "blocknotfound",
        "missing trie node",
        "blockoutofrange",
    ]) {
        ChainError::UnknownBlock(message.into())
    } else if has(&[
        "block range",
        "range too",
        "too many results",
        "more than",
        "query returned",
        "response size",
        "exceed",
        "limited to",
        "too large",
        "up to a",
    ]) {
        // −32005 means both "slow down" and "range too large": its words decide.
        if has(&["rate", "per second", "capacity", "compute units", "too many requests"]) {
            ChainError::RateLimited(message.into())
        } else {
            ChainError::RangeTooLarge(message.into())
        }
    } else if code == -32005 || has(&["rate limit", "too many requests", "slow down"]) {
        ChainError::RateLimited(message.into())
    } else {
        ChainError::Other { code, message: message.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(code: i64, message: &str) -> &'static str {
        by_message(code, message, None).label()
    }

    #[test]
    fn words_of_common_endpoints_become_variants() {
        for (code, message, expected) in [
            (-32000, "already known", "already_known"),
            (-32003, "transaction already imported", "already_known"),
            (-32000, "nonce too low: next nonce 5, tx nonce 4", "nonce_too_low"),
            (-32003, "nonce too low", "nonce_too_low"),
            (-32000, "replacement transaction underpriced", "underpriced"),
            (-32000, "transaction underpriced: gas tip cap 0, minimum needed 1", "fee_too_low"),
            (-32000, "max fee per gas less than block base fee", "fee_too_low"),
            (-32000, "insufficient funds for gas * price + value", "insufficient_funds"),
            (-32003, "Insufficient funds for gas * price + value", "insufficient_funds"),
            (3, "execution reverted", "reverted"),
            (-32005, "query returned more than 10000 results", "range_too_large"),
            (-32600, "eth_getLogs is limited to a 10,000 range", "range_too_large"),
            (-32005, "daily request count exceeded, request rate limited", "rate_limited"),
            (-32005, "limit", "rate_limited"),
            (429, "Your app has exceeded its compute units per second capacity", "rate_limited"),
            (-32000, "unknown block", "unknown_block"),
            (-32001, "Block not found", "unknown_block"),
            (-32603, "internal error", "other"),
        ] {
            assert_eq!(label(code, message), expected, "{message}");
        }
    }

    #[test]
    fn a_refusal_may_name_the_least_priority_fee() {
        let words = "transaction underpriced: gas tip cap 1, minimum needed 25000000000";
        assert_eq!(by_message(-32_000, words, None).least_priority_fee(), Some(25_000_000_000));
        assert_eq!(by_message(-32_000, "transaction underpriced", None).least_priority_fee(), None);
    }

    #[test]
    fn a_refusal_may_say_how_many_blocks_are_allowed() {
        let most = |words: &str| ChainError::RangeTooLarge(words.into()).most_blocks();
        assert_eq!(most("You can make eth_getLogs requests with up to a 2K block range"), Some(2_000));
        assert_eq!(most("eth_getLogs is limited to a 10,000 range"), Some(10_000));
        assert_eq!(most("Maximum allowed number of requested blocks is 500"), Some(500));
        assert_eq!(most("ranges over 800 blocks are not supported"), Some(800));
        assert_eq!(most("please limit the query to at most 100 blocks"), Some(100));
        for words in ["Response is too big", "up to you", "at most 0 blocks", "max 99999999999999999999999"] {
            assert_eq!(most(words), None, "{words}");
        }
    }

    #[test]
    fn a_contracts_words_are_not_taken_for_the_endpoints() {
        let data = Bytes::from_static(&[1]);
        let error = by_message(3, "execution reverted: insufficient funds, nonce too low", Some(data.clone()));
        assert_eq!(error, ChainError::Reverted(data));
    }
}
