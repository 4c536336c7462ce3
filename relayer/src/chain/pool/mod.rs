//! Several endpoints of one chain as one: each question goes to the healthiest, then to the next; transactions go to
//! all.
//!
//! Heads only grow. An endpoint whose head is below what it, or the others, had already is not read from: a
//! load-balanced address answers from machines that lag, and an empty answer of theirs looks like an empty block. What
//! moves money can be asked of several endpoints that have to agree.

mod health;
mod member;

pub use health::{EndpointHealth, EndpointState};

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use alloy::{
    primitives::{Address, B256, Bytes, U256},
    rpc::types::Log,
};
use futures::{StreamExt, future::join_all, stream::FuturesUnordered};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::error;

use self::member::{Member, is_local};
use super::{At, BlockRef, Call, Chain, ChainError, HeadUpdate, Header, LogScope, Receipt, Tag};

/// How often endpoints are looked at while none can be read from.
const LOOK: Duration = Duration::from_millis(200);
/// How often a read is tried with all endpoints before it counts as failed.
const ROUNDS: u32 = 4;

/// How the endpoints of a chain are used together.
#[derive(Debug, Clone, Copy)]
pub struct PoolSettings {
    /// The chain's id: an endpoint with another is never used.
    pub chain_id: u64,
    /// Endpoints that must agree on what moves money; at least 1.
    pub quorum: usize,
    /// How long a read waits for an endpoint to come back.
    pub patience: Duration,
}

/// The endpoints of one chain.
#[derive(Debug)]
pub struct Endpoints<C> {
    members: Vec<Arc<Member<C>>>,
    settings: PoolSettings,
    /// The head told last, and the member it came from.
    told: Mutex<Option<(usize, Header)>>,
}

impl<C: Chain> Endpoints<C> {
    /// Endpoints with their names as they may be shown. At least one.
    #[must_use]
    pub fn new(endpoints: Vec<(String, Arc<C>)>, settings: PoolSettings) -> Self {
        let member = |(name, chain)| Arc::new(Member::new(name, chain, settings.chain_id));
        Self { members: endpoints.into_iter().map(member).collect(), settings, told: Mutex::default() }
    }

    /// Looks which endpoints answer, and whether they are on the right chain. Returns how many are ready.
    ///
    /// # Errors
    /// `WrongChain` if any is on another; else the last failure if fewer than the quorum answer.
    pub async fn check(&self) -> Result<usize, ChainError> {
        let checks = join_all(self.members.iter().map(|member| member.check())).await;
        let mut last = ChainError::Unready("there is no endpoint".into());
        let mut ready = 0;
        for check in checks {
            match check {
                Ok(()) => ready += 1,
                Err(error @ ChainError::WrongChain { .. }) => return Err(error),
                Err(error) => last = error,
            }
        }
        if ready < self.settings.quorum.max(1) { Err(last) } else { Ok(ready) }
    }

    /// How each endpoint does, in the order of the configuration.
    #[must_use]
    pub fn health(&self) -> Vec<EndpointHealth> {
        let top = self.top();
        let highest = self.members.iter().filter_map(|member| member.health().best()).max();
        self.members.iter().map(|member| member.health().shown(&member.name, top, highest)).collect()
    }

    /// The height that an endpoint must have to be read from: the highest that as many as the quorum reached, so that
    /// one that lies about a high head cannot make all others look late. Endpoints that rest do not count.
    fn top(&self) -> Option<u64> {
        let heights = self.members.iter().filter_map(|member| {
            let health = member.health();
            health.best().filter(|_| health.rests().is_none())
        });
        self.highest(heights.collect())
    }

    /// The highest of the heights that as many as the quorum reached.
    fn highest(&self, mut heights: Vec<u64>) -> Option<u64> {
        heights.sort_unstable_by(|a, b| b.cmp(a));
        let nth = self.settings.quorum.clamp(1, heights.len().max(1)) - 1;
        heights.get(nth).copied()
    }

    /// The endpoints that can be read from, the healthiest first. Waits a while if there is none.
    async fn ready(&self) -> Result<Vec<Arc<Member<C>>>, ChainError> {
        let waiting = async {
            loop {
                let top = self.top();
                let mut ready = Vec::new();
                let mut behind = Vec::new();
                for member in &self.members {
                    let health = member.health();
                    match health.state(top) {
                        EndpointState::Ready => ready.push((health.rank(), member.clone())),
                        EndpointState::Behind => behind.push(member),
                        EndpointState::Resting | EndpointState::WrongChain => {}
                    }
                }
                if !ready.is_empty() {
                    ready.sort_by_key(|(rank, _)| *rank);
                    return ready.into_iter().map(|(_, member)| member).collect();
                }
                let before: Vec<_> = behind.iter().map(|member| member.health().latest()).collect();
                join_all(behind.iter().map(|member| member.head())).await;
                let after: Vec<_> = behind.iter().map(|member| member.health().latest()).collect();
                if before == after {
                    sleep(LOOK).await;
                }
            }
        };
        timeout(self.settings.patience, waiting).await.map_err(|_| self.unready())
    }

    fn unready(&self) -> ChainError {
        let states = self.health();
        let states: Vec<_> =
            states.iter().map(|health| format!("{} is {}", health.endpoint, health.state.label())).collect();
        ChainError::Unready(states.join(", "))
    }

    /// Asks one endpoint after another until one answers, each only if it has a block of height `least`; all of them a few
    /// times, after their rests. Work of many calls would else never come to an end where a share of them fails.
    async fn read<T, F>(&self, least: u64, call: impl Fn(Arc<C>) -> F) -> Result<T, ChainError>
    where
        F: Future<Output = Result<T, ChainError>>,
    {
        let mut rounds = 1;
        loop {
            match self.read_once(least, &call).await {
                Err(ChainError::Unready(states)) => return Err(ChainError::Unready(states)),
                Err(error @ ChainError::WrongChain { .. }) => return Err(error),
                Err(error) if is_local(&error) && rounds < ROUNDS => {
                    rounds += 1;
                    // Who does not know a block yet does not rest, and may know it soon.
                    if matches!(error, ChainError::UnknownBlock(_)) {
                        sleep(LOOK).await;
                    }
                }
                answered => return answered,
            }
        }
    }

    async fn read_once<T, F>(&self, least: u64, call: &impl Fn(Arc<C>) -> F) -> Result<T, ChainError>
    where
        F: Future<Output = Result<T, ChainError>>,
    {
        let mut last = None;
        for member in self.ready().await? {
            let asking = async {
                if least > 0 {
                    member.reaches(least).await?;
                }
                member.ask(call(member.chain.clone())).await
            };
            match asking.await {
                Err(error) if is_local(&error) => last = Some(error),
                answered => return answered,
            }
        }
        Err(last.unwrap_or_else(|| self.unready()))
    }

    /// The answers of as many endpoints as the quorum, or more.
    async fn query_quorum<T, F>(&self, call: impl Fn(Arc<C>) -> F) -> Result<Vec<T>, ChainError>
    where
        F: Future<Output = Result<T, ChainError>>,
    {
        if self.settings.quorum <= 1 {
            return self.read(0, call).await.map(|answer| vec![answer]);
        }
        let members = self.ready().await?;
        let asked = join_all(members.iter().map(|member| member.ask(call(member.chain.clone())))).await;
        let answers: Vec<T> = asked.into_iter().filter_map(Result::ok).collect();
        if answers.len() < self.settings.quorum {
            let (got, quorum) = (answers.len(), self.settings.quorum);
            return Err(ChainError::Unready(format!("{got} of the {quorum} endpoints that must agree answered")));
        }
        Ok(answers)
    }

    /// Notes what an endpoint told of its head; returns the head of all if that is news.
    fn heard(&self, index: usize, heard: HeadUpdate) -> Option<Header> {
        let member = self.members.get(index)?;
        let now = Instant::now();
        let began = heard.took.and_then(|took| now.checked_sub(took)).unwrap_or(now);
        match heard.head {
            Err(error) => {
                member.note(began, Some(&error));
                return None;
            }
            Ok(head) => {
                if heard.took.is_some() {
                    member.note(began, None);
                }
                member.health().heard(head);
            }
        }
        // It wakes, no more: an endpoint that rests may tell of a head, too.
        let highest = self.highest(self.members.iter().filter_map(|member| member.health().best()).collect());
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let lead = told.map(|(lead, _)| lead);
        let mut best: Option<(usize, Header)> = None;
        for (index, member) in self.members.iter().enumerate() {
            let health = member.health();
            let Some(head) = health.latest() else { continue };
            let number = head.block.number;
            if health.best() != Some(number) || Some(number) > highest {
                continue;
            }
            if best.is_none_or(|(_, best)| number > best.block.number)
                || (Some(index) == lead && best.is_some_and(|(_, best)| number == best.block.number))
            {
                best = Some((index, head));
            }
        }
        let (from, head) = best?;
        let news = told.is_none_or(|(lead, known)| {
            // Of two forks of the same height, the one that was told first, until the other outgrows it.
            head.block.number > known.block.number || (from == lead && head != known)
        });
        if news {
            *told = Some((from, head));
        }
        news.then_some(head)
    }
}

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
                // Of its own, so that the first success does not break off the others.
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
            // Neither mined nor not: to be asked again.
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

    async fn recent_priority_fees(&self) -> Result<Vec<u128>, ChainError> {
        self.read(0, |chain| async move { chain.recent_priority_fees().await }).await
    }

    async fn follow(&self, heard: &(dyn Fn(HeadUpdate) + Send + Sync), shutdown: &CancellationToken) {
        // Who begins to follow knows no head yet.
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let followers = self.members.iter().enumerate().map(|(index, member)| async move {
            while let Err(error) = member.check().await {
                if matches!(error, ChainError::WrongChain { .. }) {
                    error!(%error, "the endpoint is not used");
                    return;
                }
                let rests = member.health().rests().unwrap_or_else(Instant::now);
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = tokio::time::sleep_until(rests + LOOK) => {}
                }
            }
            let tell = |one: HeadUpdate| {
                if let Some(head) = self.heard(index, one) {
                    heard(HeadUpdate { head: Ok(head), took: None });
                }
            };
            member.chain.follow(&tell, shutdown).await;
        });
        tokio::select! {
            () = shutdown.cancelled() => {}
            // All on another chain: nothing will be heard.
            _ = join_all(followers) => shutdown.cancelled().await,
        }
    }
}

#[cfg(test)]
mod tests;
