//! `[keys]`.

use std::path::PathBuf;

use super::{
    readers::{not_empty, path, paths},
    section::section,
};

section! {
    /// The encrypted keystores. Their password comes from ORACULUM_PASSWORD, password_file, or a prompt.
    pub struct KeySettings = "keys" {
        /// The keystore that signs answers. It moves no money.
        signer: PathBuf = path().default("\"keys/signer.json\""),
        /// The keystores that pay for gas; keep little on them. Several send in parallel. The signer's may be among them.
        senders: Vec<PathBuf> = not_empty(paths(), "write the keystore of a key that pays for gas")
            .default("[\"keys/sender.json\"]"),
        /// A file with the password of all keystores. Without it and ORACULUM_PASSWORD, a terminal is asked.
        password_file: Option<PathBuf> = path().optional("\"/run/secrets/oraculum\""),
    }
}
