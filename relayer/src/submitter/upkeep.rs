//! What happens to a slot until it is final.
//!
//! | what is seen | what is done |
//! |---|---|
//! | a new start | broadcast the same bytes again; look for receipts of nonces that are used |
//! | a nonce that is not ours between the chain's and ours | wait until it is mined, then look at the chain again |
//! | a gap in our nonces | a self-transfer fills it |
//! | not mined for a while | broadcast the same bytes again, then replace the head of the queue with a higher fee |
//! | its request is gone, in another block, or answered by others | replace it with the new answer, or a self-transfer |
//! | its nonce is used and none of its attempts has a receipt | a foreign transaction took it: the job is run again |
//! | mined and reverted | if the request is settled, done; else the job failed |
//! | a reorganisation | every receipt is asked for again |

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use alloy::primitives::{B256, U256};
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::{Done, Submitter, Work};
use crate::{
    chain::{At, Chain, ChainError, Receipt},
    journal::{Batch, Item, Journal, Purpose, Slot},
    lifecycle::{Ending, Job, Move},
    node::StageError,
};

/// How long a slot whose request is gone waits for a new answer before a self-transfer replaces it.
const ORPHAN_PATIENCE: Duration = Duration::from_secs(5);
/// How long a used nonce may have no receipt before it counts as taken by a foreign transaction.
const RECEIPT_PATIENCE: Duration = Duration::from_secs(10);
/// How long a nonce of ours that no transaction holds may be a reading of the past.
pub(super) const GAP_PATIENCE: Duration = Duration::from_secs(5);
/// The least time before a replacement: some chains make a block per transaction.
const REPLACE_PATIENCE: Duration = Duration::from_secs(5);
/// Tips between two looks at the fees of recent blocks.
const FEE_TIPS: u64 = 10;
/// Time between two broadcasts of the same bytes.
const REBROADCAST: Duration = Duration::from_secs(10);

/// What upkeep remembers between two looks; all of it can be lost.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) broadcasting: usize,
    /// Whether the account's nonce is being asked for.
    pub(super) asking: bool,
    /// Since when a nonce is used and has no receipt.
    missing: HashMap<u64, Instant>,
    /// Since when a slot has nothing to answer.
    pub(super) orphaned: HashMap<u64, Instant>,
    /// When a slot's current attempt was made.
    pub(super) attempted: HashMap<u64, Instant>,
    /// Since when nonces below ours are held by nothing.
    pub(super) gap: Option<Instant>,
    /// Slots whose fee the endpoint calls too low.
    too_low: BTreeSet<u64>,
    rebroadcast: Option<Instant>,
    tips: u64,
}

impl Memory {
    fn forget_final(&mut self, slots: &BTreeMap<u64, Slot>) {
        for since in [&mut self.missing, &mut self.orphaned, &mut self.attempted] {
            since.retain(|nonce, _| slots.contains_key(nonce));
        }
    }
}

impl<C: Chain, J: Journal> Submitter<C, J> {
    /// Finds where the key stands on chain; tries until the endpoint answers.
    pub(super) async fn recover(&mut self) -> Result<(), StageError> {
        let me = self.sender.address();
        let (latest, pending, balance) = loop {
            let asked = futures::try_join!(
                self.node.chain.nonce(me, At::Latest),
                self.node.chain.nonce(me, At::Pending),
                self.node.chain.balance(me),
            );
            match asked {
                Ok(answers) => break answers,
                Err(error) => {
                    warn!(%error, "cannot read the sending key's account; trying again");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        };
        self.balance = balance;
        self.recent_tips = self.node.chain.recent_tips().await.unwrap_or_default();
        let after_slots = self.slots.keys().next_back().map_or(0, |last| last + 1);
        self.next = latest.max(pending).max(after_slots);
        if (latest..pending).any(|nonce| !self.slots.contains_key(&nonce)) {
            warn!(
                latest,
                pending, "transactions of this key that the journal does not know are pending: waiting for them"
            );
            self.hold = Some(pending);
        }
        for nonce in latest.max(pending)..self.next {
            if !self.slots.contains_key(&nonce) {
                self.fill(nonce)?;
            }
        }
        let unmined: Vec<_> = self.slots.range(latest..).map(|(nonce, _)| *nonce).collect();
        for nonce in unmined {
            self.rebroadcast(nonce);
        }
        self.upkeep.rebroadcast = Some(Instant::now());
        self.ask_account();
        Ok(())
    }

    pub(super) fn on_tip(&mut self) -> Result<(), StageError> {
        let Some(tip) = self.tip() else { return Ok(()) };
        self.note_rewind()?;
        let is_final = |slot: &Slot| slot.mined.is_some_and(|receipt| tip.is_final(receipt.block.number));
        let slots_gone: Vec<_> =
            self.slots.values().filter(|slot| is_final(slot)).map(|slot| (slot.sender, slot.nonce)).collect();
        if !slots_gone.is_empty() {
            self.slots.retain(|_, slot| !is_final(slot));
            self.node.journal.commit(&Batch { slots_gone, ..Batch::default() })?;
        }
        self.upkeep.tips += 1;
        if self.upkeep.tips.is_multiple_of(FEE_TIPS) {
            let chain = self.node.chain.clone();
            self.tasks.push(Box::pin(async move { Done::Tips(chain.recent_tips().await) }));
        }
        if self.in_flight() > 0
            || self.hold.is_some()
            || !*self.ports.funded.borrow()
            || self.upkeep.tips.is_multiple_of(FEE_TIPS)
        {
            self.ask_account();
        }
        self.retry_waiting()
    }

    /// After a reorganisation, what was mined may not be any more.
    pub(super) fn note_rewind(&mut self) -> Result<(), StageError> {
        let Some(rewinds) = self.tip().map(|tip| tip.rewinds).filter(|rewinds| *rewinds != self.rewinds) else {
            return Ok(());
        };
        self.rewinds = rewinds;
        self.upkeep.missing.clear();
        self.ask_account();
        let mut slots = Vec::new();
        for slot in self.slots.values_mut() {
            if slot.mined.take().is_some() {
                slots.push(slot.clone());
            }
        }
        self.node.journal.commit(&Batch { slots, ..Batch::default() })?;
        Ok(())
    }

    /// What has to happen on a quiet chain, too.
    pub(super) fn on_tick(&mut self) -> Result<(), StageError> {
        let unsettled = self.in_flight() > 0 || self.hold.is_some() || self.upkeep.gap.is_some();
        if unsettled || !*self.ports.funded.borrow() {
            self.ask_account();
        }
        for nonce in std::mem::take(&mut self.upkeep.too_low) {
            self.replace(nonce, None)?;
        }
        if self.upkeep.rebroadcast.is_none_or(|last| last.elapsed() >= REBROADCAST) {
            self.upkeep.rebroadcast = Some(Instant::now());
            let unmined: Vec<_> =
                self.slots.values().filter(|slot| slot.mined.is_none()).map(|slot| slot.nonce).collect();
            for nonce in unmined {
                self.rebroadcast(nonce);
            }
        }
        self.retry_waiting()
    }

    pub(super) fn retry_waiting(&mut self) -> Result<(), StageError> {
        for work in std::mem::take(&mut self.waiting) {
            let open = match &work {
                Work::Answer(answer) => self.is_open(answer)?,
                Work::Claim(_) => true,
            };
            if open {
                self.begin(work, 1)?;
            }
        }
        Ok(())
    }

    fn ask_account(&mut self) {
        if std::mem::replace(&mut self.upkeep.asking, true) {
            return;
        }
        let (chain, me) = (self.node.chain.clone(), self.sender.address());
        self.tasks.push(Box::pin(async move {
            Done::Account(futures::try_join!(chain.nonce(me, At::Latest), chain.balance(me)))
        }));
    }

    pub(super) fn account(&mut self, latest: u64, balance: U256) -> Result<(), StageError> {
        self.upkeep.asking = false;
        self.balance = balance;
        if self.hold.is_some_and(|hold| latest >= hold) {
            info!("the unknown transactions are mined");
            self.hold = None;
        }
        if !*self.ports.funded.borrow() && balance >= self.committed() + self.reserve() {
            info!(%balance, "the sending key is funded again");
            self.ports.funded.send_replace(true);
            self.retry_waiting()?;
        }
        for nonce in self.slots.range(..latest).filter(|(_, slot)| slot.mined.is_none()).map(|(nonce, _)| *nonce) {
            let hashes: Vec<B256> = self.slots[&nonce].attempts.iter().rev().map(|attempt| attempt.hash).collect();
            let chain = self.node.chain.clone();
            self.tasks.push(Box::pin(async move {
                for hash in hashes {
                    match chain.receipt(hash).await {
                        Ok(None) => {}
                        found => return Done::Mined(nonce, found),
                    }
                }
                Done::Mined(nonce, Ok(None))
            }));
        }
        self.fill_gaps(latest)?;
        let unmined: Vec<_> = self.slots.range(latest..).map(|(nonce, _)| *nonce).collect();
        for nonce in unmined {
            if self.is_orphaned(nonce)? {
                let since = *self.upkeep.orphaned.entry(nonce).or_insert_with(Instant::now);
                if since.elapsed() >= ORPHAN_PATIENCE {
                    self.upkeep.orphaned.remove(&nonce);
                    self.cancel(nonce)?;
                }
            } else if nonce == latest && self.is_stuck(nonce) {
                self.replace(nonce, None)?;
            }
        }
        self.upkeep.forget_final(&self.slots);
        Ok(())
    }

    /// An unmined slot whose request is gone: its nonce serves the next answer.
    pub(super) fn orphan(&self) -> Option<u64> {
        self.upkeep
            .orphaned
            .keys()
            .copied()
            .filter(|nonce| self.slots.get(nonce).is_some_and(|slot| slot.mined.is_none()))
            .min()
    }

    /// What a single small transaction may cost now.
    fn reserve(&self) -> U256 {
        U256::from(300_000u64) * U256::from(self.market().max_fee)
    }

    fn is_stuck(&mut self, nonce: u64) -> bool {
        let at = self.tip().map_or(0, |tip| tip.header.block.number);
        let since = *self.upkeep.attempted.entry(nonce).or_insert_with(Instant::now);
        let last = self.slots.get(&nonce).and_then(|slot| slot.attempts.last());
        since.elapsed() >= REPLACE_PATIENCE && last.is_some_and(|last| at >= last.at + self.settings.replace_after)
    }

    /// Whether an unmined answer has nothing left to answer.
    pub(super) fn is_orphaned(&self, nonce: u64) -> Result<bool, StageError> {
        let Purpose::Answer { items } = &self.slots[&nonce].purpose else { return Ok(false) };
        let Item { id, block } = &items[0];
        Ok(match self.node.journal.job(*id)? {
            Some(Job::Sent(sent)) => sent.task.block.hash != *block,
            Some(Job::Settled(settled)) => !matches!(settled.ending, Ending::Fulfilled { ours: true, .. }),
            Some(Job::Seen(_) | Job::Closed(_)) | None => true,
        })
    }

    pub(super) fn receipt(&mut self, nonce: u64, receipt: Option<Receipt>) -> Result<(), StageError> {
        let Some(slot) = self.slots.get_mut(&nonce).filter(|slot| slot.mined.is_none()) else { return Ok(()) };
        let Some(receipt) = receipt else {
            let since = *self.upkeep.missing.entry(nonce).or_insert_with(Instant::now);
            return if since.elapsed() >= RECEIPT_PATIENCE { self.taken(nonce) } else { Ok(()) };
        };
        self.upkeep.missing.remove(&nonce);
        slot.mined = Some(receipt);
        self.node.metrics.mined.add();
        let mut batch = Batch { slots: vec![slot.clone()], ..Batch::default() };
        if !receipt.success {
            self.node.metrics.reverted.add();
            let hash = slot.attempts.last().map(|attempt| attempt.hash);
            warn!(nonce, ?hash, purpose = ?slot.purpose, "a transaction reverted");
            if let Purpose::Answer { items } = &slot.purpose {
                batch.moves.push((items[0].id, Move::Failed(format!("the transaction {hash:?} reverted"))));
            }
        }
        // A move of a settled job is refused, and that is right: somebody answered.
        self.node.journal.commit(&batch)?;
        Ok(())
    }

    /// A foreign transaction used the nonce.
    fn taken(&mut self, nonce: u64) -> Result<(), StageError> {
        error!(nonce, "a transaction that this node did not send used its nonce: is the key used elsewhere?");
        self.upkeep.missing.remove(&nonce);
        let Some(slot) = self.slots.remove(&nonce) else { return Ok(()) };
        let mut batch = Batch { slots_gone: vec![(slot.sender, nonce)], ..Batch::default() };
        for Item { id, .. } in match slot.purpose {
            Purpose::Answer { items } => items,
            Purpose::Claim { .. } | Purpose::Cancel => Vec::new(),
        } {
            if !matches!(self.node.journal.job(id)?, Some(Job::Sent(_))) {
                continue;
            }
            // The executor finds it in the journal.
            batch.moves.push((id, Move::Reopened));
        }
        self.node.journal.commit(&batch)?;
        Ok(())
    }

    pub(super) fn broadcast_done(
        &mut self,
        nonce: u64,
        hash: B256,
        result: Result<(), ChainError>,
    ) -> Result<(), StageError> {
        let Err(error) = result else { return Ok(()) };
        if self.slots.get(&nonce).is_none_or(|slot| slot.mined.is_some()) {
            return Ok(());
        }
        match error {
            // Mined already, by us or by another: the receipts tell.
            ChainError::NonceTooLow => self.ask_account(),
            // The base fee rose; it is looked at again with the next tick.
            ChainError::FeeTooLow(_) => {
                self.upkeep.too_low.insert(nonce);
            }
            ChainError::InsufficientFunds => self.out_of_funds(self.committed()),
            ChainError::OutOfGas(reason) => {
                error!(nonce, %hash, reason, "the endpoint will not take the transaction");
                if let Purpose::Answer { items } = &self.slots[&nonce].purpose {
                    self.close(items[0].id, Move::Failed(format!("the endpoint refuses its transaction: {reason}")))?;
                }
                self.cancel(nonce)?;
            }
            error => {
                self.node.metrics.chain_errors.add();
                warn!(nonce, %hash, %error, label = error.label(), "not broadcast; trying again");
                self.upkeep.rebroadcast = None;
            }
        }
        Ok(())
    }
}
