use alloy::primitives::{Address, B256, Bytes};

use super::*;
use crate::{
    domain::{AnswerRef, Attempt, JobState, Purpose, Resolution, Skip, Transition},
    journal::{Identity, SigningRefused, VERSION},
    protocol::Outcome,
    testing::{DOMAIN, block, input, task},
};

mod disk;
mod kill;
mod lines;
mod opening;

fn identity() -> Identity {
    Identity { chain_id: DOMAIN.chain_id, coordinator: DOMAIN.coordinator, signer: Address::repeat_byte(1) }
}

fn open(folder: &tempfile::TempDir) -> SledJournal {
    SledJournal::open(folder.path(), &identity()).unwrap()
}

fn seen(nonce: u64) -> Batch {
    Batch {
        cursor: Some(block(nonce)),
        recent_blocks: vec![block(nonce)],
        seen: vec![(task(nonce), input(nonce).into())],
        ..Batch::default()
    }
}

fn transaction(nonce: u64, id: B256) -> TrackedTransaction {
    let raw = Bytes::from_static(b"raw");
    TrackedTransaction {
        sender: Address::repeat_byte(2),
        nonce,
        purpose: Purpose::Answer { items: vec![AnswerRef { id, block: B256::ZERO }] },
        attempts: vec![Attempt {
            hash: B256::ZERO,
            raw,
            gas: 1,
            max_fee: u128::from(u64::MAX) + 1,
            max_priority_fee: 1,
            at: 0,
        }],
        mined: None,
    }
}

fn claim(nonce: u64) -> Claim {
    let task = task(nonce);
    Claim {
        id: task.id,
        request: task.request,
        outcome: Outcome::Ok,
        output_commitment: B256::ZERO,
        seats: Bytes::new(),
        fulfilled_at: 3,
        vests_at: 13,
        paid_at: None,
    }
}

#[test]
fn cursor_jobs_inputs_transactions_and_claims_survive_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let id = task(1).id;
    {
        let journal = open(&folder);
        journal.commit(&seen(1)).unwrap();
        let step =
            Transition::Sent { block: block(1).hash, sender: Address::repeat_byte(2), nonce: 4, hash: B256::ZERO };
        let batch = Batch {
            moves: vec![(id, step)],
            transactions: vec![transaction(4, id)],
            claims: vec![claim(1)],
            ..Batch::default()
        };
        assert!(journal.commit(&batch).unwrap().is_empty());
        journal.sync().unwrap();
    }
    let journal = open(&folder);
    assert_eq!(journal.cursor().unwrap(), Some(block(1)));
    assert_eq!(journal.recent_blocks().unwrap(), vec![block(1)]);
    assert!(matches!(journal.job(id).unwrap(), Some(Job::Sent(sent)) if sent.nonce == 4));
    assert_eq!(journal.input(id).unwrap().unwrap(), Bytes::from(input(1)));
    assert_eq!(journal.transactions().unwrap(), vec![transaction(4, id)]);
    assert_eq!(journal.claims().collect::<Result<Vec<_>, _>>().unwrap(), vec![claim(1)]);
}

#[test]
fn a_large_transaction_is_kept_whole_and_nothing_of_it_is_left_when_it_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    let mut transaction = transaction(4, task(1).id);
    let other = TrackedTransaction { nonce: 5, ..transaction.clone() };
    transaction.attempts[0].raw = (0..40_000).map(|at| (at % 251) as u8).collect::<Vec<_>>().into();
    journal.commit(&Batch { transactions: vec![transaction.clone(), other.clone()], ..Batch::default() }).unwrap();
    transaction.attempts.push(Attempt { raw: vec![9; 4_096].into(), ..transaction.attempts[0].clone() });
    journal.commit(&Batch { transactions: vec![transaction.clone()], ..Batch::default() }).unwrap();
    assert_eq!(journal.transactions().unwrap(), [transaction.clone(), other.clone()]);
    journal.commit(&Batch { transactions_gone: vec![(transaction.sender, 4)], ..Batch::default() }).unwrap();
    assert_eq!(journal.transactions().unwrap(), std::slice::from_ref(&other));
    assert_eq!(journal.trees.attempts.len(), 1, "but for the other's");
    // Another transaction under the nonce is not taken for the one before.
    transaction.attempts = vec![Attempt { raw: vec![7; 5_000].into(), ..transaction.attempts[0].clone() }];
    journal.commit(&Batch { transactions: vec![transaction.clone()], ..Batch::default() }).unwrap();
    assert_eq!(journal.transactions().unwrap(), [transaction, other]);
}

#[test]
fn a_request_that_comes_back_in_another_block_lies_there_with_its_input() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    journal.commit(&seen(1)).unwrap();
    let mut again = seen(1);
    again.seen[0].0.block = block(9);
    again.vanished = vec![task(1).id];
    journal.commit(&again).unwrap();
    let heights = |journal: &SledJournal| {
        let all = Position::first_at(0)..Position::last_at(u64::MAX);
        let at = journal.walk(View::Requested, all, 9).unwrap();
        at.iter().map(|at| at.height).collect::<Vec<_>>()
    };
    let check = |journal: &SledJournal| {
        assert_eq!((heights(journal), journal.count(View::Requested)), (vec![9], 1));
        assert_eq!(journal.job(task(1).id).unwrap().unwrap().task().block, block(9));
        assert_eq!(journal.input(task(1).id).unwrap(), Some(input(1).into()));
        assert_eq!(journal.trees.inputs.len(), 1);
    };
    check(&journal);
    drop(journal);
    check(&open(&folder));
}

#[test]
fn a_refused_send_writes_nothing_of_its_batch() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    journal.commit(&seen(1)).unwrap();
    let id = task(1).id;
    let wrong = Transition::Sent { block: B256::ZERO, sender: Address::ZERO, nonce: 0, hash: B256::ZERO };
    let batch = Batch { moves: vec![(id, wrong)], transactions: vec![transaction(0, id)], ..Batch::default() };
    assert_eq!(journal.commit(&batch).unwrap(), vec![(id, InvalidTransition::From(JobState::Seen))]);
    assert!(journal.transactions().unwrap().is_empty());
    assert!(matches!(journal.job(id).unwrap(), Some(Job::Seen(_))));
}

#[test]
fn other_refused_moves_are_left_out_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    let unknown = B256::repeat_byte(7);
    let mut batch = seen(1);
    batch.moves = vec![
        (unknown, Transition::Finalized),
        (task(1).id, Transition::Included { at: block(2), transaction: None, ending: Resolution::Refunded }),
    ];
    assert_eq!(journal.commit(&batch).unwrap(), vec![(unknown, InvalidTransition::UnknownJob)]);
    assert_eq!(journal.job(task(1).id).unwrap().unwrap().name(), "included");
}

#[test]
fn the_input_of_a_closed_job_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    let mut batch = seen(1);
    batch.moves = vec![(task(1).id, Transition::Skipped(Skip::NoSeat))];
    journal.commit(&batch).unwrap();
    assert_eq!(journal.input(task(1).id).unwrap(), None);
    assert_eq!(journal.count(View::Skipped), 1);
}

#[test]
fn recent_blocks_are_in_order_of_height() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    let recent_blocks = vec![block(300), block(2), block(255)];
    journal.commit(&Batch { recent_blocks, ..Batch::default() }).unwrap();
    journal.commit(&Batch { recent_blocks_gone: vec![2], ..Batch::default() }).unwrap();
    assert_eq!(journal.recent_blocks().unwrap(), vec![block(255), block(300)]);
}

#[test]
fn clearing_keeps_the_transactions() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    let mut batch = seen(1);
    batch.transactions = vec![transaction(0, task(1).id)];
    journal.commit(&batch).unwrap();
    journal.clear().unwrap();
    assert_eq!(journal.cursor().unwrap(), None);
    assert_eq!((journal.jobs().count(), View::ALL.map(|view| journal.count(view))), (0, [0; 9]));
    assert_eq!(journal.transactions().unwrap().len(), 1);
}

#[test]
fn views_follow_a_job_and_are_walked_from_either_end() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    for nonce in [5, 300, 2] {
        journal.commit(&seen(nonce)).unwrap();
    }
    let everything = || Position::first_at(0)..Position::last_at(u64::MAX);
    let heights = |at: Vec<Position>| at.iter().map(|at| at.height).collect::<Vec<_>>();
    assert_eq!(heights(journal.walk(View::Open, everything(), 9).unwrap()), [2, 5, 300]);
    assert_eq!(heights(journal.walk_back(View::Open, everything(), 2).unwrap()), [300, 5]);
    let after = journal.walk(View::Open, everything(), 1).unwrap()[0].next();
    assert_eq!(heights(journal.walk(View::Open, after..Position::first_at(300), 9).unwrap()), [5]);
    assert_eq!(heights(journal.due(crate::testing::MODEL, everything(), 9).unwrap()), [502, 505, 800]);
    assert!(journal.due(B256::ZERO, everything(), 9).unwrap().is_empty());
    let moves = vec![(task(5).id, Transition::Skipped(Skip::NoSeat))];
    journal.commit(&Batch { moves, ..Batch::default() }).unwrap();
    journal.commit(&Batch { vanished: vec![task(2).id], ..Batch::default() }).unwrap();
    assert_eq!(heights(journal.walk(View::Open, everything(), 9).unwrap()), [300]);
    assert_eq!(heights(journal.walk(View::Skipped, everything(), 9).unwrap()), [5]);
    assert_eq!((journal.count(View::Requested), journal.waiting()), (2, vec![(crate::testing::MODEL, 1)]));
    drop(journal);
    assert_eq!(
        View::ALL.map(|view| open(&folder).count(view))[..7],
        [2, 1, 0, 0, 0, 1, 0],
        "counted anew at the start"
    );
}
