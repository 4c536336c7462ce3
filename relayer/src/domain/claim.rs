//! Pay that vests.

use alloy::primitives::{B256, Bytes};
use serde::{Deserialize, Serialize};

use crate::protocol::{Outcome, request::Request};

/// Pay to be claimed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Id of the request.
    pub id: B256,
    /// The request itself, which comes back as calldata.
    pub request: Request,
    /// Outcome of the answer.
    pub outcome: Outcome,
    /// keccak256 of the output.
    pub output_commitment: B256,
    /// Seats of the signers, 4 bytes each, ascending by rank.
    pub seats: Bytes,
    /// Height of the block that holds the fulfillment.
    pub fulfilled_at: u64,
    /// Height from which it can be claimed.
    pub vests_at: u64,
    /// Height of the block in which it was paid, until that is deep enough to forget the claim.
    pub paid_at: Option<u64>,
}
