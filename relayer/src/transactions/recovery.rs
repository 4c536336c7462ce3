//! After a start and after a reorganisation: what the journal, the chain and the jobs say of each other is made to agree.

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::{Address, B256};
use tokio::time::Instant;
use tracing::warn;

use super::{
    REBROADCAST_INTERVAL, Transactions,
    candidate::TxId,
    queue::Hold,
    relevance::sent_moves,
    tracked::{Mined, Tracked, TxState},
};
use crate::{
    chain::{At, Backoff, BlockRef, Chain},
    conditions::Obstacle,
    domain::{AnswerRef, ChainHead, Job, Transition},
    failpoint::failpoint,
    journal::{Batch, Journal, Position, View},
    node::StageError,
};

/// Jobs looked at together.
const SENT_PAGE: usize = 1_024;

impl<C: Chain, J: Journal> Transactions<C, J> {
    /// Finds where the keys stand on chain; tries until the endpoint answers.
    ///
    /// # Errors
    /// The journal's; `Signer` if a signer refuses for good.
    pub(crate) async fn recover(&mut self) -> Result<(), StageError> {
        for account in self.queues.accounts() {
            self.recover_account(account).await?;
        }
        self.market.blocks = self.node.chain.recent_fees().await.unwrap_or_default();
        self.find_data_fee().await;
        Ok(())
    }

    async fn recover_account(&mut self, account: Address) -> Result<(), StageError> {
        let mut backoff = Backoff::default();
        let (latest, pending, balance) = loop {
            let chain = &self.node.chain;
            let nonces = (chain.nonce(account, At::Latest), chain.nonce(account, At::Pending));
            match futures::try_join!(nonces.0, nonces.1, chain.balance(account)) {
                Ok(answers) => break answers,
                Err(error) => {
                    self.node.conditions.hinder(Obstacle::Account, format!("{account}: {error}"));
                    tokio::time::sleep(backoff.failed()).await;
                }
            }
        };
        self.node.conditions.clear(Obstacle::Account);
        self.node.metrics.has(account, balance);
        let Some(queue) = self.queues.get_mut(account) else { return Ok(()) };
        queue.balance = balance;
        queue.used = latest;
        let after_ours = queue.tracked.keys().next_back().map_or(0, |last| last + 1);
        queue.next = latest.max(pending).max(after_ours);
        if (latest..pending).any(|nonce| !queue.tracked.contains_key(&nonce)) {
            warn!(
                %account, latest, pending,
                "transactions of this key that the journal does not know are pending: waiting for them"
            );
            queue.hold = Some(Hold { until: pending, since: Instant::now() });
        }
        let free: Vec<u64> =
            (latest.max(pending)..queue.next).filter(|nonce| !queue.tracked.contains_key(nonce)).collect();
        queue.rebroadcast_at = Some(Instant::now() + REBROADCAST_INTERVAL);
        for nonce in free {
            self.fill(TxId { account, nonce })?;
        }
        self.rebroadcast(account)?;
        self.ask_account(account);
        Ok(())
    }

    /// After a reorganisation, what was mined may not be any more.
    pub(super) fn on_reorg(&mut self) -> Result<(), StageError> {
        for queue in self.queues.iter_mut() {
            queue.may_fall = true;
            // It may reach deeper than what counted as final.
            queue.closed = 0;
            queue.tracked.values_mut().for_each(Tracked::trust_again);
        }
        self.take_back(|_| true)?;
        self.mark_carried()?;
        for account in self.queues.accounts() {
            self.ask_account(account);
            // The pools may have lost them with their blocks.
            self.rebroadcast(account)?;
        }
        Ok(())
    }

    /// Takes back receipts of blocks that the watcher found others in place of. It had not taken them in when they were
    /// replaced, so to it that was no reorganisation.
    pub(super) fn take_back_stale(&mut self, head: &ChainHead) -> Result<(), StageError> {
        let is_news = |mined: &Mined| !mined.on_chain && mined.receipt().block.number <= head.header.block.number;
        let news = self.queues.iter().flat_map(|queue| queue.tracked.values());
        if !news.filter_map(|tracked| tracked.state.mined()).any(is_news) {
            return Ok(());
        }
        let recent = self.node.journal.recent_blocks()?;
        let recent: BTreeMap<u64, B256> = recent.into_iter().map(|block| (block.number, block.hash)).collect();
        let is_gone = |mined: &Mined| {
            let BlockRef { number, hash } = mined.receipt().block;
            recent.get(&number).is_some_and(|known| *known != hash)
        };
        let mut stale = BTreeSet::new();
        for queue in self.queues.iter_mut() {
            for tracked in queue.tracked.values_mut() {
                let TxState::Mined(mined) = &mut tracked.state else { continue };
                if is_news(mined) && is_gone(mined) {
                    stale.insert(queue.signer.address());
                    queue.may_fall = true;
                } else if is_news(mined) {
                    mined.on_chain = true;
                }
            }
        }
        if stale.is_empty() {
            return Ok(());
        }
        self.take_back(is_gone)?;
        self.mark_carried()?;
        for account in stale {
            self.ask_account(account);
            self.rebroadcast(account)?;
        }
        Ok(())
    }

    /// What was mined and `is_gone` is pending again.
    fn take_back(&mut self, is_gone: impl Fn(&Mined) -> bool) -> Result<(), StageError> {
        let mut transactions = Vec::new();
        for queue in self.queues.iter_mut() {
            for (nonce, mut tracked) in std::mem::take(&mut queue.tracked) {
                tracked.state = match tracked.state {
                    TxState::Mined(mined) if is_gone(&mined) => {
                        let pending = mined.reorged();
                        transactions.push(pending.transaction().clone());
                        TxState::Pending(pending)
                    }
                    state => state,
                };
                queue.tracked.insert(nonce, tracked);
            }
        }
        if transactions.is_empty() {
            return Ok(());
        }
        failpoint("unmined.before");
        self.commit(&Batch { transactions, ..Batch::default() })?;
        failpoint("unmined.after");
        Ok(())
    }

    /// Jobs that were opened again while a transaction carries their answer are on their way: not to be sent twice.
    pub(super) fn mark_carried(&mut self) -> Result<(), StageError> {
        let mut moves = Vec::new();
        for transaction in self.queues.tracked().filter_map(|tracked| tracked.state.unjudged()) {
            moves.extend(sent_moves(transaction, &self.relevance(transaction)?.opened_again));
        }
        for step in moves {
            // One by one: a refused one must not hold back the others.
            self.write_carried(vec![step])?;
        }
        Ok(())
    }

    /// Writes that jobs are on their way in transactions that exist.
    pub(super) fn write_carried(&self, moves: Vec<(B256, Transition)>) -> Result<(), StageError> {
        failpoint("adopted.before");
        self.commit(&Batch { moves, ..Batch::default() })?;
        failpoint("adopted.after");
        Ok(())
    }

    /// Jobs that count as sent in a transaction that does not carry them are open: a kill took what had been written of
    /// them before the transaction was given another purpose.
    pub(super) fn reopen_uncarried(&mut self) -> Result<(), StageError> {
        let (mut from, end) = (Position::first_at(0), Position::last_at(u64::MAX));
        loop {
            let page = self.node.journal.walk(View::Sent, from..end, SENT_PAGE)?;
            let Some(last) = page.last() else { return Ok(()) };
            from = last.next();
            let mut moves = Vec::new();
            for at in page {
                let Some(Job::Sent(sent)) = self.node.journal.job(at.id)? else { continue };
                let item = AnswerRef { id: at.id, block: sent.task.block.hash };
                let tracked = self.queues.get(sent.sender).and_then(|queue| queue.tracked.get(&sent.nonce));
                if !tracked.is_some_and(|tracked| tracked.state.carries(&item)) {
                    moves.push((at.id, Transition::Reopened));
                }
            }
            self.write_moves(moves)?;
        }
    }
}
