//! From a reserved nonce to signed bytes in the journal: the signer is asked, and what it signed is written down before it is
//! broadcast.
//!
//! A key in this process signs at the first poll, and everything is done in one go. Another signer's answer comes back
//! through [`Transactions::step`]; until then the nonce is reserved, in memory only. A failure frees it again.

use alloy::{consensus::TxEip1559, primitives::Signature};
use tracing::debug;

use super::{
    CallOutcome, SendOutcome, Transactions,
    candidate::{TxId, answers},
    relevance::sent_moves,
    tracked::{Pending, Tracked, TxState},
};
use crate::{
    chain::Chain,
    domain::Purpose,
    failpoint::failpoint,
    journal::{Batch, Journal},
    keys::{SignError, Signing},
    node::StageError,
};

impl<C: Chain, J: Journal> Transactions<C, J> {
    /// Has what waits for its signature under a nonce signed.
    pub(super) fn sign(&mut self, id: TxId) -> Result<SendOutcome, StageError> {
        let Some(queue) = self.queues.get(id.account) else { return Ok(SendOutcome::Later) };
        let Some(unsigned) = queue.unsigned(id.nonce) else { return Ok(SendOutcome::Later) };
        let transaction = unsigned.transaction(self.node.domain.chain_id, id.nonce);
        failpoint("reserved.after");
        match Signing::start(queue.signer.sign_transaction(&transaction)) {
            Signing::Done(signed) => self.signed(id, transaction, signed),
            Signing::InProgress(call) => {
                self.tasks.push(Box::pin(async move { CallOutcome::Signed(id, transaction, call.await) }));
                Ok(SendOutcome::Signing(id))
            }
        }
    }

    /// Takes in a signer's answer that came after a while.
    pub(super) fn signed_at_last(
        &mut self,
        id: TxId,
        transaction: TxEip1559,
        signed: Result<Signature, SignError>,
    ) -> Result<(), StageError> {
        let chain_id = self.node.domain.chain_id;
        let waits = self.queues.get(id.account).and_then(|queue| queue.unsigned(id.nonce));
        // An older attempt may be mined meanwhile: what is signed in vain was never journalled, and never left us.
        if waits.is_some_and(|unsigned| unsigned.transaction(chain_id, id.nonce) == transaction) {
            let outcome = self.signed(id, transaction, signed)?;
            self.resolved.push((id, outcome));
        }
        Ok(())
    }

    fn signed(
        &mut self,
        id: TxId,
        transaction: TxEip1559,
        signed: Result<Signature, SignError>,
    ) -> Result<SendOutcome, StageError> {
        let height = self.height();
        let Some(queue) = self.queues.get_mut(id.account) else { return Ok(SendOutcome::Later) };
        let signature = match signed {
            Ok(signature) => signature,
            Err(error) => {
                queue.release(id.nonce);
                queue.health.failed(id.account, error)?;
                return Ok(SendOutcome::Later);
            }
        };
        queue.health.succeeded(id.account);
        let Some(unsigned) = queue.unsigned(id.nonce).cloned() else { return Ok(SendOutcome::Later) };
        let attempt = unsigned.attempt(transaction, signature, height);
        let purpose = unsigned.candidate.purpose;
        match queue.get_pending(id.nonce).cloned() {
            Some(pending) => {
                let is_new = pending.transaction().purpose != purpose;
                self.journal_replacement(id, pending.again(purpose, attempt), is_new)
            }
            None if id.nonce < queue.used => {
                debug!(?id, "the nonce was used while its transaction was being signed");
                queue.release(id.nonce);
                Ok(SendOutcome::Later)
            }
            None => self.journal_first(id, Pending::new(id, purpose, attempt)),
        }
    }

    /// Writes a first attempt down, with the moves of the jobs that it answers, and broadcasts it.
    fn journal_first(&mut self, id: TxId, pending: Pending) -> Result<SendOutcome, StageError> {
        let transaction = pending.transaction();
        let is_filler = transaction.purpose == Purpose::Cancel;
        let moves = sent_moves(transaction, answers(&transaction.purpose));
        let batch = Batch { transactions: vec![transaction.clone()], moves, ..Batch::default() };
        if is_filler {
            failpoint("filled.before");
        } else {
            failpoint("sent.before");
        }
        if let Some((job, illegal)) = self.node.journal.commit(&batch)?.first() {
            debug!(id = %job, %illegal, "not sent");
            self.release(id);
            return Ok(SendOutcome::Refused(*job));
        }
        if is_filler {
            failpoint("filled.after");
        } else {
            failpoint("sent.after");
            self.node.metrics.sent.add();
        }
        let (TxId { account, nonce }, hash) = (id, pending.current().map(|attempt| attempt.hash));
        for (job, _) in &batch.moves {
            debug!(id = %job, %account, nonce, ?hash, "its answer is in a transaction");
        }
        self.insert(id, pending);
        Ok(SendOutcome::Sent)
    }

    /// Writes another attempt down; `is_new` if it has another purpose than the one before. Broadcasts it.
    fn journal_replacement(&mut self, id: TxId, moved: Pending, is_new: bool) -> Result<SendOutcome, StageError> {
        let transaction = moved.transaction();
        let moves = if is_new { sent_moves(transaction, answers(&transaction.purpose)) } else { Vec::new() };
        let batch = Batch { transactions: vec![transaction.clone()], moves, ..Batch::default() };
        failpoint("replaced.before");
        if let Some((job, illegal)) = self.node.journal.commit(&batch)?.first() {
            debug!(id = %job, %illegal, "not replaced");
            self.release(id);
            return Ok(SendOutcome::Refused(*job));
        }
        failpoint("replaced.after");
        if let Some(current) = moved.current() {
            debug!(
                nonce = id.nonce,
                max_fee = current.max_fee,
                priority_fee = current.max_priority_fee,
                "replacing a transaction"
            );
        }
        self.node.metrics.replaced.add();
        self.insert(id, moved);
        Ok(SendOutcome::Sent)
    }

    fn release(&mut self, id: TxId) {
        if let Some(queue) = self.queues.get_mut(id.account) {
            queue.release(id.nonce);
        }
    }

    /// Keeps a transaction that is in the journal, and broadcasts it.
    fn insert(&mut self, id: TxId, pending: Pending) {
        let Some(queue) = self.queues.get_mut(id.account) else { return };
        let state = TxState::Pending(pending);
        let tracked = match queue.tracked.remove(&id.nonce) {
            Some(Tracked { receipt_asked, missing, in_pool, .. }) => {
                Tracked { receipt_asked, missing, in_pool, ..Tracked::new(state) }
            }
            None => Tracked::new(state),
        };
        queue.tracked.insert(id.nonce, tracked);
        self.broadcast(id);
    }
}
