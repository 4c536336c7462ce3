//! Ordered views of the records: keys `view ‖ height ‖ id`, so that a view is a range of keys.
//!
//! A record lies under the key of one of its views: jobs under that of [`View::Requested`], claims under that of the only
//! view they are in. What is written together lies together then, and becomes sled's garbage together. What else finds a
//! record is a key without a value in a tree of its own: the view of a job's state, and for an open job
//! `0 ‖ model ‖ deadline ‖ id`, the order in which a model's jobs are due.
//!
//! Stages walk a view in steps of a stated size instead of holding what waits in memory. A commit keeps the views in
//! step with the records, in the same transaction.

use alloy::primitives::B256;

use super::Claim;
use crate::lifecycle::{Closed, End, Job};

/// A view. Every job is in `Requested` and in the view of its state; a claim is in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum View {
    /// All jobs, by the request's block.
    Requested = 1,
    /// Jobs to be answered, by the request's block.
    Open = 2,
    /// Jobs whose answer our transaction carries, by the request's block.
    Sent = 3,
    /// Settled jobs that are not final, by the block that settled them.
    Settled = 4,
    /// Confirmed jobs, by the block that settled them.
    Confirmed = 5,
    /// Jobs passed over, by the request's block.
    Skipped = 6,
    /// Jobs that could not be answered, by the request's block.
    Failed = 7,
    /// Claims that are not paid, by the block from which they can be.
    Vesting = 9,
    /// Paid claims, by the block that paid them.
    Paid = 10,
}

impl View {
    /// All views.
    pub const ALL: [Self; 9] = [
        Self::Requested,
        Self::Open,
        Self::Sent,
        Self::Settled,
        Self::Confirmed,
        Self::Skipped,
        Self::Failed,
        Self::Vesting,
        Self::Paid,
    ];

    /// The view of a state by the name that [`Job::name`] gives it.
    #[must_use]
    pub fn of_state(name: &str) -> Option<Self> {
        Some(match name {
            "seen" => Self::Open,
            "sent" => Self::Sent,
            "settled" => Self::Settled,
            "confirmed" => Self::Confirmed,
            "skipped" => Self::Skipped,
            "failed" => Self::Failed,
            _ => return None,
        })
    }

    /// The state whose jobs it has, if it is a state's.
    #[must_use]
    pub fn state(self) -> Option<&'static str> {
        ["seen", "sent", "settled", "confirmed", "skipped", "failed"]
            .into_iter()
            .find(|state| Self::of_state(state) == Some(self))
    }
}

/// A place in a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The height by which the view is ordered.
    pub height: u64,
    /// The request.
    pub id: B256,
}

impl Position {
    /// The place before all others at a height.
    #[must_use]
    pub fn first_at(height: u64) -> Self {
        Self { height, id: B256::ZERO }
    }

    /// The place behind all others at a height.
    #[must_use]
    pub fn last_at(height: u64) -> Self {
        Self { height, id: B256::repeat_byte(0xff) }
    }

    /// The place right behind this one.
    #[must_use]
    pub fn next(self) -> Self {
        let mut id = self.id;
        for byte in id.iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                return Self { id, ..self };
            }
        }
        Self::first_at(self.height.saturating_add(1))
    }
}

fn place(at: Position) -> [u8; 40] {
    let mut bytes = [0; 40];
    bytes[..8].copy_from_slice(&at.height.to_be_bytes());
    bytes[8..].copy_from_slice(at.id.as_slice());
    bytes
}

pub(super) fn view_key(view: View, at: Position) -> Vec<u8> {
    [&[view as u8][..], &place(at)].concat()
}

pub(super) fn due_key(model: B256, at: Position) -> Vec<u8> {
    [&[0][..], model.as_slice(), &place(at)].concat()
}

/// The model of a key of those that are due.
pub(super) fn due_model(key: &[u8]) -> Option<B256> {
    key.get(1..33).map(B256::from_slice)
}

pub(super) fn position(key: &[u8]) -> Option<Position> {
    let place = key.last_chunk::<40>()?;
    let height = place[..8].iter().fold(0, |height, byte| height << 8 | u64::from(*byte));
    Some(Position { height, id: B256::from_slice(&place[8..]) })
}

/// Where a record lies: the view under whose key, and the height in that.
pub(super) type Home = (View, u64);

/// The key of a record.
pub(super) fn home_key((view, height): Home, id: B256) -> Vec<u8> {
    view_key(view, Position { height, id })
}

/// Where a record is found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entries {
    pub(super) id: B256,
    pub(super) home: Home,
    /// The view of its state, if that is another.
    pub(super) state: Option<(View, Position)>,
    /// Of an open job: its model and its place among those due.
    pub(super) due: Option<(B256, Position)>,
}

impl Entries {
    /// The keys without values that find it.
    pub(super) fn keys(&self) -> impl Iterator<Item = Vec<u8>> + use<> {
        let state = self.state.map(|(view, at)| view_key(view, at));
        state.into_iter().chain(self.due.map(|(model, at)| due_key(model, at)))
    }

    /// The views it is in.
    pub(super) fn views(&self) -> impl Iterator<Item = View> + use<> {
        let state = self.state.map(|(view, _)| view);
        std::iter::once(self.home.0).chain(state)
    }
}

/// A record that the views find.
pub(super) trait Indexed {
    fn entries(&self) -> Entries;
}

impl Indexed for Job {
    fn entries(&self) -> Entries {
        let task = self.task();
        let (id, requested) = (task.id, task.block.number);
        let (view, height) = match self {
            Self::Seen(_) => (View::Open, requested),
            Self::Sent(_) => (View::Sent, requested),
            Self::Settled(settled) => (View::Settled, settled.at.number),
            Self::Closed(Closed { end, .. }) => match end {
                End::Confirmed { at, .. } => (View::Confirmed, at.number),
                End::Skipped { .. } => (View::Skipped, requested),
                End::Failed { .. } => (View::Failed, requested),
            },
        };
        let due = matches!(self, Self::Seen(_));
        Entries {
            id,
            home: (View::Requested, requested),
            state: Some((view, Position { height, id })),
            due: due.then(|| (task.request.model_id, Position { height: task.request.deadline(), id })),
        }
    }
}

impl Indexed for Claim {
    fn entries(&self) -> Entries {
        let id = self.id;
        let (view, height) = self.paid_at.map_or((View::Vesting, self.vests_at), |at| (View::Paid, at));
        Entries { id, home: (view, height), state: None, due: None }
    }
}
