//! What happens to a transaction until it is final.
//!
//! | what is seen | what is done |
//! |---|---|
//! | a new start | the same bytes are broadcast again; receipts of used nonces are looked for; a job whose transaction does not carry it is open |
//! | a pending transaction of the key that is not ours | nothing is sent until it is mined; after a while a self-transfer replaces it |
//! | a gap in our nonces | the next transaction takes it, or a self-transfer fills it |
//! | not mined for a while | the same bytes again, those of the next nonce with every block, then the head of the queue with a higher fee, and all whose fee is below the block's |
//! | its requests are gone, settled by others, or late | the next draft takes its nonce, or a self-transfer replaces it |
//! | its nonce is used and none of its attempts has a receipt | a foreign transaction took it: its jobs are answered anew |
//! | mined, but a job is still open | answered anew; alone, and reverted, it failed |
//! | a reorganisation | every receipt is asked for again; jobs opened again that a transaction still carries count as sent |

use std::time::Duration;

use alloy::primitives::{B256, U256, utils::format_ether};
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use super::{CallOutcome, Transactions, purpose, queue::Hold, slot::Pending};
use crate::{
    chain::{At, Chain, ChainError},
    domain::{ChainHead, TrackedTransaction, Transition},
    journal::Journal,
    node::StageError,
};

/// How long a transaction without a request waits for a new draft before a self-transfer replaces it.
const IDLE_PATIENCE: Duration = Duration::from_secs(5);
/// How long a nonce of ours that no transaction holds may be a reading of the past.
const GAP_PATIENCE: Duration = Duration::from_secs(5);
/// How long transactions that we do not know are waited for.
const UNKNOWN_PATIENCE: Duration = Duration::from_secs(120);
/// The least time before a replacement: some chains make a block per transaction.
const REPLACE_PATIENCE: Duration = Duration::from_secs(5);
/// Blocks after which an unmined transaction is replaced with a higher fee.
const REPLACE_AFTER: u64 = 3;
/// Blocks after which the next transaction of a key is broadcast again with every block.
const OVERDUE_AFTER: u64 = 2;
/// Tips between two looks at the fees of recent blocks.
const FEE_TIPS: u64 = 10;
/// What a key must be able to pay for to count as funded again: gas and bytes of an answer alone, amply.
const RESERVE_GAS: u64 = 300_000;
const RESERVE_BYTES: u64 = 2_000;
/// Time between two broadcasts of the same bytes.
const REBROADCAST: Duration = Duration::from_secs(5);

impl<C: Chain, J: Journal> Transactions<C, J> {
    /// Finds where the keys stand on chain; tries until the endpoint answers.
    pub(crate) async fn recover(&mut self) -> Result<(), StageError> {
        for index in 0..self.queues.len() {
            let me = self.queues[index].address();
            let (latest, pending, balance) = loop {
                let chain = &self.node.chain;
                match futures::try_join!(chain.nonce(me, At::Latest), chain.nonce(me, At::Pending), chain.balance(me)) {
                    Ok(answers) => break answers,
                    Err(error) => {
                        warn!(%error, account = %me, "cannot read a sending key's account; trying again");
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                }
            };
            let queue = &mut self.queues[index];
            queue.balance = balance;
            self.node.metrics.has(me, balance);
            queue.used = latest;
            let after_slots = queue.slots.keys().next_back().map_or(0, |last| last + 1);
            queue.next = latest.max(pending).max(after_slots);
            if (latest..pending).any(|nonce| !queue.slots.contains_key(&nonce)) {
                warn!(
                    account = %me, latest, pending,
                    "transactions of this key that the journal does not know are pending: waiting for them"
                );
                queue.hold = Some(Hold { until: pending, since: Instant::now() });
            }
            let free: Vec<u64> =
                (latest.max(pending)..queue.next).filter(|nonce| !queue.slots.contains_key(nonce)).collect();
            queue.rebroadcast = Some(Instant::now());
            for nonce in free {
                self.fill(index, nonce)?;
            }
            self.rebroadcast(index)?;
            self.ask_account(index);
        }
        self.recent_priority_fees = self.node.chain.recent_priority_fees().await.unwrap_or_default();
        self.find_data_fee().await;
        Ok(())
    }

    /// The node took in a new tip.
    pub(crate) fn on_tip(&mut self, tip: ChainHead) -> Result<(), StageError> {
        let first = self.tip.is_none();
        self.tip = Some(tip);
        if self.reorg_epoch != tip.reorg_epoch {
            self.reorg_epoch = tip.reorg_epoch;
            self.rewound()?;
        } else if first {
            self.adopt()?;
        }
        if first {
            self.free()?;
        }
        self.judge_mined(&tip)?;
        self.close_final(&tip)?;
        self.tips += 1;
        let tenth = self.tips.is_multiple_of(FEE_TIPS);
        // While nothing can be sent, that it can again is to be known at once.
        if tenth || self.is_above_fee_cap() {
            let chain = self.node.chain.clone();
            self.tasks.push(Box::pin(async move { CallOutcome::Tips(chain.recent_priority_fees().await) }));
        }
        if tenth {
            self.ask_data_fee();
        }
        self.tell_of_the_price();
        self.publish_price(&tip);
        for index in 0..self.queues.len() {
            let queue = &self.queues[index];
            if tenth || queue.in_flight() > 0 || queue.hold.is_some() || !queue.funded {
                self.ask_account(index);
            }
        }
        Ok(())
    }

    /// What has to happen on a quiet chain, too.
    pub(crate) fn on_tick(&mut self) -> Result<(), StageError> {
        for index in 0..self.queues.len() {
            let queue = &self.queues[index];
            if queue.in_flight() > 0 || queue.hold.is_some() || queue.gap.is_some() || !queue.funded {
                self.ask_account(index);
            }
            for (nonce, highest) in std::mem::take(&mut self.queues[index].too_low) {
                self.offer_more(index, nonce, highest)?;
            }
            if self.queues[index].rebroadcast.is_none_or(|last| last.elapsed() >= REBROADCAST) {
                self.queues[index].rebroadcast = Some(Instant::now());
                self.rebroadcast(index)?;
            }
        }
        Ok(())
    }

    pub(super) fn standing(&self, slot: &TrackedTransaction) -> Result<purpose::Relevance, StageError> {
        let mut standing = purpose::standing(&*self.node.journal, slot, self.height() + 1)?;
        // Its jobs may not be known again yet.
        standing.wanted |= self.tip.is_none();
        Ok(standing)
    }

    pub(super) fn ask_account(&mut self, index: usize) {
        let queue = &mut self.queues[index];
        if std::mem::replace(&mut queue.asking, true) {
            return;
        }
        let (chain, me, reorg_epoch) = (self.node.chain.clone(), queue.address(), self.reorg_epoch);
        self.tasks.push(Box::pin(async move {
            CallOutcome::Account(index, reorg_epoch, futures::try_join!(chain.nonce(me, At::Latest), chain.balance(me)))
        }));
    }

    pub(super) fn account(&mut self, index: usize, latest: u64, balance: U256) -> Result<(), StageError> {
        self.queues[index].asking = false;
        self.note_balance(index, balance);
        let queue = &mut self.queues[index];
        let least = if std::mem::take(&mut queue.may_fall) { queue.closed } else { queue.used };
        queue.used = latest.max(least);
        queue.next = queue.next.max(queue.used);
        self.look_for_unknown(index)?;
        self.ask_receipts(index);
        let queue = &mut self.queues[index];
        if queue.gaps().is_empty() {
            queue.gap = None;
        } else if queue.gap.get_or_insert_with(Instant::now).elapsed() >= GAP_PATIENCE {
            queue.gap = None;
            self.fill_gaps(index)?;
        }
        let used = self.queues[index].used;
        let open: Vec<u64> =
            self.queues[index].pending().map(|(nonce, _)| nonce).filter(|nonce| *nonce >= used).collect();
        for nonce in open {
            self.keep_moving(index, nonce)?;
        }
        self.queues[index].prune();
        Ok(())
    }

    /// Raises, cancels or leaves alone a transaction that is not mined.
    fn keep_moving(&mut self, index: usize, nonce: u64) -> Result<(), StageError> {
        let Some(pending) = self.queues[index].get_pending(nonce) else { return Ok(()) };
        let standing = self.standing(pending.slot())?;
        for id in standing.late {
            let reason = "its transaction was not mined before the deadline".to_owned();
            warn!(%id, reason, "cannot answer");
            self.reopen(vec![(id, Transition::Failed(reason))])?;
        }
        if !standing.wanted {
            let since = *self.queues[index].idle.entry(nonce).or_insert_with(Instant::now);
            if since.elapsed() >= IDLE_PATIENCE {
                self.queues[index].idle.remove(&nonce);
                self.cancel(index, nonce)?;
            }
            return Ok(());
        }
        self.queues[index].idle.remove(&nonce);
        let raised = self.is_stuck(index, nonce) && self.replace(index, nonce, None)?;
        if !raised && self.is_overdue(index, nonce) {
            self.broadcast_again(index, nonce);
        }
        Ok(())
    }

    /// Raises a transaction that the endpoint refused as too cheap. Where the cap forbids it, the same goes out again once
    /// the base fee has fallen to where it may be mined.
    fn offer_more(&mut self, index: usize, nonce: u64, highest: u128) -> Result<(), StageError> {
        let Some(pending) = self.queues[index].get_pending(nonce) else { return Ok(()) };
        if !self.standing(pending.slot())?.wanted || self.replace(index, nonce, None)? {
            return Ok(());
        }
        let base_fee = self.base_fee();
        let current = self.queues[index].get_pending(nonce).and_then(Pending::current);
        if base_fee < highest && current.is_some_and(|current| base_fee <= current.max_fee) {
            self.broadcast_again(index, nonce);
        } else {
            self.queues[index].too_low.insert(nonce, highest.max(base_fee));
        }
        Ok(())
    }

    fn is_stuck(&mut self, index: usize, nonce: u64) -> bool {
        let (height, base_fee) = (self.height(), self.base_fee());
        let queue = &mut self.queues[index];
        let since = *queue.attempted.entry(nonce).or_insert_with(Instant::now);
        let Some(last) = queue.get_pending(nonce).and_then(Pending::current) else { return false };
        let below = last.max_fee < base_fee.saturating_add(last.tip);
        (nonce == queue.used || below) && since.elapsed() >= REPLACE_PATIENCE && height >= last.at + REPLACE_AFTER
    }

    /// Whether blocks went by that could have held the next transaction of a key. Some pools drop one that they come upon
    /// before the one under the nonce before, and then all behind it wait. True once per height.
    fn is_overdue(&mut self, index: usize, nonce: u64) -> bool {
        let height = self.height();
        let queue = &mut self.queues[index];
        let Some(last) = queue.get_pending(nonce).and_then(Pending::current) else { return false };
        let overdue = nonce == queue.used && height >= last.at + OVERDUE_AFTER && height > queue.reminded;
        if overdue {
            queue.reminded = height;
        }
        overdue
    }

    fn note_balance(&mut self, index: usize, balance: U256) {
        let (alert, data_fee) = (U256::from(self.node.policy.borrow().balance_alert), self.data_fee);
        let reserve = U256::from(RESERVE_GAS) * U256::from(self.suggest_fees().max_fee)
            + U256::from(RESERVE_BYTES) * U256::from(data_fee);
        let queue = &mut self.queues[index];
        queue.balance = balance;
        self.node.metrics.has(queue.address(), balance);
        if !queue.funded && balance >= queue.committed(data_fee) + reserve {
            info!(account = %queue.address(), balance = format_ether(balance), "a sending key is funded again, ETH");
            queue.funded = true;
        }
        if balance >= alert && !balance.is_zero() {
            queue.alerted = false;
        } else if !std::mem::replace(&mut queue.alerted, true) {
            let (balance, alert) = (format_ether(balance), format_ether(alert));
            warn!(account = %queue.address(), balance, alert, "a sending key has little money for gas, ETH: send it some");
        }
    }

    /// Waits for transactions that the journal does not know, but not for ever.
    fn look_for_unknown(&mut self, index: usize) -> Result<(), StageError> {
        let queue = &mut self.queues[index];
        let Some(Hold { until, since }) = queue.hold else { return Ok(()) };
        if queue.used >= until {
            info!(account = %queue.address(), "the unknown transactions are mined");
            queue.hold = None;
        } else if since.elapsed() >= UNKNOWN_PATIENCE {
            warn!(
                account = %queue.address(), from = queue.used, until,
                "transactions of this key that the journal does not know are not mined: replacing them"
            );
            queue.hold = None;
            self.fill_gaps(index)?;
        }
        Ok(())
    }

    pub(super) fn broadcast_done(
        &mut self,
        index: usize,
        nonce: u64,
        hash: B256,
        result: Result<(), ChainError>,
    ) -> Result<(), StageError> {
        let Err(error) = result else {
            debug!(nonce, %hash, "broadcast");
            return Ok(());
        };
        // Of an attempt that was replaced meanwhile, or is mined, nothing is to be learnt.
        let current = self.queues[index].get_pending(nonce).and_then(Pending::current);
        if current.is_none_or(|current| current.hash != hash) {
            return Ok(());
        }
        match error {
            // Mined already, by us or by another: the receipts tell.
            ChainError::NonceTooLow => self.ask_account(index),
            // The base fee rose, or the pool holds a dearer one: the next tick raises it.
            ChainError::FeeTooLow(_) | ChainError::Underpriced => {
                let base_fee = self.base_fee();
                self.queues[index].too_low.insert(nonce, base_fee);
            }
            ChainError::InsufficientFunds => {
                let needed = self.queues[index].committed(self.data_fee);
                self.out_of_funds(index, needed);
            }
            ChainError::OutOfGas(reason) => {
                error!(nonce, %hash, reason, "the endpoint will not take the transaction");
                if let Some(pending) = self.queues[index].get_pending(nonce) {
                    let left = purpose::left_over(&*self.node.journal, pending.slot())?;
                    let why = format!("the endpoint refuses its transaction: {reason}");
                    self.reopen(left.into_iter().map(|task| (task.id, Transition::Failed(why.clone()))).collect())?;
                }
                self.cancel(index, nonce)?;
            }
            error => {
                self.node.metrics.chain_errors.add();
                warn!(nonce, %hash, %error, label = error.label(), "not broadcast; trying again");
                self.queues[index].rebroadcast = None;
            }
        }
        Ok(())
    }
}
