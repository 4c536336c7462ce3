//! Transactions in two trees: what changes, as JSON by sender and nonce, and the signed bytes of the attempts, which are
//! written once. Those are cut to pieces, for sled keeps a page of large values in a file of its own, and such files pile
//! up.

use alloy::primitives::{Address, Bytes};
use sled::Tree;

use super::{
    line::TreeName,
    trees::{all, damaged},
    writes::Writes,
};
use crate::{
    domain::{Attempt, TrackedTransaction},
    journal::JournalError,
};

/// Bytes of a piece. A page has up to 16, and one of 128 KiB is too large.
const PIECE: usize = 4_096;

/// Sender and nonce, so that a sender's transactions are in order.
fn key(sender: Address, nonce: u64) -> Vec<u8> {
    [sender.as_slice(), &nonce.to_be_bytes()].concat()
}

/// What the keys of an attempt's pieces begin with.
fn attempt_key(transaction: &[u8], attempt: usize) -> Vec<u8> {
    [transaction, &(attempt as u32).to_be_bytes()].concat()
}

fn piece_key(attempt: &[u8], piece: usize) -> Vec<u8> {
    [attempt, &(piece as u32).to_be_bytes()].concat()
}

fn attempts(writes: &Writes<'_>, key: &[u8]) -> Result<usize, JournalError> {
    let transaction = writes.read::<TrackedTransaction>(TreeName::Transactions, key)?;
    Ok(transaction.map_or(0, |transaction| transaction.attempts.len()))
}

/// Whether there is a transaction under the same nonce.
pub(super) fn is_there(transactions: &Tree, transaction: &TrackedTransaction) -> Result<bool, JournalError> {
    Ok(transactions.contains_key(key(transaction.sender, transaction.nonce))?)
}

/// Puts a transaction, and the signed bytes of those of its attempts that are new.
pub(super) fn put(writes: &mut Writes<'_>, transaction: &TrackedTransaction) -> Result<(), JournalError> {
    let key = key(transaction.sender, transaction.nonce);
    let written = attempts(writes, &key)?;
    for (at, attempt) in transaction.attempts.iter().enumerate().skip(written) {
        let attempt_key = attempt_key(&key, at);
        for (at, piece) in attempt.raw.chunks(PIECE).enumerate() {
            writes.put(TreeName::Attempts, piece_key(&attempt_key, at), piece);
        }
    }
    let attempts = transaction.attempts.iter().map(|attempt| Attempt { raw: Bytes::new(), ..*attempt }).collect();
    let record = TrackedTransaction { purpose: transaction.purpose.clone(), attempts, ..*transaction };
    writes.put_record(TreeName::Transactions, key, &record)
}

/// Forgets a transaction.
pub(super) fn forget(writes: &mut Writes<'_>, sender: Address, nonce: u64) -> Result<(), JournalError> {
    let key = key(sender, nonce);
    for at in 0..attempts(writes, &key)? {
        let attempt_key = attempt_key(&key, at);
        let mut piece = 0;
        while writes.has(TreeName::Attempts, &piece_key(&attempt_key, piece))? {
            writes.remove(TreeName::Attempts, piece_key(&attempt_key, piece));
            piece += 1;
        }
    }
    writes.remove(TreeName::Transactions, key);
    Ok(())
}

/// All transactions, one at a time, by sender and nonce.
pub(super) fn all_of(
    transactions: &Tree,
    signed: &Tree,
) -> impl Iterator<Item = Result<TrackedTransaction, JournalError>> + use<> {
    let signed = signed.clone();
    all::<TrackedTransaction>(transactions).map(move |transaction| {
        let mut transaction = transaction?;
        let key = key(transaction.sender, transaction.nonce);
        for (at, attempt) in transaction.attempts.iter_mut().enumerate() {
            let pieces: Result<Vec<_>, _> = signed.scan_prefix(attempt_key(&key, at)).values().collect();
            attempt.raw = pieces?.concat().into();
            if attempt.raw.is_empty() {
                return Err(damaged());
            }
        }
        Ok(transaction)
    })
}
