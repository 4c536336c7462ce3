//! What a batch does to the records: the rules of a commit, alike for every journal.
//!
//! Nothing is written here. Each record that a batch changes is read once and comes out once, however often the batch
//! changes it, and not at all if it comes and goes.

use std::collections::{BTreeMap, btree_map};

use alloy::primitives::{B256, Bytes};

use super::{
    Batch, JournalError,
    index::{Entries, Home, Indexed},
};
use crate::domain::{Claim, Entry, InvalidTransition, Job, Seen, Transition};

/// How often something happened to jobs, by model, event and reason.
pub(super) type EventCounts = BTreeMap<(B256, &'static str, &'static str), u64>;

/// The records as they were before a batch.
pub(super) trait Before {
    fn job(&self, id: B256) -> Result<Option<Job>, JournalError>;
    fn claim(&self, id: B256) -> Result<Option<Claim>, JournalError>;
    fn entry(&self, hour: u64, model: B256) -> Result<Option<Entry>, JournalError>;
}

/// Why a batch changes nothing.
pub(super) enum Rejected {
    /// A job's state does not allow that its answer is sent.
    Send(B256, InvalidTransition),
    /// A record cannot be read.
    Read(JournalError),
}

impl From<JournalError> for Rejected {
    fn from(error: JournalError) -> Self {
        Self::Read(error)
    }
}

/// Under what a record lies: its home and its request.
pub(super) type Key = (Home, B256);

/// A record that a batch changes, and where the index has it before and after.
pub(super) struct Change<T> {
    pub(super) old: Option<Entries>,
    pub(super) new: Option<Entries>,
    pub(super) record: Option<T>,
}

impl<T> Change<T> {
    /// Where the record lies from now on, and the place that it leaves.
    pub(super) fn homes(&self) -> (Option<(Key, &T)>, Option<Key>) {
        let [before, after] = [&self.old, &self.new].map(|entries| entries.as_ref().map(|at| (at.home, at.id)));
        (after.zip(self.record.as_ref()), before.filter(|_| before != after))
    }
}

/// All that a batch changes but for what it states outright: cursor, recent blocks and transactions.
pub(super) struct Changes<'a> {
    pub(super) jobs: Vec<Change<Job>>,
    /// Inputs to remove, by where their jobs lay. They go before others are written.
    pub(super) inputs_gone: Vec<Key>,
    /// Inputs to write, by where their jobs lie.
    pub(super) inputs: Vec<(Key, &'a Bytes)>,
    pub(super) claims: Vec<Change<Claim>>,
    /// New sums of the ledger.
    pub(super) ledger: Vec<Entry>,
    pub(super) event_counts: EventCounts,
    /// Moves that were left out.
    pub(super) refused: Vec<(B256, InvalidTransition)>,
}

impl<'a> Changes<'a> {
    /// What a batch does to the records.
    pub(super) fn of<B: Before>(batch: &'a Batch, before: &B) -> Result<Self, Rejected> {
        let mut jobs = Records::new(|id| before.job(id));
        let mut event_counts = EventCounts::new();
        let refused = change_jobs(batch, &mut jobs, &mut event_counts)?;
        let (inputs_gone, inputs) = change_inputs(batch, &jobs);
        let mut claims = Records::new(|id| before.claim(id));
        for id in &batch.claims_gone {
            claims.set(*id, None)?;
        }
        for claim in &batch.claims {
            claims.set(claim.id, Some(claim.clone()))?;
        }
        let ledger = sums(batch, before)?;
        Ok(Self { jobs: jobs.finish(), inputs_gone, inputs, claims: claims.finish(), ledger, event_counts, refused })
    }
}

/// The records of one kind that a batch changes.
struct Records<T, F> {
    read: F,
    changed: BTreeMap<B256, (Option<Entries>, Option<T>)>,
}

impl<T: Indexed, F: Fn(B256) -> Result<Option<T>, JournalError>> Records<T, F> {
    fn new(read: F) -> Self {
        Self { read, changed: BTreeMap::new() }
    }

    /// A record as the batch has made it so far.
    fn get(&mut self, id: B256) -> Result<&mut Option<T>, JournalError> {
        Ok(match self.changed.entry(id) {
            btree_map::Entry::Occupied(entry) => &mut entry.into_mut().1,
            btree_map::Entry::Vacant(entry) => {
                let found = (self.read)(id)?;
                &mut entry.insert((found.as_ref().map(T::entries), found)).1
            }
        })
    }

    fn set(&mut self, id: B256, record: Option<T>) -> Result<(), JournalError> {
        *self.get(id)? = record;
        Ok(())
    }

    fn finish(self) -> Vec<Change<T>> {
        let change = |(old, record): (_, Option<T>)| Change { old, new: record.as_ref().map(T::entries), record };
        self.changed.into_values().map(change).collect()
    }
}

/// Changes jobs; returns the moves that were refused.
fn change_jobs<F: Fn(B256) -> Result<Option<Job>, JournalError>>(
    batch: &Batch,
    jobs: &mut Records<Job, F>,
    event_counts: &mut EventCounts,
) -> Result<Vec<(B256, InvalidTransition)>, Rejected> {
    let mut refused = Vec::new();
    for id in &batch.vanished {
        jobs.set(*id, None)?;
    }
    for (task, _) in &batch.seen {
        *event_counts.entry((task.request.model_id, "seen", "")).or_default() += 1;
        jobs.set(task.id, Some(Job::Seen(Seen { task: task.clone() })))?;
    }
    for (id, step) in &batch.moves {
        let job = jobs.get(*id)?;
        let moved = job.clone().map_or(Err(InvalidTransition::UnknownJob), |job| job.apply(step.clone()));
        match moved {
            Ok(moved) => {
                let (event, reason) = step.labels();
                *event_counts.entry((moved.task().request.model_id, event, reason)).or_default() += 1;
                *job = Some(moved);
            }
            Err(illegal) if matches!(step, Transition::Sent { .. }) => return Err(Rejected::Send(*id, illegal)),
            Err(illegal) => refused.push((*id, illegal)),
        }
    }
    Ok(refused)
}

/// Inputs that go and inputs that come: a job has one until it is closed, under the job's own place.
fn change_inputs<'a, F>(batch: &'a Batch, jobs: &Records<Job, F>) -> (Vec<Key>, Vec<(Key, &'a Bytes)>) {
    let open = |job: &Option<Job>| job.as_ref().filter(|job| !job.is_closed()).map(|job| job.entries().home);
    let gone = jobs.changed.values().filter_map(|(old, now)| {
        let old = old.as_ref()?;
        (open(now) != Some(old.home)).then_some((old.home, old.id))
    });
    let new = batch.seen.iter().filter_map(|(task, input)| {
        let (_, now) = jobs.changed.get(&task.id)?;
        Some(((open(now)?, task.id), input))
    });
    (gone.collect(), new.collect())
}

/// The sums of the ledger that a batch adds to.
fn sums<B: Before>(batch: &Batch, before: &B) -> Result<Vec<Entry>, JournalError> {
    let mut sums = BTreeMap::new();
    for entry in &batch.booked {
        match sums.entry((entry.hour, entry.model)) {
            btree_map::Entry::Vacant(sum) => {
                let old = before.entry(entry.hour, entry.model)?;
                sum.insert(old.map_or(*entry, |old| old.plus(entry)));
            }
            btree_map::Entry::Occupied(mut sum) => *sum.get_mut() = sum.get().plus(entry),
        }
    }
    Ok(sums.into_values().collect())
}
