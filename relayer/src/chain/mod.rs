//! What the relayer needs of an EVM chain, and nothing else: blocks, logs, calls, and raw transactions.

mod client;
mod connection;
mod endpoint;
mod error;
mod http;
mod pool;
mod rate_limit;
mod reply;
mod trust;
mod ws;

pub use client::{AlloyChain, ClientSettings};
pub(crate) use connection::dial;
pub use endpoint::Endpoint;
pub use error::ChainError;
pub(crate) use error::classify;
pub use pool::{EndpointHealth, EndpointState, Endpoints, PoolSettings};
pub(crate) use rate_limit::Backoff;
pub use trust::RootCertificates;
pub use ws::LowLatencyWs;

use std::{future::Future, time::Duration};

use alloy::{
    primitives::{Address, B256, Bloom, BloomInput, Bytes, U256},
    rpc::types::Log,
};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

/// A block by number and hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BlockRef {
    /// Height of the block.
    pub number: u64,
    /// Hash of the block, which alone names it across reorganisations.
    pub hash: B256,
}

/// The parts of a block header that the relayer reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Number and hash of the block.
    pub block: BlockRef,
    /// Hash of the block before.
    pub parent: B256,
    /// Time of the block, seconds since 1970.
    pub timestamp: u64,
    /// Base fee, wei per gas; zero on chains without one.
    pub base_fee: u128,
    /// Filter of the addresses and topics of the block's logs: what is not in it is not in the block.
    pub bloom: Bloom,
}

impl Header {
    /// Tells whether the block can hold logs of a contract: `false` is certain, `true` is not.
    #[must_use]
    pub fn may_have_logs_of(&self, contract: Address) -> bool {
        self.bloom.contains_input(BloomInput::Raw(contract.as_slice()))
    }

    /// Tells whether a log of the block can have a topic: `false` is certain, `true` is not.
    #[must_use]
    pub fn may_have_topic(&self, topic: B256) -> bool {
        self.bloom.contains_input(BloomInput::Raw(topic.as_slice()))
    }
}

/// Blocks whose logs are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogScope {
    /// One block by hash: an endpoint that has not seen it says so instead of answering an empty list.
    Block(B256),
    /// Closed range of heights; only for blocks too deep to be reorganised.
    Range(u64, u64),
}

/// State that a read is made against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// State after the latest block.
    Latest,
    /// State of the next block: the latest one's hash is known there, and the pool's transactions have run.
    Pending,
}

/// A chain's own word for blocks that will stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// Unlikely to be reorganised.
    Safe,
    /// Cannot be reorganised without a fault of the chain.
    Finalized,
}

/// Rule by which a block counts as final.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finality {
    /// Number of blocks on top of it.
    Depth(u64),
    /// Tag that the chain gives it.
    Tag(Tag),
}

/// Code that returns the hash of the block before its own.
pub(crate) const PARENT_HASH: [u8; 13] = alloy::hex!("600143034060005260206000f3");

/// A message call without value.
#[derive(Debug, Clone)]
pub struct Call {
    /// Account that makes the call; `None` for the endpoint's default.
    pub from: Option<Address>,
    /// Contract that is called; `None` runs `data` as the code that would create one.
    pub to: Option<Address>,
    /// Calldata, or the code to run.
    pub data: Bytes,
    /// Gas limit; `None` for the endpoint's own.
    pub gas: Option<u64>,
    /// Number of the block to run in, where that is not the state's own. Not every endpoint can do that, and not every one
    /// that can knows the hash of the block before.
    pub block: Option<u64>,
}

/// Result of a mined transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Block that holds the transaction.
    pub block: BlockRef,
    /// Whether the transaction succeeded; false if it reverted.
    pub success: bool,
    /// Gas that the transaction used.
    pub gas_used: u64,
    /// Price paid for gas, wei per gas.
    #[serde(default)]
    pub gas_price: u128,
    /// Fee paid for the transaction's bytes, on chains that have one, wei.
    #[serde(default)]
    pub data_fee: u128,
}

impl Receipt {
    /// Cost of the transaction to its sender, wei.
    #[must_use]
    pub fn cost(&self) -> u128 {
        u128::from(self.gas_used).saturating_mul(self.gas_price).saturating_add(self.data_fee)
    }
}

/// What a block took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BlockFees {
    /// Share of the block's gas limit that was used, 0 to 1.
    pub fullness: f64,
    /// Priority fee that half the block's gas paid at least, wei per gas.
    pub priority_fee: u128,
}

/// What the endpoints were found to lack.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lacks {
    /// What single endpoints cannot do while enough others can, a line each.
    pub some: Vec<String>,
    /// What too few endpoints can do for the node to work, a line each.
    pub all: Vec<String>,
}

/// News of the chain's head.
#[derive(Debug, Clone)]
pub struct HeadUpdate {
    /// Head of the chain, or why it could not be read.
    pub head: Result<Header, ChainError>,
    /// Time that reading it took, where it was asked for.
    pub took: Option<Duration>,
}

/// An EVM endpoint. Every call ends within the adapter's time-out.
///
/// # Errors
/// Every call may end with any [`ChainError`]; `Reverted` comes from `call` alone.
pub trait Chain: Send + Sync + 'static {
    /// Returns the id of the chain.
    fn chain_id(&self) -> impl Future<Output = Result<u64, ChainError>> + Send;
    /// Returns the header of the latest block.
    fn head(&self) -> impl Future<Output = Result<Header, ChainError>> + Send;
    /// Returns the header at a height; `None` above the head.
    fn header(&self, number: u64) -> impl Future<Output = Result<Option<Header>, ChainError>> + Send;
    /// Returns the latest header that the chain gives a tag; `None` where there is none yet.
    fn tagged(&self, tag: Tag) -> impl Future<Output = Result<Option<Header>, ChainError>> + Send;
    /// Tells whether enough endpoints have this block on their chain to build on it. One endpoint agrees with itself.
    fn agreed(&self, _block: BlockRef) -> impl Future<Output = Result<bool, ChainError>> + Send {
        std::future::ready(Ok(true))
    }
    /// Returns a contract's logs in chain order.
    fn logs(&self, address: Address, scope: LogScope) -> impl Future<Output = Result<Vec<Log>, ChainError>> + Send;
    /// Makes a message call; a revert is `ChainError::Reverted` with its data.
    fn call(&self, call: &Call, at: At) -> impl Future<Output = Result<Bytes, ChainError>> + Send;
    /// Broadcasts a signed transaction. One that is already known is a success.
    fn send(&self, raw: &Bytes) -> impl Future<Output = Result<(), ChainError>> + Send;
    /// Returns the receipt of a transaction; `None` where it is not mined.
    fn receipt(&self, hash: B256) -> impl Future<Output = Result<Option<Receipt>, ChainError>> + Send;
    /// Returns the next nonce of an account.
    fn nonce(&self, account: Address, at: At) -> impl Future<Output = Result<u64, ChainError>> + Send;
    /// Returns the balance of an account, wei.
    fn balance(&self, account: Address) -> impl Future<Output = Result<U256, ChainError>> + Send;
    /// Returns the code at an address, empty if there is none.
    fn code(&self, account: Address) -> impl Future<Output = Result<Bytes, ChainError>> + Send;
    /// Returns what recent blocks took, the oldest first.
    fn recent_fees(&self) -> impl Future<Output = Result<Vec<BlockFees>, ChainError>> + Send;
    /// Returns the number of connections that were made, where they are made one after another.
    fn connections(&self) -> u64 {
        0
    }
    /// Tells what the endpoints cannot do that a node needs: to make `call` and read its contract's logs, to read `account`, and
    /// to tell what is final. One that does not answer at all lacks nothing.
    fn lacks(&self, _call: &Call, _account: Address, _finality: Finality) -> impl Future<Output = Lacks> + Send {
        std::future::ready(Lacks::default())
    }
    /// Calls `on_head` with every news of the head until shutdown. Heads may be left out and repeated: they wake the watcher,
    /// which reads the chain itself.
    fn follow(
        &self,
        on_head: &(dyn Fn(HeadUpdate) + Send + Sync),
        shutdown: &CancellationToken,
    ) -> impl Future<Output = ()> + Send;
}
