//! JSON-RPC over HTTP.

use std::task::{Context, Poll};

use alloy::{
    rpc::json_rpc::{RequestPacket, ResponsePacket},
    transports::{TransportError, TransportErrorKind, TransportFut, http::reqwest},
};
use tower_service::Service;
use url::Url;

use super::{RootCertificates, reply::reply};

/// Bytes of a reply at most, as over a WebSocket.
const MAX_REPLY: usize = 64 << 20;

/// A client of one endpoint. It has no connection until the first call.
#[derive(Debug, Clone)]
pub(super) struct Http {
    client: reqwest::Client,
    url: Url,
}

impl Http {
    /// Makes a client that trusts these authorities beside the public ones. An endpoint of this machine is spoken to directly:
    /// a proxy that `HTTP_PROXY` names is for the network.
    pub(super) fn new(url: Url, trust: &RootCertificates) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let mut client = reqwest::Client::builder().tls_backend_preconfigured(trust.tls()?);
        if is_loopback(&url) {
            client = client.no_proxy();
        }
        Ok(Self { client: client.build()?, url })
    }

    async fn exchange(self, call: RequestPacket) -> Result<ResponsePacket, TransportError> {
        let asking = self.client.post(self.url).json(&call).send();
        let mut response = asking.await.map_err(TransportErrorKind::custom)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(TransportErrorKind::custom)? {
            if body.len() + chunk.len() > MAX_REPLY {
                return Err(TransportErrorKind::custom_str(&format!("its reply has more than {MAX_REPLY} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        match reply(&body) {
            Ok(packet) if status.is_success() || packet.is_error() => Ok(packet),
            Err(other) if status.is_success() => Err(other.into()),
            _ => Err(TransportErrorKind::http_error(status.as_u16(), String::from_utf8_lossy(&body).into_owned())),
        }
    }
}

impl Service<RequestPacket> for Http {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: RequestPacket) -> Self::Future {
        Box::pin(self.clone().exchange(call))
    }
}

/// Tells whether a URL is of this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => {
            address.is_loopback() || address.to_ipv4_mapped().is_some_and(|mapped| mapped.is_loopback())
        }
        Some(url::Host::Domain(name)) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        }
        None => false,
    }
}
