//! What a revert means to the node.

use alloy::sol_types::SolInterface;

use super::abi::InferenceCoordinator::InferenceCoordinatorErrors;

/// The contract's error behind revert data, as the submitter acts on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RevertReason {
    /// Somebody answered it, or its escrow went back.
    NotOpen,
    /// The deadline passed.
    Expired,
    /// Not yet: in its own block, or before the rank's window, or before the vesting block.
    TooEarly,
    /// The gas limit is too small.
    Gas,
    /// It was paid already.
    AlreadyPaid,
    /// What we know of seats or blocks is not what the chain knows, as after a reorganisation.
    Stale(String),
    /// Anything else: an error of ours.
    Other(String),
}

/// Reads revert data.
#[must_use]
pub fn refusal(data: &[u8]) -> RevertReason {
    use InferenceCoordinatorErrors as Errors;
    match Errors::abi_decode(data) {
        Ok(Errors::NotOpen(_)) => RevertReason::NotOpen,
        Ok(Errors::DeadlinePassed(_)) => RevertReason::Expired,
        Ok(Errors::SameBlock(_) | Errors::RankTooHigh(_) | Errors::TooEarly(_)) => RevertReason::TooEarly,
        Ok(Errors::InsufficientGas(_)) => RevertReason::Gas,
        Ok(Errors::AlreadyPaid(_)) => RevertReason::AlreadyPaid,
        Ok(
            error @ (Errors::WrongSignature(_)
            | Errors::SeatNotEligible(_)
            | Errors::NotAHole(_)
            | Errors::UnknownSeat(_)
            | Errors::ResultMismatch(_)
            | Errors::BlockHashUnavailable(_)),
        ) => RevertReason::Stale(format!("{error:?}")),
        Ok(error) => RevertReason::Other(format!("{error:?}")),
        Err(_) if data.is_empty() => RevertReason::Other("no reason".into()),
        Err(_) => RevertReason::Other(format!("0x{}", hex::encode(data))),
    }
}
