//! What a kill leaves.

use super::*;

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
fn what_the_log_of_transactions_has_replaces_what_is_under_its_nonce() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    let old = transaction(4, task(1).id);
    journal.commit(&Batch { transactions: vec![old.clone()], ..Batch::default() }).unwrap();
    drop(journal);
    let mut new = transaction(4, task(2).id);
    new.attempts[0].raw = Bytes::from_static(b"other");
    for (number, transaction) in [(1, &old), (3, &new), (2, &old)] {
        let transactions = std::slice::from_ref(transaction);
        let line = super::wal::Line { number, transactions: transactions.into(), answers: (&[]).into() };
        std::fs::write(folder.path().join(format!("db/outbox-{number}")), serde_json::to_vec(&line).unwrap()).unwrap();
    }
    for _ in 0..2 {
        assert_eq!(open(&folder).transactions().unwrap(), std::slice::from_ref(&new));
    }
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

#[test]
fn the_log_of_transactions_does_not_grow_and_half_a_line_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    let id = task(1).id;
    for nonce in 0..100 {
        journal.commit(&Batch { transactions: vec![transaction(nonce, id)], ..Batch::default() }).unwrap();
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
    journal.commit(&Batch { transactions: vec![transaction(100, id)], ..Batch::default() }).unwrap();
    let killed = tempfile::tempdir().unwrap();
    copied(folder.path(), killed.path());
    let mut half = std::fs::OpenOptions::new().append(true).open(&files(killed.path())[0]).unwrap();
    std::io::Write::write_all(&mut half, b"{\"number\":102,\"sl").unwrap();
    assert_eq!(open(&killed).transactions().unwrap().len(), 101);
    assert!(files(killed.path()).is_empty());
}

#[test]
fn a_commit_whose_transactions_a_kill_could_take_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    std::fs::create_dir(folder.path().join("db/outbox-1")).unwrap();
    let batch = |nonce| Batch { transactions: vec![transaction(nonce, task(1).id)], ..Batch::default() };
    assert!(matches!(journal.commit(&batch(1)), Err(JournalError::Folder { .. })));
    journal.commit(&batch(2)).unwrap();
    std::fs::remove_dir(folder.path().join("db/outbox-1")).unwrap();
    let killed = tempfile::tempdir().unwrap();
    copied(folder.path(), killed.path());
    assert!(open(&killed).transactions().unwrap().contains(&transaction(2, task(1).id)));
}
