//! The head of the chain as the node knows it.

use crate::chain::Header;

/// The last block whose logs the node has taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainHead {
    /// Header of the block.
    pub header: Header,
    /// Number of reorganisations so far; when it changes, what was mined may not be any more.
    pub reorg_epoch: u64,
    /// The last block that counts as final, at most this one: what happened up to it may be closed and forgotten.
    /// `None` while there is none.
    pub final_block: Option<u64>,
}

impl ChainHead {
    /// Height of the block in which a transaction sent now can be mined at the earliest.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.header.block.number + 1
    }

    /// Tells whether a block of the chain as the node knows it is final.
    #[must_use]
    pub fn is_final(&self, number: u64) -> bool {
        self.final_block.is_some_and(|last| number <= last)
    }
}
