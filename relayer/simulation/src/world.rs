//! The chain of a life: blocks of transactions that the EVM executed, a pool, and reorganisations.

use std::collections::{BTreeMap, VecDeque};

use alloy::{
    consensus::{Transaction, TxEnvelope, transaction::SignerRecoverable},
    eips::Decodable2718,
    primitives::{Address, B256, Bloom, Bytes, TxKind, U256, keccak256},
    rpc::types::Log,
    sol_types::SolCall,
};
use oraculum::{
    chain::{BlockRef, ChainError, Header, Receipt},
    coordinator::Revert,
};
use revm::context::{TxEnv, result::ExecutionResult};
use tokio::sync::watch;

use crate::{
    abi::BenchConsumer::classifyCall,
    evm::{self, ASKER, BASE_FEE, BLOCK_GAS, BlockContext, CHAIN_ID, Genesis, State},
    trace::Trace,
};

/// Blocks on top of one that make it final.
pub(crate) const FINAL: u64 = 12;
/// Blocks whose state is kept: no reorganisation goes deeper.
const STATES: usize = 40;
/// What a request pays, wei.
const FEE: u64 = 1_000_000_000_000_000;

/// A transaction of a block.
#[derive(Debug, Clone)]
pub(crate) struct Mined {
    pub(crate) hash: B256,
    /// `None` for a question, which nobody signs.
    pub(crate) signed: Option<(Address, TxEnvelope)>,
    pub(crate) receipt: Receipt,
    pub(crate) logs: Vec<Log>,
}

/// What became of a transaction: its hash, who signed it, its result, and its price of gas.
type Executed = (B256, Option<(Address, TxEnvelope)>, ExecutionResult, u128);

/// A block and the state after it.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) header: Header,
    pub(crate) transactions: Vec<Mined>,
    state: Option<State>,
}

/// The chain.
pub(crate) struct World {
    /// From the last block of the setup on.
    pub(crate) blocks: Vec<Block>,
    pool: BTreeMap<(Address, u64), TxEnvelope>,
    questions: VecDeque<[i32; 4]>,
    asked: u64,
    salt: u64,
    pub(crate) base_fee: u128,
    /// The first heights that reorganisations made anew.
    pub(crate) forks: Vec<u64>,
    pub(crate) trace: Trace,
    news: watch::Sender<u64>,
}

impl World {
    pub(crate) fn new(trace: Trace) -> Self {
        let genesis = Genesis::get();
        let header = Header {
            block: BlockRef { number: genesis.block.number, hash: genesis.hash },
            parent: B256::ZERO,
            timestamp: genesis.block.timestamp,
            base_fee: BASE_FEE,
            bloom: Bloom::ZERO,
        };
        let first = Block { header, transactions: Vec::new(), state: Some(genesis.state.clone()) };
        Self {
            blocks: vec![first],
            pool: BTreeMap::new(),
            questions: VecDeque::new(),
            asked: 0,
            salt: 0,
            base_fee: BASE_FEE,
            forks: Vec::new(),
            trace,
            news: watch::Sender::new(0),
        }
    }

    /// Changes with every block.
    pub(crate) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    pub(crate) fn head(&self) -> Header {
        self.blocks[self.blocks.len() - 1].header
    }

    /// The block at a height.
    pub(crate) fn at(&self, number: u64) -> Option<&Block> {
        let first = self.blocks[0].header.block.number;
        self.blocks.get(usize::try_from(number.checked_sub(first)?).ok()?)
    }

    pub(crate) fn transactions(&self) -> impl Iterator<Item = (&Header, &Mined)> {
        self.blocks.iter().flat_map(|block| block.transactions.iter().map(|mined| (&block.header, mined)))
    }

    fn state(&self) -> State {
        self.blocks[self.blocks.len() - 1].state.clone().unwrap_or_default()
    }

    /// Asks a question in the next block.
    pub(crate) fn ask(&mut self, sizes: [i32; 4]) {
        self.questions.push_back(sizes);
    }

    fn next_block(&self, interval: u64) -> BlockContext {
        let Header { block, timestamp, .. } = self.head();
        BlockContext { number: block.number + 1, timestamp: timestamp + interval, base_fee: self.base_fee }
    }

    /// The state in which the next block begins.
    fn begin(&self) -> State {
        let (mut state, head) = (self.state(), self.head().block);
        state.cache.block_hashes.insert(U256::from(head.number), head.hash);
        state
    }

    /// Mines a block with what the pool holds and pays enough, `most` transactions at most.
    pub(crate) fn mine(&mut self, interval: u64, most: usize) -> Header {
        let (mut state, block) = (self.begin(), self.next_block(interval));
        let mut executed = Vec::new();
        for sizes in std::mem::take(&mut self.questions) {
            self.asked += 1;
            let question = question(sizes, nonce_of(&state, ASKER), block.base_fee);
            if let Some(result) = evm::execute(&mut state, block, question) {
                executed.push((keccak256(self.asked.to_be_bytes()), None, result, 0));
            }
        }
        let mut gas = 0;
        while executed.len() < most {
            let Some((from, transaction)) = self.take_best(&state, block.base_fee) else { break };
            gas += transaction.gas_limit();
            if gas > BLOCK_GAS {
                self.pool.insert((from, transaction.nonce()), transaction);
                break;
            }
            if let Some(result) = evm::execute(&mut state, block, environment(from, &transaction)) {
                let price = transaction.effective_gas_price(u64::try_from(block.base_fee).ok());
                executed.push((*transaction.tx_hash(), Some((from, transaction)), result, price));
            }
        }
        self.append(block, state, executed)
    }

    fn append(&mut self, context: BlockContext, state: State, executed: Vec<Executed>) -> Header {
        let parent = self.head().block.hash;
        let mut seal = [parent.as_slice(), &context.number.to_be_bytes(), &self.salt.to_be_bytes()].concat();
        executed.iter().for_each(|(hash, ..)| seal.extend(hash.as_slice()));
        let block = BlockRef { number: context.number, hash: keccak256(seal) };
        let mut bloom = Bloom::ZERO;
        let mut index = 0;
        let transactions = executed.into_iter().map(|(hash, signed, result, gas_price)| {
            let (success, gas_used) = (result.is_success(), result.tx_gas_used());
            if !success {
                let reason = Revert::decode(result.output().unwrap_or_default());
                self.trace.say(format_args!("{hash} reverts: {reason:?}"));
            }
            let receipt = Receipt { block, success, gas_used, gas_price, data_fee: 0 };
            let logs = result.into_logs().into_iter().map(|inner| {
                bloom.accrue_log(&inner);
                index += 1;
                Log {
                    inner,
                    block_hash: Some(block.hash),
                    block_number: Some(block.number),
                    transaction_hash: Some(hash),
                    log_index: Some(index - 1),
                    ..Log::default()
                }
            });
            Mined { hash, signed, receipt, logs: logs.collect() }
        });
        let transactions: Vec<_> = transactions.collect();
        let BlockContext { timestamp, base_fee, .. } = context;
        let header = Header { block, parent, timestamp, base_fee, bloom };
        self.trace.say(format_args!("block {} {} of {}", block.number, block.hash, transactions.len()));
        self.blocks.push(Block { header, transactions, state: Some(state) });
        if let Some(old) = self.blocks.len().checked_sub(STATES + 1) {
            self.blocks[old].state = None;
        }
        self.news.send_modify(|count| *count += 1);
        header
    }

    fn take_best(&mut self, state: &State, base_fee: u128) -> Option<(Address, TxEnvelope)> {
        self.pool.retain(|(from, nonce), _| *nonce >= nonce_of(state, *from));
        let at = best(&self.pool, state, base_fee)?;
        self.pool.remove(&at).map(|transaction| (at.0, transaction))
    }

    /// Replaces the last blocks by one more of others. Of what they held, `keep` says what comes again.
    pub(crate) fn reorganise(&mut self, depth: usize, interval: u64, mut keep: impl FnMut() -> bool) {
        let depth = depth.min(self.blocks.len() - 1).min(STATES - 1);
        let kept = self.blocks.len() - depth;
        let gone = self.blocks.split_off(kept);
        self.salt += 1;
        self.forks.push(self.head().block.number + 1);
        self.trace.say(format_args!("reorganisation of {depth}"));
        for mined in gone.into_iter().flat_map(|block| block.transactions) {
            match mined.signed {
                Some((from, transaction)) if keep() => {
                    self.pool.entry((from, transaction.nonce())).or_insert(transaction);
                }
                Some(_) => {}
                // A question is asked again, as the next one.
                None if keep() => self.questions.push_back([5, 3, 1, i32::try_from(self.asked).unwrap_or(0)]),
                None => {}
            }
        }
        for _ in 0..=depth {
            self.mine(interval, usize::MAX);
        }
    }

    /// Takes a raw transaction into the pool.
    pub(crate) fn take(&mut self, raw: &Bytes) -> Result<(), ChainError> {
        let malformed = |reason: String| ChainError::Malformed {
            endpoint: "simulated".into(),
            method: "eth_sendRawTransaction",
            reason,
        };
        let transaction = TxEnvelope::decode_2718(&mut raw.as_ref()).map_err(|error| malformed(error.to_string()))?;
        let from = transaction.recover_signer().map_err(|error| malformed(error.to_string()))?;
        let (hash, state) = (*transaction.tx_hash(), self.state());
        if transaction.nonce() < nonce_of(&state, from) {
            return Err(ChainError::NonceTooLow);
        }
        let cost = U256::from(transaction.gas_limit()) * U256::from(transaction.max_fee_per_gas());
        if cost > balance_of(&state, from) {
            return Err(ChainError::InsufficientFunds);
        }
        if let Some(old) = self.pool.get(&(from, transaction.nonce())) {
            if *old.tx_hash() == hash {
                return Err(ChainError::AlreadyKnown);
            }
            let tip = |one: &TxEnvelope| one.max_priority_fee_per_gas().unwrap_or_default();
            let outbids = |new: u128, old: u128| new * 10 >= old * 11;
            if !outbids(transaction.max_fee_per_gas(), old.max_fee_per_gas()) || !outbids(tip(&transaction), tip(old)) {
                return Err(ChainError::Underpriced);
            }
        }
        self.trace.say(format_args!("the pool takes nonce {} of {from}: {hash}", transaction.nonce()));
        self.pool.insert((from, transaction.nonce()), transaction);
        Ok(())
    }

    /// Forgets what the pool holds.
    pub(crate) fn drop_pool(&mut self) {
        self.pool.clear();
    }

    /// Nonces and hashes of what the pool holds of an account.
    pub(crate) fn pooled(&self, account: Address) -> impl Iterator<Item = (u64, B256)> {
        let of = self.pool.iter().filter(move |((from, _), _)| *from == account);
        of.map(|((_, nonce), transaction)| (*nonce, *transaction.tx_hash()))
    }

    /// The next nonce of an account, `pending` with what the pool holds.
    pub(crate) fn nonce(&self, account: Address, pending: bool) -> u64 {
        let mut nonce = nonce_of(&self.state(), account);
        while pending && self.pool.contains_key(&(account, nonce)) {
            nonce += 1;
        }
        nonce
    }

    /// The next nonce of an account after the block of a height.
    pub(crate) fn nonce_at(&self, account: Address, number: u64) -> u64 {
        let state = self.at(number).and_then(|block| block.state.as_ref());
        state.map_or_else(|| self.nonce(account, false), |state| nonce_of(state, account))
    }

    pub(crate) fn balance(&self, account: Address) -> U256 {
        balance_of(&self.state(), account)
    }

    pub(crate) fn code(&self, account: Address) -> Bytes {
        let state = self.state();
        let code = state.cache.accounts.get(&account).and_then(|account| account.info.code.clone());
        let by_hash = || Some(state.cache.contracts.get(&state.cache.accounts.get(&account)?.info.code_hash)?.clone());
        code.or_else(by_hash).map(|code| code.original_bytes()).unwrap_or_default()
    }

    /// Makes a call: in the latest block, in the one of a number, or after the pool's transactions in the next.
    pub(crate) fn call(&self, call: &oraculum::chain::Call, pending: bool) -> Result<Bytes, ChainError> {
        let (mut state, next) = (self.begin(), self.next_block(1));
        let latest = BlockContext { number: next.number - 1, timestamp: next.timestamp - 1, ..next };
        let mut block = if pending { next } else { latest };
        block.number = call.block.unwrap_or(block.number);
        if pending {
            let mut pool = self.pool.clone();
            while let Some(at) = best(&pool, &state, block.base_fee) {
                let Some(transaction) = pool.remove(&at) else { break };
                evm::execute(&mut state, block, environment(at.0, &transaction));
            }
        }
        let transaction = TxEnv {
            caller: call.from.unwrap_or_default(),
            gas_limit: call.gas.unwrap_or(BLOCK_GAS).min(BLOCK_GAS),
            kind: call.to.map_or(TxKind::Create, TxKind::Call),
            data: call.data.clone(),
            nonce: call.from.map_or(0, |from| nonce_of(&state, from)),
            chain_id: Some(CHAIN_ID),
            ..TxEnv::default()
        };
        match evm::call(&mut state, block, transaction) {
            Some(ExecutionResult::Success { output, .. }) => Ok(output.into_data()),
            Some(ExecutionResult::Revert { output, .. }) => Err(ChainError::Reverted(output)),
            Some(ExecutionResult::Halt { reason, .. }) => Err(ChainError::OutOfGas(format!("{reason:?}"))),
            None => Err(ChainError::OutOfGas("intrinsic gas too low".into())),
        }
    }
}

/// Where the transaction lies that pays its block's producer most, of those that can be executed next.
fn best(pool: &BTreeMap<(Address, u64), TxEnvelope>, state: &State, base_fee: u128) -> Option<(Address, u64)> {
    let tip = |transaction: &TxEnvelope| transaction.effective_tip_per_gas(u64::try_from(base_fee).ok()?);
    let mut found: Option<(Option<u128>, (Address, u64))> = None;
    for (at, transaction) in pool {
        let due = at.1 == nonce_of(state, at.0) && transaction.max_fee_per_gas() >= base_fee;
        if due && found.is_none_or(|(best, _)| tip(transaction) > best) {
            found = Some((tip(transaction), *at));
        }
    }
    found.map(|(_, at)| at)
}

fn nonce_of(state: &State, account: Address) -> u64 {
    state.cache.accounts.get(&account).map_or(0, |account| account.info.nonce)
}

fn balance_of(state: &State, account: Address) -> U256 {
    state.cache.accounts.get(&account).map_or(U256::ZERO, |account| account.info.balance)
}

fn question(sizes: [i32; 4], nonce: u64, base_fee: u128) -> TxEnv {
    TxEnv {
        caller: ASKER,
        gas_limit: 1_000_000,
        gas_price: base_fee,
        kind: TxKind::Call(Genesis::get().consumer),
        value: U256::from(FEE),
        data: classifyCall { sizes }.abi_encode().into(),
        nonce,
        chain_id: Some(CHAIN_ID),
        ..TxEnv::default()
    }
}

fn environment(from: Address, transaction: &TxEnvelope) -> TxEnv {
    TxEnv {
        tx_type: 2,
        caller: from,
        gas_limit: transaction.gas_limit(),
        gas_price: transaction.max_fee_per_gas(),
        gas_priority_fee: transaction.max_priority_fee_per_gas(),
        kind: transaction.kind(),
        value: transaction.value(),
        data: transaction.input().clone(),
        nonce: transaction.nonce(),
        chain_id: transaction.chain_id(),
        ..TxEnv::default()
    }
}
