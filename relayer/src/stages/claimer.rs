//! Claims pay whose vesting has passed, in batches.

use std::{collections::HashMap, sync::Arc};

use alloy::primitives::B256;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    domain::{ChainHead, Claim},
    journal::{Journal, Position, View},
    node::{Node, StageError},
};

/// Settings for claiming pay.
#[derive(Debug, Clone, Copy)]
pub struct ClaimSettings {
    /// Items of a transaction at most.
    pub batch: usize,
    /// Number of blocks for which vested pay waits for a full batch.
    pub max_wait: u64,
}

/// Stage that claims vested pay.
#[derive(Debug)]
pub struct Claimer<C, J> {
    node: Arc<Node<C, J>>,
    settings: ClaimSettings,
    heads: watch::Receiver<Option<ChainHead>>,
    out: mpsc::Sender<Vec<Claim>>,
}

/// Vested claims read from the journal at once.
const CLAIMS_PER_READ: usize = 1_024;
/// Reads of one poll at most; the next poll is as many blocks later as this one made reads.
const READS_PER_POLL: u64 = 64;
/// Number of blocks after which an offered claim that is still unpaid is offered again.
const REOFFER_AFTER: u64 = 128;

impl<C: Send + Sync, J: Journal> Claimer<C, J> {
    /// Makes a claimer that hands batches to the submitter.
    pub fn new(
        node: Arc<Node<C, J>>,
        settings: ClaimSettings,
        heads: watch::Receiver<Option<ChainHead>>,
        out: mpsc::Sender<Vec<Claim>>,
    ) -> Self {
        Self { node, settings, heads, out }
    }

    /// Claims until shutdown.
    ///
    /// # Errors
    /// `Journal` where the journal fails; `Gone` if the submitter ended.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), StageError> {
        let mut offered: HashMap<B256, u64> = HashMap::new();
        let mut next_poll = 0;
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                changed = self.heads.changed() => if changed.is_err() { return Ok(()) },
            }
            let Some(head) = self.heads.borrow_and_update().map(|head| head.header.block.number) else { continue };
            if head < next_poll {
                continue;
            }
            offered.retain(|_, at| head < *at + REOFFER_AFTER);
            let mut due = Vec::new();
            let mut from = Position::first_at(0);
            // Those that do not pay yet must not hide the ones behind them.
            for steps in 1..=READS_PER_POLL {
                next_poll = head + steps;
                let step = self.node.journal.walk(View::Vesting, from..Position::first_at(head), CLAIMS_PER_READ)?;
                let Some(last) = step.last() else { break };
                from = last.next();
                let whole = step.len() == CLAIMS_PER_READ;
                for at in step.into_iter().filter(|at| !offered.contains_key(&at.id)) {
                    due.extend(self.node.journal.claim(at.id)?.filter(|claim| self.node.pays_to_claim(claim)));
                }
                if !whole || due.len() >= CLAIMS_PER_READ {
                    break;
                }
                tokio::task::yield_now().await;
            }
            let full = self.settings.batch.max(1);
            for batch in due.chunks(full) {
                let overdue = |claim: &Claim| claim.vests_at + self.settings.max_wait < head;
                if batch.len() < full && !batch.iter().any(overdue) {
                    break;
                }
                offered.extend(batch.iter().map(|claim| (claim.id, head)));
                tokio::select! {
                    biased;
                    () = shutdown.cancelled() => return Ok(()),
                    sent = self.out.send(batch.to_vec()) => sent.map_err(|_| StageError::Gone("submitter"))?,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        chain::Chain,
        journal::Batch,
        protocol::Outcome,
        testing::{Bench, task},
    };
    use alloy::primitives::Bytes;
    use std::time::Duration;

    /// What is claimed at each height, where `count` items vest at block 10.
    async fn claimed(count: u64, heights: &[u64]) -> Vec<Vec<usize>> {
        let bench = Bench::new();
        let claims = (0..count).map(|nonce| {
            let task = task(nonce);
            let (output_commitment, seats) = (B256::ZERO, Bytes::new());
            let (fulfilled_at, vests_at, paid_at) = (0, 10, None);
            let (id, request, outcome) = (task.id, task.request, Outcome::Ok);
            Claim { id, request, outcome, output_commitment, seats, fulfilled_at, vests_at, paid_at }
        });
        bench.node.journal.commit(&Batch { claims: claims.collect(), ..Batch::default() }).unwrap();
        let (heads, heads_in) = watch::channel(None);
        let (out, mut batches) = mpsc::channel(1_000);
        let settings = ClaimSettings { batch: 4, max_wait: 20 };
        let stop = CancellationToken::new();
        tokio::spawn(Claimer::new(bench.node.clone(), settings, heads_in, out).run(stop.clone()));
        let mut seen = Vec::new();
        for height in heights {
            let mut header = bench.node.chain.head().await.unwrap();
            header.block.number = *height;
            heads.send_replace(Some(ChainHead { header, reorg_epoch: 0, final_block: None }));
            tokio::time::sleep(Duration::from_secs(1)).await;
            seen.push(std::iter::from_fn(|| batches.try_recv().ok()).map(|batch| batch.len()).collect());
        }
        seen
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_claimed_before_it_vests() {
        assert_eq!(claimed(8, &[8, 10, 12]).await, [vec![], vec![], vec![4, 4]]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_fills_no_batch_waits_and_is_claimed_in_the_end_once() {
        assert_eq!(claimed(6, &[12, 14, 32, 34]).await, [vec![4], vec![], vec![2], vec![]]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_offered_and_stays_unpaid_is_offered_again() {
        assert_eq!(claimed(4, &[12, 100, 139, 140]).await, [vec![4], vec![], vec![], vec![4]]);
    }

    #[tokio::test(start_paused = true)]
    async fn more_than_one_look_takes_is_offered_in_several() {
        let offered = claimed(1_500, &[12, 13, 14]).await;
        let counts: Vec<usize> = offered.iter().map(|batches| batches.iter().sum()).collect();
        assert_eq!(counts, [1_024, 476, 0]);
    }
}
