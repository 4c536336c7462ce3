//! What the node thinks about: a job from request to answer, the transactions that carry it, what is paid for it, and the
//! seats that may answer. Values and their moves; no I/O.

mod claim;
mod head;
mod job;
mod ledger;
mod seats;
mod signed;
mod transaction;
mod wait;

pub use claim::Claim;
pub use head::ChainHead;
pub use job::{
    Attested, CloseReason, Closed, Executed, Included, InvalidTransition, Job, JobState, Lease, Resolution,
    SeatAssignment, Seen, Sent, Skip, Task, Transition,
};
pub use ledger::Entry;
pub use seats::{Rules, STAYS, SeatChange, SeatTable, Turn};
pub use signed::SignedAnswer;
pub use transaction::{AnswerRef, Attempt, Purpose, TrackedTransaction};
pub use wait::{Wait, WaitReason};
