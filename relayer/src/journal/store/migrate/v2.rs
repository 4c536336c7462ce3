//! The second layout: jobs by id, and transactions in one record with their calldata beside the signed bytes. Kept to be
//! read once.

use alloy::primitives::{Address, B256, Bytes};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    chain::Receipt,
    domain::{Attempt, Claim, Entry, Job, Purpose, TrackedTransaction},
    journal::{
        Identity, JournalError, VERSION,
        store::{
            record::Record,
            trees::{CURSOR, IDENTITY, all, blocks, damaged},
        },
    },
};

#[derive(Deserialize)]
pub(super) struct OldAttempt {
    hash: B256,
    raw: Bytes,
    max_fee: u128,
    tip: u128,
    at: u64,
}

#[derive(Deserialize)]
struct OldSlot {
    sender: Address,
    nonce: u64,
    purpose: Purpose,
    gas: u64,
    attempts: Vec<OldAttempt>,
    mined: Option<Receipt>,
}

/// What a database of the second layout holds, in today's terms.
pub(in crate::journal::store) fn records(
    db: &sled::Db,
) -> Result<impl Iterator<Item = Result<Record, JournalError>> + use<>, JournalError> {
    let identity: Identity = serde_json::from_slice(&db.open_tree("meta")?.get(IDENTITY)?.ok_or_else(damaged)?)?;
    let head = [Ok(Record::Journal { version: VERSION, identity })];
    let jobs = jobs::<Job, _>(db, |job| job)?;
    let transactions = all::<OldSlot>(&db.open_tree("slots")?)
        .map(|transaction| Ok(Record::TrackedTransaction(Box::new(transaction?.today()))));
    let claims = all::<Claim>(&db.open_tree("claims")?).map(|claim| Ok(Record::Claim(Box::new(claim?))));
    let ledger = all::<Entry>(&db.open_tree("books")?).map(|entry| Ok(Record::Entry(entry?)));
    Ok(head.into_iter().chain(place(db)?).chain(jobs).chain(transactions).chain(claims).chain(ledger))
}

/// The cursor and the ring, which are in every layout alike.
pub(super) fn place(db: &sled::Db) -> Result<impl Iterator<Item = Result<Record, JournalError>> + use<>, JournalError> {
    let cursor = db.open_tree("meta")?.get(CURSOR)?.map(|bytes| serde_json::from_slice(&bytes)).transpose()?;
    let recent_blocks = blocks(&db.open_tree("ring")?).map(|block| Ok(Record::RecentBlock(block?)));
    Ok(cursor.map(Record::Cursor).map(Ok).into_iter().chain(recent_blocks))
}

/// The jobs, whose inputs are under the same keys.
pub(super) fn jobs<T: DeserializeOwned, F: Fn(T) -> Job>(
    db: &sled::Db,
    today: F,
) -> Result<impl Iterator<Item = Result<Record, JournalError>> + use<T, F>, JournalError> {
    let inputs = db.open_tree("inputs")?;
    Ok(db.open_tree("jobs")?.iter().map(move |entry| {
        let (key, job) = entry?;
        let input = inputs.get(key)?.map(|bytes| Bytes::copy_from_slice(&bytes));
        Ok(Record::Job { job: Box::new(today(serde_json::from_slice(&job)?)), input })
    }))
}

impl OldAttempt {
    /// The gas limit was the transaction's.
    pub(super) fn today(self, gas: u64) -> Attempt {
        let Self { hash, raw, max_fee, tip, at } = self;
        Attempt { hash, raw, gas, max_fee, max_priority_fee: tip, at }
    }
}

impl OldSlot {
    fn today(self) -> TrackedTransaction {
        let Self { sender, nonce, purpose, gas, attempts, mined } = self;
        let attempts = attempts.into_iter().map(|attempt| attempt.today(gas)).collect();
        TrackedTransaction { sender, nonce, purpose, attempts, mined }
    }
}
