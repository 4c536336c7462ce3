//! One sending key: its nonces in a row, and what is under them until it is final.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use alloy::primitives::{Address, U256};
use tokio::time::Instant;

use super::{
    OVERDUE_AFTER, PER_KEY, REPLACE_AFTER, REPLACE_TIMEOUT,
    candidate::{TxId, Unsigned},
    tracked::{Pending, Tracked, TxState},
};
use crate::{
    chain::Backoff,
    domain::ChainHead,
    failpoint::is_planted,
    keys::{Signer, SignerHealth},
};

/// Transactions of the key that the journal does not know are in the pool.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hold {
    /// The nonce after the last of them.
    pub(super) until: u64,
    pub(super) since: Instant,
}

/// How long a lower nonce may be the reading of an endpoint that lags.
const LOWER_NONCE_TIMEOUT: Duration = Duration::from_secs(30);

/// The nonces of one key. Only the states of what is tracked, from `Pending` on, outlive the process, in the journal.
#[derive(Debug)]
pub(super) struct NonceQueue {
    pub(super) signer: Arc<dyn Signer>,
    pub(super) health: SignerHealth,
    /// By nonce, what is not final.
    pub(super) tracked: BTreeMap<u64, Tracked>,
    /// The nonce after the last one given.
    pub(super) next: u64,
    /// Nonces below it are used on chain. It falls with a reorganisation, where receipts are missing, or if the chain says so
    /// for a while: an endpoint may lag.
    pub(super) used: u64,
    /// Since when the chain says that fewer are used.
    pub(super) lower_since: Option<Instant>,
    /// The nonce after the last one that is final: but for a reorganisation, what is used never falls below that.
    pub(super) closed: u64,
    pub(super) hold: Option<Hold>,
    pub(super) balance: U256,
    /// False while the balance does not cover what is to be sent.
    pub(super) funded: bool,
    /// Whether the operator knows of a low balance.
    pub(super) low_balance_reported: bool,
    /// Whether the next reading of the nonce counts even if it is lower.
    pub(super) may_fall: bool,
    /// Whether the account is being read.
    pub(super) account_asked: bool,
    /// Since when nonces below ours are held by nothing.
    pub(super) gap_since: Option<Instant>,
    /// When all that is pending is broadcast again; `None` for at once.
    pub(super) rebroadcast_at: Option<Instant>,
    /// Pauses of broadcasts that failed.
    pub(super) broadcast_backoff: Backoff,
    /// The height at which the next transaction to be mined was broadcast again.
    pub(super) reminded_at: u64,
}

impl NonceQueue {
    pub(super) fn new(signer: Arc<dyn Signer>) -> Self {
        Self {
            signer,
            health: SignerHealth::default(),
            tracked: BTreeMap::new(),
            next: 0,
            used: 0,
            lower_since: None,
            closed: 0,
            hold: None,
            balance: U256::ZERO,
            funded: true,
            low_balance_reported: false,
            may_fall: false,
            account_asked: false,
            gap_since: None,
            rebroadcast_at: None,
            broadcast_backoff: Backoff::default(),
            reminded_at: 0,
        }
    }

    pub(super) fn address(&self) -> Address {
        self.signer.address()
    }

    pub(super) fn id(&self, nonce: u64) -> TxId {
        TxId { account: self.address(), nonce }
    }

    pub(super) fn pending(&self) -> impl Iterator<Item = (u64, &Pending)> {
        self.tracked.iter().filter_map(|(nonce, tracked)| Some((*nonce, tracked.state.pending()?)))
    }

    pub(super) fn get_pending(&self, nonce: u64) -> Option<&Pending> {
        self.tracked.get(&nonce)?.state.pending()
    }

    /// Takes out a transaction that has no receipt with what is known of its nonce, to move it.
    pub(super) fn take_without_receipt(&mut self, nonce: u64) -> Option<(Tracked, Pending)> {
        let pending = match &self.tracked.get(&nonce)?.state {
            TxState::Pending(pending) => pending.clone(),
            TxState::Foreign(foreign) => foreign.clone().pending(),
            TxState::Reserved(_) | TxState::Mined(_) => return None,
        };
        Some((self.tracked.remove(&nonce)?, pending))
    }

    /// What is being signed under a nonce: its first attempt or another one.
    pub(super) fn unsigned(&self, nonce: u64) -> Option<&Unsigned> {
        match &self.tracked.get(&nonce)?.state {
            TxState::Reserved(unsigned) => Some(unsigned),
            TxState::Pending(pending) => pending.replacement.as_ref(),
            TxState::Mined(_) | TxState::Foreign(_) => None,
        }
    }

    /// Gives a nonce to what is to be signed.
    pub(super) fn reserve(&mut self, nonce: u64, unsigned: Unsigned) {
        self.tracked.insert(nonce, Tracked::new(TxState::Reserved(unsigned)));
        self.next = self.next.max(nonce.saturating_add(1));
    }

    /// Gives up what is being signed under a nonce. One that was only reserved is free again.
    pub(super) fn release(&mut self, nonce: u64) {
        match self.tracked.get_mut(&nonce).map(|tracked| &mut tracked.state) {
            Some(TxState::Pending(pending)) => pending.replacement = None,
            Some(TxState::Reserved(_)) => {
                self.tracked.remove(&nonce);
                self.forget_unheld();
            }
            Some(TxState::Mined(_) | TxState::Foreign(_)) | None => {}
        }
    }

    /// Takes back the last nonces given that nothing holds: they are no gaps, for nothing comes after them.
    fn forget_unheld(&mut self) {
        let after_ours = self.tracked.keys().next_back().map_or(0, |last| last.saturating_add(1));
        self.next = self.used.max(self.hold.map_or(0, |hold| hold.until)).max(after_ours);
    }

    /// Nonces whose transactions are final at a head.
    pub(super) fn final_nonces(&self, head: &ChainHead) -> Vec<u64> {
        let at_once = is_planted("final-at-once");
        let is_final =
            |tracked: &Tracked| matches!(&tracked.state, TxState::Mined(mined) if at_once || mined.is_final(head));
        self.tracked.iter().filter(|(_, tracked)| is_final(tracked)).map(|(nonce, _)| *nonce).collect()
    }

    /// Number of transactions that are not mined, those being signed among them.
    pub(super) fn in_flight(&self) -> usize {
        self.tracked.values().filter(|tracked| tracked.is_in_flight()).count()
    }

    /// Whether every head asks for the account: something is not mined, or its receipt not found.
    pub(super) fn awaits_news(&self) -> bool {
        let open = |tracked: &Tracked| tracked.is_in_flight() || matches!(tracked.state, TxState::Foreign(_));
        self.hold.is_some() || !self.funded || self.tracked.values().any(open)
    }

    /// Whether it takes another transaction: it can pay, has fewer than its bound in flight, and its signer works.
    pub(super) fn has_room(&self) -> bool {
        self.funded && self.in_flight() < PER_KEY && self.health.rests_until().is_none()
    }

    /// What the transactions in flight may cost at most, wei; `data_fee` is what a byte costs besides gas.
    pub(super) fn committed(&self, data_fee: u128) -> U256 {
        let in_flight = self.tracked.values().filter(|tracked| tracked.is_in_flight());
        in_flight.map(|tracked| tracked.state.bound(data_fee)).sum()
    }

    /// Nonces that are not used on chain and that nothing holds, below the last one given; the first of them, if they are many.
    pub(super) fn gaps(&self) -> Vec<u64> {
        if self.hold.is_some() {
            return Vec::new();
        }
        (self.used..self.next).filter(|nonce| !self.tracked.contains_key(nonce)).take(PER_KEY).collect()
    }

    /// The nonce of the next transaction: the lowest that is free.
    pub(super) fn free_nonce(&self) -> u64 {
        self.gaps().first().copied().unwrap_or(self.next)
    }

    /// Takes in a reading of the account's nonce.
    pub(super) fn set_used(&mut self, latest: u64) {
        // A reorganisation of blocks that were not taken in goes unnoticed otherwise.
        let lasts =
            latest < self.used && self.lower_since.get_or_insert_with(Instant::now).elapsed() >= LOWER_NONCE_TIMEOUT;
        let falls = std::mem::take(&mut self.may_fall) || lasts;
        if falls || latest >= self.used {
            self.lower_since = None;
        }
        self.used = latest.max(if falls { self.closed } else { self.used });
        self.next = self.next.max(self.used);
        if lasts {
            // One wrong reading that was too high gave them.
            self.forget_unheld();
        }
        self.tracked.range_mut(self.used..).for_each(|(_, tracked)| tracked.trust_again());
    }

    /// Whether a transaction was not mined for so long that it is to pay more: the base fee has outrun it, or a pool holds it and
    /// it is the next.
    pub(super) fn is_stuck(&self, nonce: u64, height: u64, base_fee: u128) -> bool {
        let Some(tracked) = self.tracked.get(&nonce) else { return false };
        let Some(last) = tracked.state.pending().and_then(Pending::current) else { return false };
        let below = last.max_fee < base_fee.saturating_add(last.max_priority_fee);
        let since = last.at.max(tracked.in_pool.unwrap_or(0));
        (below || nonce == self.used && tracked.in_pool.is_some())
            && tracked.attempted.elapsed() >= REPLACE_TIMEOUT
            && height >= since + REPLACE_AFTER
    }

    /// Whether raising a transaction frees others: it is the next, a pool holds it, and more wait behind it.
    pub(super) fn holds_up(&self, nonce: u64) -> bool {
        nonce == self.used
            && self.in_flight() > 1
            && self.tracked.get(&nonce).is_some_and(|tracked| tracked.in_pool.is_some())
    }

    /// Whether blocks went by that could have held the next transaction, and it was not broadcast again at this height. Some
    /// pools drop one that they come upon before the one under the nonce before, and then all behind it wait.
    pub(super) fn is_overdue(&self, nonce: u64, height: u64) -> bool {
        let Some(last) = self.get_pending(nonce).and_then(Pending::current) else { return false };
        nonce == self.used && height >= last.at + OVERDUE_AFTER && height > self.reminded_at
    }
}

/// The queues of all sending keys, in the order of the configuration.
#[derive(Debug)]
pub(super) struct Queues(Vec<NonceQueue>);

impl Queues {
    pub(super) fn new(signers: Vec<Arc<dyn Signer>>) -> Self {
        Self(signers.into_iter().map(NonceQueue::new).collect())
    }

    pub(super) fn accounts(&self) -> Vec<Address> {
        self.0.iter().map(NonceQueue::address).collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &NonceQueue> {
        self.0.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut NonceQueue> {
        self.0.iter_mut()
    }

    pub(super) fn get(&self, account: Address) -> Option<&NonceQueue> {
        self.0.iter().find(|queue| queue.address() == account)
    }

    pub(super) fn get_mut(&mut self, account: Address) -> Option<&mut NonceQueue> {
        self.0.iter_mut().find(|queue| queue.address() == account)
    }

    pub(super) fn get_pending(&self, id: TxId) -> Option<&Pending> {
        self.get(id.account)?.get_pending(id.nonce)
    }

    pub(super) fn tracked_mut(&mut self, id: TxId) -> Option<&mut Tracked> {
        self.get_mut(id.account)?.tracked.get_mut(&id.nonce)
    }

    /// All that is tracked, of every key.
    pub(super) fn tracked(&self) -> impl Iterator<Item = &Tracked> {
        self.0.iter().flat_map(|queue| queue.tracked.values())
    }
}
