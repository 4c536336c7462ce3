//! From blocks to jobs: follows the chain block by block, takes each block's logs in together with the cursor, and
//! tells the other stages the new head. Open requests they find in the journal.
//!
//! A new head is only a wake-up. Deep history is read by ranges of heights, the last `depth` blocks one by one with
//! their hashes; a parent that does not match is a reorganisation, rewound to the common ancestor.

mod failures;
mod history;
mod intake;
mod pages;
mod rewind;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use alloy::{primitives::B256, rpc::types::Log};
use futures::{StreamExt, TryStreamExt};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use self::{
    failures::{MAX_UNEXPLAINED, Unexplained},
    history::History,
    intake::Heights,
};
use crate::{
    chain::{Backoff, BlockRef, Chain, ChainError, Finality, Header, LogScope},
    conditions::Obstacle,
    coordinator::{DecodedLog, Event, ReadError, Views, abi::InferenceCoordinator as Coordinator, decode_log, rules},
    domain::ChainHead,
    failpoint::{failpoint, is_planted},
    journal::{Batch, Journal, JournalError, View},
    node::{Node, StageError},
};

/// The tracing target of requests and their answers as they come, which `oraculum dev` shows. Whichever module logs them.
pub const REQUEST_LOG: &str = "oraculum::requests";
/// Number of empty answers before a block whose filter names the coordinator is believed to have no logs. A filter names
/// many that have none, and an endpoint that leaves out logs does not do so every time.
const EMPTY_BLOCK_READS: usize = 4;
/// Batches that close and forget what is final, at most with one head; the next head goes on.
const PRUNE_BATCHES: usize = 64;
/// Number of blocks whose logs are read at once, and in memory.
const BLOCKS_AT_ONCE: usize = 4;

/// Settings for following the chain.
#[derive(Debug, Clone)]
pub struct WatchSettings {
    /// Height of the coordinator's deployment block: nothing of it is older.
    pub deployment_block: u64,
    /// Rule by which a block counts as final.
    pub finality: Finality,
    /// Number of blocks whose hashes are kept: the deepest reorganisation that can be rewound.
    pub depth: u64,
    /// Blocks asked for in one log query at most.
    pub page: u64,
    /// Ids and names of the models whose requests are taken in; more may come while the chain is followed.
    pub models: watch::Receiver<HashMap<B256, String>>,
    /// When the process began, in seconds from 1970: whatever this key signed before is for blocks of before then.
    pub started_at: u64,
}

/// Stage that follows the chain.
#[derive(Debug)]
pub struct Watcher<C, J> {
    node: Arc<Node<C, J>>,
    settings: WatchSettings,
    heads: watch::Receiver<Option<Header>>,
    published: watch::Sender<Option<ChainHead>>,
    cursor: Option<BlockRef>,
    recent_blocks: BTreeMap<u64, B256>,
    history: History,
    reorg_epoch: u64,
    /// Height at which the seats were read; `None` while they have to be read.
    seats_at: Option<u64>,
    /// Whether the other stages know the head since the last start, rewind or page of history.
    caught_up: bool,
    /// Height of the last final block, as far as it was read.
    final_block: Option<u64>,
    /// Where callbacks that failed are tried again, while the watcher runs.
    unexplained: Option<Unexplained>,
}

/// Error that stops the watcher for a moment, or for good.
#[derive(Debug, thiserror::Error)]
enum WatchError {
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("a reorganisation below block {oldest}")]
    TooDeep { oldest: u64, cursor: u64 },
}

impl<C: Chain, J: Journal> Watcher<C, J> {
    /// Makes a watcher that goes on where the journal ends.
    ///
    /// # Errors
    /// Where the journal cannot be read.
    pub fn new(
        node: Arc<Node<C, J>>,
        settings: WatchSettings,
        heads: watch::Receiver<Option<Header>>,
        published: watch::Sender<Option<ChainHead>>,
    ) -> Result<Self, JournalError> {
        let cursor = node.journal.cursor()?;
        let recent_blocks = node.journal.recent_blocks()?.into_iter().map(|block| (block.number, block.hash)).collect();
        let history = History::new(settings.page);
        Ok(Self {
            node,
            settings,
            heads,
            published,
            cursor,
            recent_blocks,
            history,
            reorg_epoch: 0,
            seats_at: None,
            caught_up: false,
            final_block: None,
            unexplained: None,
        })
    }

    /// Follows the chain until shutdown.
    ///
    /// # Errors
    /// Only what trying again cannot help: `Journal`, `Read` with `NotACoordinator`, and `ReorgTooDeep`.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), StageError> {
        let (unexplained, failed) = mpsc::channel(MAX_UNEXPLAINED);
        self.unexplained = Some(unexplained);
        let node = self.node.clone();
        tokio::select! {
            ended = self.follow(shutdown) => ended,
            never = failures::explain(node, failed) => match never {},
        }
    }

    async fn follow(&mut self, shutdown: CancellationToken) -> Result<(), StageError> {
        let mut backoff = Backoff::default();
        loop {
            let head = *self.heads.borrow_and_update();
            let cursor = self.cursor;
            let step = async {
                match head {
                    Some(head) => self.advance(head).await,
                    None => Ok(()),
                }
            };
            let stepped = tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                stepped = step => stepped,
            };
            let wait = match stepped {
                Ok(()) => {
                    backoff.succeeded();
                    self.node.conditions.clear(Obstacle::Chain);
                    None
                }
                Err(WatchError::Journal(error)) => return Err(error.into()),
                Err(WatchError::TooDeep { oldest, cursor }) => return Err(StageError::ReorgTooDeep { oldest, cursor }),
                Err(WatchError::Read(error @ ReadError::NotACoordinator(_))) => return Err(error.into()),
                Err(WatchError::Chain(error) | WatchError::Read(ReadError::Chain(error))) => {
                    self.node.metrics.chain_errors.add();
                    debug!(%error, label = error.label(), "cannot follow the chain; trying again");
                    self.node.conditions.hinder(Obstacle::Chain, error);
                    if self.cursor != cursor {
                        backoff.succeeded();
                    }
                    Some(backoff.failed())
                }
            };
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                changed = self.heads.changed(), if wait.is_none() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                }
                () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {}
            }
        }
    }

    /// Takes in everything up to a head.
    async fn advance(&mut self, head: Header) -> Result<(), WatchError> {
        self.read_seats().await?;
        if let Some(cursor) = self.cursor
            && head.block.number <= cursor.number
        {
            let stale = self.recent_blocks.get(&head.block.number).is_none_or(|hash| *hash == head.block.hash);
            if stale {
                // The first head after a start may be the cursor's own block.
                if !self.caught_up && head.block == cursor {
                    self.publish_head(head)?;
                }
                return Ok(());
            }
            self.rewind(cursor, head).await?;
        }
        self.read_finality(head).await?;
        loop {
            let next = self.cursor.map_or(self.settings.deployment_block, |cursor| cursor.number + 1);
            if next > head.block.number {
                // A head below the deployment block: nothing to read yet.
                return Ok(());
            }
            if head.block.number - next >= self.settings.depth {
                self.caught_up = false;
                let last = head.block.number - self.settings.depth;
                let Some(page) = self.history.read(&self.node, next, last).await? else { continue };
                match self.cursor {
                    Some(cursor) if page.parent != Some(cursor) => self.rewind(cursor, head).await?,
                    _ => {
                        self.take(&page.logs, page.end, head.block.number).await?;
                        self.prune(head.block.number).await?;
                    }
                }
                continue;
            }
            let headers = self.headers(next, head).await?;
            if let (Some(cursor), Some(first)) = (self.cursor, headers.first())
                && first.parent != cursor.hash
            {
                self.rewind(cursor, head).await?;
                continue;
            }
            self.take_blocks(headers).await?;
            self.publish_head(head)?;
            // Answering goes before tidying.
            tokio::task::yield_now().await;
            return Ok(self.prune(head.block.number).await?);
        }
    }

    /// Finds the last final block. It stays where it is while too few endpoints have the same block there.
    async fn read_finality(&mut self, head: Header) -> Result<(), WatchError> {
        let last = match self.settings.finality {
            Finality::Depth(depth) => head.block.number.checked_sub(depth),
            Finality::Tag(tag) => self.node.chain.tagged(tag).await?.map(|header| header.block.number),
        };
        let known = last.and_then(|number| self.recent_blocks.get(&number).map(|&hash| BlockRef { number, hash }));
        let agreed = match known {
            Some(block) => self.node.chain.agreed(block).await?,
            None => true,
        };
        if agreed {
            self.final_block = last;
        }
        Ok(())
    }

    /// The headers from a height to a head, chained to one another. The tail that does not chain is left out.
    async fn headers(&self, from: u64, head: Header) -> Result<Vec<Header>, WatchError> {
        let reads: Vec<_> = (from..head.block.number).map(|number| self.node.chain.header(number)).collect();
        let read: Vec<Option<Header>> = futures::stream::iter(reads).buffered(8).try_collect().await?;
        let mut headers = Vec::with_capacity(read.len() + 1);
        for (number, header) in (from..).zip(read) {
            headers.push(header.ok_or_else(|| ChainError::UnknownBlock(number.to_string()))?);
        }
        headers.push(head);
        let chained = headers.windows(2).take_while(|pair| pair[1].parent == pair[0].block.hash).count() + 1;
        if chained < headers.len() {
            // The chain moved while it was read.
            return Err(ChainError::UnknownBlock(headers[chained].block.number.to_string()).into());
        }
        Ok(headers)
    }

    /// Takes blocks in one by one, for their logs may be many.
    async fn take_blocks(&mut self, headers: Vec<Header>) -> Result<(), WatchError> {
        let head = headers.last().map_or(0, |head| head.block.number);
        let node = self.node.clone();
        let reads = headers.into_iter().map(|header| logs(&node, header));
        let mut reads = futures::stream::iter(reads).buffered(BLOCKS_AT_ONCE);
        while let Some(read) = reads.next().await {
            let (block, logs) = read?;
            let mut logs: Vec<_> = logs.iter().filter_map(decode_log).collect();
            if is_planted("log-lost") {
                logs.pop();
            }
            self.take(&logs, block, head).await?;
        }
        Ok(())
    }

    /// Writes logs and the block that becomes the cursor in one batch.
    async fn take(&mut self, logs: &[DecodedLog], cursor: BlockRef, head: u64) -> Result<(), WatchError> {
        for log in logs {
            match &log.event {
                Event::Requested { request, .. } if self.node.seats().rules(request.version).is_none() => {
                    let views = Views::new(&*self.node.chain, self.node.domain.coordinator);
                    let parameters = views.parameters(request.version).await?;
                    self.node.seats_mut().set_rules(request.version, rules(&parameters));
                }
                Event::Parameters { version, rules } => self.node.seats_mut().set_rules(*version, *rules),
                Event::Seat { model, index, change } if self.seats_at.is_some_and(|at| log.block.number > at) => {
                    self.node.seats_mut().change(*model, *index, *change);
                }
                Event::Trimmed { model, seat_count } if self.seats_at.is_some_and(|at| log.block.number > at) => {
                    self.node.seats_mut().trim(*model, *seat_count);
                }
                _ => {}
            }
        }
        let mut batch = Batch { cursor: Some(cursor), recent_blocks: vec![cursor], ..Batch::default() };
        let oldest = cursor.number.saturating_sub(self.settings.depth);
        batch.recent_blocks_gone = self.recent_blocks.range(..oldest).map(|(number, _)| *number).collect();
        intake::take(&self.node, &self.settings.models.borrow(), logs, self.heights(head, cursor), &mut batch)?;
        failpoint("taken.before");
        for (id, illegal) in self.node.journal.commit(&batch)? {
            debug!(%id, %illegal, "a log changes nothing");
        }
        failpoint("taken.after");
        failures::tell(&self.node, logs, self.unexplained.as_ref())?;
        self.node.metrics.blocks.add();
        for number in &batch.recent_blocks_gone {
            self.recent_blocks.remove(number);
        }
        self.recent_blocks.insert(cursor.number, cursor.hash);
        self.cursor = Some(cursor);
        Ok(())
    }

    fn heights(&self, head: u64, cursor: BlockRef) -> Heights {
        Heights { head, cursor: cursor.number, final_block: self.final_block, depth: self.settings.depth }
    }

    /// Closes and forgets what is final, as far as it is taken in.
    async fn prune(&self, head: u64) -> Result<(), JournalError> {
        let Some(cursor) = self.cursor else { return Ok(()) };
        if let Some(last) = self.final_block {
            self.node.journal.prune_signed(last.min(cursor.number))?;
        }
        for _ in 0..PRUNE_BATCHES {
            let Some(batch) = intake::prune(&*self.node.journal, self.heights(head, cursor))? else { break };
            failpoint("pruned.before");
            self.node.journal.commit(&batch)?;
            failpoint("pruned.after");
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// The head is taken in: tells the other stages.
    fn publish_head(&mut self, head: Header) -> Result<(), JournalError> {
        // An endpoint that lost power, too, may take a while to know again for which blocks this key signed.
        if head.timestamp >= self.settings.started_at {
            self.node.journal.caught_up()?;
        }
        self.published.send_replace(Some(ChainHead {
            header: head,
            reorg_epoch: self.reorg_epoch,
            final_block: self.final_block.map(|last| last.min(head.block.number)),
        }));
        if !std::mem::replace(&mut self.caught_up, true) {
            info!(block = head.block.number, open = self.node.journal.count(View::Open), "caught up with the chain");
        }
        Ok(())
    }

    /// Reads the seats of the served models anew if they may not be what the chain has.
    async fn read_seats(&mut self) -> Result<(), WatchError> {
        if self.seats_at.is_some() && !self.settings.models.has_changed().unwrap_or_default() {
            return Ok(());
        }
        self.seats_at = None;
        let models = self.settings.models.borrow_and_update().clone();
        // Events after this block are applied again, in order, to what the views may show already: same result.
        let at = self.node.chain.head().await?.block.number;
        let views = Views::new(&*self.node.chain, self.node.domain.coordinator);
        for model in models.keys() {
            match views.seats(*model).await? {
                Some(seats) => self.node.seats_mut().load(*model, seats),
                None => {
                    debug!(%model, "the model is not registered with this coordinator");
                    self.node.seats_mut().load(*model, Vec::new());
                }
            }
        }
        // After a restart, no log names the rules of the jobs that are open already.
        for version in 1..=views.read(Coordinator::parameterVersionCall {}).await? {
            if self.node.seats().rules(version).is_none() {
                let parameters = views.parameters(version).await?;
                self.node.seats_mut().set_rules(version, rules(&parameters));
            }
        }
        self.seats_at = Some(at);
        Ok(())
    }
}

/// A block's logs. That there are none is doubted where the header's filter says otherwise.
async fn logs<C: Chain, J>(node: &Node<C, J>, header: Header) -> Result<(BlockRef, Vec<Log>), ChainError> {
    let coordinator = node.domain.coordinator;
    for _ in 0..EMPTY_BLOCK_READS {
        let logs = node.chain.logs(coordinator, LogScope::Block(header.block.hash)).await?;
        if !logs.is_empty() || !header.may_have_logs_of(coordinator) {
            return Ok((header.block, logs));
        }
    }
    debug!(block = header.block.number, "no logs, though the filter says there may be");
    Ok((header.block, Vec::new()))
}

#[cfg(test)]
mod tests;
