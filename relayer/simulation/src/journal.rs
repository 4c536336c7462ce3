//! The journal of a node: in memory, on a disk that fails now and then.

use std::{ops::Range, sync::Arc};

use alloy::primitives::{B256, Bytes};
use oraculum::{
    chain::BlockRef,
    domain::{Claim, Entry, InvalidTransition, Job, SignedAnswer, TrackedTransaction},
    journal::{Batch, EventCount, Journal, JournalError, Position, RecordSignedError, View, memory::MemoryJournal},
};

use crate::{faults::Faults, process::Process, trace::Trace};

/// See the module.
pub(crate) struct NodeJournal {
    pub(crate) node: usize,
    pub(crate) memory: Arc<MemoryJournal>,
    pub(crate) process: Arc<Process>,
    pub(crate) faults: Faults,
    pub(crate) trace: Trace,
}

impl NodeJournal {
    fn writes<T, E: From<JournalError>>(&self, write: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        self.process.lives();
        if self.faults.disk_fails() {
            self.trace.say(format_args!("the disk fails"));
            let source = std::io::Error::from(std::io::ErrorKind::StorageFull);
            return Err(JournalError::Folder { path: "journal".into(), source }.into());
        }
        self.process.operate(write)
    }

    fn read(&self) -> &MemoryJournal {
        self.process.lives();
        &self.memory
    }
}

impl Journal for NodeJournal {
    fn commit(&self, batch: &Batch) -> Result<Vec<(B256, InvalidTransition)>, JournalError> {
        self.writes(|| {
            self.trace.say(format_args!("node {} commits {}", self.node, size(batch)));
            self.memory.commit(batch)
        })
    }

    fn record_signed(&self, answer: &SignedAnswer) -> Result<(), RecordSignedError> {
        self.writes(|| self.memory.record_signed(answer))
    }

    fn signed_answers(&self) -> Result<Vec<SignedAnswer>, JournalError> {
        self.read().signed_answers()
    }

    fn prune_signed(&self, last_final: u64) -> Result<(), JournalError> {
        self.writes(|| self.memory.prune_signed(last_final))
    }

    fn caught_up(&self) -> Result<(), JournalError> {
        self.writes(|| self.memory.caught_up())
    }

    fn cursor(&self) -> Result<Option<BlockRef>, JournalError> {
        self.read().cursor()
    }

    fn recent_blocks(&self) -> Result<Vec<BlockRef>, JournalError> {
        self.read().recent_blocks()
    }

    fn job(&self, id: B256) -> Result<Option<Job>, JournalError> {
        self.read().job(id)
    }

    fn walk(&self, view: View, range: Range<Position>, limit: usize) -> Result<Vec<Position>, JournalError> {
        self.read().walk(view, range, limit)
    }

    fn walk_back(&self, view: View, range: Range<Position>, limit: usize) -> Result<Vec<Position>, JournalError> {
        self.read().walk_back(view, range, limit)
    }

    fn count(&self, view: View) -> usize {
        self.read().count(view)
    }

    fn due(&self, model: B256, range: Range<Position>, limit: usize) -> Result<Vec<Position>, JournalError> {
        self.read().due(model, range, limit)
    }

    fn waiting(&self) -> Vec<(B256, usize)> {
        self.read().waiting()
    }

    fn event_counts(&self) -> Vec<EventCount> {
        self.read().event_counts()
    }

    fn input(&self, id: B256) -> Result<Option<Bytes>, JournalError> {
        self.read().input(id)
    }

    fn transactions(&self) -> Result<Vec<TrackedTransaction>, JournalError> {
        self.read().transactions()
    }

    fn claim(&self, id: B256) -> Result<Option<Claim>, JournalError> {
        self.read().claim(id)
    }

    fn ledger(&self, from_hour: u64) -> Result<Vec<Entry>, JournalError> {
        self.read().ledger(from_hour)
    }

    fn clear(&self) -> Result<(), JournalError> {
        self.writes(|| self.memory.clear())
    }

    fn sync(&self) -> Result<(), JournalError> {
        self.writes(|| self.memory.sync())
    }
}

/// What a batch writes, for the trace.
fn size(batch: &Batch) -> String {
    let mut out = String::new();
    let mut tell = |name: &str, what: String| out += &format!("{name} {what} ");
    if let Some(cursor) = batch.cursor {
        tell("cursor", cursor.number.to_string());
    }
    if !batch.seen.is_empty() {
        tell("seen", format!("{:?}", batch.seen.iter().map(|(task, _)| task.id.0[0]).collect::<Vec<_>>()));
    }
    if !batch.moves.is_empty() {
        tell(
            "moves",
            format!("{:?}", batch.moves.iter().map(|(id, step)| (id.0[0], step.labels().0)).collect::<Vec<_>>()),
        );
    }
    if !batch.transactions.is_empty() {
        let of = |one: &TrackedTransaction| (one.nonce, one.attempts.len(), one.mined.is_some());
        tell("transactions", format!("{:?}", batch.transactions.iter().map(of).collect::<Vec<_>>()));
    }
    if !batch.transactions_gone.is_empty() {
        tell("gone", format!("{:?}", batch.transactions_gone.iter().map(|(_, nonce)| nonce).collect::<Vec<_>>()));
    }
    for (name, count) in
        [("vanished", batch.vanished.len()), ("claims", batch.claims.len()), ("booked", batch.booked.len())]
    {
        if count > 0 {
            tell(name, count.to_string());
        }
    }
    out
}
