//! What the relayer needs of an EVM chain, and nothing else: blocks, logs, calls, and raw transactions.

mod client;
mod endpoint;
mod error;
mod pool;
mod rate_limit;
mod trust;
mod ws;

pub(crate) use client::dial;
pub(crate) use error::classify;
pub use client::{AlloyChain, ClientSettings};
pub use endpoint::Endpoint;
pub use error::ChainError;
pub use pool::{EndpointHealth, EndpointState, Endpoints, PoolSettings};
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
    /// Its height.
    pub number: u64,
    /// Its hash, which alone names it across reorganisations.
    pub hash: B256,
}

/// The parts of a block header that the relayer reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The block itself.
    pub block: BlockRef,
    /// Hash of its parent.
    pub parent: B256,
    /// Seconds since 1970.
    pub timestamp: u64,
    /// Base fee in wei per gas; zero on chains without one.
    pub base_fee: u128,
    /// Filter of the addresses and topics of its logs: what is not in it is not in the block.
    pub bloom: Bloom,
}

impl Header {
    /// Whether the block can hold logs of a contract. Where it says no, it does not; where it says yes, it may not.
    #[must_use]
    pub fn may_have_logs_of(&self, contract: Address) -> bool {
        self.bloom.contains_input(BloomInput::Raw(contract.as_slice()))
    }
}

/// Which logs to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogScope {
    /// Of one block by hash: an endpoint that has not seen it says so instead of answering an empty list.
    Block(B256),
    /// Of a range of heights, both ends included; only for blocks too deep to be reorganised.
    Range(u64, u64),
}

/// The state a read is made against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// The latest block.
    Latest,
    /// The next block: the latest one's hash is known there, and the pool's transactions have run.
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

/// When a block counts as final.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finality {
    /// With so many blocks on top of it.
    Depth(u64),
    /// When the chain says so.
    Tag(Tag),
}

/// Code that returns the hash of the block before its own.
pub(crate) const PARENT_HASH: [u8; 13] = alloy::hex!("600143034060005260206000f3");

/// A message call without value.
#[derive(Debug, Clone)]
pub struct Call {
    /// Who calls.
    pub from: Option<Address>,
    /// The contract; `None` runs `data` as the code that would create one.
    pub to: Option<Address>,
    /// Calldata.
    pub data: Bytes,
    /// Gas limit; the endpoint's own where none is given.
    pub gas: Option<u64>,
    /// The number of the block that it is to run in, where that is not the state's own. Not every endpoint can do that, and
    /// not every one that does knows the hash of the block before.
    pub block: Option<u64>,
}

/// Where a transaction was mined, and how it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Its block.
    pub block: BlockRef,
    /// False if it reverted.
    pub success: bool,
    /// Gas it used.
    pub gas_used: u64,
    /// What it paid for a unit of gas, wei.
    #[serde(default)]
    pub gas_price: u128,
    /// What it paid besides for its bytes, on chains that ask for that, wei.
    #[serde(default)]
    pub data_fee: u128,
}

impl Receipt {
    /// What the transaction cost its sender, wei.
    #[must_use]
    pub fn cost(&self) -> u128 {
        u128::from(self.gas_used).saturating_mul(self.gas_price).saturating_add(self.data_fee)
    }
}

/// What following the heads brings.
#[derive(Debug, Clone)]
pub struct HeadUpdate {
    /// A head, or why none could be read.
    pub head: Result<Header, ChainError>,
    /// How long it took, where it was asked for.
    pub took: Option<Duration>,
}

/// An EVM endpoint. Every call ends within the adapter's time-out.
pub trait Chain: Send + Sync + 'static {
    /// The chain's id.
    fn chain_id(&self) -> impl Future<Output = Result<u64, ChainError>> + Send;
    /// The latest header.
    fn head(&self) -> impl Future<Output = Result<Header, ChainError>> + Send;
    /// The header at a height; `None` above the head.
    fn header(&self, number: u64) -> impl Future<Output = Result<Option<Header>, ChainError>> + Send;
    /// The latest header that the chain gives a tag; `None` where there is none yet.
    fn tagged(&self, tag: Tag) -> impl Future<Output = Result<Option<Header>, ChainError>> + Send;
    /// Whether enough endpoints have this block on their chain to build on it. One endpoint agrees with itself.
    fn agreed(&self, _block: BlockRef) -> impl Future<Output = Result<bool, ChainError>> + Send {
        std::future::ready(Ok(true))
    }
    /// A contract's logs in chain order.
    fn logs(&self, address: Address, scope: LogScope) -> impl Future<Output = Result<Vec<Log>, ChainError>> + Send;
    /// A message call; a revert is `ChainError::Reverted` with its data.
    fn call(&self, call: &Call, at: At) -> impl Future<Output = Result<Bytes, ChainError>> + Send;
    /// Broadcasts a signed transaction. One that is already known is a success.
    fn send(&self, raw: &Bytes) -> impl Future<Output = Result<(), ChainError>> + Send;
    /// The receipt of a mined transaction.
    fn receipt(&self, hash: B256) -> impl Future<Output = Result<Option<Receipt>, ChainError>> + Send;
    /// The next nonce of an account.
    fn nonce(&self, account: Address, at: At) -> impl Future<Output = Result<u64, ChainError>> + Send;
    /// An account's balance in wei.
    fn balance(&self, account: Address) -> impl Future<Output = Result<U256, ChainError>> + Send;
    /// The code at an address, empty if there is none.
    fn code(&self, account: Address) -> impl Future<Output = Result<Bytes, ChainError>> + Send;
    /// The tips in wei per gas that half the gas of each recent block paid at least.
    fn recent_priority_fees(&self) -> impl Future<Output = Result<Vec<u128>, ChainError>> + Send;
    /// Tells of heads until shutdown. It may skip some and repeat others: it wakes, it is not a source.
    fn follow(
        &self,
        heard: &(dyn Fn(HeadUpdate) + Send + Sync),
        shutdown: &CancellationToken,
    ) -> impl Future<Output = ()> + Send;
}
