//! The address of an endpoint, which may carry a secret.

use std::fmt;

use url::Url;

/// An endpoint's URL. It may carry a secret in its path, query or user info, so only scheme, host and port are shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

impl Endpoint {
    /// Whole URL, to connect to and never to print.
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// Replaces this endpoint's secrets in a message that a library wrote.
    pub fn scrub(&self, message: &str) -> String {
        let mut text = message.replace(self.0.as_str(), &self.to_string());
        let tail = self.0[url::Position::BeforePath..].trim_end_matches('/');
        let mut secrets = vec![tail, self.0.username(), self.0.password().unwrap_or("")];
        // An endpoint may repeat the key alone; shorter parts, such as `v3`, are no keys.
        let parts = self.0.path().split('/').chain(self.0.query().unwrap_or("").split(['&', '=']));
        secrets.extend(parts.filter(|part| part.len() >= 8));
        for secret in secrets {
            if secret.len() > 1 {
                text = text.replace(secret, "…");
            }
        }
        text
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
