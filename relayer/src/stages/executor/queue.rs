//! What waits for one model: the journal holds it all, this the part that is due first.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Weak,
    time::Duration,
};

use alloy::primitives::B256;

use super::pace::{Blocks, Mean};
use crate::{
    domain::{Job, Lease, Skip, Task},
    journal::{Journal, JournalError, Position},
    node::{Eligibility, Node},
};

/// Jobs in memory per model that may be run now.
pub(super) const WINDOW: usize = 1_024;
/// Jobs per model of which it is remembered when their turn comes; the others are looked at again with every head.
pub(super) const PARKED: usize = 65_536;
/// Jobs read from the journal before other work has its turn.
const STEP: usize = 256;

/// The jobs of one model.
#[derive(Debug, Default)]
pub(super) struct ModelBacklog {
    /// What may be run now, by deadline.
    ready: BTreeMap<Position, Task>,
    /// The head at which to look again at what is not due.
    parked: HashMap<B256, u64>,
    /// What runs, or is on its way to the chain, with its block.
    in_hand: HashMap<B256, (B256, Weak<()>)>,
    /// Whether the journal may hold more that is ready.
    more: bool,
    runs: usize,
    time: Mean,
}

/// A job that is not to be run, and why.
pub(super) type Passed = (B256, Skip);

impl ModelBacklog {
    /// Whether there may be something to run once the journal is read again.
    pub(super) fn is_hungry(&self) -> bool {
        self.more && self.ready.is_empty()
    }

    /// What waits in memory.
    pub(super) fn held(&self) -> usize {
        self.ready.len() + self.parked.len() + self.in_hand.len()
    }

    /// Runs at this moment.
    pub(super) fn runs(&self) -> usize {
        self.runs
    }

    /// The deadline of the next job.
    pub(super) fn first(&self) -> Option<Position> {
        self.ready.first_key_value().map(|(at, _)| *at)
    }

    /// Forgets what a reorganisation may have changed. What is in hand stays there if its block does.
    pub(super) fn rewound(&mut self, journal: &impl Journal) -> Result<(), JournalError> {
        self.ready.clear();
        self.parked.clear();
        let mut lost = Vec::new();
        for (id, (block, _)) in &self.in_hand {
            if journal.job(*id)?.is_none_or(|job| job.task().block.hash != *block) {
                lost.push(*id);
            }
        }
        lost.iter().for_each(|id| drop(self.in_hand.remove(id)));
        Ok(())
    }

    /// Reads on in the journal until enough is known to be ready; returns what this node will not answer.
    pub(super) async fn refill<C, J: Journal>(
        &mut self,
        node: &Node<C, J>,
        model: B256,
        head: u64,
    ) -> Result<Vec<Passed>, JournalError> {
        self.in_hand.retain(|_, (_, lease)| lease.strong_count() > 0);
        self.parked.retain(|_, at| *at > head);
        self.more = false;
        let mut passed = Vec::new();
        let mut from = Position::first_at(0);
        loop {
            let step = node.journal.due(model, from..Position::last_at(u64::MAX), STEP)?;
            let Some(last) = step.last() else { return Ok(passed) };
            from = last.next();
            for at in step {
                if self.ready.len() >= WINDOW && self.ready.last_key_value().is_some_and(|(last, _)| *last < at) {
                    self.more = true;
                    return Ok(passed);
                }
                if self.ready.contains_key(&at) || self.in_hand.contains_key(&at.id) || self.parked.contains_key(&at.id)
                {
                    continue;
                }
                let Some(Job::Seen(seen)) = node.journal.job(at.id)? else { continue };
                match node.eligibility(&seen.task, head + 1, 0) {
                    Eligibility::Now(_) => {
                        self.ready.insert(at, seen.task);
                        if self.ready.len() > WINDOW {
                            self.ready.pop_last();
                        }
                    }
                    // The block before it is the head at which its transaction can be sent.
                    Eligibility::From(block) => self.park_until(at.id, block.saturating_sub(1).max(head + 1)),
                    Eligibility::AwaitsCheaperGas => self.park_until(at.id, head + 1),
                    Eligibility::Never(reason) => passed.push((at.id, reason)),
                }
            }
            tokio::task::yield_now().await;
        }
    }

    /// Drops what cannot be run before its deadline, given what is due before it and how long the model takes in each of
    /// `sessions`: running it would only delay those that can.
    pub(super) fn drop_late(&mut self, head: u64, blocks: &Blocks, sessions: usize) -> Vec<Passed> {
        let Some(time) = self.time.get() else { return Vec::new() };
        let mut ahead = self.runs;
        let mut late = Vec::new();
        self.ready.retain(|at, task| {
            let wait = time.as_secs_f64() * (ahead + 1) as f64 / sessions.max(1) as f64;
            let wait = Duration::try_from_secs_f64(wait).unwrap_or(Duration::MAX);
            let in_time = head + 1 + blocks.within(wait) <= at.height;
            if in_time {
                ahead += 1;
            } else {
                late.push((task.id, Skip::Overloaded { deadline: at.height, ahead: ahead as u64 }));
            }
            in_time
        });
        late
    }

    /// Takes the job that is due first, if it is still to be run.
    pub(super) fn take(&mut self, journal: &impl Journal) -> Result<Option<(Task, Lease)>, JournalError> {
        while let Some((_, task)) = self.ready.pop_first() {
            // It may have been answered, or be in another block by now.
            if !matches!(journal.job(task.id)?, Some(Job::Seen(seen)) if seen.task.block == task.block) {
                continue;
            }
            let lease = Lease::default();
            self.in_hand.insert(task.id, (task.block.hash, lease.watch()));
            self.runs += 1;
            return Ok(Some((task, lease)));
        }
        Ok(None)
    }

    /// A run ended, with the time that the model took.
    pub(super) fn ended(&mut self, time: Option<Duration>) {
        self.runs -= 1;
        if let Some(time) = time {
            self.time.add(time);
        }
    }

    /// Does not look at a job again before a head.
    pub(super) fn park(&mut self, id: B256, until: u64) {
        self.in_hand.remove(&id);
        self.park_until(id, until);
    }

    fn park_until(&mut self, id: B256, until: u64) {
        if self.parked.len() < PARKED {
            self.parked.insert(id, until);
        }
    }
}
