//! Health of one endpoint: its failures, its latency, and its head.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use super::super::{ChainError, Header};
use crate::chain::rate_limit::backoff;

/// Time for which an endpoint must report a lower head before the chain itself is taken to be lower.
const LOWER_HEAD_PATIENCE: Duration = Duration::from_secs(60);

/// Time without a failure after which an endpoint that failed is reported as well again.
const RECOVERY_TIME: Duration = Duration::from_secs(10);

/// Fitness of an endpoint to be read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointState {
    /// The endpoint is read from.
    Ready,
    /// The endpoint's head is below what it, or another, had already, so it is not read from.
    Behind,
    /// The endpoint failed, and has not answered since: it is left alone until its backoff ends, and asked again then.
    Resting,
    /// The endpoint is on another chain, and is never used.
    WrongChain,
}

impl EndpointState {
    /// Name of the state in metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Behind => "behind",
            Self::Resting => "resting",
            Self::WrongChain => "wrong_chain",
        }
    }
}

/// An endpoint's health, for people and metrics.
#[derive(Debug, Clone)]
pub struct EndpointHealth {
    /// Endpoint without its secrets.
    pub endpoint: String,
    /// Fitness to be read from.
    pub state: EndpointState,
    /// Height of the head that it reported last.
    pub head: Option<u64>,
    /// Number of blocks by which that is below the highest head of all.
    pub behind_by: u64,
    /// Latency of its answers: a moving average over about eight.
    pub latency: Option<Duration>,
    /// Number of calls that ended, failed ones included.
    pub calls: u64,
    /// Number of connections made to it, one after another.
    pub connections: u64,
    /// Number of calls that failed, by `ChainError::label`.
    pub errors: BTreeMap<&'static str, u64>,
}

/// Change of an endpoint's health that a call brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HealthChange {
    Failed,
    Recovered,
    None,
}

#[derive(Debug, Default)]
pub(super) struct Health {
    /// Result of the check of its chain's id; `None` before it.
    pub(super) checked: Option<bool>,
    failures: u32,
    /// Whether the operator knows that it fails.
    reported: bool,
    failed_at: Option<Instant>,
    resting_until: Option<Instant>,
    latency: Option<Duration>,
    calls: u64,
    errors: BTreeMap<&'static str, u64>,
    /// Head that it reported last.
    latest: Option<Header>,
    /// Highest head that it reported.
    best: Option<u64>,
    lower_since: Option<Instant>,
}

/// Tells whether an error is the endpoint's fault rather than the call's.
fn is_sickness(error: &ChainError) -> bool {
    matches!(
        error,
        ChainError::Timeout { .. }
            | ChainError::Unreachable { .. }
            | ChainError::RateLimited(_)
            | ChainError::Malformed { .. }
    )
}

impl Health {
    /// Records the result of a call that began at `began`.
    pub(super) fn record_call(&mut self, began: Instant, error: Option<&ChainError>) -> HealthChange {
        let now = Instant::now();
        self.calls += 1;
        if let Some(error) = error {
            *self.errors.entry(error.label()).or_default() += 1;
        }
        match error {
            // Neither a fault nor a sign of life: it may be what a query that takes too long ends with.
            Some(ChainError::RangeTooLarge(_)) => HealthChange::None,
            Some(error) if is_sickness(error) => {
                // Calls that were under way when it failed are no further failures.
                if self.failed_at.is_some_and(|at| began <= at) {
                    return HealthChange::None;
                }
                self.failures = self.failures.saturating_add(1);
                self.failed_at = Some(now);
                let slow_down = matches!(error, ChainError::RateLimited(_));
                self.resting_until = Some(now + backoff(self.failures, slow_down));
                if std::mem::replace(&mut self.reported, true) { HealthChange::None } else { HealthChange::Failed }
            }
            // Any sensible answer is a sign of life, but not one that was on its way before the failure.
            _ => {
                let took = began.elapsed();
                self.latency = Some(self.latency.map_or(took, |average| (average * 7 + took) / 8));
                if self.failed_at.is_some_and(|at| began <= at) {
                    return HealthChange::None;
                }
                self.resting_until = None;
                self.failures = 0;
                // One that fails now and then is not reported with every turn.
                let is_well = self.failed_at.is_none_or(|at| at.elapsed() >= RECOVERY_TIME);
                if is_well && std::mem::take(&mut self.reported) { HealthChange::Recovered } else { HealthChange::None }
            }
        }
    }

    /// Records a head. Heads only grow: one that is lower than before marks the endpoint as behind, until it persists.
    pub(super) fn observe_head(&mut self, head: Header) {
        self.latest = Some(head);
        let number = head.block.number;
        if self.best.is_none_or(|best| number >= best)
            || self.lower_since.get_or_insert_with(Instant::now).elapsed() >= LOWER_HEAD_PATIENCE
        {
            (self.best, self.lower_since) = (Some(number), None);
        }
    }

    pub(super) fn latest(&self) -> Option<Header> {
        self.latest
    }

    /// Highest head that it reported, unless it is on another chain.
    pub(super) fn best(&self) -> Option<u64> {
        self.best.filter(|_| self.checked != Some(false))
    }

    /// End of the backoff that it is in, if it is in one.
    pub(super) fn backoff_until(&self) -> Option<Instant> {
        self.resting_until.filter(|until| *until > Instant::now())
    }

    /// State of the endpoint, where the highest head of all is `top`.
    pub(super) fn state(&self, top: Option<u64>) -> EndpointState {
        if self.checked == Some(false) {
            return EndpointState::WrongChain;
        }
        if self.backoff_until().is_some() {
            return EndpointState::Resting;
        }
        let number = self.latest.map(|head| head.block.number);
        // One of which nothing is known is as good as any.
        let behind = number.is_some_and(|number| Some(number) < self.best || Some(number) < top);
        if behind { EndpointState::Behind } else { EndpointState::Ready }
    }

    /// Key to sort endpoints by, the best first: fewest failures, then lowest latency.
    pub(super) fn rank(&self) -> (u32, Duration) {
        (self.failures, self.latency.unwrap_or_default())
    }

    pub(super) fn shown(&self, endpoint: &str, top: Option<u64>, highest: Option<u64>) -> EndpointHealth {
        let head = self.latest.map(|head| head.block.number);
        let state = match self.state(top) {
            // The end of a backoff is no sign of life.
            EndpointState::Ready if self.failures > 0 => EndpointState::Resting,
            state => state,
        };
        EndpointHealth {
            endpoint: endpoint.to_owned(),
            state,
            head,
            behind_by: head.zip(highest).map_or(0, |(head, highest)| highest.saturating_sub(head)),
            latency: self.latency,
            calls: self.calls,
            connections: 0,
            errors: self.errors.clone(),
        }
    }
}
