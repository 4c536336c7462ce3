//! A scripted chain for unit tests: blocks and logs by hand, a pool that mines when told to.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use alloy::{
    consensus::{Transaction, TxEnvelope, transaction::SignerRecoverable},
    eips::Decodable2718,
    primitives::{Address, B256, Bloom, Bytes, LogData, U256, keccak256},
    rpc::types::Log,
    sol_types::SolValue,
};
use tokio_util::sync::CancellationToken;

use super::DOMAIN;
use crate::{
    chain::{
        At, BlockFees, BlockRef, Call, Chain, ChainError, HeadUpdate, Header, LogScope, PARENT_HASH, Receipt, Tag,
    },
    coordinator::abi::Probe,
};

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
    no_probes: bool,
    /// The state of every call that was answered.
    called_at: Vec<(At, Option<u64>)>,
    looks_ahead: bool,
    send_error: Option<ChainError>,
    sent: Vec<Bytes>,
    receipts: HashMap<B256, Receipt>,
    /// Mined and with the pool's, of accounts that none is known of by themselves.
    nonces: (u64, u64),
    nonces_of: HashMap<Address, (u64, u64)>,
    base_fee: u128,
    fees: Vec<BlockFees>,
    no_pending: bool,
    pool: Pool,
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
        chain.state().base_fee = 1_000;
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
        let header =
            Header { block: BlockRef { number, hash }, parent, timestamp: number, base_fee: state.base_fee, bloom };
        state.blocks.push(Block { header, logs });
        header
    }

    /// Drops the last blocks; what is mined next has other hashes.
    pub(crate) fn reorg(&self, depth: usize) {
        let mut state = self.state();
        let kept = state.blocks.len() - depth;
        state.blocks.truncate(kept);
        state.salt += 1;
        let state = &mut *state;
        state.receipts.retain(|_, receipt| receipt.block.number < kept as u64);
        for transaction in state.pool.reorg(kept as u64) {
            let mined = &mut state.nonces_of.entry(signer_of(&transaction)).or_insert(state.nonces).0;
            *mined = (*mined).min(transaction.nonce());
        }
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

    /// From now on probes fail, as where an endpoint allows no calls that create.
    pub(crate) fn refuse_probes(&self) {
        self.state().no_probes = true;
    }

    /// From now on calls can be tried in the next block, as by an endpoint that knows the latest one's hash there.
    pub(crate) fn look_ahead(&self) {
        self.state().looks_ahead = true;
    }

    /// The states that calls were made against, in order, and the blocks in which they were to run.
    pub(crate) fn called_at(&self) -> Vec<(At, Option<u64>)> {
        self.state().called_at.clone()
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
        self.state().include(transaction, header, success);
        header
    }

    /// The account's nonces, mined and with the pool's.
    pub(crate) fn set_nonces(&self, mined: u64, pending: u64) {
        let mut state = self.state();
        state.nonces = (mined, pending);
        state.nonces_of.clear();
    }

    /// What the next blocks ask for.
    pub(crate) fn set_base_fee(&self, base_fee: u128) {
        self.state().base_fee = base_fee;
    }

    /// Whether the tag `pending` is refused.
    pub(crate) fn refuse_pending(&self, refuse: bool) {
        self.state().no_pending = refuse;
    }

    /// What recent blocks took.
    pub(crate) fn set_fees(&self, fees: Vec<BlockFees>) {
        self.state().fees = fees;
    }

    /// From now on broadcasts are kept as a pool keeps them, and mined by `produce`.
    pub(crate) fn keep_a_pool(&self) {
        self.state().pool.kept = true;
    }

    /// Mines what the pool holds and pays the base fee, each account's in the order of its nonces, at most `most`.
    pub(crate) fn produce(&self, most: usize) -> Vec<TxEnvelope> {
        let header = self.mine(Vec::new());
        let mut state = self.state();
        let mut mined = Vec::new();
        while mined.len() < most {
            let state = &mut *state;
            let nonce = |account: &Address| state.nonces_of.get(account).unwrap_or(&state.nonces).0;
            let Some(transaction) = state.pool.next(header.base_fee, nonce) else { break };
            state.include(&transaction, header, true);
            mined.push(transaction);
        }
        mined
    }

    /// Empties the pool.
    pub(crate) fn drop_pool(&self) {
        self.state().pool.waiting.clear();
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

impl State {
    fn include(&mut self, transaction: &TxEnvelope, header: Header, success: bool) {
        let gas_price = transaction.effective_gas_price(u64::try_from(header.base_fee).ok());
        let receipt = Receipt { block: header.block, success, gas_used: 50_000, gas_price, data_fee: 0 };
        self.receipts.insert(*transaction.tx_hash(), receipt);
        let nonces = self.nonces_of.entry(signer_of(transaction)).or_insert(self.nonces);
        nonces.0 = nonces.0.max(transaction.nonce() + 1);
        nonces.1 = nonces.1.max(nonces.0);
        self.pool.mined.push((header.block.number, transaction.clone()));
    }

    /// Every call of a probe ends as it would by itself.
    fn probe(&self, data: &Bytes) -> ChainError {
        if self.no_probes {
            return ChainError::Reverted(Bytes::new());
        }
        let arguments = &data[Probe::BYTECODE.len()..];
        let Ok((_, calls)) = <(Address, Vec<Bytes>)>::abi_decode_params(arguments) else {
            return ChainError::Malformed { endpoint: "it".into(), method: "eth_call", reason: "no probe".into() };
        };
        let ending = |call: &Bytes| match (self.views.get(call), &self.refusal) {
            (Some(_), _) | (None, None) => (true, Bytes::new()),
            (None, Some(ChainError::Reverted(data))) => (false, data.clone()),
            (None, Some(_)) => (false, Bytes::new()),
        };
        ChainError::Reverted(calls.iter().map(ending).collect::<Vec<_>>().abi_encode().into())
    }
}

fn signer_of(transaction: &TxEnvelope) -> Address {
    transaction.recover_signer().unwrap()
}

/// Broadcast transactions that are not mined, as nodes keep them.
#[derive(Debug, Default)]
struct Pool {
    kept: bool,
    waiting: BTreeMap<(Address, u64), TxEnvelope>,
    mined: Vec<(u64, TxEnvelope)>,
}

impl Pool {
    fn take(&mut self, transaction: &TxEnvelope, mined: u64) -> Result<(), ChainError> {
        if transaction.nonce() < mined {
            return Err(ChainError::NonceTooLow);
        }
        let at = (signer_of(transaction), transaction.nonce());
        if let Some(old) = self.waiting.get(&at).filter(|old| old.tx_hash() != transaction.tx_hash()) {
            let priority_fee = |one: &TxEnvelope| one.max_priority_fee_per_gas().unwrap_or_default();
            if transaction.max_fee_per_gas() * 10 < old.max_fee_per_gas() * 11
                || priority_fee(transaction) * 10 < priority_fee(old) * 11
            {
                return Err(ChainError::Underpriced);
            }
        }
        self.waiting.insert(at, transaction.clone());
        Ok(())
    }

    fn next(&mut self, base_fee: u128, nonce: impl Fn(&Address) -> u64) -> Option<TxEnvelope> {
        let is_due = |at: &(Address, u64), transaction: &TxEnvelope| {
            at.1 == nonce(&at.0) && transaction.max_fee_per_gas() >= base_fee
        };
        let at = self.waiting.iter().find(|(at, transaction)| is_due(at, transaction)).map(|(at, _)| *at)?;
        self.waiting.remove(&at)
    }

    /// What was mined from a height on; it is not in the pool again by itself.
    fn reorg(&mut self, from: u64) -> Vec<TxEnvelope> {
        let (kept, gone) = std::mem::take(&mut self.mined).into_iter().partition(|(at, _)| *at < from);
        self.mined = kept;
        let gone: Vec<(u64, TxEnvelope)> = gone;
        gone.into_iter().map(|(_, transaction)| transaction).collect()
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

    async fn call(&self, call: &Call, at: At) -> Result<Bytes, ChainError> {
        let mut state = self.state();
        state.called_at.push((at, call.block));
        if **call.data == PARENT_HASH {
            let parent = state.blocks.last().filter(|_| state.looks_ahead);
            return Ok(parent.map_or(B256::ZERO, |parent| parent.header.block.hash).to_vec().into());
        }
        if call.to.is_none() {
            return Err(state.probe(&call.data));
        }
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
        if state.pool.kept {
            let transaction = TxEnvelope::decode_2718(&mut raw.as_ref()).unwrap();
            let mined = state.nonces_of.get(&signer_of(&transaction)).unwrap_or(&state.nonces).0;
            state.pool.take(&transaction, mined)?;
        }
        state.sent.push(raw.clone());
        Ok(())
    }

    async fn receipt(&self, hash: B256) -> Result<Option<Receipt>, ChainError> {
        Ok(self.state().receipts.get(&hash).copied())
    }

    async fn nonce(&self, account: Address, at: At) -> Result<u64, ChainError> {
        let state = self.state();
        if state.no_pending && at == At::Pending {
            return Err(ChainError::Other { code: -32_602, message: "unknown tag".into() });
        }
        let (mined, pending) = *state.nonces_of.get(&account).unwrap_or(&state.nonces);
        Ok(match at {
            At::Latest => mined,
            At::Pending => pending,
        })
    }

    async fn balance(&self, _: Address) -> Result<U256, ChainError> {
        Ok(self.state().balance)
    }

    async fn code(&self, _: Address) -> Result<Bytes, ChainError> {
        Ok(Bytes::from_static(&[1]))
    }

    async fn recent_fees(&self) -> Result<Vec<BlockFees>, ChainError> {
        Ok(self.state().fees.clone())
    }

    async fn follow(&self, _: &(dyn Fn(HeadUpdate) + Send + Sync), shutdown: &CancellationToken) {
        shutdown.cancelled().await;
    }
}
