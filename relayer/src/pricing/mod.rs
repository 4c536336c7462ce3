//! What gas costs and what work may cost: pure arithmetic.

pub mod fees;
pub(crate) mod gas;
