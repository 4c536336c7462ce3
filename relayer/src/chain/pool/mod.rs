//! Several endpoints of one chain as one: each question goes to the healthiest, then to the next; transactions go to
//! all.
//!
//! Heads only grow. An endpoint whose head is below what it, or the others, had already is not read from: a
//! load-balanced address answers from machines that lag, and an empty answer of theirs looks like an empty block. What
//! moves money can be asked of several endpoints that have to agree.

mod calls;
mod capabilities;
mod health;
mod member;

pub use health::{EndpointHealth, EndpointState};

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use self::member::{Member, is_local};
use super::{Chain, ChainError, HeadUpdate, Header};

/// Time between two polls of the endpoints while none can be read from.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// Number of times that a read is tried with all endpoints before it counts as failed.
const READ_ROUNDS: u32 = 4;

/// Settings for using the endpoints of a chain together.
#[derive(Debug, Clone, Copy)]
pub struct PoolSettings {
    /// Id of the chain: an endpoint with another is never used.
    pub chain_id: u64,
    /// Number of endpoints that must agree on what moves money; at least 1.
    pub quorum: usize,
    /// Time for which a read waits for an endpoint to come back.
    pub timeout: Duration,
}

/// The endpoints of one chain.
#[derive(Debug)]
pub struct Endpoints<C> {
    members: Vec<Arc<Member<C>>>,
    settings: PoolSettings,
    /// Head published last, and the member that it came from.
    last_published: Mutex<Option<(usize, Header)>>,
}

impl<C: Chain> Endpoints<C> {
    /// Makes a pool of endpoints with their names as they may be shown. At least one.
    #[must_use]
    pub fn new(endpoints: Vec<(String, Arc<C>)>, settings: PoolSettings) -> Self {
        let member = |(name, chain)| Arc::new(Member::new(name, chain, settings.chain_id));
        Self { members: endpoints.into_iter().map(member).collect(), settings, last_published: Mutex::default() }
    }

    /// Checks which endpoints answer, and whether they are on the right chain. Returns how many are ready.
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

    /// Health of each endpoint, in the order of the configuration.
    #[must_use]
    pub fn health(&self) -> Vec<EndpointHealth> {
        let top = self.top();
        let highest = self.members.iter().filter_map(|member| member.health().best()).max();
        let shown = |member: &Arc<Member<C>>| {
            let connections = member.chain.connections();
            EndpointHealth { connections, ..member.health().shown(&member.name, top, highest) }
        };
        self.members.iter().map(shown).collect()
    }

    /// Height that an endpoint must have to be read from: the highest that as many as the quorum reached, so that one that
    /// lies about a high head cannot make all others look late. Endpoints in backoff do not count.
    fn top(&self) -> Option<u64> {
        let heights = self.members.iter().filter_map(|member| {
            let health = member.health();
            health.best().filter(|_| health.backoff_until().is_none())
        });
        self.highest(heights.collect())
    }

    /// Highest of the heights that as many as the quorum reached.
    fn highest(&self, mut heights: Vec<u64>) -> Option<u64> {
        heights.sort_unstable_by(|a, b| b.cmp(a));
        let nth = self.settings.quorum.clamp(1, heights.len().max(1)) - 1;
        heights.get(nth).copied()
    }

    /// Returns the endpoints that can be read from, the healthiest first. Waits a while if there is none.
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
                    sleep(POLL_INTERVAL).await;
                }
            }
        };
        timeout(self.settings.timeout, waiting).await.map_err(|_| self.unready())
    }

    fn unready(&self) -> ChainError {
        let states = self.health();
        let states: Vec<_> =
            states.iter().map(|health| format!("{} is {}", health.endpoint, health.state.label())).collect();
        ChainError::Unready(states.join(", "))
    }

    /// Calls one endpoint after another until one answers, each only if it has a block of height `least`; all of them a few
    /// times, after their backoff. Work of many calls would otherwise never end where a share of them fails.
    async fn read<T, F>(&self, least: u64, call: impl Fn(Arc<C>) -> F) -> Result<T, ChainError>
    where
        F: Future<Output = Result<T, ChainError>>,
    {
        let mut rounds = 1;
        loop {
            match self.read_once(least, &call).await {
                Err(ChainError::Unready(states)) => return Err(ChainError::Unready(states)),
                // All refuse so many blocks: the same once more is refused, too.
                Err(error @ (ChainError::WrongChain { .. } | ChainError::RangeTooLarge(_))) => return Err(error),
                Err(error) if is_local(&error) && rounds < READ_ROUNDS => {
                    rounds += 1;
                    // An endpoint that does not know a block yet is not in backoff, and may know it soon.
                    if matches!(error, ChainError::UnknownBlock(_)) {
                        sleep(POLL_INTERVAL).await;
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
        let mut last: Option<ChainError> = None;
        for member in self.ready().await? {
            let asking = async {
                if least > 0 {
                    member.reaches(least).await?;
                }
                member.ask(call(member.chain.clone())).await
            };
            match asking.await {
                // What is wrong with the query says more than what is wrong with an endpoint.
                Err(_) if matches!(last, Some(ChainError::RangeTooLarge(_))) => {}
                Err(error) if is_local(&error) => last = Some(error),
                answered => return answered,
            }
        }
        Err(last.unwrap_or_else(|| self.unready()))
    }

    /// Returns the answers of as many endpoints as the quorum, or more.
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

    /// Records what an endpoint reports of its head; returns the head of all endpoints if that is news.
    fn on_update(&self, index: usize, update: HeadUpdate) -> Option<Header> {
        let member = self.members.get(index)?;
        let now = Instant::now();
        let began = update.took.and_then(|took| now.checked_sub(took)).unwrap_or(now);
        match update.head {
            Err(error) => {
                member.record_call(began, Some(&error));
                return None;
            }
            Ok(head) => {
                if update.took.is_some() {
                    member.record_call(began, None);
                }
                member.health().observe_head(head);
            }
        }
        // A head only wakes the watcher, so an endpoint in backoff may report one, too.
        let highest = self.highest(self.members.iter().filter_map(|member| member.health().best()).collect());
        let mut last_published = self.last_published.lock().unwrap_or_else(PoisonError::into_inner);
        let lead = last_published.map(|(lead, _)| lead);
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
        let news = last_published.is_none_or(|(lead, known)| {
            // Of two forks of the same height, the one that was published first, until the other outgrows it.
            head.block.number > known.block.number || (from == lead && head != known)
        });
        if news {
            *last_published = Some((from, head));
        }
        news.then_some(head)
    }
}

#[cfg(test)]
mod tests;
