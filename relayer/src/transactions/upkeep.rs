//! What happens to a transaction until it is final.
//!
//! | what is seen | what is done |
//! |---|---|
//! | a new start | the same bytes are broadcast again; receipts of used nonces are looked for; a job whose transaction does not carry it is open |
//! | a pending transaction of the key that is not ours | nothing is sent until it is mined; after a while a self-transfer replaces it |
//! | a gap in our nonces | the next transaction takes it, or a self-transfer fills it |
//! | a signer that does not answer | its key takes no new work and its nonces are free again; what is signed is looked after as ever |
//! | no endpoint takes it | the same bytes again, after pauses, at the same price; the node is not ready |
//! | not mined for a while | the same bytes again, those of the next nonce with every block, then the head of the queue, if a pool holds it, with a higher fee, and all whose fee is below the block's; but not at a loss |
//! | its requests are gone, ended by others, or late | the next candidate takes its nonce, or a self-transfer replaces it |
//! | its nonce is used and none of its attempts has a receipt | a foreign transaction took it: its jobs are answered anew; its receipt is looked for until the nonce is final |
//! | mined, but a job is still open | answered anew; alone, and reverted, it failed |
//! | a reorganisation | every receipt is asked for again; jobs opened again that a transaction still carries count as sent |

use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use super::{
    CallOutcome, REBROADCAST_INTERVAL, SendOutcome, Transactions,
    candidate::TxId,
    relevance::{self, Relevance},
};
use crate::{
    chain::Chain,
    domain::{ChainHead, TrackedTransaction, Transition},
    journal::Journal,
    node::StageError,
};

/// How long a transaction without a request waits for a new candidate before a self-transfer replaces it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
/// Heads between two looks at the fees of recent blocks.
const FEE_HEADS: u64 = 10;

impl<C: Chain, J: Journal> Transactions<C, J> {
    /// The node took in a new head.
    ///
    /// # Errors
    /// The journal's; `Signer` if a signer refuses for good.
    pub(crate) fn on_head(&mut self, head: ChainHead) -> Result<(), StageError> {
        let first = self.head.is_none();
        self.head = Some(head);
        self.follow_the_hour(&head)?;
        if self.reorg_epoch != head.reorg_epoch {
            self.reorg_epoch = head.reorg_epoch;
            self.on_reorg()?;
        } else if first {
            self.mark_carried()?;
        }
        self.take_back_stale(&head)?;
        if first {
            self.reopen_uncarried()?;
        }
        self.judge_mined(&head)?;
        self.close_final(&head)?;
        self.heads_seen += 1;
        let tenth = self.heads_seen.is_multiple_of(FEE_HEADS);
        // While nothing can be sent, that it can again is to be known at once.
        if tenth || self.is_above_fee_cap() {
            let chain = self.node.chain.clone();
            self.tasks.push(Box::pin(async move { CallOutcome::RecentFees(chain.recent_fees().await) }));
        }
        if tenth {
            self.ask_data_fee();
        }
        self.report_fee_cap();
        self.publish_price(&head);
        for account in self.queues.accounts() {
            let Some(queue) = self.queues.get(account) else { continue };
            if tenth || queue.awaits_news() {
                self.ask_account(account);
            }
        }
        Ok(())
    }

    /// What has to happen on a quiet chain, too.
    ///
    /// # Errors
    /// The journal's; `Signer` if a signer refuses for good.
    pub(crate) fn on_tick(&mut self) -> Result<(), StageError> {
        for account in self.queues.accounts() {
            let Some(queue) = self.queues.get_mut(account) else { continue };
            let refused = queue.tracked.iter_mut().filter_map(|(nonce, tracked)| {
                let highest = tracked.fee_too_low.take()?;
                Some((TxId { account, nonce: *nonce }, highest))
            });
            let refused: Vec<_> = refused.collect();
            let rebroadcast = queue.rebroadcast_at.is_none_or(|at| at <= Instant::now());
            if rebroadcast {
                queue.rebroadcast_at = Some(Instant::now() + REBROADCAST_INTERVAL);
            }
            if queue.in_flight() > 0 || queue.hold.is_some() || queue.gap_since.is_some() || !queue.funded {
                self.ask_account(account);
            }
            for (id, highest) in refused {
                self.offer_more(id, highest)?;
            }
            if rebroadcast {
                self.rebroadcast(account)?;
            }
        }
        self.report_refusals();
        Ok(())
    }

    pub(super) fn relevance(&self, transaction: &TrackedTransaction) -> Result<Relevance, StageError> {
        let mut relevance = relevance::relevance(&*self.node.journal, transaction, self.height() + 1)?;
        // Its jobs may not be known again yet.
        relevance.wanted |= self.head.is_none();
        Ok(relevance)
    }

    /// Raises, cancels or leaves alone a transaction that is not mined.
    pub(super) fn keep_moving(&mut self, id: TxId) -> Result<(), StageError> {
        let Some(pending) = self.queues.get_pending(id) else { return Ok(()) };
        let Relevance { wanted, late, .. } = self.relevance(pending.transaction())?;
        for job in late {
            let reason = "its transaction was not mined before the deadline".to_owned();
            warn!(id = %job, reason, "cannot answer");
            self.write_moves(vec![(job, Transition::Failed(reason))])?;
        }
        let (height, base_fee) = (self.height(), self.base_fee());
        let Some(queue) = self.queues.get_mut(id.account) else { return Ok(()) };
        let Some(tracked) = queue.tracked.get_mut(&id.nonce) else { return Ok(()) };
        if !wanted {
            let since = *tracked.idle_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= IDLE_TIMEOUT {
                tracked.idle_since = None;
                self.cancel(id)?;
            }
            return Ok(());
        }
        tracked.idle_since = None;
        let is_overdue = queue.is_overdue(id.nonce, height);
        let raised = queue.is_stuck(id.nonce, height, base_fee) && self.raise(id)?;
        if !raised && is_overdue {
            if let Some(queue) = self.queues.get_mut(id.account) {
                queue.reminded_at = height;
            }
            self.broadcast_again(id);
        }
        Ok(())
    }

    /// Replaces a transaction by the same with a higher fee. False where that is not possible now.
    fn raise(&mut self, id: TxId) -> Result<bool, StageError> {
        Ok(matches!(self.replace(id, None)?, SendOutcome::Sent | SendOutcome::Signing(_)))
    }

    /// Raises a transaction that the endpoint refused as too cheap, while base fees rose to `highest`, wei per gas. A refusal
    /// alone is no reason: only a price that is known to have risen is. Where it has not, or the cap forbids a raise, the same
    /// goes out again once the base fee has fallen to where it may be mined.
    fn offer_more(&mut self, id: TxId, highest: u128) -> Result<(), StageError> {
        let Some(pending) = self.queues.get_pending(id) else { return Ok(()) };
        if !self.relevance(pending.transaction())?.wanted {
            return Ok(());
        }
        let (base_fee, suggested) = (self.base_fee(), self.suggest_fees());
        let outbid = self.queues.tracked_mut(id).is_some_and(|tracked| std::mem::take(&mut tracked.outbid));
        let Some(current) = self.queues.get_pending(id).and_then(|pending| pending.current()) else { return Ok(()) };
        let (max_fee, priority_fee) = (current.max_fee, current.max_priority_fee);
        let has_risen = max_fee < base_fee.saturating_add(priority_fee) || priority_fee < suggested.priority_fee;
        if (outbid || has_risen) && self.raise(id)? {
            return Ok(());
        }
        if base_fee < highest && base_fee <= max_fee {
            self.broadcast_again(id);
        } else if let Some(tracked) = self.queues.tracked_mut(id) {
            tracked.fee_too_low = Some(highest.max(base_fee));
        }
        Ok(())
    }
}
