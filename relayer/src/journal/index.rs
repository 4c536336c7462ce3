//! Where the records are. A record lies under the key `view ‖ height ‖ id` of one of its views: jobs under that of
//! [`View::Requested`], claims under that of the only view they are in. What is written together lies together then, and
//! becomes sled's garbage together. All else that finds a record is in memory, made anew when the journal is opened: where
//! an id lies, the jobs of a state in order, and each model's open jobs in the order in which they are due.
//!
//! Stages walk a view in steps of a stated size instead of holding what waits. A commit keeps the index in step with the
//! records: whoever reads it sees all of a batch or nothing.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Range,
};

use alloy::primitives::B256;

use crate::domain::{Claim, Job, JobState};

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
    Included = 4,
    /// Confirmed jobs, by the block that settled them.
    Finalized = 5,
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
        Self::Included,
        Self::Finalized,
        Self::Skipped,
        Self::Failed,
        Self::Vesting,
        Self::Paid,
    ];

    /// The view of the jobs in a state.
    #[must_use]
    pub fn of(state: JobState) -> Self {
        match state {
            JobState::Seen => Self::Open,
            JobState::Sent => Self::Sent,
            JobState::Included => Self::Included,
            JobState::Finalized => Self::Finalized,
            JobState::Skipped => Self::Skipped,
            JobState::Failed => Self::Failed,
        }
    }

    /// The view of a state by the name that [`Job::name`] gives it.
    #[must_use]
    pub fn of_state(name: &str) -> Option<Self> {
        JobState::ALL.into_iter().find(|state| state.name() == name).map(Self::of)
    }

    /// The name of the state whose jobs it has, if it is a state's.
    #[must_use]
    pub fn state(self) -> Option<&'static str> {
        JobState::ALL.into_iter().find(|state| Self::of(*state) == self).map(JobState::name)
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

/// The key of a place in a view.
pub(super) fn view_key(view: View, at: Position) -> Vec<u8> {
    [&[view as u8][..], &at.height.to_be_bytes(), at.id.as_slice()].concat()
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entries {
    pub(super) id: B256,
    pub(super) home: Home,
    /// The view of its state, if that is another.
    pub(super) state: Option<(View, Position)>,
    /// Of an open job: its model and its place among those due.
    pub(super) due: Option<(B256, Position)>,
}

/// Where every record is, in memory.
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    /// Some 50 bytes each: in a tree, ids come in no order, and each write would touch a page of its own, which makes
    /// sled's files grow to many times what is in them.
    jobs: HashMap<B256, Home>,
    claims: HashMap<B256, Home>,
    states: BTreeMap<View, BTreeSet<Position>>,
    /// Without models that have none.
    due: BTreeMap<B256, BTreeSet<Position>>,
    /// Of the views under whose keys records lie.
    counts: BTreeMap<View, usize>,
}

impl Index {
    fn homes(&mut self, view: View) -> &mut HashMap<B256, Home> {
        if view == View::Requested { &mut self.jobs } else { &mut self.claims }
    }

    /// Adds a record that it does not have.
    pub(super) fn add(&mut self, entries: Entries) {
        let Entries { id, home, state, due } = entries;
        self.homes(home.0).insert(id, home);
        *self.counts.entry(home.0).or_default() += 1;
        if let Some((view, at)) = state {
            self.states.entry(view).or_default().insert(at);
        }
        if let Some((model, at)) = due {
            self.due.entry(model).or_default().insert(at);
        }
    }

    /// Removes a record as it was added.
    fn remove(&mut self, entries: &Entries) {
        let Entries { id, home, state, due } = entries;
        self.homes(home.0).remove(id);
        if let Some(count) = self.counts.get_mut(&home.0) {
            *count = count.saturating_sub(1);
        }
        if let Some((view, at)) = state
            && let Some(places) = self.states.get_mut(view)
        {
            places.remove(at);
        }
        if let Some((model, at)) = due
            && let Some(places) = self.due.get_mut(model)
        {
            places.remove(at);
            if places.is_empty() {
                self.due.remove(model);
            }
        }
    }

    /// Puts a record that changed in the place of what it was.
    pub(super) fn replace(&mut self, old: Option<&Entries>, new: Option<Entries>) {
        old.into_iter().for_each(|entries| self.remove(entries));
        new.into_iter().for_each(|entries| self.add(entries));
    }

    /// The places of a state's view in a range, in order.
    pub(super) fn of_state(&self, view: View, range: Range<Position>) -> impl DoubleEndedIterator<Item = Position> {
        within(self.states.get(&view), range)
    }

    /// A model's open jobs in a range, by the last block in which they can be answered.
    pub(super) fn due(&self, model: B256, range: Range<Position>) -> impl Iterator<Item = Position> {
        within(self.due.get(&model), range)
    }

    pub(super) fn count(&self, view: View) -> usize {
        let in_state = self.states.get(&view).map_or(0, BTreeSet::len);
        self.counts.get(&view).map_or(in_state, |count| *count)
    }

    /// The models that have open jobs, and how many.
    pub(super) fn waiting(&self) -> Vec<(B256, usize)> {
        self.due.iter().map(|(model, places)| (*model, places.len())).collect()
    }
}

fn within(places: Option<&BTreeSet<Position>>, range: Range<Position>) -> impl DoubleEndedIterator<Item = Position> {
    // An empty range is a mistake to a set.
    let range = range.start..range.end.max(range.start);
    places.into_iter().flat_map(move |places| places.range(range.clone())).copied()
}

/// A record that the views find.
pub(super) trait Indexed {
    fn entries(&self) -> Entries;
    /// Where the record of an id lies.
    fn home(index: &Index, id: B256) -> Option<Home>;
}

impl Indexed for Job {
    fn entries(&self) -> Entries {
        let task = self.task();
        let (id, requested) = (task.id, task.block.number);
        // By the block that ended it, or by the request's.
        let height = self.included_at().map_or(requested, |at| at.number);
        let due = matches!(self, Self::Seen(_));
        Entries {
            id,
            home: (View::Requested, requested),
            state: Some((View::of(self.state()), Position { height, id })),
            due: due.then(|| (task.request.model_id, Position { height: task.request.deadline(), id })),
        }
    }

    fn home(index: &Index, id: B256) -> Option<Home> {
        index.jobs.get(&id).copied()
    }
}

impl Indexed for Claim {
    fn entries(&self) -> Entries {
        let id = self.id;
        let (view, height) = self.paid_at.map_or((View::Vesting, self.vests_at), |at| (View::Paid, at));
        Entries { id, home: (view, height), state: None, due: None }
    }

    fn home(index: &Index, id: B256) -> Option<Home> {
        index.claims.get(&id).copied()
    }
}
