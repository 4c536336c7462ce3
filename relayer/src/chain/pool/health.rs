//! What is known of one endpoint: how it does, and how far it is.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use super::super::{ChainError, Header};
use crate::chain::rate_limit::rest;

/// How long an endpoint must tell of a lower head until that is the chain's own doing.
const LOWER_HEAD_PATIENCE: Duration = Duration::from_secs(60);

/// Whether an endpoint is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointState {
    /// Yes.
    Ready,
    /// No: its head is below what it, or another, had already.
    Behind,
    /// No: it failed, and is left alone for a while.
    Resting,
    /// Never: it is on another chain.
    WrongChain,
}

impl EndpointState {
    /// Its name in metrics.
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
    /// The endpoint, redacted.
    pub endpoint: String,
    /// Whether it is read from.
    pub state: EndpointState,
    /// The height of the last head it told of.
    pub head: Option<u64>,
    /// Blocks by which that is below the highest head of all.
    pub behind_by: u64,
    /// How long its answers take: a moving average over about eight.
    pub latency: Option<Duration>,
    /// Calls that ended, failed ones included.
    pub calls: u64,
    /// Calls that failed, by `ChainError::label`.
    pub errors: BTreeMap<&'static str, u64>,
}

/// What an outcome changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HealthChange {
    Failed,
    Recovered,
    None,
}

#[derive(Debug, Default)]
pub(super) struct Health {
    /// Whether its chain's id was checked, and is right.
    pub(super) checked: Option<bool>,
    failures: u32,
    failed_at: Option<Instant>,
    resting_until: Option<Instant>,
    latency: Option<Duration>,
    calls: u64,
    errors: BTreeMap<&'static str, u64>,
    /// The last head it told of.
    latest: Option<Header>,
    /// The highest head it told of.
    best: Option<u64>,
    lower_since: Option<Instant>,
}

/// Whether an error says that the endpoint is not well, rather than that the question was bad.
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
    /// Notes how a call went that began at `began`.
    pub(super) fn note(&mut self, began: Instant, error: Option<&ChainError>) -> HealthChange {
        let now = Instant::now();
        self.calls += 1;
        if let Some(error) = error {
            *self.errors.entry(error.label()).or_default() += 1;
        }
        match error {
            Some(error) if is_sickness(error) => {
                // Calls that were under way when it failed are no further failures.
                if self.failed_at.is_some_and(|at| began <= at) {
                    return HealthChange::None;
                }
                self.failures = self.failures.saturating_add(1);
                self.failed_at = Some(now);
                let slow_down = matches!(error, ChainError::RateLimited(_));
                self.resting_until = Some(now + rest(self.failures, slow_down));
                if self.failures == 1 { HealthChange::Failed } else { HealthChange::None }
            }
            // Any sensible answer is a sign of life, but not one that was on its way before the failure.
            _ => {
                let took = began.elapsed();
                self.latency = Some(self.latency.map_or(took, |average| (average * 7 + took) / 8));
                if self.failed_at.is_some_and(|at| began <= at) {
                    return HealthChange::None;
                }
                self.resting_until = None;
                if std::mem::take(&mut self.failures) > 0 { HealthChange::Recovered } else { HealthChange::None }
            }
        }
    }

    /// Notes a head. Heads only grow: one that is lower than before marks the endpoint as behind, until it persists.
    pub(super) fn heard(&mut self, head: Header) {
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

    /// The highest head it told of, unless it is on another chain.
    pub(super) fn best(&self) -> Option<u64> {
        self.best.filter(|_| self.checked != Some(false))
    }

    /// Until when it is left alone, if it is.
    pub(super) fn rests(&self) -> Option<Instant> {
        self.resting_until.filter(|until| *until > Instant::now())
    }

    /// Its state, where the highest head of all is `top`.
    pub(super) fn state(&self, top: Option<u64>) -> EndpointState {
        if self.checked == Some(false) {
            return EndpointState::WrongChain;
        }
        if self.rests().is_some() {
            return EndpointState::Resting;
        }
        let number = self.latest.map(|head| head.block.number);
        // One of which nothing is known is as good as any.
        let behind = number.is_some_and(|number| Some(number) < self.best || Some(number) < top);
        if behind { EndpointState::Behind } else { EndpointState::Ready }
    }

    /// Smaller is better: without failures first, then the quicker.
    pub(super) fn rank(&self) -> (u32, Duration) {
        (self.failures, self.latency.unwrap_or_default())
    }

    pub(super) fn shown(&self, endpoint: &str, top: Option<u64>, highest: Option<u64>) -> EndpointHealth {
        let head = self.latest.map(|head| head.block.number);
        EndpointHealth {
            endpoint: endpoint.to_owned(),
            state: self.state(top),
            head,
            behind_by: head.zip(highest).map_or(0, |(head, highest)| highest.saturating_sub(head)),
            latency: self.latency,
            calls: self.calls,
            errors: self.errors.clone(),
        }
    }
}
