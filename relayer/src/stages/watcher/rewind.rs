//! Reorganisations: back to the last block that the chain still has.

use tracing::info;

use super::{WatchError, Watcher, intake};
use crate::{
    chain::{BlockRef, Chain, ChainError, Header},
    failpoint::failpoint,
    journal::Journal,
};

impl<C: Chain, J: Journal> Watcher<C, J> {
    /// Finds the last block taken in that the chain still has; `None` if it has another deployment block.
    async fn ancestor(&self, from: BlockRef, head: Header) -> Result<Option<BlockRef>, WatchError> {
        for (&number, &hash) in self.recent_blocks.range(..=head.block.number).rev() {
            // Below the head there is a block: an endpoint that has none lags, which proves nothing.
            let header = self.node.chain.header(number).await?;
            let header = header.ok_or_else(|| ChainError::UnknownBlock(number.to_string()))?;
            if header.block.hash == hash {
                return Ok(Some(header.block));
            }
        }
        match self.recent_blocks.first_key_value() {
            Some((&oldest, _)) if oldest > self.settings.deployment_block => {
                Err(WatchError::TooDeep { oldest, cursor: from.number })
            }
            _ => Ok(None),
        }
    }

    /// Goes back to the last block that the chain still has.
    pub(super) async fn rewind(&mut self, from: BlockRef, head: Header) -> Result<(), WatchError> {
        let ancestor = self.ancestor(from, head).await?;
        let depth = ancestor.map_or(from.number, |ancestor| from.number - ancestor.number);
        self.node.metrics.rewound(depth);
        self.reorg_epoch += 1;
        self.seats_at = None;
        self.caught_up = false;
        let Some(ancestor) = ancestor else {
            info!(from = from.number, "the deployment's own block was reorganised: scanning from it anew");
            self.node.journal.clear()?;
            self.recent_blocks.clear();
            self.cursor = None;
            return self.read_seats().await;
        };
        info!(from = from.number, to = ancestor.number, "rewinding a reorganisation");
        let mut batch = intake::rewind(&self.node, ancestor)?;
        batch.recent_blocks_gone = self.recent_blocks.range(ancestor.number + 1..).map(|(number, _)| *number).collect();
        failpoint("rewound.before");
        self.node.journal.commit(&batch)?;
        failpoint("rewound.after");
        for number in &batch.recent_blocks_gone {
            self.recent_blocks.remove(number);
        }
        self.cursor = Some(ancestor);
        self.read_seats().await
    }
}
