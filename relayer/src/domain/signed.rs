//! What the signing key signed.

use alloy::primitives::{B256, keccak256};
use serde::{Deserialize, Serialize};

use super::Task;
use crate::{chain::BlockRef, protocol::statement::Statement};

/// An answer that the signing key gives to a request, as it is remembered before the signature leaves the process.
///
/// Two different answers to one request by one key, on one chain, are what a bond is taken for. So for one request in one
/// block the key signs one answer for ever: the same again is allowed, another is refused.
///
/// A reorganisation can move a request to another block of the same number. Its id stays, for the id is made of the
/// block's number and not of its hash, but the statement names the hash: what was signed for the old block counts nowhere
/// on the new chain, and the model may be run anew there. So another answer is allowed for another block hash, and for
/// that only. Every hash keeps its own record: if the chain returns to the first block, its first answer still stands.
///
/// The seat that signs is no part of the answer: one key may sign the same answer for several of its seats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SignedAnswer {
    /// The request's id.
    pub request: B256,
    /// The request's block. The statement names its hash.
    pub block: BlockRef,
    /// Digest of the answer: input hash, outcome and output commitment.
    pub digest: B256,
    /// The last block in which the request can be fulfilled.
    pub deadline: u64,
}

impl SignedAnswer {
    /// The answer that a statement gives to a task.
    #[must_use]
    pub fn new(task: &Task, statement: &Statement) -> Self {
        let Statement { input_hash, outcome, output_commitment, .. } = statement;
        let said = [input_hash.as_slice(), &[*outcome as u8], output_commitment.as_slice()].concat();
        Self { request: task.id, block: task.block, digest: keccak256(said), deadline: task.request.deadline() }
    }
}
