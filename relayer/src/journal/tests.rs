//! What holds of every journal: the same writes give the same answers from the one on the disk and the one in memory.

use std::fmt::Debug;

use alloy::primitives::{Address, B256, Bytes};
use proptest::prelude::*;

use super::{memory::*, *};
use crate::{
    chain::Receipt,
    domain::{AnswerRef, Attempt, Purpose, Resolution, SignedAnswer, Skip},
    protocol::Outcome,
    testing::{DOMAIN, MODEL, block, input, task},
};

mod signing;

/// Requests, and nonces of transactions, that the random writes are about.
const REQUESTS: u64 = 5;

fn identity() -> Identity {
    Identity { chain_id: DOMAIN.chain_id, coordinator: DOMAIN.coordinator, signer: Address::repeat_byte(1) }
}

fn opened(folder: &tempfile::TempDir) -> SledJournal {
    SledJournal::open(folder.path(), &identity()).unwrap()
}

/// An answer to a request in the block of this number and fork.
fn answer(request: u64, fork: u8, digest: u8) -> SignedAnswer {
    let task = task(request);
    let block = BlockRef { hash: B256::repeat_byte(fork), ..task.block };
    SignedAnswer { request: task.id, block, digest: B256::repeat_byte(digest), deadline: task.request.deadline() }
}

/// A write, by small numbers.
#[derive(Debug, Clone)]
enum Op {
    Cursor(u64, u64),
    Seen(u64, u64),
    Vanish(u64),
    Move(u64, Transition),
    Replace(u64, u64),
    /// Another attempt under a nonce, of so many bytes.
    Attempt(u64, usize),
    Mined(u64),
    Forget(u64),
    Claim(u64, u64, Option<u64>),
    Claimed(u64),
    Book(u64, u128, i128),
}

/// What is done to a journal.
#[derive(Debug, Clone)]
enum Step {
    Commit(Vec<Op>),
    Sign(u64, u8, u8),
    Prune(u64),
    CaughtUp,
    Sync,
    Clear,
    /// The process ends, and another opens the journal.
    Reopen,
}

fn transition() -> impl Strategy<Value = Transition> {
    let included = |(number, ours)| {
        let ending =
            Resolution::Fulfilled { outcome: Outcome::Ok, output_commitment: B256::ZERO, seats: Bytes::new(), ours };
        Transition::Included { at: block(number), transaction: None, ending }
    };
    prop_oneof![
        (0..REQUESTS, 0..3u64).prop_map(|(at, nonce)| Transition::Sent {
            block: block(at).hash,
            sender: Address::repeat_byte(2),
            nonce,
            hash: B256::ZERO
        }),
        (0..8u64, any::<bool>()).prop_map(included),
        Just(Transition::Reopened),
        Just(Transition::Finalized),
        Just(Transition::Skipped(Skip::NoSeat)),
        Just(Transition::Failed("why".into())),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let id = || 0..REQUESTS;
    prop_oneof![
        1 => (0..9u64, 0..9u64).prop_map(|(cursor, gone)| Op::Cursor(cursor, gone)),
        3 => (id(), id()).prop_map(|(id, at)| Op::Seen(id, at)),
        1 => id().prop_map(Op::Vanish),
        6 => (id(), transition()).prop_map(|(id, step)| Op::Move(id, step)),
        1 => (id(), id()).prop_map(|(id, at)| Op::Replace(id, at)),
        2 => (0..3u64, 1..9_000usize).prop_map(|(nonce, bytes)| Op::Attempt(nonce, bytes)),
        1 => (0..3u64).prop_map(Op::Mined),
        1 => (0..3u64).prop_map(Op::Forget),
        2 => (id(), 0..20u64, proptest::option::of(0..20u64)).prop_map(|(id, vests, paid)| Op::Claim(id, vests, paid)),
        1 => id().prop_map(Op::Claimed),
        1 => (0..3u64, any::<u128>(), any::<i128>()).prop_map(|(hour, spent, earned)| Op::Book(hour, spent, earned)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => proptest::collection::vec(op(), 1..6).prop_map(Step::Commit),
        4 => (0..REQUESTS, 0..2u8, 0..2u8).prop_map(|(request, fork, digest)| Step::Sign(request, fork, digest)),
        1 => (500..500 + REQUESTS).prop_map(Step::Prune),
        1 => Just(Step::CaughtUp),
        1 => Just(Step::Sync),
        1 => Just(Step::Clear),
        2 => Just(Step::Reopen),
    ]
}

/// The batch of some writes. Attempts are only ever added to the transactions that are there.
fn batch(ops: &[Op], there: &[TrackedTransaction]) -> Batch {
    let mut batch = Batch::default();
    let seen = |id, at| {
        let mut task = task(id);
        task.block = block(at);
        (task, Bytes::from(input(id)))
    };
    let current = |batch: &Batch, nonce: u64| {
        let gone = batch.transactions_gone.contains(&(Address::repeat_byte(2), nonce));
        let mut there = there.iter().filter(|_| !gone).chain(&batch.transactions);
        there.rfind(|transaction| transaction.nonce == nonce).cloned()
    };
    for op in ops {
        match op.clone() {
            Op::Cursor(cursor, gone) => {
                batch.cursor = Some(block(cursor));
                batch.recent_blocks.push(block(cursor));
                batch.recent_blocks_gone.push(gone);
            }
            Op::Seen(id, at) => batch.seen.push(seen(id, at)),
            Op::Vanish(id) => batch.vanished.push(task(id).id),
            Op::Move(id, step) => batch.moves.push((task(id).id, step)),
            Op::Replace(id, at) => {
                batch.vanished.push(task(id).id);
                batch.seen.push(seen(id, at));
            }
            Op::Attempt(nonce, bytes) => {
                let raw = vec![nonce as u8 + 1; bytes].into();
                let attempt = Attempt { hash: B256::ZERO, raw, gas: 1, max_fee: 2, max_priority_fee: 1, at: 0 };
                let items = vec![AnswerRef { id: task(0).id, block: B256::ZERO }];
                let mut transaction = current(&batch, nonce).unwrap_or(TrackedTransaction {
                    sender: Address::repeat_byte(2),
                    nonce,
                    purpose: Purpose::Answer { items },
                    attempts: Vec::new(),
                    mined: None,
                });
                transaction.attempts.push(attempt);
                batch.transactions.push(transaction);
            }
            Op::Mined(nonce) => {
                let receipt = Receipt { block: block(1), success: true, gas_used: 1, gas_price: 1, data_fee: 0 };
                if let Some(transaction) = current(&batch, nonce) {
                    batch.transactions.push(TrackedTransaction { mined: Some(receipt), ..transaction });
                }
            }
            // What a batch forgets goes before what it writes.
            Op::Forget(nonce) if batch.transactions.iter().all(|transaction| transaction.nonce != nonce) => {
                batch.transactions_gone.push((Address::repeat_byte(2), nonce));
            }
            Op::Forget(_) => {}
            Op::Claim(id, vests_at, paid_at) => {
                let task = task(id);
                let (outcome, seats) = (Outcome::Ok, Bytes::new());
                let (output_commitment, fulfilled_at) = (B256::ZERO, 0);
                let (id, request) = (task.id, task.request);
                let claim = Claim { id, request, outcome, output_commitment, seats, fulfilled_at, vests_at, paid_at };
                batch.claims.push(claim);
            }
            Op::Claimed(id) => batch.claims_gone.push(task(id).id),
            Op::Book(hour, spent, earned) => {
                batch.booked.push(Entry { hour, model: MODEL, spent, earned, answers: 1 });
            }
        }
    }
    batch
}

/// Everything that a journal tells.
fn told<J: Journal>(journal: &J) -> Vec<String> {
    let mut told = Vec::new();
    let mut tell = |what: &dyn Debug| told.push(format!("{what:?}"));
    tell(&(journal.cursor().unwrap(), journal.recent_blocks().unwrap(), journal.waiting()));
    tell(&(journal.transactions().unwrap(), journal.ledger(0).unwrap(), journal.ledger(2).unwrap()));
    tell(&journal.signed_answers().unwrap());
    for id in (0..REQUESTS).map(|request| task(request).id) {
        tell(&(journal.job(id).unwrap(), journal.input(id).unwrap(), journal.claim(id).unwrap()));
    }
    for (from, to) in [(0, u64::MAX), (1, 3), (3, 1)] {
        let range = || Position::first_at(from)..Position::last_at(to);
        for view in View::ALL {
            let walks = (journal.walk(view, range(), 2).unwrap(), journal.walk_back(view, range(), 9).unwrap());
            tell(&(view, journal.count(view), walks));
        }
        tell(&journal.due(MODEL, range(), 3).unwrap());
    }
    told
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn both_journals_tell_the_same_after_the_same_writes(steps in proptest::collection::vec(step(), 1..24)) {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = opened(&folder);
        let mut memory = MemoryJournal::new();
        for step in steps {
            match step {
                Step::Commit(ops) => {
                    let batch = batch(&ops, &memory.transactions().unwrap());
                    prop_assert_eq!(memory.commit(&batch).unwrap(), disk.commit(&batch).unwrap());
                }
                Step::Sign(request, fork, digest) => {
                    let answer = answer(request, fork, digest);
                    let outcomes = (memory.record_signed(&answer), disk.record_signed(&answer));
                    prop_assert_eq!(format!("{:?}", outcomes.0), format!("{:?}", outcomes.1));
                }
                Step::Prune(last) => {
                    memory.prune_signed(last).unwrap();
                    disk.prune_signed(last).unwrap();
                }
                Step::CaughtUp => {
                    memory.caught_up().unwrap();
                    disk.caught_up().unwrap();
                }
                Step::Sync => {
                    memory.sync().unwrap();
                    disk.sync().unwrap();
                }
                Step::Clear => {
                    memory.clear().unwrap();
                    disk.clear().unwrap();
                }
                Step::Reopen => {
                    memory = memory.crash(Crash::Killed).unwrap();
                    drop(disk);
                    disk = opened(&folder);
                }
            }
            prop_assert_eq!(told(&memory), told(&disk));
            prop_assert_eq!(memory.event_counts(), disk.event_counts());
        }
    }
}

#[test]
fn a_kill_takes_nothing_and_lost_power_what_the_caller_says() {
    let journal = MemoryJournal::new();
    journal.commit(&batch(&[Op::Cursor(1, 0), Op::Seen(1, 1)], &[])).unwrap();
    journal.sync().unwrap();
    journal.commit(&batch(&[Op::Cursor(2, 0), Op::Seen(2, 2)], &[])).unwrap();
    let sent = [Op::Move(1, Transition::Skipped(Skip::NoSeat)), Op::Attempt(0, 9)];
    journal.commit(&batch(&sent, &[])).unwrap();
    journal.record_signed(&answer(2, 0, 1)).unwrap();
    assert_eq!(journal.unsynced(), 3);
    let found = |crash| {
        let found = journal.crash(crash).unwrap();
        let states = [1, 2].map(|request| found.job(task(request).id).unwrap().map(|job| job.name()));
        (states, found.transactions().unwrap().len(), found.signed_answers().unwrap().len())
    };
    assert_eq!(found(Crash::Killed), ([Some("skipped"), Some("seen")], 1, 1));
    assert_eq!(found(Crash::PowerLost { writes: 0 }), ([Some("seen"), None], 0, 0));
    let killed = journal.crash(Crash::Killed).unwrap();
    assert_eq!(killed.unsynced(), 3, "a kill brings nothing to the disk");
    assert_eq!(killed.crash(Crash::PowerLost { writes: 0 }).unwrap().job(task(2).id).unwrap(), None);
    assert_eq!(found(Crash::PowerLost { writes: 1 }), ([Some("seen"), Some("seen")], 0, 0));
    assert_eq!(found(Crash::PowerLost { writes: 2 }), ([Some("skipped"), Some("seen")], 1, 0));
    assert_eq!(found(Crash::PowerLost { writes: 9 }), ([Some("skipped"), Some("seen")], 1, 1));
}
