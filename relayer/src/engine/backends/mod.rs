//! What can run models, behind the seam of `backend`.

pub(super) mod ort;
