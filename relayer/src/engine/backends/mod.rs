//! Backends: each stands behind the seam of `engine/backend.rs`.

pub(super) mod canonical;
pub(super) mod child;
pub(super) mod folder;
pub(super) mod ort;
