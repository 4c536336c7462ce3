//! The coordinator as the relayer meets it: its events as an enum, its calls as functions, its errors by name.

pub mod abi;
mod calls;
mod events;
mod explain;
mod probe;
mod revert;
mod views;

pub use calls::{card, claim, fulfill, fulfill_batch};
pub use events::{DecodedLog, Event, decode_log, rules};
pub use explain::explain;
pub use probe::{endings, probe};
pub use revert::{RevertReason, refusal};
pub use views::{ReadError, Views};
