//! Backends: each stands behind the seam of `engine/backend.rs`.

pub(super) mod ort;
