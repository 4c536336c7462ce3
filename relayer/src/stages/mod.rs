//! The node as a row of stages: [`watcher`] → [`executor`] → [`attester`] → [`submitter`], and [`claimer`] beside them. None
//! imports another; what they say to each other is in the journal and in channels that the supervisor makes.

pub mod attester;
pub mod claimer;
pub mod executor;
pub mod submitter;
pub mod watcher;
