//! What the node thinks about: a job from request to answer, the transactions that carry it, what is paid for it, and the
//! seats that may answer. Values and their moves; no I/O.

mod claim;
mod head;
mod job;
mod ledger;
mod seats;
mod transaction;

pub use claim::Claim;
pub use head::Tip;
pub use job::{
    Attested, Closed, End, Ending, Executed, Illegal, Job, Lease, Move, Place, Seen, Sent, Settled, Skip, Task,
};
pub use ledger::Entry;
pub use seats::{Rules, STAYS, SeatChange, SeatTable, Turn};
pub use transaction::{Attempt, Item, Purpose, Slot};
