//! The coordinator as the relayer meets it: its events as an enum, its calls as functions, its errors by name.

pub mod abi;
mod callback;
mod calls;
mod events;
mod probe;
mod revert;
mod views;

pub use callback::Callback;
pub use calls::{card, claim, fulfill, fulfill_batch};
pub use events::{DecodedLog, Event, decode_log, request, rules, words};
pub use probe::{endings, probe};
pub use revert::{Revert, RevertReason, explain};
pub use views::{ReadError, Views};
