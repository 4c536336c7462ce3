//! Journals of older layouts, read as records.

pub(super) mod outbox;
pub(super) mod v1;
pub(super) mod v2;
