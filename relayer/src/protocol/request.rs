//! Requests: six words on the chain, a struct here, one id for both.

use alloy::primitives::{Address, B256, U256, aliases::U96, keccak256};
use serde::{Deserialize, Serialize};

use super::OutputFormat;

/// The six words of a request, in the order of `docs/protocol.md`.
pub type RequestWords = [B256; 6];

/// How the input bytes of a request reach the nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum InputKind {
    /// The packed tensors themselves, in the `Requested` event.
    #[default]
    Inline = 0,
    /// A view call that returns packed tensors.
    ChainCall = 1,
    /// The hash and the place of packed tensors kept elsewhere.
    Uri = 2,
}

/// What a request is secured for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Level {
    /// Delivered with the answer.
    #[default]
    Fast = 0,
    /// Delivered after a verdict.
    Assured = 1,
}

/// A request with its fields unpacked. It converts to its six words and back without loss.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Request {
    /// The hash of the model's card.
    pub model_id: B256,
    /// keccak256 of the input bytes.
    pub input_hash: B256,
    /// The contract that asked.
    pub consumer: Address,
    /// Tells requests of one block that are alike apart: the smallest number under which the id was new.
    pub nonce: u64,
    /// Seats of the model at the request: ranks are a permutation of `[0, seat_count)`.
    pub seat_count: u32,
    /// The account that is refunded after the deadline.
    pub refund_to: Address,
    /// What the signers share, in wei.
    pub fee: U96,
    /// The token of both fees; zero is ETH.
    pub token: Address,
    /// What the lowest rank gets on top, in wei.
    pub submit_fee: U96,
    /// What a wrong answer could be worth to a cheat, in wei.
    pub value_at_risk: U96,
    /// The block of the request, below 2^40: its word has five bytes for it.
    pub request_block: u64,
    /// Gas of the callback; 0 means no callback.
    pub callback_gas_limit: u32,
    /// Which outputs are wanted, and how they are written.
    pub output: OutputFormat,
    /// The version of the parameters that bind the request.
    pub version: u16,
    /// Blocks after `request_block` until the request can be refunded.
    pub deadline_blocks: u16,
    /// How the input reaches the nodes.
    pub input_kind: InputKind,
    /// Signers wanted.
    pub quorum: u8,
    /// What the request is secured for.
    pub level: Level,
}

/// Words that no coordinator emits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The input kind is none of 0, 1, 2.
    #[error("{0} is no input kind")]
    UnknownInputKind(u8),
    /// The level is neither 0 nor 1.
    #[error("{0} is no level")]
    UnknownLevel(u8),
}

/// Fills a word from its highest byte on.
struct Word([u8; 32], usize);

impl Word {
    fn new() -> Self {
        Self([0; 32], 0)
    }

    fn put(mut self, bytes: &[u8]) -> Self {
        self.0[self.1..self.1 + bytes.len()].copy_from_slice(bytes);
        self.1 += bytes.len();
        self
    }
}

/// Bytes `start .. start + N` of a word.
fn field<const N: usize>(word: &B256, start: usize) -> [u8; N] {
    std::array::from_fn(|i| word[start + i])
}

impl Request {
    /// Reads the six words.
    ///
    /// # Errors
    /// `UnknownInputKind` or `UnknownLevel` where a byte is none that this version knows.
    pub fn from_words(words: &RequestWords) -> Result<Self, RequestError> {
        let [model_id, input_hash, origin, escrow, payment, terms] = words;
        let [input_kind, width, decimals, quorum, level] = field::<5>(terms, 27);
        let [b0, b1, b2, b3, b4] = field::<5>(terms, 12);
        Ok(Self {
            model_id: *model_id,
            input_hash: *input_hash,
            consumer: field(origin, 0).into(),
            nonce: u64::from_be_bytes(field(origin, 20)),
            seat_count: u32::from_be_bytes(field(origin, 28)),
            refund_to: field(escrow, 0).into(),
            fee: U96::from_be_bytes(field::<12>(escrow, 20)),
            token: field(payment, 0).into(),
            submit_fee: U96::from_be_bytes(field::<12>(payment, 20)),
            value_at_risk: U96::from_be_bytes(field::<12>(terms, 0)),
            request_block: u64::from_be_bytes([0, 0, 0, b0, b1, b2, b3, b4]),
            callback_gas_limit: u32::from_be_bytes(field(terms, 17)),
            output: OutputFormat { width, decimals, mask: u16::from_be_bytes(field(terms, 21)) },
            version: u16::from_be_bytes(field(terms, 23)),
            deadline_blocks: u16::from_be_bytes(field(terms, 25)),
            input_kind: match input_kind {
                0 => InputKind::Inline,
                1 => InputKind::ChainCall,
                2 => InputKind::Uri,
                other => return Err(RequestError::UnknownInputKind(other)),
            },
            quorum,
            level: match level {
                0 => Level::Fast,
                1 => Level::Assured,
                other => return Err(RequestError::UnknownLevel(other)),
            },
        })
    }

    /// Writes the six words.
    pub fn to_words(&self) -> RequestWords {
        let be12 = |value: U96| value.to_be_bytes::<12>();
        let origin = Word::new()
            .put(self.consumer.as_slice())
            .put(&self.nonce.to_be_bytes())
            .put(&self.seat_count.to_be_bytes());
        let escrow = Word::new().put(self.refund_to.as_slice()).put(&be12(self.fee));
        let payment = Word::new().put(self.token.as_slice()).put(&be12(self.submit_fee));
        let terms = Word::new()
            .put(&be12(self.value_at_risk))
            .put(&self.request_block.to_be_bytes()[3..])
            .put(&self.callback_gas_limit.to_be_bytes())
            .put(&self.output.mask.to_be_bytes())
            .put(&self.version.to_be_bytes())
            .put(&self.deadline_blocks.to_be_bytes())
            .put(&[self.input_kind as u8, self.output.width, self.output.decimals, self.quorum, self.level as u8]);
        [self.model_id, self.input_hash, origin.0.into(), escrow.0.into(), payment.0.into(), terms.0.into()]
    }

    /// The id under which a coordinator knows the request.
    pub fn id(&self, chain_id: u64, coordinator: Address) -> B256 {
        request_id(&self.to_words(), chain_id, coordinator)
    }

    /// The last block in which the request may be fulfilled.
    pub fn deadline(&self) -> u64 {
        self.request_block + u64::from(self.deadline_blocks)
    }
}

/// `keccak256(abi.encode(chainid, coordinator, request))`
pub fn request_id(words: &RequestWords, chain_id: u64, coordinator: Address) -> B256 {
    let mut preimage = [0u8; 256];
    preimage[..32].copy_from_slice(&U256::from(chain_id).to_be_bytes::<32>());
    preimage[32..64].copy_from_slice(coordinator.into_word().as_slice());
    for (word, place) in words.iter().zip(preimage[64..].chunks_exact_mut(32)) {
        place.copy_from_slice(word.as_slice());
    }
    keccak256(preimage)
}

/// What a consumer asks for; the coordinator fills the rest of the `Request`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "contracts/src/types/Request.sol documents them")]
pub struct Ask {
    pub model_id: B256,
    pub refund_to: Address,
    pub token: Address,
    pub fee: U96,
    pub submit_fee: U96,
    pub value_at_risk: U96,
    pub callback_gas_limit: u32,
    pub deadline_blocks: u16,
    pub output: OutputFormat,
    pub quorum: u8,
    pub level: Level,
    pub input_kind: InputKind,
}

/// What the coordinator adds to an `Ask`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "contracts/src/types/Request.sol documents them")]
pub struct Filled {
    pub consumer: Address,
    pub nonce: u64,
    pub seat_count: u32,
    pub version: u16,
    pub request_block: u64,
}

impl Ask {
    /// The request that a coordinator makes of this.
    pub fn into_request(self, input: &[u8], filled: Filled) -> Request {
        Request {
            model_id: self.model_id,
            input_hash: keccak256(input),
            consumer: filled.consumer,
            nonce: filled.nonce,
            seat_count: filled.seat_count,
            refund_to: self.refund_to,
            fee: self.fee,
            token: self.token,
            submit_fee: self.submit_fee,
            value_at_risk: self.value_at_risk,
            request_block: filled.request_block,
            callback_gas_limit: self.callback_gas_limit,
            output: self.output,
            version: filled.version,
            deadline_blocks: self.deadline_blocks,
            input_kind: self.input_kind,
            quorum: self.quorum,
            level: self.level,
        }
    }
}

#[cfg(test)]
mod tests;
