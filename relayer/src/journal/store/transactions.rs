//! Transactions in two trees: what changes, as JSON by sender and nonce, and the signed bytes of the attempts, which are
//! written once. Those are cut to pieces, for sled keeps a page of large values in a file of its own, and such files pile
//! up.

use alloy::primitives::{Address, Bytes};
use sled::{Tree, transaction::TransactionalTree};

use super::trees::{Step, all, damaged, encode, read};
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
fn attempt_key(slot: &[u8], attempt: usize) -> Vec<u8> {
    [slot, &(attempt as u32).to_be_bytes()].concat()
}

fn piece_key(attempt: &[u8], piece: usize) -> Vec<u8> {
    [attempt, &(piece as u32).to_be_bytes()].concat()
}

fn attempts(slots: &TransactionalTree, key: &[u8]) -> Step<usize> {
    Ok(read::<TrackedTransaction>(slots, key)?.map_or(0, |slot| slot.attempts.len()))
}

/// Whether there is a transaction under the same nonce.
pub(super) fn is_there(slots: &Tree, slot: &TrackedTransaction) -> Result<bool, JournalError> {
    Ok(slots.contains_key(key(slot.sender, slot.nonce))?)
}

/// Writes a transaction, and the signed bytes of those of its attempts that are new.
pub(super) fn put(slots: &TransactionalTree, signed: &TransactionalTree, slot: &TrackedTransaction) -> Step<()> {
    let key = key(slot.sender, slot.nonce);
    let written = attempts(slots, &key)?;
    for (at, attempt) in slot.attempts.iter().enumerate().skip(written) {
        let attempt_key = attempt_key(&key, at);
        for (at, piece) in attempt.raw.chunks(PIECE).enumerate() {
            signed.insert(piece_key(&attempt_key, at), piece)?;
        }
    }
    let attempts = slot.attempts.iter().map(|attempt| Attempt { raw: Bytes::new(), ..*attempt }).collect();
    slots.insert(key, encode(&TrackedTransaction { purpose: slot.purpose.clone(), attempts, ..*slot })?)?;
    Ok(())
}

/// Forgets a transaction.
pub(super) fn forget(slots: &TransactionalTree, signed: &TransactionalTree, sender: Address, nonce: u64) -> Step<()> {
    let key = key(sender, nonce);
    for at in 0..attempts(slots, &key)? {
        let attempt_key = attempt_key(&key, at);
        let mut piece = 0;
        while signed.remove(piece_key(&attempt_key, piece))?.is_some() {
            piece += 1;
        }
    }
    slots.remove(key)?;
    Ok(())
}

/// All transactions, one at a time, by sender and nonce.
pub(super) fn all_of(
    slots: &Tree,
    signed: &Tree,
) -> impl Iterator<Item = Result<TrackedTransaction, JournalError>> + use<> {
    let signed = signed.clone();
    all::<TrackedTransaction>(slots).map(move |slot| {
        let mut slot = slot?;
        let key = key(slot.sender, slot.nonce);
        for (at, attempt) in slot.attempts.iter_mut().enumerate() {
            let pieces: Result<Vec<_>, _> = signed.scan_prefix(attempt_key(&key, at)).values().collect();
            attempt.raw = pieces?.concat().into();
            if attempt.raw.is_empty() {
                return Err(damaged());
            }
        }
        Ok(slot)
    })
}
