//! `[node]`.

use std::{net::SocketAddr, path::PathBuf};

use alloy::primitives::Address;

use super::{
    error::ConfigError,
    key::Reader,
    raw::RawSection,
    readers::{address, boolean, path, text, texts},
    section::section,
};

section! {
    /// Who this node is, what it serves, and where it keeps its journal.
    pub struct NodeSettings = "node" {
        /// Required. The account that owns the node's seats and is paid. Its key is not needed to run.
        owner: Address = address()
            .required("\"0x70997970C51812dc3A010C7d01b50e0d17dc79C8\"", "write the address that owns the node's seats"),
        /// The folder of models, one folder with a card.json each.
        models_dir: PathBuf = path().default("\"models\""),
        /// The folder of the journal. Deleting `db` in it costs a rescan of the chain.
        data_dir: PathBuf = path().default("\"data\""),
        /// Names or ids of the models to load and, where the owner has seats, to answer for; empty for all in models_dir.
        serve: Vec<String> = texts().default("[]"),
        /// The models among them that stay in memory, whoever else needs it.
        pinned: Vec<String> = texts().default("[]"),
        /// Address and port for metrics, probes and `oraculum jobs`; port 0 takes a free one, "" turns it off.
        status_listen: Option<SocketAddr> = listener().default("\"127.0.0.1:0\""),
        /// Whether status_listen may be an address that others reach: what is served has no secrets, and no password.
        status_public: bool = boolean().default("false"),
    }
    check consistent
}

fn consistent(node: &NodeSettings, raw: &RawSection) -> Result<(), ConfigError> {
    match node.status_listen {
        Some(address) if !address.ip().is_loopback() && !node.status_public => {
            let reason = format!(
                "{address} can be reached by others; write a loopback address such as 127.0.0.1:0, or allow it with \
                 node.status_public = true"
            );
            Err(raw.wrong("status_listen", reason))
        }
        _ => Ok(()),
    }
}

/// An address and port to listen on, or none for "".
fn listener() -> Reader<Option<SocketAddr>> {
    text().then(|text| match text.as_str() {
        "" => Ok(None),
        address => address
            .parse()
            .map(Some)
            .map_err(|_| format!("`{address}` is no address and port; write one such as 127.0.0.1:0")),
    })
}
