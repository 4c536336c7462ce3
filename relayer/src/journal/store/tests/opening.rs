//! Whose a journal is, which layout it has, and whether it can be read.

use super::*;

#[test]
fn a_journal_of_another_deployment_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(&folder));
    for other in
        [Identity { chain_id: 1, ..identity() }, Identity { coordinator: Address::repeat_byte(9), ..identity() }]
    {
        assert!(matches!(SledJournal::open(folder.path(), &other), Err(JournalError::Foreign { .. })));
    }
}

/// A journal goes on with another signing key, and neither that key nor the first signs a second answer to a request.
#[test]
fn one_request_has_one_signed_answer_whichever_key_signs() {
    let folder = tempfile::tempdir().unwrap();
    let block = BlockRef { number: 5, hash: B256::repeat_byte(5) };
    let answer =
        |digest| SignedAnswer { request: B256::repeat_byte(1), block, digest: B256::repeat_byte(digest), deadline: 50 };
    {
        let journal = open(&folder);
        journal.commit(&seen(1)).unwrap();
        journal.record_signed(&answer(1)).unwrap();
    }
    let other = Identity { signer: Address::repeat_byte(2), ..identity() };
    for key in [&other, &identity()] {
        let journal = SledJournal::open(folder.path(), key).unwrap();
        assert_eq!(journal.identity().unwrap().as_ref(), Some(key));
        assert_eq!(journal.count(View::Open), 1);
        journal.record_signed(&answer(1)).unwrap();
        let refused = journal.record_signed(&answer(2)).unwrap_err();
        assert!(
            matches!(refused, RecordSignedError::Refused(SigningRefused::AnotherAnswer { .. })),
            "a second answer: {refused}"
        );
    }
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
        let db = super::rewrite::open_database(&folder.path().join("db")).unwrap();
        db.open_tree("jobs").unwrap().insert([1; 32], b"{}").unwrap();
        db.flush().unwrap();
    }
    assert_eq!(open(&folder).jobs().count(), 0);
}

#[test]
fn a_journal_with_two_records_of_a_job_is_rebuilt() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    journal.commit(&seen(1)).unwrap();
    let (mut key, job) = journal.trees.jobs.first().unwrap().map(|(key, job)| (key.to_vec(), job)).unwrap();
    key[8] += 1;
    journal.trees.jobs.insert(key, job).unwrap();
    drop(journal);
    assert_eq!(open(&folder).cursor().unwrap(), None);
}

#[test]
fn there_is_nothing_to_read_where_no_node_ran() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(SledJournal::open_existing(folder.path()), Err(JournalError::Missing(_))));
}

/// A folder with what the first version wrote for `identity`, sender included.
pub(super) fn first_version() -> tempfile::TempDir {
    version(include_str!("../../../../tests/fixtures/journal-v1.jsonl"))
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
    let second = version(include_str!("../../../../tests/fixtures/journal-v2.jsonl"));
    assert_eq!(is_brought_to_this_version(second).ledger(0).unwrap().len(), 1);
}

fn is_brought_to_this_version(folder: tempfile::TempDir) -> SledJournal {
    let sender = Address::repeat_byte(2);
    for _ in 0..2 {
        let journal = open(&folder);
        assert_eq!(journal.cursor().unwrap(), Some(block(109)));
        assert_eq!(journal.recent_blocks().unwrap(), (100..110).map(block).collect::<Vec<_>>());
        let name = |nonce: u64| journal.job(task(nonce).id).unwrap().unwrap().name();
        let names: Vec<_> = (100..107).map(name).collect();
        assert_eq!(names, ["seen", "sent", "included", "finalized", "skipped", "failed", "included"]);
        assert!(
            matches!(journal.job(task(101).id).unwrap(), Some(Job::Sent(sent)) if (sent.sender, sent.nonce) == (sender, 7))
        );
        assert!(
            matches!(journal.job(task(102).id).unwrap(), Some(Job::Included(settled)) if settled.sent == Some((sender, 6)))
        );
        let transactions = journal.transactions().unwrap();
        assert_eq!(
            transactions.iter().map(|transaction| (transaction.sender, transaction.nonce)).collect::<Vec<_>>(),
            [6, 7, 8, 9].map(|nonce| (sender, nonce))
        );
        let item = AnswerRef { id: task(102).id, block: task(102).block.hash };
        assert_eq!(transactions[0].purpose, Purpose::Answer { items: vec![item] });
        assert_eq!(transactions[1].attempts[0].max_fee, u128::from(u64::MAX) + 1, "numbers beyond JSON's usual ones");
        assert_eq!((transactions[1].attempts[1].gas, &transactions[1].attempts[1].raw[..]), (1, &b"more"[..]));
        assert_eq!(
            (transactions[1].attempts.len(), transactions[0].mined.map(|receipt| receipt.gas_used)),
            (2, Some(90_000))
        );
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
fn a_journal_that_kept_its_index_in_a_tree_is_found_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    journal.commit(&seen(1)).unwrap();
    journal.trees.db.open_tree("index").unwrap().insert([9; 41], b"").unwrap();
    journal.trees.meta.insert("schema", "3").unwrap();
    drop(journal);
    let journal = open(&folder);
    assert_eq!((journal.count(View::Open), journal.waiting()), (1, vec![(crate::testing::MODEL, 1)]));
    assert!(!journal.trees.db.tree_names().contains(&b"index".into()));
    assert_eq!(journal.trees.meta.get("schema").unwrap().unwrap(), VERSION.to_string());
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
fn a_new_journal_that_was_killed_in_its_first_commit_is_made_whole() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(&folder));
    {
        let db = super::rewrite::open_database(&folder.path().join("db")).unwrap();
        let meta = db.open_tree("meta").unwrap();
        // It was written last.
        for key in ["schema", "written"] {
            meta.remove(key).unwrap();
        }
        db.flush().unwrap();
    }
    assert_eq!(open(&folder).identity().unwrap(), Some(identity()));
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["db"], "nothing was moved aside");
}

#[test]
fn a_journal_of_a_later_version_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    journal.trees.meta.insert("schema", "99").unwrap();
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
fn a_journal_of_the_fourth_layout_is_read_with_its_old_names_of_states() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    for nonce in 1..4 {
        journal.commit(&seen(nonce)).unwrap();
    }
    let included = || Transition::Included { at: block(5), transaction: None, ending: Resolution::Refunded };
    let moves = vec![(task(2).id, included()), (task(3).id, included()), (task(3).id, Transition::Finalized)];
    journal.commit(&Batch { moves, ..Batch::default() }).unwrap();
    let jobs = &journal.trees.jobs;
    let mut renamed = 0;
    for entry in jobs.iter() {
        let (key, job) = entry.unwrap();
        let job = String::from_utf8(job.to_vec()).unwrap();
        let old = job
            .replace(r#""state":"included""#, r#""state":"settled""#)
            .replace(r#""kind":"finalized""#, r#""kind":"confirmed""#);
        renamed += usize::from(old != job);
        jobs.insert(key, old.as_bytes()).unwrap();
    }
    assert_eq!(renamed, 2);
    journal.trees.meta.insert("schema", "4").unwrap();
    drop(journal);
    let journal = open(&folder);
    let names = [1, 2, 3].map(|nonce| journal.job(task(nonce).id).unwrap().unwrap().name());
    assert_eq!(names, ["seen", "included", "finalized"]);
    assert_eq!(View::ALL.map(|view| journal.count(view)), [3, 1, 0, 1, 1, 0, 0, 0, 0]);
    assert_eq!(journal.trees.meta.get("schema").unwrap().unwrap(), VERSION.to_string());
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["db"], "nothing was moved aside");
}

/// Set for the test below when it runs itself in an environment where files cannot be used.
const CHILD: &str = "ORACULUM_TEST_JOURNAL";

/// F1. Only what is proven to be damaged is moved aside.
#[test]
fn a_sound_journal_whose_files_cannot_be_used_is_left_as_it_is() {
    if let Some(path) = std::env::var_os(CHILD) {
        match SledJournal::open(path.as_ref(), &identity()) {
            Err(error) => eprintln!("refused: {error}"),
            Ok(journal) => eprintln!("opened at {:?}", journal.cursor().unwrap()),
        }
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    journal.commit(&seen(1)).unwrap();
    drop(journal);
    // As another user, with too few descriptors, and where nothing can be written. Nobody else can be had without root.
    let other = "[ \"$(id -u)\" = 0 ] || { echo 'skipped: this is not root'; exit; }; chmod go+rx \"$0\" \"$0/db\"; chmod go= \"$0\"/db/*; exec setpriv --reuid 65534 --clear-groups \"$@\"";
    let few = (5..12).map(|descriptors| format!("ulimit -n {descriptors}; exec \"$@\""));
    let full = "trap '' XFSZ; ulimit -f 0; exec \"$@\"";
    for script in [other.to_owned(), full.to_owned()].into_iter().chain(few) {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &script]).arg(folder.path()).arg(std::env::current_exe().unwrap());
        command.args(["--exact", std::thread::current().name().unwrap(), "--nocapture"]).env(CHILD, folder.path());
        let output = command.output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert_eq!(names, ["db"], "{script}: {told}");
        assert!(["refused: ", "opened at Some", "skipped: "].iter().any(|how| told.contains(how)), "{script}: {told}");
        assert_eq!(open(&folder).cursor().unwrap(), Some(block(1)), "{script}: {told}");
    }
}
