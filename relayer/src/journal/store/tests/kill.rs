//! What a kill leaves.

use super::*;

/// Copies the files as a process killed now would leave them.
pub(super) fn copied(from: &std::path::Path, to: &std::path::Path) {
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
    let mut first = transaction(4, id);
    journal.commit(&Batch { transactions: vec![first.clone()], ..Batch::default() }).unwrap();
    first.attempts.push(Attempt { raw: vec![9; 9_000].into(), ..first.attempts[0].clone() });
    journal.commit(&Batch { transactions: vec![first.clone(), transaction(5, id)], ..Batch::default() }).unwrap();
    let killed = tempfile::tempdir().unwrap();
    copied(folder.path(), killed.path());
    for _ in 0..2 {
        let again = open(&killed);
        assert_eq!(again.transactions().unwrap(), [first.clone(), transaction(5, id)]);
        again.commit(&Batch { transactions: vec![transaction(6, id)], ..Batch::default() }).unwrap();
        again.commit(&Batch { transactions_gone: vec![(transaction(6, id).sender, 6)], ..Batch::default() }).unwrap();
        again.sync().unwrap();
    }
}

#[test]
fn the_log_of_earlier_layouts_is_taken_over_and_replaces_what_is_under_its_nonce() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    let old = transaction(4, task(1).id);
    journal.commit(&Batch { transactions: vec![old.clone()], ..Batch::default() }).unwrap();
    journal.trees.meta.insert("schema", "5").unwrap();
    let written = journal.trees.written().unwrap();
    drop(journal);
    let mut new = transaction(4, task(2).id);
    new.attempts[0].raw = Bytes::from_static(b"other");
    for (number, transaction) in [(written + 1, &old), (written + 3, &new), (written + 2, &old), (written, &old)] {
        let line = format!("{{\"number\":{number},\"slots\":[{}]}}\n", serde_json::to_string(transaction).unwrap());
        std::fs::write(folder.path().join(format!("db/outbox-{number}")), line).unwrap();
    }
    for _ in 0..2 {
        let journal = open(&folder);
        assert_eq!(journal.transactions().unwrap(), std::slice::from_ref(&new));
        assert!(files(folder.path(), "outbox-").is_empty());
    }
}

#[test]
fn a_kill_takes_nothing_that_was_committed() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    for nonce in 1..40 {
        journal.commit(&seen(nonce)).unwrap();
        let moves = vec![(task(nonce).id, Transition::Skipped(Skip::NoSeat))];
        journal.commit(&Batch { moves, claims: vec![claim(nonce)], ..Batch::default() }).unwrap();
        let killed = tempfile::tempdir().unwrap();
        copied(folder.path(), killed.path());
        let found = open(&killed);
        assert_eq!(found.cursor().unwrap(), Some(block(nonce)));
        assert_eq!((found.count(View::Skipped), found.count(View::Vesting)), (nonce as usize, nonce as usize));
    }
}

#[test]
fn a_commit_of_which_the_trees_have_a_part_is_made_whole_from_its_line_and_is_torn_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    journal.commit(&seen(1)).unwrap();
    let mut batch = seen(2);
    batch.transactions = vec![transaction(4, task(2).id)];
    // As if power had been lost while the trees were written: first the mark, then some of the keys.
    let mut wal = journal.wal();
    let Ok(plan) = plan(&journal.trees, &journal.index(), &batch).unwrap() else { panic!("nothing is refused") };
    let line = wal.append(plan.writes).unwrap();
    drop(wal);
    journal.trees.meta.insert("begun", &line.number.to_be_bytes()).unwrap();
    journal.trees.put(&line.writes[..2]).unwrap();
    journal.trees.db.flush().unwrap();
    let (with_line, without) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    copied(folder.path(), with_line.path());
    copied(folder.path(), without.path());
    let found = open(&with_line);
    assert_eq!((found.cursor().unwrap(), found.transactions().unwrap()), (Some(block(2)), batch.transactions));
    for file in files(without.path(), "wal-") {
        std::fs::remove_file(file).unwrap();
    }
    assert!(matches!(SledJournal::open_existing(without.path()), Err(JournalError::Torn(_))));
    assert_eq!(open(&without).cursor().unwrap(), None, "it is begun anew");
}

#[test]
fn a_refused_send_is_not_there_after_a_kill_either() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    let id = task(1).id;
    let step = Transition::Sent { block: B256::ZERO, sender: Address::ZERO, nonce: 0, hash: B256::ZERO };
    let batch = Batch { moves: vec![(id, step)], transactions: vec![transaction(0, id)], ..Batch::default() };
    assert_eq!(journal.commit(&batch).unwrap().len(), 1);
    let killed = tempfile::tempdir().unwrap();
    copied(folder.path(), killed.path());
    assert!(open(&killed).transactions().unwrap().is_empty());
}

pub(super) fn files(folder: &std::path::Path, prefix: &str) -> Vec<std::path::PathBuf> {
    let names = std::fs::read_dir(folder.join("db")).unwrap().map(|entry| entry.unwrap().path());
    names.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(prefix)).collect()
}

#[test]
fn the_log_does_not_grow_and_a_line_that_is_cut_off_or_altered_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    let id = task(1).id;
    let commit = |nonce| journal.commit(&Batch { transactions: vec![transaction(nonce, id)], ..Batch::default() });
    for nonce in 0..100 {
        commit(nonce).unwrap();
    }
    let began = std::time::Instant::now();
    while files(folder.path(), "wal-").len() > 1 && began.elapsed().as_secs() < 10 {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(files(folder.path(), "wal-").len() <= 1, "a full file is deleted once the trees have its lines");
    commit(100).unwrap();
    let newest = |folder: &std::path::Path| {
        files(folder, "wal-").into_iter().max_by_key(|path| path.metadata().unwrap().modified().unwrap()).unwrap()
    };
    for damage in [&[9, 0][..], &[5, 0, 0, 0, 1, 2, 3, 4, 8, 1, 18, 0, 0], &[255; 40]] {
        let killed = tempfile::tempdir().unwrap();
        copied(folder.path(), killed.path());
        let mut half = std::fs::OpenOptions::new().append(true).open(newest(killed.path())).unwrap();
        std::io::Write::write_all(&mut half, damage).unwrap();
        assert_eq!(open(&killed).transactions().unwrap().len(), 101);
        assert!(files(killed.path(), "wal-").len() <= 1);
    }
}

#[test]
fn a_commit_whose_line_cannot_be_written_says_so_and_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    let next = journal.trees.begun().unwrap() + 1;
    // Its first file is there already; so it is left and the next one has no place.
    let blocked = folder.path().join(format!("db/wal-{next}"));
    journal.wal().leave();
    std::fs::create_dir(&blocked).unwrap();
    let batch = |nonce| Batch { transactions: vec![transaction(nonce, task(1).id)], ..Batch::default() };
    assert!(matches!(journal.commit(&batch(1)), Err(JournalError::Folder { .. })));
    assert!(matches!(journal.commit(&batch(1)), Err(JournalError::Folder { .. })));
    std::fs::remove_dir(&blocked).unwrap();
    journal.commit(&batch(3)).unwrap();
    assert_eq!(journal.transactions().unwrap(), [transaction(3, task(1).id)]);
    let killed = tempfile::tempdir().unwrap();
    copied(folder.path(), killed.path());
    assert_eq!(open(&killed).transactions().unwrap(), [transaction(3, task(1).id)]);
}
