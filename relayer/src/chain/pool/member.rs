//! One of several endpoints, with the health that its calls show.

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::time::Instant;
use tracing::{info, warn};

use super::{
    super::{Chain, ChainError, Header},
    health::{Health, HealthChange},
};

pub(super) struct Member<C> {
    /// Endpoint without its secrets.
    pub(super) name: String,
    pub(super) chain: Arc<C>,
    expected: u64,
    health: Mutex<Health>,
}

impl<C> Member<C> {
    pub(super) fn new(name: String, chain: Arc<C>, expected: u64) -> Self {
        Self { name, chain, expected, health: Mutex::default() }
    }
}

impl<C> fmt::Debug for Member<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Tells whether another endpoint may answer better.
pub(super) fn is_local(error: &ChainError) -> bool {
    match error {
        ChainError::Timeout { .. }
        | ChainError::Unreachable { .. }
        | ChainError::RateLimited(_)
        | ChainError::RangeTooLarge(_)
        | ChainError::UnknownBlock(_)
        | ChainError::Malformed { .. }
        | ChainError::WrongChain { .. }
        | ChainError::Unready(_)
        | ChainError::Other { .. } => true,
        ChainError::AlreadyKnown
        | ChainError::NonceTooLow
        | ChainError::Underpriced
        | ChainError::FeeTooLow(_)
        | ChainError::InsufficientFunds
        | ChainError::Reverted(_)
        | ChainError::OutOfGas(_) => false,
    }
}

impl<C: Chain> Member<C> {
    pub(super) fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a call of the endpoint's own, and records how it went.
    pub(super) async fn ask<T>(&self, call: impl Future<Output = Result<T, ChainError>>) -> Result<T, ChainError> {
        // Boxed, for these are the innermost of every future that reads the chain.
        Box::pin(async {
            self.check().await?;
            self.recorded(call).await
        })
        .await
    }

    async fn recorded<T>(&self, call: impl Future<Output = Result<T, ChainError>>) -> Result<T, ChainError> {
        let began = Instant::now();
        let answer = call.await;
        self.record_call(began, answer.as_ref().err());
        answer
    }

    pub(super) fn record_call(&self, began: Instant, failure: Option<&ChainError>) {
        let turn = self.health().record_call(began, failure);
        match (turn, failure) {
            (HealthChange::Failed, Some(failure)) => {
                warn!(endpoint = self.name, error = %failure, label = failure.label(), "the endpoint fails; leaving it alone for a while");
            }
            (HealthChange::Recovered, _) => info!(endpoint = self.name, "the endpoint answers again"),
            _ => {}
        }
    }

    /// Checks once whether the endpoint is on the right chain.
    pub(super) async fn check(&self) -> Result<(), ChainError> {
        if self.health().checked == Some(true) {
            return Ok(());
        }
        let found = self.recorded(self.chain.chain_id()).await?;
        let right = found == self.expected;
        self.health().checked = Some(right);
        if right {
            return Ok(());
        }
        Err(ChainError::WrongChain { endpoint: self.name.clone(), found, expected: self.expected })
    }

    pub(super) async fn head(&self) -> Result<Header, ChainError> {
        let head = self.ask(self.chain.head()).await?;
        self.health().observe_head(head);
        Ok(head)
    }

    /// Fails with `UnknownBlock` unless the endpoint has a block of this height.
    pub(super) async fn reaches(&self, number: u64) -> Result<(), ChainError> {
        let has = |head: Option<Header>| head.is_some_and(|head| head.block.number >= number);
        if has(self.health().latest()) || has(Some(self.head().await?)) {
            return Ok(());
        }
        Err(ChainError::UnknownBlock(number.to_string()))
    }
}
