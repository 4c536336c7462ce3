//! A WebSocket without waiting: small messages leave at once, and are acknowledged at once.
//!
//! Endpoints that leave Nagle's algorithm on, as Anvil does, hold a message back until the one before it is
//! acknowledged; a kernel that delays acknowledgements then makes every second head 40 ms late.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use alloy::{
    pubsub::{ConnectionHandle, ConnectionInterface, PubSubConnect},
    transports::{Authorization, TransportErrorKind, TransportResult},
};
use futures::{SinkExt, StreamExt};
use tokio::{net::TcpStream, time::Instant};
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config,
    tungstenite::{
        Message,
        client::IntoClientRequest,
        http::{HeaderValue, header::AUTHORIZATION},
        protocol::CloseFrame,
    },
};
use tracing::debug;

use super::{Backoff, Endpoint, RootCertificates, reply::message};
use crate::text::cut;

/// Silence after which a connection is tested; it is given up after twice as long.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// What a connection that broke was worth. An endpoint that answers some calls and then breaks is good for others, soon; one
/// that takes every connection and closes it is left alone ever longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Worth {
    /// It held for 10 s at least.
    Steady,
    /// It brought four messages at least.
    Useful,
    /// Neither.
    Useless,
}

impl Worth {
    pub(super) fn of(held: Duration, messages: u32) -> Self {
        match (held.as_secs(), messages) {
            (10.., _) => Self::Steady,
            (_, 4..) => Self::Useful,
            _ => Self::Useless,
        }
    }
}

/// Connector to a `ws` or `wss` endpoint. A connection that breaks stays broken unless `with_retries` says otherwise: its
/// user connects anew.
#[derive(Debug, Clone)]
pub struct LowLatencyWs {
    endpoint: Endpoint,
    trust: RootCertificates,
    retries: u32,
    last: Arc<Mutex<Last>>,
}

/// What became of the connection before.
#[derive(Debug, Default)]
struct Last {
    /// Reason for which it ended.
    ended: Option<String>,
    /// Number of messages that came over it.
    messages: u32,
    made: Option<Instant>,
    backoff: Backoff,
}

impl LowLatencyWs {
    /// Makes a connector that trusts the public authorities.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Self {
        Self::trusting(endpoint, &RootCertificates::default())
    }

    /// Makes a connector that trusts these authorities beside the public ones.
    #[must_use]
    pub fn trusting(endpoint: Endpoint, trust: &RootCertificates) -> Self {
        Self { endpoint, trust: trust.clone(), retries: 0, last: Arc::default() }
    }

    /// Sets how many times a connection that breaks is tried again.
    #[must_use]
    pub fn with_retries(self, retries: u32) -> Self {
        Self { retries, ..self }
    }

    async fn dial(&self) -> Result<Socket, Box<dyn std::error::Error + Send + Sync>> {
        let mut request = self.endpoint.url().as_str().into_client_request()?;
        if let Some((user, password)) = self.endpoint.credentials() {
            let mut value = HeaderValue::from_str(&Authorization::basic(user, password).to_string())?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        let tls = Connector::Rustls(Arc::new(self.trust.tls()?));
        Ok(connect_async_tls_with_config(request, None, true, Some(tls)).await?.0)
    }

    /// Number of messages that came over the last connection.
    pub(super) fn messages(&self) -> u32 {
        self.last().messages
    }

    /// Takes the reason for which the last connection ended.
    pub(super) fn take_ended(&self) -> Option<String> {
        self.last().ended.take()
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PubSubConnect for LowLatencyWs {
    fn is_local(&self) -> bool {
        true
    }

    async fn connect(&self) -> TransportResult<ConnectionHandle> {
        let socket = self.dial().await.map_err(|error| TransportErrorKind::custom_str(&error.to_string()))?;
        {
            let mut last = self.last();
            (last.made, last.messages) = (Some(Instant::now()), 0);
        }
        let (handle, interface) = ConnectionHandle::new();
        let (last, endpoint) = (self.last.clone(), self.endpoint.clone());
        tokio::spawn(async move {
            let heard = || last.lock().unwrap_or_else(PoisonError::into_inner).messages += 1;
            let (interface, reason) = serve(socket, interface, heard).await;
            let Some(reason) = reason else { return };
            let reason = endpoint.scrub(&reason);
            debug!(reason, %endpoint, "a WebSocket connection ended");
            last.lock().unwrap_or_else(PoisonError::into_inner).ended = Some(reason);
            interface.close_with_error();
        });
        Ok(handle.with_max_retries(self.retries))
    }

    /// Waits before it connects anew, unless the connection before held: an endpoint may take every connection, and close it.
    async fn try_reconnect(&self) -> TransportResult<ConnectionHandle> {
        if self.retries == 0 {
            return Err(TransportErrorKind::non_retryable_str("the connection broke"));
        }
        let pause = {
            let mut last = self.last();
            let held = last.made.map_or(Duration::ZERO, |made| made.elapsed());
            if Worth::of(held, last.messages) != Worth::Useless {
                last.backoff.succeeded();
            }
            last.backoff.failed()
        };
        tokio::time::sleep(pause).await;
        self.connect().await
    }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Carries messages both ways until one side is gone; returns why the endpoint's is, if it is. `heard` is called with every
/// message of the endpoint's.
async fn serve(
    mut socket: Socket,
    mut interface: ConnectionInterface,
    heard: impl Fn(),
) -> (ConnectionInterface, Option<String>) {
    let mut last_message = Instant::now();
    let mut tick = tokio::time::interval(KEEPALIVE);
    loop {
        let done = tokio::select! {
            request = interface.recv_from_frontend() => match request {
                Some(request) => socket.send(Message::Text(request.get().to_owned().into())).await.map_err(|error| error.to_string()),
                // Nobody asks any more.
                None => return (interface, None),
            },
            reply = socket.next() => {
                last_message = Instant::now();
                acknowledge(&socket);
                match reply {
                    Some(Ok(Message::Text(text))) => take(text.as_bytes(), &interface).map(|()| heard()),
                    Some(Ok(Message::Binary(bytes))) => take(&bytes, &interface).map(|()| heard()),
                    Some(Ok(Message::Close(frame))) => Err(closed(frame)),
                    None => Err(closed(None)),
                    Some(Ok(_)) => Ok(()),
                    Some(Err(error)) => Err(error.to_string()),
                }
            },
            _ = tick.tick() => {
                if last_message.elapsed() > 2 * KEEPALIVE {
                    Err("the endpoint is silent".into())
                } else {
                    socket.send(Message::Ping(Default::default())).await.map_err(|error| error.to_string())
                }
            }
        };
        if let Err(reason) = done {
            return (interface, Some(reason));
        }
    }
}

/// The endpoint's reason to close, with its code (RFC 6455, 7.4).
fn closed(frame: Option<CloseFrame>) -> String {
    match frame {
        Some(frame) => format!("the endpoint closed the WebSocket: {} {}", u16::from(frame.code), frame.reason),
        None => "the endpoint closed the WebSocket".into(),
    }
}

fn take(text: &[u8], interface: &ConnectionInterface) -> Result<(), String> {
    let item = message(text).map_err(|error| {
        format!("it sent {error}: {}", cut(&error.text, 80)).trim_end_matches([':', ' ']).to_owned()
    })?;
    interface.send_to_frontend(item).map_err(|_| "nobody listens".into())
}

/// Has the kernel acknowledge at once what was read. The option is reset after a while, so it is set each time.
fn acknowledge(socket: &Socket) {
    #[cfg(target_os = "linux")]
    {
        let stream = match socket.get_ref() {
            MaybeTlsStream::Plain(stream) => stream,
            MaybeTlsStream::Rustls(tls) => tls.get_ref().0,
            _ => return,
        };
        let _ = stream.set_quickack(true);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = socket;
}
