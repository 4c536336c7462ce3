//! The pool as a chain: which endpoints each call goes to, and what their answers come to.

use std::{collections::HashMap, sync::PoisonError};

use alloy::{
    primitives::{Address, B256, Bytes, U256},
    rpc::types::Log,
};
use futures::{StreamExt, future::join_all, stream::FuturesUnordered};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::{Endpoints, POLL_INTERVAL, member::is_local};
use crate::chain::{
    At, BlockFees, BlockRef, Call, Chain, ChainError, Finality, HeadUpdate, Header, Lacks, LogScope, Receipt, Tag,
};

impl<C: Chain> Chain for Endpoints<C> {
    async fn chain_id(&self) -> Result<u64, ChainError> {
        self.read(0, |chain| async move { chain.chain_id().await }).await
    }

    async fn head(&self) -> Result<Header, ChainError> {
        let mut last = None;
        for member in self.ready().await? {
            let top = self.top();
            match member.head().await {
                Ok(head) if Some(head.block.number) >= top => return Ok(head),
                Ok(head) => last = Some(ChainError::UnknownBlock(format!("{} is behind", head.block.number))),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| self.unready()))
    }

    async fn header(&self, number: u64) -> Result<Option<Header>, ChainError> {
        let top = self.top();
        self.read(0, |chain| async move {
            match chain.header(number).await? {
                None if Some(number) <= top => Err(ChainError::UnknownBlock(number.to_string())),
                header => Ok(header),
            }
        })
        .await
    }

    async fn tagged(&self, tag: Tag) -> Result<Option<Header>, ChainError> {
        let mut headers: Vec<Header> =
            self.query_quorum(|chain| async move { chain.tagged(tag).await }).await?.into_iter().flatten().collect();
        headers.sort_by_key(|header| std::cmp::Reverse(header.block.number));
        Ok(headers.get(self.settings.quorum.max(1) - 1).copied())
    }

    async fn lacks(&self, call: &Call, account: Address, finality: Finality) -> Lacks {
        self.missing_capabilities(call, account, finality).await
    }

    async fn agreed(&self, block: BlockRef) -> Result<bool, ChainError> {
        if self.settings.quorum <= 1 {
            return Ok(true);
        }
        let headers = self.query_quorum(|chain| async move { chain.header(block.number).await }).await?;
        let agree = headers.iter().flatten().filter(|header| header.block == block).count();
        Ok(agree >= self.settings.quorum)
    }

    async fn logs(&self, address: Address, scope: LogScope) -> Result<Vec<Log>, ChainError> {
        // A block is asked by its hash, which an endpoint must know; of a range it may know the beginning only.
        let least = match scope {
            LogScope::Block(_) => 0,
            LogScope::Range(_, to) => to,
        };
        self.read(least, |chain| async move { chain.logs(address, scope).await }).await
    }

    async fn call(&self, call: &Call, at: At) -> Result<Bytes, ChainError> {
        self.read(0, |chain| async move { chain.call(call, at).await }).await
    }

    async fn send(&self, raw: &Bytes) -> Result<(), ChainError> {
        let mut sending: FuturesUnordered<_> = self
            .members
            .iter()
            .filter(|member| member.health().checked != Some(false))
            .cloned()
            .map(|member| {
                let raw = raw.clone();
                // A task of its own, so that the first success does not cancel the others.
                tokio::spawn(async move { member.ask(member.chain.send(&raw)).await })
            })
            .collect();
        let mut failure: Option<ChainError> = None;
        while let Some(sent) = sending.next().await {
            match sent {
                Ok(Ok(())) => return Ok(()),
                // What is wrong with the transaction says more than what is wrong with an endpoint.
                Ok(Err(error)) if failure.as_ref().is_none_or(is_local) => failure = Some(error),
                Ok(Err(_)) | Err(_) => {}
            }
        }
        Err(failure.unwrap_or_else(|| self.unready()))
    }

    async fn receipt(&self, hash: B256) -> Result<Option<Receipt>, ChainError> {
        let answers = self.query_quorum(|chain| async move { chain.receipt(hash).await }).await?;
        let mut votes: HashMap<BlockRef, usize> = HashMap::new();
        for receipt in answers.iter().flatten() {
            *votes.entry(receipt.block).or_default() += 1;
        }
        let Some((block, count)) = votes.into_iter().max_by_key(|(_, count)| *count) else { return Ok(None) };
        if count < self.settings.quorum {
            // Neither mined nor missing: to be asked again.
            return Err(ChainError::Unready(format!("the endpoints do not agree on the receipt of {hash}")));
        }
        Ok(answers.into_iter().flatten().find(|receipt| receipt.block == block))
    }

    async fn nonce(&self, account: Address, at: At) -> Result<u64, ChainError> {
        let mut nonces = self.query_quorum(|chain| async move { chain.nonce(account, at).await }).await?;
        nonces.sort_unstable_by(|a, b| b.cmp(a));
        nonces.get(self.settings.quorum.max(1) - 1).copied().ok_or_else(|| self.unready())
    }

    async fn balance(&self, account: Address) -> Result<U256, ChainError> {
        self.read(0, |chain| async move { chain.balance(account).await }).await
    }

    async fn code(&self, account: Address) -> Result<Bytes, ChainError> {
        self.read(0, |chain| async move { chain.code(account).await }).await
    }

    async fn recent_fees(&self) -> Result<Vec<BlockFees>, ChainError> {
        self.read(0, |chain| async move { chain.recent_fees().await }).await
    }

    async fn follow(&self, on_head: &(dyn Fn(HeadUpdate) + Send + Sync), shutdown: &CancellationToken) {
        // A new follower knows no head yet.
        *self.last_published.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let followers = self.members.iter().enumerate().map(|(index, member)| async move {
            while let Err(error) = member.check().await {
                if matches!(error, ChainError::WrongChain { .. }) {
                    error!(%error, "the endpoint is not used");
                    return;
                }
                let backoff_until = member.health().backoff_until().unwrap_or_else(Instant::now);
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = tokio::time::sleep_until(backoff_until + POLL_INTERVAL) => {}
                }
            }
            let tell = |one: HeadUpdate| {
                if let Some(head) = self.on_update(index, one) {
                    on_head(HeadUpdate { head: Ok(head), took: None });
                }
            };
            member.chain.follow(&tell, shutdown).await;
        });
        tokio::select! {
            () = shutdown.cancelled() => {}
            // All are on another chain: no head will come.
            _ = join_all(followers) => shutdown.cancelled().await,
        }
    }
}
