//! A node's view of the chain: calls take time, fail, and tell what was true a while ago.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use alloy::{
    primitives::{Address, B256, Bytes, U256},
    rpc::types::Log,
};
use oraculum::chain::{At, BlockFees, Call, Chain, ChainError, HeadUpdate, Header, LogScope, Receipt, Tag};
use tokio_util::sync::CancellationToken;

use crate::{
    evm::{BLOCK_GAS, CHAIN_ID},
    faults::{Faults, Mode},
    process::Process,
    world::{FINAL, World},
};

/// Times in a row that logs are left out of a block at most: a node reads an empty block once more than that.
const HIDDEN_IN_A_ROW: u32 = 3;
/// Times in a row that a receipt is left out at most: a node asks twice, ten seconds apart, before it believes that its nonce
/// was used by others.
const HIDDEN_RECEIPT_IN_A_ROW: u32 = 1;

/// See the module.
pub(crate) struct Endpoint {
    pub(crate) world: Arc<Mutex<World>>,
    pub(crate) process: Arc<Process>,
    pub(crate) faults: Faults,
    /// How often in a row a block's logs or a transaction's receipt were left out.
    pub(crate) hidden: Mutex<BTreeMap<B256, u32>>,
}

impl Endpoint {
    /// Whether a block's logs or a transaction's receipt are left out this time.
    fn hides(&self, hash: B256, most: u32, share: impl FnOnce(Mode) -> u32) -> bool {
        let mut hidden = self.hidden.lock().unwrap_or_else(PoisonError::into_inner);
        let times = hidden.entry(hash).or_default();
        let hides = *times < most && self.faults.happens(share);
        *times = if hides { *times + 1 } else { 0 };
        hides
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The way to the endpoint and back.
    async fn reach(&self) -> Result<(), ChainError> {
        tokio::time::sleep(self.faults.time(|mode| mode.latency)).await;
        if self.process.is_dead() {
            return std::future::pending().await;
        }
        if self.faults.happens(|mode| mode.errors) {
            return Err(ChainError::Unreachable { endpoint: "simulated".into(), reason: "by chance".into() });
        }
        Ok(())
    }

    /// The head as this endpoint has it.
    fn seen(&self, world: &World) -> Header {
        let head = world.head();
        let number = head.block.number.saturating_sub(self.faults.mode().behind);
        world.at(number).map_or(head, |block| block.header)
    }
}

impl Chain for Endpoint {
    async fn chain_id(&self) -> Result<u64, ChainError> {
        self.reach().await?;
        Ok(CHAIN_ID)
    }

    async fn head(&self) -> Result<Header, ChainError> {
        self.reach().await?;
        Ok(self.seen(&self.world()))
    }

    async fn header(&self, number: u64) -> Result<Option<Header>, ChainError> {
        self.reach().await?;
        let world = self.world();
        let known = number <= self.seen(&world).block.number;
        Ok(world.at(number).filter(|_| known).map(|block| block.header))
    }

    async fn tagged(&self, _: Tag) -> Result<Option<Header>, ChainError> {
        self.reach().await?;
        let world = self.world();
        let number = self.seen(&world).block.number.checked_sub(FINAL);
        Ok(number.and_then(|number| world.at(number)).map(|block| block.header))
    }

    async fn logs(&self, address: Address, scope: LogScope) -> Result<Vec<Log>, ChainError> {
        self.reach().await?;
        let hidden = matches!(scope, LogScope::Block(hash) if self.hides(hash, HIDDEN_IN_A_ROW, |mode| mode.hidden));
        let world = self.world();
        let head = self.seen(&world).block.number;
        let (from, to) = match scope {
            LogScope::Block(hash) => {
                let known = world.blocks.iter().find(|block| block.header.block.hash == hash);
                let number = known.map(|block| block.header.block.number).filter(|number| *number <= head);
                let number = number.ok_or_else(|| ChainError::UnknownBlock(hash.to_string()))?;
                if hidden {
                    return Ok(Vec::new());
                }
                (number, number)
            }
            LogScope::Range(from, to) if to - from >= self.faults.mode().range => {
                return Err(ChainError::RangeTooLarge("too many blocks".into()));
            }
            LogScope::Range(from, to) => (from, to.min(head)),
        };
        let blocks = (from..=to).filter_map(|number| world.at(number));
        let logs = blocks.flat_map(|block| &block.transactions).flat_map(|mined| &mined.logs);
        Ok(logs.filter(|log| log.address() == address).cloned().collect())
    }

    async fn call(&self, call: &Call, at: At) -> Result<Bytes, ChainError> {
        self.reach().await?;
        let call = match call.block {
            Some(_) if !self.faults.mode().looks_ahead => &Call { block: None, ..call.clone() },
            _ => call,
        };
        self.world().call(call, at == At::Pending)
    }

    async fn send(&self, raw: &Bytes) -> Result<(), ChainError> {
        self.reach().await?;
        if self.faults.happens(|mode| mode.refused) {
            return Err(ChainError::Other { code: -32_000, message: "not now".into() });
        }
        let lost = self.faults.happens(|mode| mode.lost);
        self.process.operate(|| if lost { Ok(()) } else { self.world().take(raw) })
    }

    async fn receipt(&self, hash: B256) -> Result<Option<Receipt>, ChainError> {
        self.reach().await?;
        if self.hides(hash, HIDDEN_RECEIPT_IN_A_ROW, |mode| mode.no_receipt) {
            return Ok(None);
        }
        let world = self.world();
        let head = self.seen(&world).block.number;
        let found = world.transactions().find(|(header, mined)| header.block.number <= head && mined.hash == hash);
        Ok(found.map(|(_, mined)| mined.receipt))
    }

    async fn nonce(&self, account: Address, at: At) -> Result<u64, ChainError> {
        self.reach().await?;
        let world = self.world();
        Ok(match at {
            At::Latest => world.nonce_at(account, self.seen(&world).block.number),
            At::Pending => world.nonce(account, true),
        })
    }

    async fn balance(&self, account: Address) -> Result<U256, ChainError> {
        self.reach().await?;
        Ok(self.world().balance(account))
    }

    async fn code(&self, account: Address) -> Result<Bytes, ChainError> {
        self.reach().await?;
        Ok(self.world().code(account))
    }

    async fn recent_fees(&self) -> Result<Vec<BlockFees>, ChainError> {
        self.reach().await?;
        let world = self.world();
        let recent = world.blocks.iter().rev().take(8).rev();
        let fees = recent.map(|block| {
            let base_fee = block.header.base_fee;
            let receipts = || block.transactions.iter().map(|mined| mined.receipt);
            let used: u64 = receipts().map(|receipt| receipt.gas_used).sum();
            let least = receipts().map(|receipt| receipt.gas_price.saturating_sub(base_fee)).min();
            BlockFees { fullness: used as f64 / BLOCK_GAS as f64, priority_fee: least.unwrap_or(0) }
        });
        Ok(fees.collect())
    }

    async fn follow(&self, on_head: &(dyn Fn(HeadUpdate) + Send + Sync), shutdown: &CancellationToken) {
        let mut news = self.world().news();
        loop {
            let head = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                head = self.head() => head,
            };
            on_head(HeadUpdate { head, took: None });
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                // A head may be missed: then the next look finds it.
                _ = tokio::time::timeout(std::time::Duration::from_secs(30), news.changed()) => {}
            }
        }
    }
}
