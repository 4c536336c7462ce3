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
    /// Jobs that may be run now and, as it looks, cannot be in time: they are run when nothing else is ready. A part of them, at
    /// most `MAX_READY`; the journal has the others.
    late: BTreeMap<Position, Task>,
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
        self.ready.len() + self.late.len() + self.parked.len() + self.in_hand.len()
    }

    /// Number of runs at this moment.
    pub(super) fn runs(&self) -> usize {
        self.runs
    }

    /// Jobs that may be run now, each with the reason for which it was not, if the node can pay for its answer.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (&Task, WaitReason)> {
        let ready = self.ready.values().map(|task| (task, WaitReason::Queue));
        ready.chain(self.late.values().map(|task| (task, WaitReason::Overload)))
    }

    /// The turn of the next job among those of all models: what can be in time goes first, then what is due first.
    pub(super) fn first(&self) -> Option<(bool, Position)> {
        let (ready, late) = (self.ready.first_key_value(), self.late.first_key_value());
        ready.map(|(at, _)| (false, *at)).or(late.map(|(at, _)| (true, *at)))
    }

    /// Forgets what a reorganisation may have changed. What is in hand stays there if its block does.
    pub(super) fn rewound(&mut self, journal: &impl Journal) -> Result<(), JournalError> {
        self.ready.clear();
        self.late.clear();
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
                let is_known = self.ready.contains_key(&at) || self.late.contains_key(&at);
                if is_known || self.in_hand.contains_key(&at.id) || self.parked.contains_key(&at.id) {
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

    /// Sets aside what cannot be run before its deadline, given what is due before it and how long the model takes in each of
    /// `sessions`: running it first would delay those that can. Returns what its deadline has passed over.
    pub(super) fn set_late_aside(&mut self, head: u64, blocks: &BlockPace, sessions: usize) -> Vec<Skipped> {
        let time = self.time.get().unwrap_or_default();
        let was_late = std::mem::take(&mut self.late);
        let mut jobs: BTreeMap<_, _> = was_late.into_iter().map(|(at, task)| (at, (task, true))).collect();
        jobs.extend(std::mem::take(&mut self.ready).into_iter().map(|(at, task)| (at, (task, false))));
        let mut ahead = self.runs;
        let mut expired = Vec::new();
        for (at, (task, was_late)) in jobs {
            let deadline = at.height;
            let wait = time.as_secs_f64() * (ahead + 1) as f64 / sessions.max(1) as f64;
            let wait = Duration::try_from_secs_f64(wait).unwrap_or(Duration::MAX);
            if head >= deadline {
                let overloaded = Skip::Overloaded { deadline, ahead: ahead as u64 };
                expired.push((task.id, if was_late { overloaded } else { Skip::Expired { deadline } }));
            } else if head + 1 + blocks.within(wait) <= deadline {
                ahead += 1;
                self.ready.insert(at, task);
            } else if self.late.len() < MAX_READY {
                self.late.insert(at, task);
            }
        }
        expired
    }

    /// Takes the job whose turn it is, if it is still to be run.
    pub(super) fn take(&mut self, journal: &impl Journal) -> Result<Option<(Task, Lease)>, JournalError> {
        while let Some((_, task)) = self.ready.pop_first().or_else(|| self.late.pop_first()) {
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
