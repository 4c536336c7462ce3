//! One sending key: its nonces in a row, and the transactions under them that are not final.

use std::collections::{BTreeMap, HashMap, HashSet};

use alloy::{
    primitives::{Address, U256},
    signers::local::PrivateKeySigner,
};
use tokio::time::Instant;

use super::slot::{Pending, TxState};

/// Transactions of the key that the journal does not know are in the pool.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hold {
    /// The nonce after the last of them.
    pub(super) until: u64,
    pub(super) since: Instant,
}

/// See the module. What is beside the slots can be lost.
#[derive(Debug)]
pub(super) struct NonceQueue {
    pub(super) key: PrivateKeySigner,
    pub(super) slots: BTreeMap<u64, TxState>,
    /// The nonce after the last one given.
    pub(super) next: u64,
    /// Nonces below it are used on chain. It falls only with a reorganisation, or where receipts are missing: an endpoint may
    /// lag.
    pub(super) used: u64,
    /// The nonce after the last one that is final: but for a reorganisation, what is used never falls below that.
    pub(super) closed: u64,
    pub(super) hold: Option<Hold>,
    pub(super) balance: U256,
    /// False while the balance does not cover what is to be sent.
    pub(super) funded: bool,
    /// Whether the operator was told of a low balance.
    pub(super) alerted: bool,
    /// Whether the next reading of the nonce counts even if it is lower.
    pub(super) may_fall: bool,
    /// Whether the account is being read.
    pub(super) asking: bool,
    /// Nonces whose receipts are being read.
    pub(super) asked: HashSet<u64>,
    /// Since when a nonce is used and has no receipt.
    pub(super) missing: HashMap<u64, Instant>,
    /// Of these, the ones for which the account was read again: the first reading may have been of a fork that is no more.
    pub(super) doubted: HashSet<u64>,
    /// Since when a slot has nothing to do.
    pub(super) idle: HashMap<u64, Instant>,
    /// When a slot's current attempt was made.
    pub(super) attempted: HashMap<u64, Instant>,
    /// Slots whose fee the endpoint calls too low, with the highest base fee since, wei per gas.
    pub(super) too_low: HashMap<u64, u128>,
    /// Since when nonces below ours are held by nothing.
    pub(super) gap: Option<Instant>,
    pub(super) rebroadcast: Option<Instant>,
    /// The height at which the next transaction to be mined was broadcast again.
    pub(super) reminded: u64,
}

impl NonceQueue {
    pub(super) fn new(key: PrivateKeySigner, slots: BTreeMap<u64, TxState>) -> Self {
        Self {
            key,
            slots,
            next: 0,
            used: 0,
            closed: 0,
            hold: None,
            balance: U256::ZERO,
            funded: true,
            alerted: false,
            may_fall: false,
            asking: false,
            asked: HashSet::new(),
            missing: HashMap::new(),
            doubted: HashSet::new(),
            idle: HashMap::new(),
            attempted: HashMap::new(),
            too_low: HashMap::new(),
            gap: None,
            rebroadcast: None,
            reminded: 0,
        }
    }

    pub(super) fn address(&self) -> Address {
        self.key.address()
    }

    pub(super) fn pending(&self) -> impl Iterator<Item = (u64, &Pending)> {
        self.slots.iter().filter_map(|(nonce, state)| Some((*nonce, state.pending()?)))
    }

    pub(super) fn get_pending(&self, nonce: u64) -> Option<&Pending> {
        self.slots.get(&nonce)?.pending()
    }

    /// Takes a pending slot out, to move it.
    pub(super) fn take_pending(&mut self, nonce: u64) -> Option<Pending> {
        match self.slots.remove(&nonce)? {
            TxState::Pending(pending) => Some(pending),
            mined @ TxState::Mined(_) => {
                self.slots.insert(nonce, mined);
                None
            }
        }
    }

    pub(super) fn in_flight(&self) -> usize {
        self.pending().count()
    }

    /// What the transactions in flight may cost at most; `data_fee` is what a byte costs besides gas.
    pub(super) fn committed(&self, data_fee: u128) -> U256 {
        self.pending().map(|(_, pending)| pending.bound(data_fee)).sum()
    }

    /// Nonces that are not used on chain and that nothing holds, below the last one given.
    pub(super) fn gaps(&self) -> Vec<u64> {
        if self.hold.is_some() {
            return Vec::new();
        }
        (self.used..self.next).filter(|nonce| !self.slots.contains_key(nonce)).collect()
    }

    /// The nonce of the next transaction: the lowest that is free.
    pub(super) fn free_nonce(&self) -> u64 {
        self.gaps().first().copied().unwrap_or(self.next)
    }

    /// Forgets what it remembers of slots that are gone.
    pub(super) fn prune(&mut self) {
        for since in [&mut self.missing, &mut self.idle, &mut self.attempted] {
            since.retain(|nonce, _| self.slots.contains_key(nonce));
        }
        self.missing.retain(|nonce, _| *nonce < self.used);
        self.doubted.retain(|nonce| self.missing.contains_key(nonce));
        self.too_low.retain(|nonce, _| self.slots.contains_key(nonce));
    }
}
