//! Claims pay whose vesting has passed, in batches.

use std::{collections::HashMap, sync::Arc};

use alloy::primitives::B256;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    journal::{Claim, Journal},
    node::{Node, StageError, Tip},
};

/// How pay is claimed.
#[derive(Debug, Clone, Copy)]
pub struct ClaimSettings {
    /// The most items in a transaction.
    pub batch: usize,
    /// Blocks between two looks.
    pub every: u64,
    /// The fewest items worth a transaction.
    pub min_items: usize,
}

/// The stage that collects.
#[derive(Debug)]
pub struct Claimer<C, J> {
    node: Arc<Node<C, J>>,
    settings: ClaimSettings,
    tips: watch::Receiver<Option<Tip>>,
    out: mpsc::Sender<Vec<Claim>>,
}

/// Looks after which an offered claim that is still unpaid is offered again.
const PATIENCE: u32 = 8;

impl<C: Send + Sync, J: Journal> Claimer<C, J> {
    /// A claimer that hands batches to the submitter.
    pub fn new(
        node: Arc<Node<C, J>>,
        settings: ClaimSettings,
        tips: watch::Receiver<Option<Tip>>,
        out: mpsc::Sender<Vec<Claim>>,
    ) -> Self {
        Self { node, settings, tips, out }
    }

    /// Claims until shutdown.
    ///
    /// # Errors
    /// The journal's.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), StageError> {
        let mut offered: HashMap<B256, u32> = HashMap::new();
        let mut looked = 0;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                changed = self.tips.changed() => if changed.is_err() { return Ok(()) },
            }
            let Some(head) = self.tips.borrow_and_update().map(|tip| tip.header.block.number) else { continue };
            if head < looked + self.settings.every {
                continue;
            }
            looked = head;
            let unpaid: Vec<_> =
                self.node.journal.claims()?.into_iter().filter(|claim| claim.paid_at.is_none()).collect();
            offered.retain(|id, looks| {
                *looks += 1;
                *looks < PATIENCE && unpaid.iter().any(|claim| claim.id == *id)
            });
            let due: Vec<_> =
                unpaid.into_iter().filter(|claim| claim.vests_at < head && !offered.contains_key(&claim.id)).collect();
            if due.len() < self.settings.min_items.max(1) {
                continue;
            }
            for batch in due.chunks(self.settings.batch.max(1)) {
                offered.extend(batch.iter().map(|claim| (claim.id, 0)));
                tokio::select! {
                    () = shutdown.cancelled() => return Ok(()),
                    sent = self.out.send(batch.to_vec()) => sent.map_err(|_| StageError::Gone("submitter"))?,
                }
            }
        }
    }
}
