//! Every key of the configuration file: what it means, its unit and its default. The example file and the environment
//! variables are made from this table, and tests hold it to what is read.

use std::fmt::Write;

/// The form of a key's value, which says how an environment variable is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Integer,
    Number,
    Boolean,
    /// Texts, in an environment variable joined by commas.
    Texts,
    /// Integers, in an environment variable joined by commas.
    Integers,
    /// A table; no environment variable sets it.
    Table,
}

/// A key of the configuration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) section: &'static str,
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// The default as TOML; `None` where there is none.
    pub(super) default: Option<&'static str>,
    /// A value for the example where there is no default.
    pub(super) sample: &'static str,
    pub(super) doc: &'static str,
}

impl Key {
    /// Its name in full, such as `chain.rpc_urls`.
    pub(super) fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// The environment variable that overrides it.
    pub(super) fn variable(&self) -> String {
        format!("ORACULUM_{}_{}", self.section, self.name).to_uppercase()
    }
}

/// The sections in the order of the example, with what they are about.
pub(super) const SECTIONS: [(&str, &str); 6] = [
    ("chain", "The chain to serve, and how it is read."),
    ("node", "Who this node is, what it serves, and where it keeps its journal."),
    ("engine", "How models are run."),
    ("fees", "What a unit of gas may cost. Read again on SIGHUP."),
    ("policy", "What is answered, and what that may cost. Read again on SIGHUP."),
    ("keys", "The encrypted keystores. Their password comes from ORACULUM_PASSWORD, password_file, or a prompt."),
];

const fn key(section: &'static str, name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key { section, name, kind, default: Some(default), sample: "", doc }
}

const fn bare(section: &'static str, name: &'static str, kind: Kind, sample: &'static str, doc: &'static str) -> Key {
    Key { section, name, kind, default: None, sample, doc }
}

/// Every key.
pub(super) const KEYS: &[Key] = &[
    key(
        "chain",
        "rpc_urls",
        Kind::Texts,
        "[\"http://127.0.0.1:8545\"]",
        "The endpoints, one or more: http, https, ws or wss.",
    ),
    key("chain", "chain_id", Kind::Integer, "31337", "The chain's id; the node stops if the endpoint has another."),
    bare(
        "chain",
        "coordinator",
        Kind::Text,
        "\"0x5FbDB2315678afecb367f032d93F642f64180aa3\"",
        "Required. The coordinator's address.",
    ),
    key(
        "chain",
        "deployment_block",
        Kind::Integer,
        "0",
        "The block in which the coordinator was deployed: a node without a journal reads from here.",
    ),
    key(
        "chain",
        "finality",
        Kind::Text,
        "\"depth\"",
        "When a block counts as final, and an answer's job is closed: `depth` (after `confirmations`), or with the chain's own tag `safe` or `finalized`. Answers do not wait for it.",
    ),
    key("chain", "confirmations", Kind::Integer, "2", "Blocks after which a block is final by `depth`, 0 to 8,000."),
    key(
        "chain",
        "reorg_depth",
        Kind::Integer,
        "64",
        "Blocks of the deepest reorganisation that is rewound, 1 to 8,000; at a deeper one the node halts.",
    ),
    key(
        "chain",
        "start_timeout",
        Kind::Number,
        "60",
        "Seconds for which an endpoint that is down is tried again at start, before the node gives up.",
    ),
    key("chain", "request_timeout", Kind::Number, "10", "Seconds that one call to the endpoint may take."),
    key(
        "chain",
        "poll_interval",
        Kind::Number,
        "1",
        "Seconds between questions for the latest block; with ws and wss only the safety net under a subscription.",
    ),
    key(
        "chain",
        "quorum",
        Kind::Integer,
        "1",
        "Endpoints that must agree on what moves money: our nonces, receipts, and finality. At most as many as there are.",
    ),
    key(
        "chain",
        "requests_per_second",
        Kind::Number,
        "0",
        "Calls to each endpoint per second, at most, with bursts of one second's; 0 for no limit.",
    ),
    bare(
        "chain",
        "ca_file",
        Kind::Text,
        "\"ca.pem\"",
        "Certificates in PEM of authorities that https and wss endpoints may be signed by, beside the public ones.",
    ),
    key(
        "chain",
        "log_page",
        Kind::Integer,
        "2000",
        "Blocks per query of past logs, at most; pages shrink by themselves where the endpoint refuses.",
    ),
    bare(
        "node",
        "owner",
        Kind::Text,
        "\"0x70997970C51812dc3A010C7d01b50e0d17dc79C8\"",
        "Required. The account that owns the node's seats and is paid. Its key is not needed to run.",
    ),
    key("node", "models_dir", Kind::Text, "\"models\"", "The folder of models, one folder with a card.json each."),
    key(
        "node",
        "data_dir",
        Kind::Text,
        "\"data\"",
        "The folder of the journal. Deleting it costs a rescan of the chain.",
    ),
    key(
        "node",
        "serve",
        Kind::Texts,
        "[]",
        "Names or ids of the models to load and, where the owner has seats, to answer for; empty for all in models_dir.",
    ),
    key(
        "node",
        "status_listen",
        Kind::Text,
        "\"127.0.0.1:0\"",
        "Address and port for metrics, probes and `oraculum jobs`; port 0 takes a free one, \"\" turns it off.",
    ),
    key(
        "node",
        "status_public",
        Kind::Boolean,
        "false",
        "Whether status_listen may be an address that others reach: what is served has no secrets, and no password.",
    ),
    bare(
        "engine",
        "runtime",
        Kind::Text,
        "\"/opt/onnxruntime/lib/libonnxruntime.so\"",
        "ONNX Runtime's library. Without it, it is looked for in ORT_DYLIB_PATH, beside the binary and in node_modules.",
    ),
    key(
        "engine",
        "provider",
        Kind::Text,
        "\"cpu\"",
        "`cpu`, `cuda` (stops at start if no GPU is usable) or `auto` (falls back to the CPU, and says so).",
    ),
    key("engine", "device_ids", Kind::Integers, "[0]", "The GPUs to use, by CUDA's numbers."),
    key("engine", "queue", Kind::Integer, "64", "Runs that may wait per model; more are held back in the journal."),
    key("engine", "time_limit", Kind::Number, "10", "Seconds that one run may take."),
    key(
        "fees",
        "max_fee_per_gas",
        Kind::Number,
        "100",
        "Gwei per unit of gas, at most; while the chain asks for more, answers wait.",
    ),
    key(
        "fees",
        "min_priority_fee",
        Kind::Number,
        "0.1",
        "Gwei per unit of gas that the block's producer gets, at least.",
    ),
    key(
        "fees",
        "bump_percent",
        Kind::Integer,
        "15",
        "Per cent by which a stuck transaction's fees are raised, 10 to 100.",
    ),
    key("policy", "min_fee", Kind::Text, "\"0\"", "The least fee in wei for which a request is answered."),
    key(
        "policy",
        "margin_percent",
        Kind::Integer,
        "0",
        "Per cent by which a request's fee must exceed the gas that answering and claiming cost; -100 answers at any cost.",
    ),
    bare(
        "policy",
        "max_spend_per_hour",
        Kind::Number,
        "0.5",
        "ETH that all transactions may cost in an hour; above it answers wait. Without it, there is no such limit.",
    ),
    key(
        "policy",
        "balance_alert",
        Kind::Number,
        "0.05",
        "ETH on a sending key below which a warning is logged, once until it is funded again.",
    ),
    key("policy", "max_batch", Kind::Integer, "32", "Answers in one transaction, at most."),
    key(
        "policy",
        "batch_wait",
        Kind::Number,
        "0",
        "Seconds for which a signed answer may wait for others. With 0 batches form only while the chain is busy.",
    ),
    bare(
        "policy",
        "models",
        Kind::Table,
        "{ \"iris/v1\" = { min_fee = \"1000000000000\", margin_percent = 50 } }",
        "What is different for a model, by its name or id: min_fee and margin_percent.",
    ),
    key("keys", "signer", Kind::Text, "\"keys/signer.json\"", "The keystore that signs answers. It moves no money."),
    key(
        "keys",
        "senders",
        Kind::Texts,
        "[\"keys/sender.json\"]",
        "The keystores that pay for gas; keep little on them. Several send in parallel. The signer's may be among them.",
    ),
    bare(
        "keys",
        "password_file",
        Kind::Text,
        "\"/run/secrets/oraculum\"",
        "A file with the password of all keystores. Without it and ORACULUM_PASSWORD, a terminal is asked.",
    ),
];

/// The configuration file with every key documented. `values` are TOML literals by full key, in place of defaults;
/// keys with neither are commented out.
pub fn example(values: &[(&str, String)]) -> String {
    let mut text = String::from(
        "# Configuration of an Oraculum node. Paths are relative to this file. Every key may be overridden by an\n\
         # environment variable, ORACULUM_<SECTION>_<KEY>: ORACULUM_CHAIN_RPC_URLS overrides rpc_urls in [chain].\n",
    );
    for (section, about) in SECTIONS {
        let _ = write!(text, "\n# {about}\n[{section}]\n");
        for key in KEYS.iter().filter(|key| key.section == section) {
            let path = key.path();
            let given = values.iter().find(|(name, _)| *name == path).map(|(_, value)| value.as_str());
            let _ = match given.or(key.default) {
                Some(value) => writeln!(text, "# {}\n{} = {value}", key.doc, key.name),
                None => writeln!(text, "# {}\n# {} = {}", key.doc, key.name, key.sample),
            };
        }
    }
    text
}
