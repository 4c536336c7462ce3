//! Endpoints carry API keys in their user info, path and query: what libraries say must not show them.

use crate::config::Endpoint;

/// Blots the endpoint out of a message that a library wrote.
pub(super) fn scrub(message: &str, endpoint: &Endpoint) -> String {
    let url = endpoint.url();
    let mut text = message.replace(url.as_str(), &endpoint.to_string());
    let tail = url[url::Position::BeforePath..].trim_end_matches('/');
    if tail.len() > 1 {
        text = text.replace(tail, "/…");
    }
    for secret in [url.username(), url.password().unwrap_or("")] {
        if !secret.is_empty() {
            text = text.replace(secret, "…");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_in_path_query_and_user_info_are_never_shown() {
        let endpoint: Endpoint = "https://user:hunter2@rpc.example.org:8443/v2/KEY?token=abc".parse().unwrap();
        let url = endpoint.url();
        let message =
            scrub(&format!("error sending request for url ({url}): /v2/KEY?token=abc by user:hunter2"), &endpoint);
        for secret in ["KEY", "abc", "hunter2"] {
            assert!(!message.contains(secret), "{message}");
        }
        assert!(message.contains("https://rpc.example.org:8443/…"), "{message}");
    }
}
