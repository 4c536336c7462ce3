//! What is left by a disk that fails or is full, and by lost power.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

use super::{
    kill::{copied, files},
    *,
};

/// The folder of a test that runs itself where no file can be larger than 2 to 4 MiB.
const CHILD: &str = "ORACULUM_TEST_SMALL_FILES";

/// Opens the journal in a folder in a process whose files stay small, which runs the test that calls this once more.
fn open_with_small_files(folder: &Path) {
    let mut child = Command::new("sh");
    child.args(["-c", "trap '' XFSZ; ulimit -f 4096; exec \"$0\" \"$@\""]).arg(std::env::current_exe().unwrap());
    child.args(["--exact", std::thread::current().name().unwrap(), "--nocapture"]).env(CHILD, folder);
    assert!(child.status().unwrap().success());
}

/// What that process opened.
fn opened_with_small_files() -> Option<Result<SledJournal, JournalError>> {
    std::env::var_os(CHILD).map(|folder| SledJournal::open(folder.as_ref(), &identity()))
}

fn with_input(nonce: u64, bytes: usize) -> Batch {
    let mut batch = seen(nonce);
    batch.seen[0].1 = vec![nonce as u8; bytes].into();
    batch
}

/// Paths of the log's files that this process has open.
fn open_logs(folder: &Path) -> Vec<PathBuf> {
    let links = fs::read_dir("/proc/self/fd").unwrap().flatten().filter_map(|link| fs::read_link(link.path()).ok());
    links.filter(|path| path.starts_with(folder) && path.to_string_lossy().contains("/wal-")).collect()
}

#[test]
fn a_line_of_which_the_disk_takes_a_part_is_not_there_and_leaves_no_file_open() {
    let Some(journal) = opened_with_small_files() else {
        return open_with_small_files(tempfile::tempdir().unwrap().path());
    };
    let journal = journal.unwrap();
    for _ in 0..8 {
        assert!(matches!(journal.commit(&with_input(1, 5 << 20)), Err(JournalError::Folder { .. })));
    }
    assert_eq!(open_logs(journal.path()).len(), 1);
    journal.commit(&seen(2)).unwrap();
    journal.commit(&seen(3)).unwrap();
    let killed = tempfile::tempdir().unwrap();
    copied(journal.path(), killed.path());
    let found = open(&killed);
    assert_eq!((found.cursor().unwrap(), found.count(View::Open)), (Some(block(3)), 2));
}

#[test]
fn nothing_is_committed_after_the_database_failed() {
    let Some(journal) = opened_with_small_files() else {
        return open_with_small_files(tempfile::tempdir().unwrap().path());
    };
    let journal = journal.unwrap();
    let failed = (1..1_000).find_map(|nonce| journal.commit(&with_input(nonce, 50_000)).err());
    assert!(matches!(failed, Some(JournalError::Store(_))), "{failed:?}");
    let logged = || files(journal.path(), "wal-").iter().map(|file| file.metadata().unwrap().len()).sum::<u64>();
    let before = logged();
    assert!(matches!(journal.commit(&seen(2_000)), Err(JournalError::Store(_))));
    let signed = SignedAnswer { request: B256::ZERO, block: block(1), digest: B256::ZERO, deadline: 9 };
    assert!(matches!(journal.record_signed(&signed), Err(RecordSignedError::Journal(JournalError::Store(_)))));
    assert_eq!(logged(), before);
}

#[test]
fn a_full_file_of_the_log_is_deleted_although_the_disk_failed_for_a_while() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    let [file, away] = ["db/db", "db/away"].map(|name| folder.path().join(name));
    fs::rename(&file, &away).unwrap();
    (1..40).for_each(|nonce| drop(journal.commit(&seen(nonce)).unwrap()));
    assert!(matches!(wal::flush(&journal.wal, &journal.trees.db), Err(JournalError::Folder { .. })));
    assert!(files(folder.path(), "wal-").len() > 1);
    fs::rename(&away, &file).unwrap();
    wal::flush(&journal.wal, &journal.trees.db).unwrap();
    assert!(files(folder.path(), "wal-").len() <= 1);
}

#[test]
fn a_sync_fails_while_the_log_does_not_reach_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    let next = journal.trees.begun().unwrap() + 1;
    journal.wal().leave();
    // It takes what is written, and cannot be synced.
    symlink("/dev/null", folder.path().join(format!("db/wal-{next}"))).unwrap();
    journal.commit(&seen(1)).unwrap();
    for _ in 0..2 {
        assert!(matches!(journal.sync(), Err(JournalError::Folder { .. })));
    }
}

#[test]
fn lines_behind_one_that_power_took_are_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let mut wal = Wal::after(folder.path(), 0);
    for _ in 0..3 {
        wal.append(Vec::new()).unwrap();
        wal.append(Vec::new()).unwrap();
        wal.leave();
    }
    let numbers = || wal::lines(folder.path(), 0).unwrap().into_iter().map(|line| line.number).collect::<Vec<_>>();
    assert_eq!(numbers(), [1, 2, 3, 4, 5, 6]);
    let second = folder.path().join("wal-3");
    let bytes = fs::read(&second).unwrap();
    fs::write(&second, &bytes[..bytes.len() - 1]).unwrap();
    assert_eq!(numbers(), [1, 2, 3]);
    fs::remove_file(folder.path().join("wal-1")).unwrap();
    assert_eq!(numbers(), [0; 0]);
}

#[test]
fn the_log_is_not_deleted_at_an_opening_before_the_database_is_on_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    // A folder with a log and no database: that cannot be brought to the disk.
    let other = tempfile::tempdir().unwrap();
    fs::write(other.path().join("wal-1"), []).unwrap();
    assert!(matches!(recover(&journal.trees, other.path()), Err(JournalError::Folder { .. })));
    assert!(other.path().join("wal-1").exists());
}

#[test]
fn a_log_of_earlier_layouts_whose_taking_over_was_cut_off_is_taken_over_whole() {
    if let Some(journal) = opened_with_small_files() {
        return assert!(matches!(journal, Err(JournalError::Folder { .. })));
    }
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    journal.trees.meta.insert("schema", "5").unwrap();
    let written = journal.trees.written().unwrap();
    drop(journal);
    let large = |nonce, bytes| {
        let mut large = transaction(nonce, task(1).id);
        large.attempts[0].raw = vec![1; bytes].into();
        large
    };
    // There is no room for the last one's bytes.
    let new = [(0, 9), (1, 9), (2, 9), (3, 5 << 20)].map(|(nonce, bytes)| large(nonce, bytes));
    let line = |(transaction, number)| {
        format!("{{\"number\":{number},\"slots\":[{}]}}\n", serde_json::to_string(transaction).unwrap())
    };
    let lines: String = new.iter().zip(written + 1..).map(line).collect();
    fs::write(folder.path().join("db/outbox-1"), lines).unwrap();
    open_with_small_files(folder.path());
    assert_eq!(open(&folder).transactions().unwrap().iter().map(|sent| sent.nonce).collect::<Vec<_>>(), [0, 1, 2, 3]);
}
