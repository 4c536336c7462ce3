//! The log of layouts 3 to 5, which had transactions and signed answers alone, as JSON lines. Kept to be read once.

use std::{fs, path::Path};

use serde::Deserialize;

use crate::{
    domain::{SignedAnswer, TrackedTransaction},
    journal::{
        Journal, JournalError, SledJournal,
        store::{answers, transactions, trees::folder},
    },
};

/// What one commit wrote that a kill was not to take.
#[derive(Debug, Deserialize)]
struct Line {
    number: u64,
    #[serde(rename = "slots")]
    transactions: Vec<TrackedTransaction>,
    #[serde(default)]
    answers: Vec<SignedAnswer>,
}

/// Commits, as a whole, what a folder's old log has after a number, and deletes that log.
pub(in crate::journal::store) fn take_over(
    journal: &SledJournal,
    path: &Path,
    written: u64,
) -> Result<(), JournalError> {
    let entries = fs::read_dir(path).map_err(|source| folder(path, source))?;
    let is_log = |file: &fs::DirEntry| file.file_name().to_string_lossy().starts_with("outbox-");
    let files: Vec<_> = entries.flatten().filter(is_log).map(|file| file.path()).collect();
    let mut lines = Vec::new();
    for file in &files {
        let text = fs::read(file).map_err(|source| folder(file, source))?;
        // Half a line was never broadcast.
        lines.extend(text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Line>(line).ok()));
    }
    lines.retain(|line| line.number > written);
    lines.sort_by_key(|line| line.number);
    // In one commit, for the next opening takes over only lines whose numbers are above the last commit's.
    journal.write(|writes| {
        for Line { transactions, answers, .. } in &lines {
            answers.iter().for_each(|answer| answers::put(writes, answer));
            for transaction in transactions {
                // Whatever is under its nonce, this came after that.
                transactions::forget(writes, transaction.sender, transaction.nonce)?;
                transactions::put(writes, transaction)?;
            }
        }
        Ok(())
    })?;
    journal.sync()?;
    files.iter().try_for_each(|file| fs::remove_file(file).map_err(|source| folder(file, source)))
}
