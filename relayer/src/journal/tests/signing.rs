//! What may be signed, after whatever happens to the process and its machine.

use super::*;

/// Runs a check against both journals. It gets a new journal, and what makes a killed process open it again.
fn with_both(check: impl Fn(Box<dyn DynJournal>, &mut dyn FnMut(Box<dyn DynJournal>) -> Box<dyn DynJournal>)) {
    check(Box::new(MemoryJournal::new()), &mut |journal| journal.killed());
    let folder = tempfile::tempdir().unwrap();
    check(Box::new(opened(&folder)), &mut |journal| {
        drop(journal);
        Box::new(opened(&folder))
    });
}

/// What these checks ask of a journal.
trait DynJournal {
    fn sign(&self, answer: &SignedAnswer) -> Result<(), SigningRefused>;
    fn prune(&self, last: u64);
    fn killed(&self) -> Box<dyn DynJournal>;
}

fn refusal(outcome: Result<(), RecordSignedError>) -> Result<(), SigningRefused> {
    outcome.map_err(|error| match error {
        RecordSignedError::Refused(refused) => refused,
        RecordSignedError::Journal(error) => panic!("{error}"),
    })
}

impl DynJournal for MemoryJournal {
    fn sign(&self, answer: &SignedAnswer) -> Result<(), SigningRefused> {
        refusal(self.record_signed(answer))
    }

    fn prune(&self, last: u64) {
        self.prune_signed(last).unwrap();
    }

    fn killed(&self) -> Box<dyn DynJournal> {
        Box::new(self.crash(Crash::Killed).unwrap())
    }
}

impl DynJournal for SledJournal {
    fn sign(&self, answer: &SignedAnswer) -> Result<(), SigningRefused> {
        refusal(self.record_signed(answer))
    }

    fn prune(&self, last: u64) {
        self.prune_signed(last).unwrap();
    }

    fn killed(&self) -> Box<dyn DynJournal> {
        unreachable!("it is opened again")
    }
}

fn another() -> Result<(), SigningRefused> {
    Err(SigningRefused::AnotherAnswer { signed: B256::repeat_byte(1), digest: B256::repeat_byte(2) })
}

#[test]
fn a_second_different_answer_is_refused_even_after_a_kill_and_the_same_is_taken_again() {
    with_both(|journal, reopen| {
        journal.sign(&answer(1, 0, 1)).unwrap();
        assert_eq!(journal.sign(&answer(1, 0, 2)), another());
        let journal = reopen(journal);
        assert_eq!(journal.sign(&answer(1, 0, 2)), another());
        journal.sign(&answer(1, 0, 1)).unwrap();
    });
}

#[test]
fn a_request_in_another_block_may_have_another_answer_and_the_first_block_keeps_its_own() {
    with_both(|journal, reopen| {
        journal.sign(&answer(1, 0, 1)).unwrap();
        journal.sign(&answer(1, 9, 2)).unwrap();
        let journal = reopen(journal);
        journal.sign(&answer(1, 0, 1)).unwrap();
        assert_eq!(journal.sign(&answer(1, 0, 2)), another());
    });
}

#[test]
fn what_was_forgotten_behind_the_deadline_is_never_signed_again() {
    with_both(|journal, reopen| {
        journal.sign(&answer(1, 0, 1)).unwrap();
        journal.sign(&answer(2, 0, 1)).unwrap();
        let deadline = answer(1, 0, 1).deadline;
        journal.prune(deadline - 1);
        assert_eq!(journal.sign(&answer(1, 0, 2)), another(), "it can be answered yet");
        journal.prune(deadline);
        assert_eq!(journal.sign(&answer(1, 0, 2)), Err(SigningRefused::Expired { deadline }));
        let journal = reopen(journal);
        assert!(journal.sign(&answer(1, 0, 2)).is_err(), "forgotten, or remembered again if the kill took that");
        assert_eq!(journal.sign(&answer(2, 0, 2)), another());
        journal.sign(&answer(3, 0, 1)).unwrap();
    });
}

/// After a loss of power, what may have been signed before is refused, and what came later is not.
fn is_careful_after_a_loss(journal: &impl Journal, head: u64) {
    let sign = |request, digest| refusal(journal.record_signed(&answer(request, 0, digest)));
    assert_eq!(sign(head + 9, 1), Err(SigningRefused::Forgotten { until: u64::MAX }));
    journal.commit(&Batch { cursor: Some(block(head)), ..Batch::default() }).unwrap();
    journal.caught_up().unwrap();
    assert_eq!(sign(head, 2), Err(SigningRefused::Forgotten { until: head }));
    sign(head + 1, 1).unwrap();
}

#[test]
fn lost_power_costs_answers_and_never_signs_a_second_one() {
    let journal = MemoryJournal::new();
    journal.record_signed(&answer(3, 0, 1)).unwrap();
    is_careful_after_a_loss(&journal.crash(Crash::PowerLost { writes: 0 }).unwrap(), 3);
    journal.sync().unwrap();
    let after = journal.crash(Crash::PowerLost { writes: 0 }).unwrap();
    after.record_signed(&answer(4, 0, 1)).unwrap();
    assert_eq!(refusal(after.record_signed(&answer(3, 0, 2))), another(), "all was on the disk");

    let folder = tempfile::tempdir().unwrap();
    let marker = folder.path().join("signing.json");
    let disk = opened(&folder);
    disk.record_signed(&answer(3, 0, 1)).unwrap();
    drop(disk);
    let text = std::fs::read_to_string(&marker).unwrap();
    std::fs::write(&marker, text.replace("\"boot\":\"", "\"boot\":\"another")).unwrap();
    let disk = opened(&folder);
    assert_eq!(refusal(disk.record_signed(&answer(3, 0, 2))), another(), "what is left is believed");
    is_careful_after_a_loss(&disk, 5);
    drop(disk);
    // It is on the disk up to where it may have forgotten.
    let disk = opened(&folder);
    assert_eq!(refusal(disk.record_signed(&answer(5, 0, 1))), Err(SigningRefused::Forgotten { until: 5 }));
    disk.record_signed(&answer(7, 0, 1)).unwrap();
}

#[test]
fn a_machine_that_was_switched_off_after_a_sync_forgets_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let marker = folder.path().join("signing.json");
    let disk = opened(&folder);
    disk.record_signed(&answer(3, 0, 1)).unwrap();
    disk.sync().unwrap();
    drop(disk);
    let text = std::fs::read_to_string(&marker).unwrap();
    std::fs::write(&marker, text.replace("\"boot\":\"", "\"boot\":\"another")).unwrap();
    let disk = opened(&folder);
    disk.record_signed(&answer(4, 0, 1)).unwrap();
    assert_eq!(refusal(disk.record_signed(&answer(3, 0, 2))), another());
}

#[test]
fn a_database_that_was_deleted_or_damaged_is_known_to_have_forgotten() {
    for damaged in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let disk = opened(&folder);
        disk.record_signed(&answer(3, 0, 1)).unwrap();
        disk.sync().unwrap();
        drop(disk);
        let db = folder.path().join("db");
        if damaged {
            for file in ["conf", "db"] {
                std::fs::write(db.join(file), b"not a database").unwrap();
            }
        } else {
            std::fs::remove_dir_all(db).unwrap();
        }
        is_careful_after_a_loss(&opened(&folder), 3);
    }
}

#[test]
fn signed_answers_and_what_may_be_forgotten_go_with_the_exported_lines() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let journal = opened(&from);
    journal.record_signed(&answer(1, 0, 1)).unwrap();
    journal.record_signed(&answer(2, 0, 1)).unwrap();
    journal.prune_signed(answer(1, 0, 1).deadline).unwrap();
    let mut lines = Vec::new();
    journal.export(&mut lines).unwrap();
    SledJournal::import(to.path(), &lines[..]).unwrap();
    let copy = opened(&to);
    assert_eq!(refusal(copy.record_signed(&answer(2, 0, 2))), another());
    let deadline = answer(1, 0, 1).deadline;
    assert_eq!(refusal(copy.record_signed(&answer(1, 0, 1))), Err(SigningRefused::Expired { deadline }));
}

#[test]
fn an_import_where_answers_were_signed_since_the_export_is_known_to_have_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let journal = opened(&folder);
    let mut lines = Vec::new();
    journal.export(&mut lines).unwrap();
    journal.record_signed(&answer(3, 0, 1)).unwrap();
    journal.sync().unwrap();
    drop(journal);
    std::fs::remove_dir_all(folder.path().join("db")).unwrap();
    SledJournal::import(folder.path(), &lines[..]).unwrap();
    is_careful_after_a_loss(&opened(&folder), 3);
}
