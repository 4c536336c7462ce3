//! A WebSocket without waiting: small messages leave at once, and are acknowledged at once.
//!
//! Endpoints that leave Nagle's algorithm on, as Anvil does, hold a message back until the one before it is
//! acknowledged; a kernel that delays acknowledgements then makes every second head 40 ms late.

use std::{sync::Arc, time::Duration};

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
    },
};
use tracing::debug;
use url::Url;

use super::RootCertificates;

/// Silence after which a connection is tested; it is given up after twice as long.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// Connector to a `ws` or `wss` endpoint. A connection that breaks stays broken unless `with_retries` says otherwise: its
/// user connects anew.
#[derive(Debug, Clone)]
pub struct LowLatencyWs {
    url: Url,
    trust: RootCertificates,
    retries: u32,
}

impl LowLatencyWs {
    /// Makes a connector that trusts the public authorities.
    #[must_use]
    pub fn new(url: Url) -> Self {
        Self::trusting(url, &RootCertificates::default())
    }

    /// Makes a connector that trusts these authorities beside the public ones.
    #[must_use]
    pub fn trusting(url: Url, trust: &RootCertificates) -> Self {
        Self { url, trust: trust.clone(), retries: 0 }
    }

    /// Sets how many times a connection that breaks is tried again.
    #[must_use]
    pub fn with_retries(self, retries: u32) -> Self {
        Self { retries, ..self }
    }

    async fn dial(&self) -> Result<Socket, Box<dyn std::error::Error + Send + Sync>> {
        let mut request = self.url.as_str().into_client_request()?;
        if let Some(authorization) = Authorization::extract_from_url(&self.url) {
            let mut value = HeaderValue::from_str(&authorization.to_string())?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        let tls = Connector::Rustls(Arc::new(self.trust.tls()?));
        Ok(connect_async_tls_with_config(request, None, true, Some(tls)).await?.0)
    }
}

impl PubSubConnect for LowLatencyWs {
    fn is_local(&self) -> bool {
        true
    }

    async fn connect(&self) -> TransportResult<ConnectionHandle> {
        let socket = self.dial().await.map_err(|error| TransportErrorKind::custom_str(&error.to_string()))?;
        let (handle, interface) = ConnectionHandle::new();
        tokio::spawn(serve(socket, interface));
        Ok(handle.with_max_retries(self.retries))
    }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Carries messages both ways until one side is gone.
async fn serve(mut socket: Socket, mut interface: ConnectionInterface) {
    let mut last_message = Instant::now();
    let mut tick = tokio::time::interval(KEEPALIVE);
    loop {
        let done = tokio::select! {
            request = interface.recv_from_frontend() => match request {
                Some(request) => socket.send(Message::Text(request.get().to_owned().into())).await.map_err(|error| error.to_string()),
                // Nobody asks any more.
                None => return,
            },
            reply = socket.next() => {
                last_message = Instant::now();
                acknowledge(&socket);
                match reply {
                    Some(Ok(Message::Text(text))) => take(&text, &interface),
                    Some(Ok(Message::Close(_))) | None => Err("closed by the endpoint".into()),
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
            debug!(reason, "a WebSocket connection ended");
            interface.close_with_error();
            return;
        }
    }
}

fn take(text: &str, interface: &ConnectionInterface) -> Result<(), String> {
    let item = serde_json::from_str(text).map_err(|error| error.to_string())?;
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
