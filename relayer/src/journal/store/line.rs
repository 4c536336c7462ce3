//! What a commit writes, as the write-ahead log has it.

use prost::{Enumeration, Message};

/// What one commit wrote.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Line {
    /// The commit's number, from 1.
    #[prost(uint64, tag = "1")]
    pub(super) number: u64,
    #[prost(message, repeated, tag = "2")]
    pub(super) writes: Vec<KeyWrite>,
}

/// What a key comes to.
#[derive(Clone, PartialEq, Message)]
pub(super) struct KeyWrite {
    #[prost(enumeration = "TreeName", tag = "1")]
    pub(super) tree: i32,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) key: Vec<u8>,
    /// The new value, unless the key is removed.
    #[prost(bytes = "vec", optional, tag = "3")]
    pub(super) value: Option<Vec<u8>>,
}

/// Name of a tree in the write-ahead log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub(super) enum TreeName {
    Meta = 0,
    RecentBlocks = 1,
    Jobs = 2,
    Inputs = 3,
    Transactions = 4,
    Attempts = 5,
    Claims = 6,
    Ledger = 7,
    Answers = 8,
}
