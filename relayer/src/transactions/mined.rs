//! Receipts: found, judged by what became of the jobs, and taken back by reorganisations.

use std::{collections::BTreeMap, time::Duration};

use alloy::primitives::B256;
use tokio::time::Instant;
use tracing::{error, warn};

use super::{
    CallOutcome, Transactions,
    purpose::{self, sent_moves},
    slot::TxState,
};
use crate::{
    chain::{Chain, ChainError, Receipt},
    domain::{AnswerRef, ChainHead, Job, Purpose, Transition},
    failpoint::failpoint,
    journal::{Batch, Journal, Position, View},
    node::StageError,
};

/// Jobs looked at together.
const STEP: usize = 1_024;
/// How long a used nonce may have no receipt before it counts as taken by a foreign transaction.
const RECEIPT_PATIENCE: Duration = Duration::from_secs(10);

/// The receipt of one of some attempts, if its block is on the chain: an endpoint may be on a fork that is no more.
async fn find_receipt(chain: &impl Chain, hashes: Vec<B256>) -> Result<Option<(B256, Receipt)>, ChainError> {
    for hash in hashes {
        let Some(receipt) = chain.receipt(hash).await? else { continue };
        let number = receipt.block.number;
        return match chain.header(number).await? {
            Some(header) if header.block == receipt.block => Ok(Some((hash, receipt))),
            _ => Err(ChainError::UnknownBlock(format!("{} of a receipt", receipt.block.hash))),
        };
    }
    Ok(None)
}

impl<C: Chain, J: Journal> Transactions<C, J> {
    /// After a reorganisation, what was mined may not be any more.
    pub(super) fn rewound(&mut self) -> Result<(), StageError> {
        let mut slots = Vec::new();
        for queue in &mut self.queues {
            queue.may_fall = true;
            // It may reach deeper than what counted as final.
            queue.closed = 0;
            queue.missing.clear();
            let states = std::mem::take(&mut queue.slots).into_iter().map(|(nonce, state)| match state {
                TxState::Mined(mined) => {
                    let pending = mined.reorged();
                    slots.push(pending.slot().clone());
                    (nonce, TxState::Pending(pending))
                }
                pending => (nonce, pending),
            });
            queue.slots = states.collect::<BTreeMap<_, _>>();
        }
        if !slots.is_empty() {
            failpoint("unmined.before");
            self.commit(&Batch { transactions: slots, ..Batch::default() })?;
            failpoint("unmined.after");
        }
        self.adopt()?;
        for index in 0..self.queues.len() {
            self.ask_account(index);
            // The pools may have lost them with their blocks.
            self.rebroadcast(index)?;
        }
        Ok(())
    }

    /// Jobs that were opened again while a transaction carries their answer are on their way: not to be sent twice.
    pub(super) fn adopt(&mut self) -> Result<(), StageError> {
        let mut moves = Vec::new();
        for slot in self.queues.iter().flat_map(|queue| queue.slots.values()).filter_map(TxState::unjudged) {
            moves.extend(sent_moves(slot, &self.standing(slot)?.adopt));
        }
        for step in moves {
            // One by one: a refused one must not hold back the others.
            self.adopted(vec![step])?;
        }
        Ok(())
    }

    /// Jobs that count as sent under a transaction that does not carry them are open: a kill took what had been written of
    /// them before the transaction was given another purpose.
    pub(super) fn free(&mut self) -> Result<(), StageError> {
        let (mut from, end) = (Position::first_at(0), Position::last_at(u64::MAX));
        loop {
            let step = self.node.journal.walk(View::Sent, from..end, STEP)?;
            let Some(last) = step.last() else { return Ok(()) };
            from = last.next();
            let mut moves = Vec::new();
            for at in step {
                let Some(Job::Sent(sent)) = self.node.journal.job(at.id)? else { continue };
                let item = AnswerRef { id: at.id, block: sent.task.block.hash };
                let of_key = self.queues.iter().find(|queue| queue.address() == sent.sender);
                let slot = of_key.and_then(|queue| queue.slots.get(&sent.nonce));
                if !slot.is_some_and(|slot| slot.carries(&item)) {
                    moves.push((at.id, Transition::Reopened));
                }
            }
            self.reopen(moves)?;
        }
    }

    /// Writes that jobs are on their way under transactions that exist.
    pub(super) fn adopted(&self, moves: Vec<(B256, Transition)>) -> Result<(), StageError> {
        failpoint("adopted.before");
        self.commit(&Batch { moves, ..Batch::default() })?;
        failpoint("adopted.after");
        Ok(())
    }

    /// Looks whether mined transactions did what they were to do, now that the logs of their blocks are in the journal.
    pub(super) fn judge_mined(&mut self, tip: &ChainHead) -> Result<(), StageError> {
        let mut moves = Vec::new();
        for state in self.queues.iter_mut().flat_map(|queue| queue.slots.values_mut()) {
            let TxState::Mined(mined) = state else { continue };
            if mined.left_out.is_some() || mined.receipt().block.number > tip.header.block.number {
                continue;
            }
            let slot = mined.slot();
            let in_batch = matches!(&slot.purpose, Purpose::Answer { items } if items.len() > 1);
            let left = purpose::left_over(&*self.node.journal, slot)?;
            let in_vain = !mined.receipt().success && !in_batch && mined.is_to_purpose();
            if in_vain && !tip.is_final(mined.receipt().block.number) {
                // Another fork may do better by it, and a job that failed is not taken up again.
                continue;
            }
            let ids = left.iter().map(|task| task.id).collect();
            let hash = mined.hash();
            for task in left {
                if !in_vain {
                    warn!(id = %task.id, %hash, "a mined transaction did not answer its request; answering it anew");
                    moves.push((task.id, Transition::Reopened));
                    if in_batch {
                        self.left_out.push(task.id);
                    }
                } else {
                    moves.push((task.id, Transition::Failed(format!("the transaction {hash} reverted"))));
                }
            }
            mined.left_out = Some(ids);
        }
        self.reopen(moves)
    }

    pub(super) fn reopen(&self, moves: Vec<(B256, Transition)>) -> Result<(), StageError> {
        if moves.is_empty() {
            return Ok(());
        }
        failpoint("reopened.before");
        self.commit(&Batch { moves, ..Batch::default() })?;
        failpoint("reopened.after");
        Ok(())
    }

    pub(super) fn ask_receipts(&mut self, index: usize) {
        let queue = &mut self.queues[index];
        let used: Vec<(u64, Vec<B256>)> = queue
            .pending()
            .filter(|(nonce, _)| *nonce < queue.used && !queue.asked.contains(nonce))
            .map(|(nonce, pending)| (nonce, pending.slot().attempts.iter().rev().map(|one| one.hash).collect()))
            .collect();
        for (nonce, hashes) in used {
            queue.asked.insert(nonce);
            let (chain, reorg_epoch) = (self.node.chain.clone(), self.reorg_epoch);
            self.tasks.push(Box::pin(async move {
                CallOutcome::Receipt(index, nonce, reorg_epoch, find_receipt(&*chain, hashes).await)
            }));
        }
    }

    pub(super) fn receipt(
        &mut self,
        index: usize,
        nonce: u64,
        found: Option<(B256, Receipt)>,
    ) -> Result<(), StageError> {
        let queue = &mut self.queues[index];
        queue.asked.remove(&nonce);
        let Some((hash, receipt)) = found else {
            if queue.get_pending(nonce).is_some() {
                let since = *queue.missing.entry(nonce).or_insert_with(Instant::now);
                if since.elapsed() >= RECEIPT_PATIENCE {
                    if !queue.doubted.insert(nonce) {
                        return self.taken(index, nonce);
                    }
                    queue.may_fall = true;
                    self.ask_account(index);
                }
            }
            return Ok(());
        };
        queue.missing.remove(&nonce);
        let Some(pending) = queue.take_pending(nonce) else { return Ok(()) };
        if !receipt.success {
            self.node.metrics.reverted.add();
            warn!(nonce, %hash, purpose = ?pending.slot().purpose, "a transaction reverted");
        }
        let mined = pending.mined(hash, receipt);
        failpoint("mined.before");
        self.commit(&Batch { transactions: vec![mined.slot().clone()], ..Batch::default() })?;
        failpoint("mined.after");
        self.node.metrics.mined.add();
        self.queues[index].slots.insert(nonce, TxState::Mined(mined));
        match self.tip {
            Some(tip) => self.judge_mined(&tip),
            None => Ok(()),
        }
    }

    /// A foreign transaction used the nonce.
    fn taken(&mut self, index: usize, nonce: u64) -> Result<(), StageError> {
        let queue = &mut self.queues[index];
        error!(
            nonce, account = %queue.address(),
            "a transaction that this node did not send used its nonce: is the key used elsewhere?"
        );
        queue.missing.remove(&nonce);
        let Some(pending) = queue.take_pending(nonce) else { return Ok(()) };
        let slot = pending.slot();
        let mut batch = Batch { transactions_gone: vec![(slot.sender, nonce)], ..Batch::default() };
        for task in purpose::left_over(&*self.node.journal, slot)? {
            batch.moves.push((task.id, Transition::Reopened));
        }
        failpoint("reopened.before");
        self.commit(&batch)?;
        failpoint("reopened.after");
        Ok(())
    }
}
