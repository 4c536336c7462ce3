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
        attempts: vec![Attempt { hash: B256::ZERO, raw, gas: 1, max_fee: u128::from(u64::MAX) + 1, tip: 1, at: 0 }],
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

/// Copies the files as a process killed now would leave them.
fn copied(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copied(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_kill_takes_no_transaction_that_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    journal.commit(&seen(1)).unwrap();
    let id = task(1).id;
    let mut first = slot(4, id);
    journal.commit(&Batch { slots: vec![first.clone()], ..Batch::default() }).unwrap();
    first.attempts.push(Attempt { raw: vec![9; 9_000].into(), ..first.attempts[0].clone() });
    journal.commit(&Batch { slots: vec![first.clone(), slot(5, id)], ..Batch::default() }).unwrap();
    let killed = tempfile::tempdir().unwrap();
    copied(folder.path(), killed.path());
    for _ in 0..2 {
        let again = open(&killed);
        assert_eq!(again.slots().unwrap(), [first.clone(), slot(5, id)]);
        again.commit(&Batch { slots: vec![slot(6, id)], ..Batch::default() }).unwrap();
        again.commit(&Batch { slots_gone: vec![(slot(6, id).sender, 6)], ..Batch::default() }).unwrap();
        again.sync().unwrap();
    }
}

#[test]
fn what_the_outbox_has_replaces_what_is_under_its_nonce() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    let old = slot(4, task(1).id);
    journal.commit(&Batch { slots: vec![old.clone()], ..Batch::default() }).unwrap();
    drop(journal);
    let mut new = slot(4, task(2).id);
    new.attempts[0].raw = Bytes::from_static(b"other");
    for (number, slot) in [(1, &old), (3, &new), (2, &old)] {
        let line = super::outbox::Line { number, slots: [slot] };
        std::fs::write(folder.path().join(format!("db/outbox-{number}")), serde_json::to_vec(&line).unwrap()).unwrap();
    }
    for _ in 0..2 {
        assert_eq!(open(&folder).slots().unwrap(), std::slice::from_ref(&new));
    }
}

#[test]
fn a_refused_send_is_not_there_after_a_kill_either() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    let id = task(1).id;
    let step = Move::Sent { block: B256::ZERO, sender: Address::ZERO, nonce: 0, hash: B256::ZERO };
    let batch = Batch { moves: vec![(id, step)], slots: vec![slot(0, id)], ..Batch::default() };
    assert_eq!(journal.commit(&batch).unwrap().len(), 1);
    let killed = tempfile::tempdir().unwrap();
    copied(folder.path(), killed.path());
    assert!(open(&killed).slots().unwrap().is_empty());
}

#[test]
fn the_outbox_does_not_grow_and_half_a_line_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    let id = task(1).id;
    for nonce in 0..100 {
        journal.commit(&Batch { slots: vec![slot(nonce, id)], ..Batch::default() }).unwrap();
    }
    let files = |folder: &std::path::Path| {
        let names = std::fs::read_dir(folder.join("db")).unwrap().map(|entry| entry.unwrap().path());
        names.filter(|path| path.to_string_lossy().contains("outbox-")).collect::<Vec<_>>()
    };
    let began = std::time::Instant::now();
    while files(folder.path()).len() > 1 && began.elapsed().as_secs() < 10 {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(files(folder.path()).len() <= 1, "a file that was left is deleted once sled has its lines");
    journal.commit(&Batch { slots: vec![slot(100, id)], ..Batch::default() }).unwrap();
    let killed = tempfile::tempdir().unwrap();
    copied(folder.path(), killed.path());
    let mut half = std::fs::OpenOptions::new().append(true).open(&files(killed.path())[0]).unwrap();
    std::io::Write::write_all(&mut half, b"{\"number\":102,\"sl").unwrap();
    assert_eq!(open(&killed).slots().unwrap().len(), 101);
    assert!(files(killed.path()).is_empty());
}

#[test]
fn a_large_transaction_is_kept_whole_and_nothing_of_it_is_left_when_it_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    let mut slot = slot(4, task(1).id);
    let other = Slot { nonce: 5, ..slot.clone() };
    slot.attempts[0].raw = (0..40_000).map(|at| (at % 251) as u8).collect::<Vec<_>>().into();
    journal.commit(&Batch { slots: vec![slot.clone(), other.clone()], ..Batch::default() }).unwrap();
    slot.attempts.push(Attempt { raw: vec![9; 4_096].into(), ..slot.attempts[0].clone() });
    journal.commit(&Batch { slots: vec![slot.clone()], ..Batch::default() }).unwrap();
    assert_eq!(journal.slots().unwrap(), [slot.clone(), other.clone()]);
    journal.commit(&Batch { slots_gone: vec![(slot.sender, 4)], ..Batch::default() }).unwrap();
    assert_eq!(journal.slots().unwrap(), std::slice::from_ref(&other));
    assert_eq!(journal.signed.len(), 1, "but for the other's");
    // Another transaction under the nonce is not taken for the one before.
    slot.attempts = vec![Attempt { raw: vec![7; 5_000].into(), ..slot.attempts[0].clone() }];
    journal.commit(&Batch { slots: vec![slot.clone()], ..Batch::default() }).unwrap();
    assert_eq!(journal.slots().unwrap(), [slot, other]);
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
        assert_eq!(journal.inputs.len(), 1);
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
    assert_eq!((journal.jobs().count(), View::ALL.map(|view| journal.count(view))), (0, [0; 9]));
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
        // It may be in use for a moment yet.
        let db = super::open::open_quietly(&folder.path().join("db")).unwrap();
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

/// A folder with what the first version wrote for `identity`, sender included.
fn first_version() -> tempfile::TempDir {
    version(include_str!("../../tests/fixtures/journal-v1.jsonl"))
}

/// A journal as an earlier version wrote it.
fn version(lines: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let db = sled::open(folder.path().join("db")).unwrap();
    for line in lines.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let bytes = |key: &str| line[key].as_str().unwrap().parse::<Bytes>().unwrap().to_vec();
        db.open_tree(line["tree"].as_str().unwrap()).unwrap().insert(bytes("key"), bytes("value")).unwrap();
    }
    db.flush().unwrap();
    folder
}

#[test]
fn journals_of_earlier_versions_are_brought_to_this_one() {
    is_brought_to_this_version(first_version());
    let second = version(include_str!("../../tests/fixtures/journal-v2.jsonl"));
    assert_eq!(is_brought_to_this_version(second).books(0).unwrap().len(), 1);
}

#[test]
fn a_journal_that_kept_its_index_in_a_tree_is_found_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    journal.commit(&seen(1)).unwrap();
    journal.db.open_tree("index").unwrap().insert([9; 41], b"").unwrap();
    journal.meta.insert("schema", "3").unwrap();
    drop(journal);
    let journal = open(&folder);
    assert_eq!((journal.count(View::Open), journal.waiting()), (1, vec![(crate::testing::MODEL, 1)]));
    assert!(!journal.db.tree_names().contains(&b"index".into()));
    assert_eq!(journal.meta.get("schema").unwrap().unwrap(), VERSION.to_string());
}

#[test]
fn a_job_that_is_in_the_lines_twice_is_refused_with_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    journal.commit(&seen(1)).unwrap();
    let mut lines = Vec::new();
    let count = journal.export(&mut lines).unwrap();
    let text = String::from_utf8(lines).unwrap();
    let twice = format!("{text}{}\n", text.lines().find(|line| line.contains("\"job\"")).unwrap());
    let to = tempfile::tempdir().unwrap();
    let error = SledJournal::import(to.path(), twice.as_bytes()).unwrap_err();
    assert!(matches!(error, JournalError::Lines { line, .. } if line == count + 1), "{error}");
    assert_eq!(std::fs::read_dir(to.path()).unwrap().count(), 0);
}

#[test]
fn a_transaction_or_a_sum_that_is_in_the_lines_twice_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    let entry = Entry { hour: 7, ..Entry::default() };
    let batch = Batch { slots: vec![slot(4, task(1).id)], booked: vec![entry], ..Batch::default() };
    journal.commit(&batch).unwrap();
    let mut lines = Vec::new();
    journal.export(&mut lines).unwrap();
    let text = String::from_utf8(lines).unwrap();
    for kind in ["{\"slot\"", "{\"entry\""] {
        let twice = format!("{text}{}\n", text.lines().find(|line| line.starts_with(kind)).unwrap());
        let to = tempfile::tempdir().unwrap();
        let error = SledJournal::import(to.path(), twice.as_bytes()).unwrap_err();
        assert!(matches!(error, JournalError::Lines { .. }), "{error}");
    }
}

#[test]
fn an_import_that_a_crash_cut_off_can_be_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    journal.commit(&seen(1)).unwrap();
    let mut lines = Vec::new();
    journal.export(&mut lines).unwrap();
    let to = tempfile::tempdir().unwrap();
    SledJournal::import(to.path(), &lines[..]).unwrap();
    std::fs::rename(to.path().join("db"), to.path().join("db-new")).unwrap();
    SledJournal::import(to.path(), &lines[..]).unwrap();
    assert_eq!(open(&to).count(View::Open), 1);
}

#[test]
fn a_journal_with_two_records_of_a_job_is_rebuilt() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    journal.commit(&seen(1)).unwrap();
    let (mut key, job) = journal.jobs.first().unwrap().map(|(key, job)| (key.to_vec(), job)).unwrap();
    key[8] += 1;
    journal.jobs.insert(key, job).unwrap();
    drop(journal);
    assert_eq!(open(&folder).cursor().unwrap(), None);
}

#[test]
fn a_commit_whose_transactions_a_kill_could_take_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    std::fs::create_dir(folder.path().join("db/outbox-1")).unwrap();
    let batch = |nonce| Batch { slots: vec![slot(nonce, task(1).id)], ..Batch::default() };
    assert!(matches!(journal.commit(&batch(1)), Err(JournalError::Folder { .. })));
    journal.commit(&batch(2)).unwrap();
    std::fs::remove_dir(folder.path().join("db/outbox-1")).unwrap();
    let killed = tempfile::tempdir().unwrap();
    copied(folder.path(), killed.path());
    assert!(open(&killed).slots().unwrap().contains(&slot(2, task(1).id)));
}

#[test]
fn lines_of_the_version_before_are_read() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let journal = open(&from);
    journal.commit(&seen(1)).unwrap();
    let mut lines = Vec::new();
    journal.export(&mut lines).unwrap();
    let text = String::from_utf8(lines).unwrap();
    let earlier = text.replacen(&format!("\"version\":{VERSION}"), "\"version\":3", 1);
    assert_ne!(earlier, text);
    SledJournal::import(to.path(), earlier.as_bytes()).unwrap();
    assert_eq!(open(&to).count(View::Open), 1);
}

fn is_brought_to_this_version(folder: tempfile::TempDir) -> SledJournal {
    let sender = Address::repeat_byte(2);
    for _ in 0..2 {
        let journal = open(&folder);
        assert_eq!(journal.cursor().unwrap(), Some(block(109)));
        assert_eq!(journal.ring().unwrap(), (100..110).map(block).collect::<Vec<_>>());
        let name = |nonce: u64| journal.job(task(nonce).id).unwrap().unwrap().name();
        let names: Vec<_> = (100..107).map(name).collect();
        assert_eq!(names, ["seen", "sent", "settled", "confirmed", "skipped", "failed", "settled"]);
        assert!(
            matches!(journal.job(task(101).id).unwrap(), Some(Job::Sent(sent)) if (sent.sender, sent.nonce) == (sender, 7))
        );
        assert!(
            matches!(journal.job(task(102).id).unwrap(), Some(Job::Settled(settled)) if settled.sent == Some((sender, 6)))
        );
        let slots = journal.slots().unwrap();
        assert_eq!(
            slots.iter().map(|slot| (slot.sender, slot.nonce)).collect::<Vec<_>>(),
            [6, 7, 8, 9].map(|nonce| (sender, nonce))
        );
        let item = Item { id: task(102).id, block: task(102).block.hash };
        assert_eq!(slots[0].purpose, Purpose::Answer { items: vec![item] });
        assert_eq!(slots[1].attempts[0].max_fee, u128::from(u64::MAX) + 1, "numbers beyond JSON's usual ones");
        assert_eq!((slots[1].attempts[1].gas, &slots[1].attempts[1].raw[..]), (1, &b"more"[..]));
        assert_eq!((slots[1].attempts.len(), slots[0].mined.map(|receipt| receipt.gas_used)), (2, Some(90_000)));
        assert_eq!(journal.claims().count(), 2);
        assert_eq!(journal.input(task(100).id).unwrap(), Some(input(100).into()));
        assert_eq!(journal.input(task(103).id).unwrap(), None);
        assert_eq!(View::ALL.map(|view| journal.count(view)), [7, 1, 1, 2, 1, 1, 1, 1, 1]);
        assert_eq!(journal.waiting(), [(crate::testing::MODEL, 1)]);
    }
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["db"], "nothing is left of the old one, and nothing was moved aside");
    open(&folder)
}

#[test]
fn a_journal_whose_files_are_far_larger_than_its_content_is_compacted_when_opened() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    let mut seen = seen(1);
    journal.commit(&seen).unwrap();
    for round in 0..64u8 {
        seen.seen[0].1 = vec![round; 400_000].into();
        journal.commit(&seen).unwrap();
        journal.sync().unwrap();
    }
    seen.seen[0].1 = input(1).into();
    journal.commit(&seen).unwrap();
    journal.sync().unwrap();
    let before = journal.disk_bytes().unwrap();
    assert!(before > 4 << 20, "{before} bytes are not enough to compact");
    drop(journal);
    let journal = open(&folder);
    let after = journal.disk_bytes().unwrap();
    assert!(after < 4 << 20, "{before} bytes became {after}");
    assert_eq!((journal.cursor().unwrap(), journal.count(View::Open)), (Some(block(1)), 1));
    assert_eq!(journal.input(task(1).id).unwrap(), Some(input(1).into()));
}

#[test]
fn a_journal_of_a_later_version_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    journal.meta.insert("schema", "99").unwrap();
    drop(journal);
    let error = SledJournal::open(folder.path(), &identity()).unwrap_err();
    assert!(matches!(error, JournalError::Newer { found: 99, .. }), "{error}");
    assert!(folder.path().join("db").is_dir());
}

#[test]
fn a_rewriting_that_a_crash_cut_off_loses_nothing() {
    for done in 0..3 {
        let folder = first_version();
        let at = |name: &str| folder.path().join(name);
        match done {
            // Half written.
            0 => std::fs::create_dir(at("db-new")).unwrap(),
            // Written, and the old one out of the way.
            1 => {
                std::fs::rename(at("db"), at("db-old")).unwrap();
                std::fs::create_dir(at("db-new")).unwrap();
            }
            // In place, and the old one not deleted.
            _ => {
                drop(open(&folder));
                std::fs::create_dir(at("db-old")).unwrap();
            }
        }
        assert_eq!(open(&folder).jobs().count(), 7, "{done}");
        assert!(!at("db-new").exists() && !at("db-old").exists(), "{done}");
    }
}

#[test]
fn an_exported_journal_is_imported_as_it_was() {
    let (from, to) = (first_version(), tempfile::tempdir().unwrap());
    let journal = open(&from);
    let entry = Entry { hour: 480_000, model: B256::repeat_byte(1), spent: u128::MAX, earned: -5, answers: 3 };
    journal.commit(&Batch { booked: vec![entry], ..Batch::default() }).unwrap();
    let mut lines = Vec::new();
    let count = journal.export(&mut lines).unwrap();
    assert_eq!(SledJournal::import(to.path(), &lines[..]).unwrap(), count);
    let copy = open(&to);
    let sorted = |journal: &SledJournal| {
        let mut records: Vec<_> = journal.records().unwrap().map(|record| format!("{:?}", record.unwrap())).collect();
        records.sort();
        records
    };
    assert_eq!(sorted(&copy), sorted(&journal));
    assert_eq!(View::ALL.map(|view| copy.count(view)), View::ALL.map(|view| journal.count(view)));
    assert!(matches!(SledJournal::import(to.path(), &lines[..]), Err(JournalError::Exists(_))));
}

#[test]
fn lines_that_are_no_journal_are_refused_with_their_number_and_leave_nothing() {
    let head = serde_json::to_string(&Record::Journal { version: VERSION, identity: identity() }).unwrap();
    let old = head.replace(&format!("\"version\":{VERSION}"), "\"version\":2");
    for (lines, number) in [
        ("{}".to_owned(), 1),
        (old, 1),
        (format!("{head}\nnonsense"), 2),
        (format!("{head}\n{head}"), 2),
        (r#"{"cursor":{"number":1,"hash":"0x00"}}"#.to_owned(), 1),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let error = SledJournal::import(folder.path(), lines.as_bytes()).unwrap_err();
        assert!(matches!(error, JournalError::Lines { line, .. } if line == number), "{lines}: {error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
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
    let moves = vec![(task(5).id, Move::Skipped(Skip::NoSeat))];
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
