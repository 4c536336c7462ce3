//! The connection to one endpoint: made by the first call, and anew when it breaks, but not faster than that helps.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use alloy::{
    providers::{Provider, RootProvider},
    rpc::client::{ClientBuilder, RpcClient},
};
use tokio::{
    sync::{Mutex, RwLock},
    time::Instant,
};
use tracing::debug;

use super::{Backoff, ChainError, Endpoint, LowLatencyWs, RootCertificates, error::classify, http::Http, ws::Worth};

/// A connection that can be used.
#[derive(Debug)]
struct Live {
    provider: RootProvider,
    /// Connector of a WebSocket, which knows why it ended.
    socket: Option<LowLatencyWs>,
    made: Instant,
}

/// When a connection may be made again.
#[derive(Debug, Default)]
struct Redial {
    backoff: Backoff,
    not_before: Option<Instant>,
    /// Why the last one broke, or was not made.
    reason: String,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Connection {
    endpoint: Endpoint,
    trust: RootCertificates,
    timeout: Duration,
    live: RwLock<Option<Live>>,
    redial: Mutex<Redial>,
    made: AtomicU64,
}

impl Connection {
    pub(super) fn new(endpoint: Endpoint, trust: RootCertificates, timeout: Duration) -> Self {
        let (live, redial, made) = Default::default();
        Self { endpoint, trust, timeout, live, redial, made }
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Number of connections made so far.
    pub(super) fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    async fn known(&self) -> Option<RootProvider> {
        self.live.read().await.as_ref().map(|live| live.provider.clone())
    }

    /// Returns the connection, made if there is none; once for all who ask for it.
    ///
    /// # Errors
    /// `Timeout` and `Unreachable`; also `Unreachable`, at once, while the last one broke too soon to be made again already.
    pub(super) async fn provider(&self) -> Result<RootProvider, ChainError> {
        if let Some(known) = self.known().await {
            return Ok(known);
        }
        let mut redial = self.redial.lock().await;
        if let Some(known) = self.known().await {
            return Ok(known);
        }
        if redial.not_before.is_some_and(|at| at > Instant::now()) {
            return Err(self.unreachable(redial.reason.clone()));
        }
        // Boxed: making a connection is large, seldom, and otherwise part of every call's future.
        let dialed = tokio::time::timeout(self.timeout, Box::pin(dial_anew(&self.endpoint, &self.trust, 0))).await;
        match dialed.map_err(|_| self.timed_out()).flatten() {
            Ok((provider, socket)) => {
                debug!(endpoint = %self.endpoint, "connected");
                self.made.fetch_add(1, Ordering::Relaxed);
                *self.live.write().await = Some(Live { provider: provider.clone(), socket, made: Instant::now() });
                Ok(provider)
            }
            Err(error) => {
                redial.failed(match &error {
                    ChainError::Unreachable { reason, .. } => reason.clone(),
                    other => other.to_string(),
                });
                Err(error)
            }
        }
    }

    /// Takes note that a connection broke; returns the error that its user met.
    pub(super) async fn broke(&self, broken: &RootProvider) -> ChainError {
        let mut redial = self.redial.lock().await;
        let same = |live: &mut Live| std::ptr::eq(live.provider.client(), broken.client());
        if let Some(live) = self.live.write().await.take_if(same) {
            let reason = live.socket.as_ref().and_then(LowLatencyWs::take_ended);
            let messages = live.socket.as_ref().map_or(0, LowLatencyWs::messages);
            let worth = Worth::of(live.made.elapsed(), messages);
            redial.broke(worth, reason.unwrap_or_else(|| "the connection broke".into()));
        }
        self.unreachable(redial.reason.clone())
    }

    /// Waits until a connection may be made.
    pub(super) async fn rest(&self) {
        let until = self.redial.lock().await.not_before;
        tokio::time::sleep_until(until.unwrap_or_else(Instant::now)).await;
    }

    pub(super) fn unreachable(&self, reason: String) -> ChainError {
        ChainError::Unreachable { endpoint: self.endpoint.to_string(), reason }
    }

    pub(super) fn timed_out(&self) -> ChainError {
        ChainError::Timeout { endpoint: self.endpoint.to_string(), seconds: self.timeout.as_secs() }
    }
}

impl Redial {
    /// A connection broke.
    fn broke(&mut self, worth: Worth, reason: String) {
        if worth != Worth::Useless {
            self.backoff.succeeded();
        }
        if worth == Worth::Steady {
            (self.not_before, self.reason) = (None, reason);
        } else {
            self.failed(reason);
        }
    }

    fn failed(&mut self, reason: String) {
        self.not_before = Some(Instant::now() + self.backoff.failed());
        self.reason = reason;
    }
}

/// Connects to an endpoint. Over HTTP only the first call does. A WebSocket that breaks is reconnected with at most
/// `retries` tries.
///
/// # Errors
/// `Unreachable` where the connection cannot be made, or the certificates cannot be used.
pub(crate) async fn dial(
    endpoint: &Endpoint,
    trust: &RootCertificates,
    retries: u32,
) -> Result<RootProvider, ChainError> {
    dial_anew(endpoint, trust, retries).await.map(|(provider, _)| provider)
}

async fn dial_anew(
    endpoint: &Endpoint,
    trust: &RootCertificates,
    retries: u32,
) -> Result<(RootProvider, Option<LowLatencyWs>), ChainError> {
    let unreachable = |reason: String| ChainError::Unreachable { endpoint: endpoint.to_string(), reason };
    if endpoint.is_websocket() {
        let socket = LowLatencyWs::trusting(endpoint.clone(), trust).with_retries(retries);
        let made = ClientBuilder::default().pubsub(socket.clone()).await;
        let client: RpcClient = made.map_err(|error| classify("connect", error, endpoint))?;
        return Ok((RootProvider::new(client), Some(socket)));
    }
    let http = Http::new(endpoint.url().clone(), trust);
    let http = http.map_err(|error| unreachable(endpoint.scrub(&error.to_string())))?;
    // Whether it is local only says how often alloy polls, which it is not asked to do.
    Ok((RootProvider::new(ClientBuilder::default().transport(http, false)), None))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The longest pause after each of a hundred connections that broke.
    fn longest_pause(worth: Worth) -> Duration {
        let mut redial = Redial::default();
        let pause = |_| {
            redial.broke(worth, String::new());
            redial.not_before.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()))
        };
        (0..100).map(pause).max().unwrap()
    }

    #[test]
    fn connections_that_answer_before_they_break_are_made_again_soon_and_others_ever_later() {
        assert_eq!(longest_pause(Worth::of(Duration::from_secs(10), 0)), Duration::ZERO);
        assert!(longest_pause(Worth::of(Duration::from_secs(1), 4)) <= Duration::from_millis(100));
        assert!(longest_pause(Worth::of(Duration::from_secs(9), 3)) >= Duration::from_secs(5));
    }
}
