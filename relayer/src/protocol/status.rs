//! The one word that the chain stores per request: `hash << 8 | flags`.

use alloy::primitives::{B256, Bytes, U256, keccak256};

use super::Outcome;

/// The stored word of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub U256);

/// The part of an answer that the chain keeps by its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// What was found.
    pub outcome: Outcome,
    /// keccak256 of the output bytes.
    pub output_commitment: B256,
    /// The signers' seats, ascending by rank.
    pub seats: Vec<u32>,
    /// The block of the fulfillment.
    pub fulfilled_at: u64,
}

impl Status {
    fn flag(self, bit: usize) -> bool {
        self.0.bit(bit)
    }

    /// Whether the request was ever made.
    pub fn exists(self) -> bool {
        !self.0.is_zero()
    }

    /// Whether it waits for an answer.
    pub fn is_open(self) -> bool {
        self.flag(0)
    }

    /// Whether it has been answered.
    pub fn is_fulfilled(self) -> bool {
        self.flag(1)
    }

    /// Whether the answer reached the consumer's callback.
    pub fn is_delivered(self) -> bool {
        self.flag(2)
    }

    /// Whether the signers have been paid.
    pub fn is_paid(self) -> bool {
        self.flag(3)
    }

    /// Whether the escrow went back.
    pub fn is_refunded(self) -> bool {
        self.flag(4)
    }

    /// Whether this answer is what the chain recorded.
    pub fn records(self, answer: &Recorded) -> bool {
        self.is_fulfilled() && self.0 >> 8 == answer.hash()
    }
}

impl Recorded {
    /// The signers' seats as the contracts take them: 4 bytes each.
    pub fn packed_seats(&self) -> Bytes {
        self.seats.iter().flat_map(|seat| seat.to_be_bytes()).collect::<Vec<_>>().into()
    }

    /// The low 248 bits of `keccak256(outcome ‖ fulfilledAt ‖ outputCommitment ‖ seats)`.
    pub fn hash(&self) -> U256 {
        let parts: [&[u8]; 4] = [
            &[self.outcome as u8],
            &self.fulfilled_at.to_be_bytes(),
            self.output_commitment.as_slice(),
            &self.packed_seats(),
        ];
        U256::from_be_bytes(keccak256(parts.concat()).0) & (U256::MAX >> 8)
    }
}

#[cfg(test)]
mod tests;
