//! What each signer of an answer is paid (`InferenceCoordinator.claim`).

use super::request::Request;

/// Pay of the signer at a position, wei. Positions count the signers of an answer from 0, ascending by rank.
///
/// ```text
/// each  = fee div quorum
/// share = each                                            at positions 1 .. quorum (exclusive)
///       = fee − (quorum − 1) · each + submit fee           at position 0
/// ```
///
/// The shares of all positions add up to the escrow. A position at or above the quorum, where nobody signs, gets nothing.
#[must_use]
pub fn share(request: &Request, position: u8) -> u128 {
    let quorum = u128::from(request.quorum);
    let position = u128::from(position);
    if position >= quorum {
        return 0;
    }
    let fee = request.fee.to::<u128>();
    let each = fee / quorum;
    if position == 0 { fee - (quorum - 1) * each + request.submit_fee.to::<u128>() } else { each }
}
