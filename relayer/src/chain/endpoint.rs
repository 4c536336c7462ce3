//! The address of an endpoint, which may carry a secret.

use std::{borrow::Cow, fmt};

use percent_encoding::percent_decode_str;
use url::Url;

use crate::text::one_line;

/// An endpoint's URL. It may carry a secret in its path, query or user info, so only scheme, host and port are shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

impl Endpoint {
    /// Whole URL, to connect to and never to print.
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// Tells whether the endpoint is reached by a WebSocket.
    pub(super) fn is_websocket(&self) -> bool {
        matches!(self.0.scheme(), "ws" | "wss")
    }

    /// Returns user and password as they are sent, where the URL has either: in the URL they may be escaped by `%`.
    pub(super) fn credentials(&self) -> Option<(String, String)> {
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let (user, password) = (self.0.username(), self.0.password());
        (!user.is_empty() || password.is_some()).then(|| (decoded(user), decoded(password.unwrap_or_default())))
    }

    /// Makes a line of a message that a library or the endpoint wrote, without this endpoint's secrets.
    pub fn scrub(&self, message: &str) -> String {
        let mut text = message.replace(self.0.as_str(), &self.to_string());
        let tail = self.0[url::Position::BeforePath..].trim_end_matches('/');
        let mut secrets: Vec<Cow<str>> =
            [tail, self.0.username(), self.0.password().unwrap_or("")].map(Cow::from).into();
        if let Some((user, password)) = self.credentials() {
            secrets.extend([user.into(), password.into()]);
        }
        // An endpoint may repeat the key alone; shorter parts, such as `v3`, are no keys.
        let parts = self.0.path().split('/').chain(self.0.query().unwrap_or("").split(['&', '=']));
        secrets.extend(parts.filter(|part| part.len() >= 8).map(Cow::from));
        for secret in secrets {
            if secret.len() > 1 {
                text = text.replace(&*secret, "…");
            }
        }
        one_line(&text)
    }
}

impl std::str::FromStr for Endpoint {
    type Err = String;

    /// Reads an http, https, ws or wss URL.
    ///
    /// # Errors
    /// A sentence with the remedy, for text that is no URL or has another scheme. It does not repeat the text.
    fn from_str(text: &str) -> Result<Self, String> {
        const REMEDY: &str = "write an http, https, ws or wss URL such as http://127.0.0.1:8545";
        let url = Url::parse(text).map_err(|error| format!("it is no URL ({error}); {REMEDY}"))?;
        match url.scheme() {
            "http" | "https" | "ws" | "wss" => Ok(Self(url)),
            scheme => Err(format!("an endpoint cannot be reached by `{scheme}`; {REMEDY}")),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.0.scheme(), self.0.host_str().unwrap_or("?"))?;
        if let Some(port) = self.0.port() {
            write!(f, ":{port}")?;
        }
        let bare = matches!(self.0.path(), "" | "/") && self.0.query().is_none();
        f.write_str(if bare { "" } else { "/…" })
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
