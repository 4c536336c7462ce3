//! What is final: out of the journal and into its ledger.

use alloy::primitives::B256;

use super::{
    Transactions,
    relevance::signers_of,
    spending::hour_of,
    tracked::{Final, TxState},
};
use crate::{
    chain::Chain,
    domain::{ChainHead, Entry, Purpose},
    failpoint::failpoint,
    journal::{Batch, Journal, JournalError},
    node::{Node, StageError},
};

impl<C: Chain, J: Journal> Transactions<C, J> {
    /// Forgets what is final and adds it to the ledger, in one write.
    pub(super) fn close_final(&mut self, head: &ChainHead) -> Result<(), StageError> {
        let hour = hour_of(head);
        let mut batch = Batch::default();
        for queue in self.queues.iter_mut() {
            for nonce in queue.final_nonces(head) {
                let Some(TxState::Mined(mined)) = queue.tracked.remove(&nonce).map(|tracked| tracked.state) else {
                    continue;
                };
                let done = mined.finalize();
                let entries = ledger_entries(&*self.node, &done, hour)?;
                batch.booked.extend(entries.into_iter().filter(|entry| !is_empty(entry)));
                batch.transactions_gone.push((done.transaction.sender, nonce));
                queue.closed = queue.closed.max(nonce + 1);
            }
        }
        if batch.transactions_gone.is_empty() {
            return Ok(());
        }
        failpoint("final.before");
        self.commit(&batch)?;
        failpoint("final.after");
        self.read_spending(hour)
    }
}

/// What a final transaction adds to the ledger: its cost, in equal parts for its items, and what they are paid.
fn ledger_entries<C, J: Journal>(node: &Node<C, J>, done: &Final, hour: u64) -> Result<Vec<Entry>, JournalError> {
    let journal = &*node.journal;
    let cost = done.receipt.cost();
    let Final { transaction, .. } = done;
    let ids: Vec<B256> = match &transaction.purpose {
        Purpose::Answer { items } => items.iter().map(|item| item.id).collect(),
        Purpose::Claim { ids } => ids.clone(),
        Purpose::Cancel => Vec::new(),
    };
    let count = ids.len().max(1) as u128;
    let mut entries = vec![Entry { hour, spent: cost % count, ..Entry::default() }];
    if ids.is_empty() {
        entries[0].spent = cost;
    }
    for id in ids {
        let job = journal.job(id)?;
        let mut entry = Entry { hour, spent: cost / count, ..Entry::default() };
        if let Some(job) = &job {
            let request = &job.task().request;
            entry.model = request.model_id;
            if matches!(transaction.purpose, Purpose::Answer { .. })
                && let Some(seats) = signers_of(job, transaction)
            {
                entry.earned = i128::try_from(node.pay(request, seats)).unwrap_or(i128::MAX);
                entry.answers = 1;
            }
        } else if let Some(claim) = journal.claim(id)? {
            entry.model = claim.request.model_id;
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn is_empty(entry: &Entry) -> bool {
    entry.spent == 0 && entry.earned == 0 && entry.answers == 0
}
