//! A scripted chain for unit tests: blocks and logs by hand, a pool that mines when told to.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use alloy::{
    consensus::{Transaction, TxEnvelope},
    eips::Decodable2718,
    primitives::{Address, B256, Bloom, Bytes, LogData, U256, keccak256},
    rpc::types::Log,
};
use tokio_util::sync::CancellationToken;

use crate::testing::DOMAIN;

use super::{At, BlockRef, Call, Chain, ChainError, Header, Heard, LogScope, Receipt, Tag};

/// A block of the script.
#[derive(Debug, Clone)]
struct Block {
    header: Header,
    logs: Vec<LogData>,
}

#[derive(Debug, Default)]
struct State {
    blocks: Vec<Block>,
    salt: u64,
    max_range: Option<u64>,
    /// How many log queries of either scope were answered or refused.
    ranges: Vec<(u64, u64)>,
    by_hash: usize,
    /// How many queries of a block are answered with nothing.
    empty: usize,
    views: HashMap<Bytes, Bytes>,
    refusal: Option<ChainError>,
    send_error: Option<ChainError>,
    sent: Vec<Bytes>,
    receipts: HashMap<B256, Receipt>,
    used_nonces: u64,
    pending_nonces: u64,
    balance: U256,
    tagged: Option<u64>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct FakeChain(Mutex<State>);

impl FakeChain {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A chain with a genesis block and a rich account.
    pub(crate) fn new() -> Self {
        let chain = Self::default();
        chain.state().balance = U256::from(10u64).pow(U256::from(20));
        chain.mine(Vec::new());
        chain
    }

    /// Appends a block.
    pub(crate) fn mine(&self, logs: Vec<LogData>) -> Header {
        let mut state = self.state();
        let number = state.blocks.len() as u64;
        let parent = state.blocks.last().map_or(B256::ZERO, |block| block.header.block.hash);
        let hash = keccak256([parent.as_slice(), &number.to_be_bytes(), &state.salt.to_be_bytes()].concat());
        let mut bloom = Bloom::ZERO;
        if !logs.is_empty() {
            bloom.accrue_raw_log(DOMAIN.coordinator, &[]);
        }
        let header = Header { block: BlockRef { number, hash }, parent, timestamp: number, base_fee: 1_000, bloom };
        state.blocks.push(Block { header, logs });
        header
    }

    /// Drops the last blocks; what is mined next has other hashes.
    pub(crate) fn reorg(&self, depth: usize) {
        let mut state = self.state();
        let kept = state.blocks.len() - depth;
        state.blocks.truncate(kept);
        state.salt += 1;
    }

    /// Refuses log queries over more blocks.
    pub(crate) fn limit_range(&self, blocks: u64) {
        self.state().max_range = Some(blocks);
    }

    /// Answers the next queries of a block as if it had no logs.
    pub(crate) fn lie_empty(&self, times: usize) {
        self.state().empty = times;
    }

    /// The ranges asked for, and how many queries by hash.
    pub(crate) fn queries(&self) -> (Vec<(u64, u64)>, usize) {
        let state = self.state();
        (state.ranges.clone(), state.by_hash)
    }

    /// Answers a view.
    pub(crate) fn view(&self, call: Vec<u8>, answer: Vec<u8>) {
        self.state().views.insert(call.into(), answer.into());
    }

    /// What every other call, such as a simulation, ends with; `None` is success.
    pub(crate) fn refuse(&self, refusal: Option<ChainError>) {
        self.state().refusal = refusal;
    }

    /// What broadcasts end with; `None` is success.
    pub(crate) fn refuse_broadcasts(&self, error: Option<ChainError>) {
        self.state().send_error = error;
    }

    /// What was broadcast and taken, repetitions included.
    pub(crate) fn sent(&self) -> Vec<TxEnvelope> {
        let state = self.state();
        state.sent.iter().filter_map(|raw| TxEnvelope::decode_2718(&mut raw.as_ref()).ok()).collect()
    }

    /// Mines a broadcast transaction in a new block.
    pub(crate) fn mine_transaction(&self, transaction: &TxEnvelope, success: bool) -> Header {
        let header = self.mine(Vec::new());
        let mut state = self.state();
        state.receipts.insert(*transaction.tx_hash(), Receipt { block: header.block, success, gas_used: 1 });
        state.used_nonces = state.used_nonces.max(transaction.nonce() + 1);
        state.pending_nonces = state.pending_nonces.max(state.used_nonces);
        header
    }

    /// The account's nonces, mined and with the pool's.
    pub(crate) fn set_nonces(&self, mined: u64, pending: u64) {
        let mut state = self.state();
        (state.used_nonces, state.pending_nonces) = (mined, pending);
    }

    /// The account's balance.
    pub(crate) fn set_balance(&self, balance: U256) {
        self.state().balance = balance;
    }

    /// The height that `safe` and `finalized` are at.
    pub(crate) fn set_tagged(&self, number: u64) {
        self.state().tagged = Some(number);
    }

    /// The hashes of different transactions broadcast.
    pub(crate) fn distinct(&self) -> HashSet<B256> {
        self.sent().iter().map(|transaction| *transaction.tx_hash()).collect()
    }
}

fn logs_of(address: Address, block: &Block) -> Vec<Log> {
    block
        .logs
        .iter()
        .map(|data| Log {
            inner: alloy::primitives::Log { address, data: data.clone() },
            block_hash: Some(block.header.block.hash),
            block_number: Some(block.header.block.number),
            ..Log::default()
        })
        .collect()
}

impl Chain for FakeChain {
    async fn chain_id(&self) -> Result<u64, ChainError> {
        Ok(31_337)
    }

    async fn head(&self) -> Result<Header, ChainError> {
        self.state().blocks.last().map(|block| block.header).ok_or_else(|| ChainError::UnknownBlock("latest".into()))
    }

    async fn header(&self, number: u64) -> Result<Option<Header>, ChainError> {
        Ok(self.state().blocks.get(number as usize).map(|block| block.header))
    }

    async fn tagged(&self, _: Tag) -> Result<Option<Header>, ChainError> {
        let state = self.state();
        let tagged = state.tagged.and_then(|number| state.blocks.get(number as usize));
        Ok(tagged.map(|block| block.header))
    }

    async fn logs(&self, address: Address, scope: LogScope) -> Result<Vec<Log>, ChainError> {
        let mut state = self.state();
        match scope {
            LogScope::Block(hash) => {
                state.by_hash += 1;
                if state.empty > 0 {
                    state.empty -= 1;
                    return Ok(Vec::new());
                }
                let block = state.blocks.iter().find(|block| block.header.block.hash == hash);
                block.map(|block| logs_of(address, block)).ok_or_else(|| ChainError::UnknownBlock(hash.to_string()))
            }
            LogScope::Range(from, to) => {
                if state.max_range.is_some_and(|max| to - from + 1 > max) {
                    return Err(ChainError::RangeTooLarge("too wide".into()));
                }
                state.ranges.push((from, to));
                let last = (to as usize + 1).min(state.blocks.len());
                Ok(state.blocks[from as usize..last].iter().flat_map(|block| logs_of(address, block)).collect())
            }
        }
    }

    async fn call(&self, call: &Call, _: At) -> Result<Bytes, ChainError> {
        let state = self.state();
        if let Some(answer) = state.views.get(&call.data) {
            return Ok(answer.clone());
        }
        state.refusal.clone().map_or(Ok(Bytes::new()), Err)
    }

    async fn send(&self, raw: &Bytes) -> Result<(), ChainError> {
        let mut state = self.state();
        if let Some(error) = state.send_error.clone() {
            return Err(error);
        }
        state.sent.push(raw.clone());
        Ok(())
    }

    async fn receipt(&self, hash: B256) -> Result<Option<Receipt>, ChainError> {
        Ok(self.state().receipts.get(&hash).copied())
    }

    async fn nonce(&self, _: Address, at: At) -> Result<u64, ChainError> {
        let state = self.state();
        Ok(match at {
            At::Latest => state.used_nonces,
            At::Pending => state.pending_nonces,
        })
    }

    async fn balance(&self, _: Address) -> Result<U256, ChainError> {
        Ok(self.state().balance)
    }

    async fn code(&self, _: Address) -> Result<Bytes, ChainError> {
        Ok(Bytes::from_static(&[1]))
    }

    async fn recent_tips(&self) -> Result<Vec<u128>, ChainError> {
        Ok(Vec::new())
    }

    async fn follow(&self, _: &(dyn Fn(Heard) + Send + Sync), shutdown: &CancellationToken) {
        shutdown.cancelled().await;
    }
}
