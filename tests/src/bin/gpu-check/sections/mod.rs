//! The sections, a file each. Each prints its part of the report as it goes.

pub(crate) mod batching;
pub(crate) mod conformance;
pub(crate) mod determinism;
pub(crate) mod device;
pub(crate) mod judge;
pub(crate) mod loss;
pub(crate) mod memory;
pub(crate) mod refusals;
pub(crate) mod throughput;

use crate::Verdict;

/// Passed where all is as it should be.
fn verdict(as_it_should_be: bool) -> Verdict {
    if as_it_should_be { Verdict::Passed } else { Verdict::Failed }
}

/// `yes` or, so that it is seen, `**no**`.
fn yes(is: bool) -> &'static str {
    if is { "yes" } else { "**no**" }
}
