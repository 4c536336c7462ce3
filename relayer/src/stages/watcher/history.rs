//! Deep history, by pages of heights: read and decoded ahead, while the pages before are written.

use std::{collections::VecDeque, sync::Arc};

use tokio::task::JoinHandle;
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

use super::pages::Pages;
use crate::{
    chain::{BlockRef, Chain, ChainError, LogScope},
    coordinator::{DecodedLog, decode_log},
    node::Node,
};

/// Pages in hand at most, the one that is waited for among them.
const PAGES_AHEAD: usize = 12;
/// Logs in hand at most, as far as the last page tells how many a page has: what is written next is there when the write before
/// it ends.
const LOGS_AHEAD: usize = 2 * PAGE_LOGS;
/// Logs that are written together, at least; it may take several pages. Most requests are answered, and their answers
/// paid, soon enough for that to happen among these, and then little is left to be written.
const PAGE_LOGS: usize = 1_024;

/// Pages that are written together at most: so much of an empty history is read anew after a kill.
const PAGES_TOGETHER: usize = 64;

/// Logs of a range of heights.
#[derive(Debug)]
pub(super) struct Page {
    /// Block before the range, which ties it to what was taken in already; `None` at the chain's beginning.
    pub(super) parent: Option<BlockRef>,
    pub(super) logs: Vec<DecodedLog>,
    /// Last block of the range.
    pub(super) end: BlockRef,
}

#[derive(Debug)]
struct Reading {
    from: u64,
    to: u64,
    page: AbortOnDropHandle<Result<Page, ChainError>>,
}

/// Pages in hand, without gaps.
#[derive(Debug)]
pub(super) struct History {
    sizes: Pages,
    ahead: VecDeque<Reading>,
    /// Pages in hand at most, for now: one after a failure, or where a page alone is much.
    most: usize,
}

impl History {
    /// Makes a history whose pages have at most `most` blocks.
    pub(super) fn new(most: u64) -> Self {
        Self { sizes: Pages::new(most), ahead: VecDeque::new(), most: 1 }
    }

    /// Reads the blocks from `from` on, not further than `last` (inclusive), as one page. `None` if the endpoint wants to be
    /// asked for less: the next read asks for fewer blocks.
    pub(super) async fn read<C: Chain, J: Send + Sync + 'static>(
        &mut self,
        node: &Arc<Node<C, J>>,
        from: u64,
        last: u64,
    ) -> Result<Option<Page>, ChainError> {
        let Some(mut whole) = self.page(node, from, last).await? else { return Ok(None) };
        for _ in 1..PAGES_TOGETHER {
            if whole.logs.len() >= PAGE_LOGS || whole.end.number >= last {
                break;
            }
            match self.page(node, whole.end.number + 1, last).await {
                Ok(Some(page)) if page.parent == Some(whole.end) => {
                    whole.logs.extend(page.logs);
                    whole.end = page.end;
                }
                // What was read is good; what follows is asked for again.
                Ok(_) | Err(_) => break,
            }
        }
        Ok(Some(whole))
    }

    async fn page<C: Chain, J: Send + Sync + 'static>(
        &mut self,
        node: &Arc<Node<C, J>>,
        from: u64,
        last: u64,
    ) -> Result<Option<Page>, ChainError> {
        if self.ahead.front().is_some_and(|first| first.from != from) {
            self.ahead.clear();
        }
        while self.ahead.len() < self.most {
            let from = self.ahead.back().map_or(from, |before| before.to + 1);
            if from > last {
                break;
            }
            let to = self.sizes.end(from, last);
            // A task of its own: what is read is decoded there, beside what is written.
            let page: JoinHandle<_> = tokio::spawn(read(node.clone(), from, to));
            self.ahead.push_back(Reading { from, to, page: AbortOnDropHandle::new(page) });
        }
        let Some(Reading { from, to, page }) = self.ahead.front_mut() else { return Ok(None) };
        let (from, to) = (*from, *to);
        let read = page.await.map_err(|error| ChainError::Unready(format!("reading a page of history: {error}")));
        self.ahead.pop_front();
        match read.flatten() {
            Ok(page) => {
                self.sizes.grow();
                self.most = (LOGS_AHEAD / page.logs.len().max(1)).clamp(1, PAGES_AHEAD);
                debug!(from, to, "read a page of history");
                Ok(Some(page))
            }
            Err(error) => {
                self.ahead.clear();
                self.most = 1;
                let less = matches!(error, ChainError::RangeTooLarge(_) | ChainError::RateLimited(_));
                if less && self.sizes.shrink(to - from + 1, error.most_blocks()) {
                    debug!(from, to, %error, "asking for fewer blocks");
                }
                match error {
                    ChainError::RangeTooLarge(_) if to > from => Ok(None),
                    error => Err(error),
                }
            }
        }
    }
}

async fn read<C: Chain, J>(node: Arc<Node<C, J>>, from: u64, to: u64) -> Result<Page, ChainError> {
    let (chain, coordinator) = (&node.chain, node.domain.coordinator);
    let block = async |number: u64| {
        let header = chain.header(number).await?;
        header.map(|header| header.block).ok_or_else(|| ChainError::UnknownBlock(number.to_string()))
    };
    let parent = async {
        match from.checked_sub(1) {
            Some(before) => block(before).await.map(Some),
            None => Ok(None),
        }
    };
    let logs = chain.logs(coordinator, LogScope::Range(from, to));
    let (logs, parent, end) = tokio::join!(logs, parent, block(to));
    // A query that is too large may break the connection on which the blocks are asked for.
    let (logs, parent, end) = (logs?, parent?, end?);
    Ok(Page { parent, logs: logs.iter().filter_map(decode_log).collect(), end })
}
