//! `[chain]`.

use std::{path::PathBuf, time::Duration};

use alloy::primitives::Address;
use serde::Deserialize;

use super::{
    error::ConfigError,
    key::Reader,
    raw::RawSection,
    readers::{UNBOUNDED, address, decimal, path, seconds, texts, variant, whole},
    section::section,
};
use crate::chain::{Endpoint, Finality, RootCertificates, Tag};

section! {
    /// The chain to serve, and how it is read.
    pub struct ChainSettings = "chain" {
        /// The endpoints, one or more: http, https, ws or wss.
        rpc_urls: Vec<Endpoint> = endpoints().default("[\"http://127.0.0.1:8545\"]"),
        /// The chain's id; the node stops if the endpoint has another.
        chain_id: u64 = whole(1..=UNBOUNDED, "").default("31337"),
        /// Required. The coordinator's address.
        coordinator: Address = address()
            .required("\"0x5FbDB2315678afecb367f032d93F642f64180aa3\"", "write the address of the coordinator"),
        /// The block in which the coordinator was deployed: a node without a journal reads from here.
        deployment_block: u64 = whole(0..=UNBOUNDED, "").default("0"),
        /// When a block counts as final, and an answer's job is closed: `depth` (after `confirmations`), or with the chain's
        /// own tag `safe` or `finalized`. Answers do not wait for it.
        finality: FinalityRule = variant().default("\"depth\""),
        /// Blocks after which a block is final by `depth`.
        confirmations: u64 = whole(0..=8000, "blocks").default("2"),
        /// Blocks of the deepest reorganisation that is rewound, at least `confirmations`; at a deeper one the node halts.
        reorg_depth: u64 = whole(1..=8000, "blocks").default("64"),
        /// Seconds for which an endpoint that is down is tried again at start, before the node gives up.
        start_timeout: Duration = seconds(0.0..=86_400.0).default("60"),
        /// Seconds that one call to the endpoint may take.
        request_timeout: Duration = seconds(0.1..=600.0).default("10"),
        /// Seconds between questions for the latest block; with ws and wss only the safety net under a subscription.
        poll_interval: Duration = seconds(0.001..=600.0).default("1"),
        /// Endpoints that must agree on what moves money: our nonces, receipts, and finality. At most as many as there are.
        quorum: usize = whole(0..=UNBOUNDED, "").default("1"),
        /// Calls to each endpoint per second, at most, with bursts of one second's; 0 for no limit.
        requests_per_second: f64 = decimal(0.0..=1e6, "requests per second").default("0"),
        /// Certificates in PEM of authorities that https and wss endpoints may be signed by, beside the public ones.
        ca_file: Option<PathBuf> = path().optional("\"ca.pem\""),
        /// Blocks per query of past logs, at most; pages shrink by themselves where the endpoint refuses.
        log_page: u64 = whole(1..=1_000_000, "blocks").default("2000"),
    }
    check consistent
}

/// What decides that a block is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FinalityRule {
    /// `confirmations` blocks on top of it.
    Depth,
    /// The chain's tag `safe`.
    Safe,
    /// The chain's tag `finalized`.
    Finalized,
}

impl ChainSettings {
    /// When a block counts as final: `finality` and `confirmations` in one.
    #[must_use]
    pub fn finality(&self) -> Finality {
        match self.finality {
            FinalityRule::Depth => Finality::Depth(self.confirmations),
            FinalityRule::Safe => Finality::Tag(Tag::Safe),
            FinalityRule::Finalized => Finality::Tag(Tag::Finalized),
        }
    }

    /// The authorities that may vouch for the endpoints: the public ones, and those of `ca_file`.
    ///
    /// # Errors
    /// `CaFile` if the file cannot be read, or holds no certificate that can be used.
    pub fn trust(&self) -> Result<RootCertificates, ConfigError> {
        let own = self.ca_file.as_deref().map(RootCertificates::from_file).transpose();
        Ok(own.map_err(ConfigError::CaFile)?.unwrap_or_default())
    }
}

fn consistent(chain: &ChainSettings, raw: &RawSection) -> Result<(), ConfigError> {
    let endpoints = chain.rpc_urls.len();
    if !(1..=endpoints).contains(&chain.quorum) {
        let reason = format!("{} of {endpoints} endpoints cannot agree; write 1 to {endpoints}", chain.quorum);
        return Err(raw.wrong("quorum", reason));
    }
    if chain.finality == FinalityRule::Depth && chain.confirmations > chain.reorg_depth {
        let reason = format!("it is below chain.confirmations, {} blocks; raise it", chain.confirmations);
        return Err(raw.wrong("reorg_depth", reason));
    }
    Ok(())
}

/// Different endpoints, at least one. The reason why one is wrong does not repeat it.
fn endpoints() -> Reader<Vec<Endpoint>> {
    texts().then(|texts| {
        if texts.is_empty() {
            return Err("it is empty; write one or more URLs such as [\"http://127.0.0.1:8545\"]".into());
        }
        let mut endpoints: Vec<Endpoint> = Vec::with_capacity(texts.len());
        for (index, text) in texts.iter().enumerate() {
            let endpoint = text.parse().map_err(|reason| format!("number {}: {reason}", index + 1))?;
            if endpoints.contains(&endpoint) {
                return Err(format!("{endpoint} is listed twice; an endpoint does not back itself up"));
            }
            endpoints.push(endpoint);
        }
        Ok(endpoints)
    })
}
