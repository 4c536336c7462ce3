//! Backlog of one model: the journal holds all of it, this the part that is due first.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Weak,
    time::Duration,
};

use alloy::primitives::B256;

use super::{
    backoff::Backoff,
    block_pace::{BlockPace, MovingMean},
};
use crate::{
    domain::{Job, Lease, Skip, Task, Wait, WaitReason},
    journal::{Journal, JournalError, Position},
    node::{Eligibility, Node},
};

/// Jobs per model in memory that may be run now, at most.
pub(super) const MAX_READY: usize = 1_024;
/// Jobs per model whose next turn is remembered, at most; the others are checked again with every head.
pub(super) const MAX_PARKED: usize = 65_536;
/// Jobs read from the journal before other work has its turn.
const REFILL_BATCH: usize = 256;

/// The jobs of one model.
#[derive(Debug, Default)]
pub(super) struct ModelBacklog {
    /// Jobs that may be run now, by deadline.
    ready: BTreeMap<Position, Task>,
    /// Head at which a job that is not due is checked again.
    parked: HashMap<B256, u64>,
    /// Jobs that run, or are on their way to the chain, with the hash of their block.
    in_hand: HashMap<B256, (B256, Weak<()>)>,
    /// Whether the journal may hold more jobs that are ready.
    journal_has_more: bool,
    runs: usize,
    time: MovingMean,
    /// What its failures ask for.
    pub(super) backoff: Backoff,
}

/// A job that is not to be run, and why.
pub(super) type Skipped = (B256, Skip);

impl ModelBacklog {
    /// Tells whether there may be something to run once the journal is read again.
    pub(super) fn needs_refill(&self) -> bool {
        self.journal_has_more && self.ready.is_empty()
    }

    /// Number of jobs in memory.
    pub(super) fn in_memory(&self) -> usize {
        self.ready.len() + self.parked.len() + self.in_hand.len()
    }

    /// Number of runs at this moment.
    pub(super) fn runs(&self) -> usize {
        self.runs
    }

    /// Jobs that may be run now.
    pub(super) fn ready(&self) -> impl Iterator<Item = &Task> {
        self.ready.values()
    }

    /// Deadline of the next job.
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
    ) -> Result<Vec<Skipped>, JournalError> {
        self.in_hand.retain(|_, (_, lease)| lease.strong_count() > 0);
        self.parked.retain(|_, at| *at > head);
        self.journal_has_more = false;
        let mut skipped = Vec::new();
        let mut from = Position::first_at(0);
        loop {
            let step = node.journal.due(model, from..Position::last_at(u64::MAX), REFILL_BATCH)?;
            let Some(last) = step.last() else { return Ok(skipped) };
            from = last.next();
            for at in step {
                if self.ready.len() >= MAX_READY && self.ready.last_key_value().is_some_and(|(last, _)| *last < at) {
                    self.journal_has_more = true;
                    return Ok(skipped);
                }
                if self.ready.contains_key(&at) || self.in_hand.contains_key(&at.id) || self.parked.contains_key(&at.id)
                {
                    continue;
                }
                let Some(Job::Seen(seen)) = node.journal.job(at.id)? else { continue };
                match node.eligibility(&seen.task, head + 1, 0) {
                    Eligibility::Now(_) => {
                        self.ready.insert(at, seen.task);
                        if self.ready.len() > MAX_READY {
                            self.ready.pop_last();
                        }
                    }
                    // The block before it is the head at which its transaction can be sent.
                    Eligibility::From(block) => {
                        let next_look = block.saturating_sub(1).max(head + 1);
                        self.park_until(at.id, next_look);
                        node.waits(&seen.task, WaitReason::Turn, next_look);
                    }
                    Eligibility::AwaitsCheaperGas { pays, asks } => {
                        self.park_until(at.id, head + 1);
                        let (reason, price) = (WaitReason::CheaperGas, Some((pays, asks)));
                        node.conditions.waits(at.id, Wait { reason, price, next_look: head + 1 });
                    }
                    Eligibility::Never(reason) => skipped.push((at.id, reason)),
                }
            }
            tokio::task::yield_now().await;
        }
    }

    /// Drops what cannot be run before its deadline, given what is due before it and how long the model takes in each of
    /// `sessions`: running it would only delay those that can.
    pub(super) fn drop_late(&mut self, head: u64, blocks: &BlockPace, sessions: usize) -> Vec<Skipped> {
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

    /// Records that a run ended, with the time that the model took.
    pub(super) fn ended(&mut self, time: Option<Duration>) {
        self.runs -= 1;
        if let Some(time) = time {
            self.time.add(time);
        }
    }

    /// Leaves a job alone until a head.
    pub(super) fn park(&mut self, id: B256, until: u64) {
        self.in_hand.remove(&id);
        self.park_until(id, until);
    }

    fn park_until(&mut self, id: B256, until: u64) {
        if self.parked.len() < MAX_PARKED {
            self.parked.insert(id, until);
        }
    }
}
