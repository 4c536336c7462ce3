//! Export and import.

use super::{opening::first_version, *};

/// The lines of a journal.
fn exported(journal: &SledJournal) -> String {
    let mut lines = Vec::new();
    journal.export(&mut lines).unwrap();
    String::from_utf8(lines).unwrap()
}

/// A journal with one job.
fn one_job(folder: &tempfile::TempDir) -> SledJournal {
    let journal = open(folder);
    journal.commit(&seen(1)).unwrap();
    journal
}

#[test]
fn a_job_that_is_in_the_lines_twice_is_refused_with_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let text = exported(&one_job(&folder));
    let twice = format!("{text}{}\n", text.lines().find(|line| line.contains("\"job\"")).unwrap());
    let to = tempfile::tempdir().unwrap();
    let error = SledJournal::import(to.path(), twice.as_bytes()).unwrap_err();
    assert!(matches!(error, JournalError::Lines { line, .. } if line == text.lines().count() + 1), "{error}");
    assert_eq!(std::fs::read_dir(to.path()).unwrap().count(), 0);
}

#[test]
fn a_transaction_or_a_sum_that_is_in_the_lines_twice_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    let entry = Entry { hour: 7, ..Entry::default() };
    let batch = Batch { transactions: vec![transaction(4, task(1).id)], booked: vec![entry], ..Batch::default() };
    journal.commit(&batch).unwrap();
    let text = exported(&journal);
    for kind in ["{\"tracked_transaction\"", "{\"entry\""] {
        let twice = format!("{text}{}\n", text.lines().find(|line| line.starts_with(kind)).unwrap());
        let to = tempfile::tempdir().unwrap();
        let error = SledJournal::import(to.path(), twice.as_bytes()).unwrap_err();
        assert!(matches!(error, JournalError::Lines { .. }), "{error}");
    }
}

#[test]
fn an_import_that_a_crash_cut_off_can_be_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let text = exported(&one_job(&folder));
    let to = tempfile::tempdir().unwrap();
    SledJournal::import(to.path(), text.as_bytes()).unwrap();
    std::fs::rename(to.path().join("db"), to.path().join("db-new")).unwrap();
    SledJournal::import(to.path(), text.as_bytes()).unwrap();
    assert_eq!(open(&to).count(View::Open), 1);
}

#[test]
fn an_import_leaves_alone_the_old_journal_of_a_rewriting_that_a_crash_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let text = exported(&one_job(&folder));
    std::fs::rename(folder.path().join("db"), folder.path().join("db-old")).unwrap();
    assert!(matches!(SledJournal::import(folder.path(), text.as_bytes()), Err(JournalError::Exists(_))));
    assert_eq!(open(&folder).count(View::Open), 1);
}

#[test]
fn lines_of_the_version_before_are_read() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let text = exported(&one_job(&from));
    let earlier = text.replacen(&format!("\"version\":{VERSION}"), "\"version\":3", 1);
    assert_ne!(earlier, text);
    SledJournal::import(to.path(), earlier.as_bytes()).unwrap();
    assert_eq!(open(&to).count(View::Open), 1);
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
fn lines_of_the_fourth_version_are_read_with_their_old_names() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let journal = one_job(&from);
    let included = Transition::Included { at: block(5), transaction: None, ending: Resolution::Refunded };
    let moves = vec![(task(1).id, included), (task(1).id, Transition::Finalized)];
    journal.commit(&Batch { moves, transactions: vec![transaction(4, task(1).id)], ..Batch::default() }).unwrap();
    let mut old = exported(&journal);
    for (today, before) in [
        (format!("\"version\":{VERSION}"), "\"version\":4"),
        ("{\"recent_block\":".to_owned(), "{\"ring\":"),
        ("{\"tracked_transaction\":".to_owned(), "{\"slot\":"),
        ("\"kind\":\"finalized\"".to_owned(), "\"kind\":\"confirmed\""),
    ] {
        assert!(old.contains(&today), "{today}");
        old = old.replace(&today, before);
    }
    SledJournal::import(to.path(), old.as_bytes()).unwrap();
    let copy = open(&to);
    assert_eq!(exported(&copy), exported(&journal));
    assert_eq!(copy.count(View::Finalized), 1);
}
