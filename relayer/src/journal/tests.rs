use super::*;
use crate::{
    lifecycle::{Ending, Skip},
    testing::{DOMAIN, block, input, task},
};

fn identity() -> Identity {
    Identity { chain_id: DOMAIN.chain_id, coordinator: DOMAIN.coordinator, signer: Address::repeat_byte(1) }
}

fn open(folder: &tempfile::TempDir) -> SledJournal {
    SledJournal::open(folder.path(), &identity()).unwrap()
}

fn seen(nonce: u64) -> Batch {
    Batch {
        cursor: Some(block(nonce)),
        ring: vec![block(nonce)],
        seen: vec![(task(nonce), input(nonce).into())],
        ..Batch::default()
    }
}

fn slot(nonce: u64, id: B256) -> Slot {
    let raw = Bytes::from_static(b"raw");
    Slot {
        sender: Address::repeat_byte(2),
        nonce,
        purpose: Purpose::Answer { items: vec![Item { id, block: B256::ZERO }] },
        to: Address::ZERO,
        data: Bytes::new(),
        gas: 1,
        attempts: vec![Attempt { hash: B256::ZERO, raw, max_fee: u128::from(u64::MAX) + 1, tip: 1, at: 0 }],
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
fn cursor_jobs_inputs_slots_and_claims_survive_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let id = task(1).id;
    {
        let journal = open(&folder);
        journal.commit(&seen(1)).unwrap();
        let step = Move::Sent { block: block(1).hash, sender: Address::repeat_byte(2), nonce: 4, hash: B256::ZERO };
        let batch =
            Batch { moves: vec![(id, step)], slots: vec![slot(4, id)], claims: vec![claim(1)], ..Batch::default() };
        assert!(journal.commit(&batch).unwrap().is_empty());
        journal.sync().unwrap();
    }
    let journal = open(&folder);
    assert_eq!(journal.cursor().unwrap(), Some(block(1)));
    assert_eq!(journal.ring().unwrap(), vec![block(1)]);
    assert!(matches!(journal.job(id).unwrap(), Some(Job::Sent(sent)) if sent.nonce == 4));
    assert_eq!(journal.input(id).unwrap().unwrap(), Bytes::from(input(1)));
    assert_eq!(journal.slots().unwrap(), vec![slot(4, id)]);
    assert_eq!(journal.claims().collect::<Result<Vec<_>, _>>().unwrap(), vec![claim(1)]);
}

#[test]
fn a_refused_send_writes_nothing_of_its_batch() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    journal.commit(&seen(1)).unwrap();
    let id = task(1).id;
    let wrong = Move::Sent { block: B256::ZERO, sender: Address::ZERO, nonce: 0, hash: B256::ZERO };
    let batch = Batch { moves: vec![(id, wrong)], slots: vec![slot(0, id)], ..Batch::default() };
    assert_eq!(journal.commit(&batch).unwrap(), vec![(id, Illegal("seen"))]);
    assert!(journal.slots().unwrap().is_empty());
    assert!(matches!(journal.job(id).unwrap(), Some(Job::Seen(_))));
}

#[test]
fn other_refused_moves_are_left_out_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    let unknown = B256::repeat_byte(7);
    let mut batch = seen(1);
    batch.moves = vec![
        (unknown, Move::Confirmed),
        (task(1).id, Move::Settled { at: block(2), transaction: None, ending: Ending::Refunded }),
    ];
    assert_eq!(journal.commit(&batch).unwrap(), vec![(unknown, Illegal("unknown"))]);
    assert_eq!(journal.job(task(1).id).unwrap().unwrap().name(), "settled");
}

#[test]
fn the_input_of_a_closed_job_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    let mut batch = seen(1);
    batch.moves = vec![(task(1).id, Move::Skipped(Skip::NoSeat))];
    journal.commit(&batch).unwrap();
    assert_eq!(journal.input(task(1).id).unwrap(), None);
    assert_eq!(journal.count(View::Skipped), 1);
}

#[test]
fn the_ring_is_in_order_of_height() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    let ring = vec![block(300), block(2), block(255)];
    journal.commit(&Batch { ring, ..Batch::default() }).unwrap();
    journal.commit(&Batch { ring_gone: vec![2], ..Batch::default() }).unwrap();
    assert_eq!(journal.ring().unwrap(), vec![block(255), block(300)]);
}

#[test]
fn clearing_keeps_the_transactions() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    let mut batch = seen(1);
    batch.slots = vec![slot(0, task(1).id)];
    journal.commit(&batch).unwrap();
    journal.clear().unwrap();
    assert_eq!(journal.cursor().unwrap(), None);
    assert_eq!((journal.jobs().count(), View::ALL.map(|view| journal.count(view))), (0, [0; 10]));
    assert_eq!(journal.slots().unwrap().len(), 1);
}

#[test]
fn a_journal_of_another_key_or_chain_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(&folder));
    let other = Identity { chain_id: 1, ..identity() };
    assert!(matches!(SledJournal::open(folder.path(), &other), Err(JournalError::Foreign { .. })));
}

#[test]
fn a_journal_in_use_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let held = open(&folder);
    assert!(matches!(SledJournal::open(folder.path(), &identity()), Err(JournalError::Locked(_))));
    assert!(matches!(SledJournal::open_existing(folder.path()), Err(JournalError::Locked(_))));
    drop(held);
}

#[test]
fn a_damaged_journal_is_moved_aside_and_begun_anew() {
    for damage in [&b"not a database"[..], &[0xff; 4096]] {
        let folder = tempfile::tempdir().unwrap();
        {
            let journal = open(&folder);
            journal.commit(&seen(1)).unwrap();
            journal.sync().unwrap();
        }
        for file in ["conf", "db"] {
            std::fs::write(folder.path().join("db").join(file), damage).unwrap();
        }
        let journal = open(&folder);
        assert_eq!(journal.cursor().unwrap(), None);
        let aside = std::fs::read_dir(folder.path()).unwrap().flatten();
        assert_eq!(aside.filter(|entry| entry.file_name().to_string_lossy().starts_with("damaged-")).count(), 1);
    }
}

#[test]
fn a_record_that_cannot_be_read_rebuilds_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(&folder));
    {
        let db = sled::open(folder.path().join("db")).unwrap();
        db.open_tree("jobs").unwrap().insert([1; 32], b"{}").unwrap();
        db.flush().unwrap();
    }
    assert_eq!(open(&folder).jobs().count(), 0);
}

#[test]
fn there_is_nothing_to_read_where_no_node_ran() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(SledJournal::open_existing(folder.path()), Err(JournalError::Missing(_))));
}
