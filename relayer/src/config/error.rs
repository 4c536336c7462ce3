//! Why a configuration cannot be used.

/// Why a configuration cannot be used. An `origin` is the file with the line, or the environment variable, that a value
/// comes from; a `key` is in full, such as `chain.rpc_urls`. No message repeats a value that may be secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum ConfigError {
    #[error("cannot read {file}: {reason}; `oraculum init` writes a configuration to start from")]
    Unreadable { file: String, reason: String },
    #[error("{file}, line {line}: {reason}")]
    Syntax { file: String, line: usize, reason: String },
    #[error("{origin}: unknown {what}; {remedy}")]
    Unknown { origin: String, what: String, remedy: String },
    #[error("{origin}: {key} is wrong: {reason}")]
    Value { origin: String, key: String, reason: String },
    #[error("{file}: {key} is missing; {remedy}")]
    Missing { file: String, key: String, remedy: String },
    #[error("the environment variable {variable} would set {key} of every chain alike; write it into each file")]
    SharedVariable { variable: String, key: String },
    #[error("{0}; correct `chain.ca_file`")]
    CaFile(String),
    #[error("the environment variable {variable} means nothing: {remedy}")]
    UnknownVariable { variable: String, remedy: String },
}
