//! A journal in memory, for tests and simulations: the same answers as the one on the disk, without threads, clock or
//! files, and with crashes that lose exactly what the caller says.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Mutex, MutexGuard, PoisonError},
};

use alloy::primitives::{Address, B256, Bytes};

use super::{
    Batch, EventCount, Journal, JournalError,
    changes::{Before, Change, Changes, EventCounts, Rejected},
    index::{Home, Index, Indexed, Position, View},
    signing::{PRUNE_BATCH, RecordSignedError, SigningLimits},
};
use crate::{
    chain::BlockRef,
    domain::{Claim, Entry, InvalidTransition, Job, SignedAnswer, TrackedTransaction},
};

/// What ends a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// The process is killed, which takes nothing that was committed.
    Killed,
    /// The machine loses power, and with it the last writes.
    PowerLost {
        /// Number of writes since the last [`Journal::sync`] that are still there; all of them at most.
        writes: usize,
    },
}

/// A journal in memory. It lives as long as this value, and what [`crash`](Self::crash) returns is what the next process
/// would find.
#[derive(Debug, Default)]
pub struct MemoryJournal {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    now: Records,
    /// As they were at the last sync.
    synced: Records,
    /// Written since.
    unsynced: Vec<Write>,
    /// Whether answers were signed since, in this process or, if that was killed, in the one before.
    signed: bool,
    event_counts: EventCounts,
}

#[derive(Debug, Clone)]
enum Write {
    Batch(Batch),
    Signed(SignedAnswer),
    Pruned(u64),
    Clear,
}

#[derive(Debug, Clone, Default)]
struct Records {
    cursor: Option<BlockRef>,
    recent_blocks: BTreeMap<u64, B256>,
    jobs: BTreeMap<(Home, B256), Job>,
    /// Under the keys of their jobs.
    inputs: BTreeMap<(Home, B256), Bytes>,
    transactions: BTreeMap<(Address, u64), TrackedTransaction>,
    claims: BTreeMap<(Home, B256), Claim>,
    /// By hour and model.
    ledger: BTreeMap<(u64, B256), Entry>,
    /// By deadline, request and block, as they are pruned.
    answers: BTreeMap<(u64, B256, u64, B256), SignedAnswer>,
    limits: SigningLimits,
    index: Index,
}

impl Before for Records {
    fn job(&self, id: B256) -> Result<Option<Job>, JournalError> {
        Ok(get(&self.jobs, &self.index, id))
    }

    fn claim(&self, id: B256) -> Result<Option<Claim>, JournalError> {
        Ok(get(&self.claims, &self.index, id))
    }

    fn entry(&self, hour: u64, model: B256) -> Result<Option<Entry>, JournalError> {
        Ok(self.ledger.get(&(hour, model)).copied())
    }
}

fn answer_key(answer: &SignedAnswer) -> (u64, B256, u64, B256) {
    let SignedAnswer { request, block, deadline, .. } = *answer;
    (deadline, request, block.number, block.hash)
}

fn get<T: Indexed + Clone>(records: &BTreeMap<(Home, B256), T>, index: &Index, id: B256) -> Option<T> {
    records.get(&(T::home(index, id)?, id)).cloned()
}

fn write<T: Indexed>(records: &mut BTreeMap<(Home, B256), T>, index: &mut Index, changes: Vec<Change<T>>) {
    for change in changes {
        let Change { old, new, record } = change;
        if let Some(old) = &old {
            records.remove(&(old.home, old.id));
        }
        if let (Some(new), Some(record)) = (&new, record) {
            records.insert((new.home, new.id), record);
        }
        index.replace(old.as_ref(), new);
    }
}

impl Records {
    /// Writes a batch. Returns the moves that were left out and what is to be counted; nothing is to be counted, and
    /// nothing written, if a send was refused.
    fn commit(&mut self, batch: &Batch) -> Result<Result<Committed, (B256, InvalidTransition)>, JournalError> {
        let changes = match Changes::of(batch, self) {
            Ok(changes) => changes,
            Err(Rejected::Send(id, refused)) => return Ok(Err((id, refused))),
            Err(Rejected::Read(error)) => return Err(error),
        };
        let Changes { jobs, inputs_gone, inputs, claims, ledger, event_counts, refused } = changes;
        self.cursor = batch.cursor.or(self.cursor);
        for number in &batch.recent_blocks_gone {
            self.recent_blocks.remove(number);
        }
        self.recent_blocks.extend(batch.recent_blocks.iter().map(|block| (block.number, block.hash)));
        write(&mut self.jobs, &mut self.index, jobs);
        for key in inputs_gone {
            self.inputs.remove(&key);
        }
        self.inputs.extend(inputs.into_iter().map(|(key, input)| (key, input.clone())));
        for sent in &batch.transactions_gone {
            self.transactions.remove(sent);
        }
        let keyed = |transaction: &TrackedTransaction| ((transaction.sender, transaction.nonce), transaction.clone());
        self.transactions.extend(batch.transactions.iter().map(keyed));
        write(&mut self.claims, &mut self.index, claims);
        self.ledger.extend(ledger.into_iter().map(|sum| ((sum.hour, sum.model), sum)));
        Ok(Ok((refused, event_counts)))
    }

    fn clear(&mut self) {
        let Self { transactions, ledger, answers, limits, .. } = std::mem::take(self);
        *self = Self { transactions, ledger, answers, limits, ..Self::default() };
    }

    fn put_answer(&mut self, answer: &SignedAnswer) {
        self.answers.insert(answer_key(answer), *answer);
    }

    /// Forgets answers; returns whether there were any to forget.
    fn prune_signed(&mut self, last_final: u64) -> bool {
        let due = self.answers.keys().take_while(|key| key.0 <= last_final).take(PRUNE_BATCH);
        let due: Vec<_> = due.copied().collect();
        if due.is_empty() {
            return false;
        }
        self.limits = self.limits.pruned_to(last_final);
        for key in due {
            self.answers.remove(&key);
        }
        true
    }

    /// Writes again what was written once.
    fn replay(&mut self, write: &Write) -> Result<(), JournalError> {
        match write {
            Write::Batch(batch) => self.commit(batch).map(drop),
            Write::Signed(answer) => {
                self.put_answer(answer);
                Ok(())
            }
            Write::Pruned(last_final) => {
                self.prune_signed(*last_final);
                Ok(())
            }
            Write::Clear => {
                self.clear();
                Ok(())
            }
        }
    }

    /// Places of a view in a range, in order.
    fn places(&self, view: View, range: Range<Position>) -> Vec<Position> {
        // An empty range is a mistake to a map.
        let key = |at: Position| ((view, at.height), at.id);
        let range_of_keys = key(range.start)..key(range.end.max(range.start));
        let place = |((_, height), id): &(Home, B256)| Position { height: *height, id: *id };
        match view {
            View::Requested => self.jobs.range(range_of_keys).map(|(key, _)| place(key)).collect(),
            View::Vesting | View::Paid => self.claims.range(range_of_keys).map(|(key, _)| place(key)).collect(),
            _ => self.index.of_state(view, range).collect(),
        }
    }
}

/// Moves that were left out, and what happened to jobs.
type Committed = (Vec<(B256, InvalidTransition)>, EventCounts);

impl MemoryJournal {
    /// An empty journal.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of writes since the last sync: what a crash may take.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        self.state().unsynced.len()
    }

    /// The journal that the next process finds after a crash now. This one stays as it is.
    ///
    /// # Errors
    /// None that the writes did not have when they were made.
    pub fn crash(&self, crash: Crash) -> Result<Self, JournalError> {
        let state = self.state();
        let mut found = State { synced: state.synced.clone(), signed: state.signed, ..State::default() };
        match crash {
            Crash::Killed => {
                found.now = state.now.clone();
                found.unsynced = state.unsynced.clone();
            }
            Crash::PowerLost { writes } => {
                state.unsynced.iter().take(writes).try_for_each(|write| found.synced.replay(write))?;
                found.synced.limits.unknown |= state.signed;
                found.now = found.synced.clone();
            }
        }
        Ok(Self { state: Mutex::new(found) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal for MemoryJournal {
    fn commit(&self, batch: &Batch) -> Result<Vec<(B256, InvalidTransition)>, JournalError> {
        let mut state = self.state();
        let (refused, event_counts) = match state.now.commit(batch)? {
            Ok(committed) => committed,
            Err(refused) => return Ok(vec![refused]),
        };
        for (event, count) in event_counts {
            *state.event_counts.entry(event).or_default() += count;
        }
        state.unsynced.push(Write::Batch(batch.clone()));
        Ok(refused)
    }

    fn record_signed(&self, answer: &SignedAnswer) -> Result<(), RecordSignedError> {
        let mut state = self.state();
        let signed = state.now.answers.get(&answer_key(answer)).map(|answer| answer.digest);
        if state.now.limits.check(answer, signed)? {
            state.now.put_answer(answer);
            state.unsynced.push(Write::Signed(*answer));
            state.signed = true;
        }
        Ok(())
    }

    fn signed_answers(&self) -> Result<Vec<SignedAnswer>, JournalError> {
        Ok(self.state().now.answers.values().copied().collect())
    }

    fn prune_signed(&self, last_final: u64) -> Result<(), JournalError> {
        let mut state = self.state();
        if state.now.prune_signed(last_final) {
            state.unsynced.push(Write::Pruned(last_final));
        }
        Ok(())
    }

    fn caught_up(&self) -> Result<(), JournalError> {
        let mut state = self.state();
        if !state.now.limits.unknown {
            return Ok(());
        }
        let cursor = state.now.cursor.map(|block| block.number);
        state.now.limits = state.now.limits.caught_up(cursor);
        drop(state);
        self.sync()
    }

    fn cursor(&self) -> Result<Option<BlockRef>, JournalError> {
        Ok(self.state().now.cursor)
    }

    fn recent_blocks(&self) -> Result<Vec<BlockRef>, JournalError> {
        let block = |(&number, &hash)| BlockRef { number, hash };
        Ok(self.state().now.recent_blocks.iter().map(block).collect())
    }

    fn job(&self, id: B256) -> Result<Option<Job>, JournalError> {
        self.state().now.job(id)
    }

    fn walk(&self, view: View, range: Range<Position>, limit: usize) -> Result<Vec<Position>, JournalError> {
        Ok(self.state().now.places(view, range).into_iter().take(limit).collect())
    }

    fn walk_back(&self, view: View, range: Range<Position>, limit: usize) -> Result<Vec<Position>, JournalError> {
        Ok(self.state().now.places(view, range).into_iter().rev().take(limit).collect())
    }

    fn count(&self, view: View) -> usize {
        self.state().now.index.count(view)
    }

    fn due(&self, model: B256, range: Range<Position>, limit: usize) -> Result<Vec<Position>, JournalError> {
        Ok(self.state().now.index.due(model, range).take(limit).collect())
    }

    fn waiting(&self) -> Vec<(B256, usize)> {
        self.state().now.index.waiting()
    }

    fn event_counts(&self) -> Vec<EventCount> {
        EventCount::list(&self.state().event_counts)
    }

    fn input(&self, id: B256) -> Result<Option<Bytes>, JournalError> {
        let state = self.state();
        let home = Job::home(&state.now.index, id);
        Ok(home.and_then(|home| state.now.inputs.get(&(home, id))).cloned())
    }

    fn transactions(&self) -> Result<Vec<TrackedTransaction>, JournalError> {
        Ok(self.state().now.transactions.values().cloned().collect())
    }

    fn claim(&self, id: B256) -> Result<Option<Claim>, JournalError> {
        self.state().now.claim(id)
    }

    fn ledger(&self, from_hour: u64) -> Result<Vec<Entry>, JournalError> {
        Ok(self.state().now.ledger.range((from_hour, B256::ZERO)..).map(|(_, entry)| *entry).collect())
    }

    fn clear(&self) -> Result<(), JournalError> {
        let mut state = self.state();
        state.now.clear();
        state.unsynced.push(Write::Clear);
        Ok(())
    }

    fn sync(&self) -> Result<(), JournalError> {
        let mut state = self.state();
        state.synced = state.now.clone();
        state.unsynced.clear();
        state.signed = false;
        Ok(())
    }
}
