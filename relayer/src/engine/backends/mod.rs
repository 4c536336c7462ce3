//! What can run models, each behind its own door.

pub(in crate::engine) mod ort;
