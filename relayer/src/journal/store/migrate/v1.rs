//! The first layout: a single sending key, one answer per transaction, no views. Kept to be read once.

use alloy::primitives::{Address, B256};
use serde::Deserialize;

use super::v2::{OldAttempt, jobs, place};
use crate::{
    chain::{BlockRef, Receipt},
    domain::{AnswerRef, Claim, Purpose, Resolution, Task, TrackedTransaction},
    journal::{
        Identity, JournalError, VERSION,
        store::{
            record::Record,
            trees::{IDENTITY, all, damaged},
        },
    },
};

#[derive(Deserialize)]
struct Owner {
    chain_id: u64,
    coordinator: Address,
    signer: Address,
    sender: Address,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum OldPurpose {
    Answer { id: B256, block: B256 },
    Claim { ids: Vec<B256> },
    Cancel,
}

#[derive(Deserialize)]
struct OldSlot {
    nonce: u64,
    purpose: OldPurpose,
    gas: u64,
    attempts: Vec<OldAttempt>,
    mined: Option<Receipt>,
}

#[derive(Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
enum OldJob {
    Seen(crate::domain::Seen),
    Sent {
        task: Task,
        nonce: u64,
        hash: B256,
    },
    #[serde(rename = "settled")]
    Included {
        task: Task,
        at: BlockRef,
        transaction: Option<B256>,
        ending: Resolution,
        nonce: Option<u64>,
    },
    Closed(crate::domain::Closed),
}

/// What a database of the first layout holds, in today's terms.
pub(in crate::journal::store) fn records(
    db: &sled::Db,
) -> Result<impl Iterator<Item = Result<Record, JournalError>> + use<>, JournalError> {
    let meta = db.open_tree("meta")?;
    let owner: Owner = serde_json::from_slice(&meta.get(IDENTITY)?.ok_or_else(damaged)?)?;
    let Owner { chain_id, coordinator, signer, sender } = owner;
    let head = Record::Journal { version: VERSION, identity: Identity { chain_id, coordinator, signer } };
    let jobs = jobs::<OldJob, _>(db, move |job| job.today(sender))?;
    let transactions = all::<OldSlot>(&db.open_tree("slots")?)
        .map(move |transaction| Ok(Record::TrackedTransaction(Box::new(transaction?.today(sender)))));
    let claims = all::<Claim>(&db.open_tree("claims")?).map(|claim| Ok(Record::Claim(Box::new(claim?))));
    let head = std::iter::once(Ok(head));
    Ok(head.chain(place(db)?).chain(jobs).chain(transactions).chain(claims))
}

impl OldJob {
    fn today(self, sender: Address) -> crate::domain::Job {
        use crate::domain::{Included, Job, Sent};
        match self {
            Self::Seen(seen) => Job::Seen(seen),
            Self::Sent { task, nonce, hash } => Job::Sent(Sent { task, sender, nonce, hash }),
            Self::Included { task, at, transaction, ending, nonce } => {
                let sent = nonce.map(|nonce| (sender, nonce));
                Job::Included(Included { task, at, transaction, ending, sent })
            }
            Self::Closed(closed) => Job::Closed(closed),
        }
    }
}

impl OldSlot {
    fn today(self, sender: Address) -> TrackedTransaction {
        let Self { nonce, purpose, gas, attempts, mined } = self;
        let purpose = match purpose {
            OldPurpose::Answer { id, block } => Purpose::Answer { items: vec![AnswerRef { id, block }] },
            OldPurpose::Claim { ids } => Purpose::Claim { ids },
            OldPurpose::Cancel => Purpose::Cancel,
        };
        let attempts = attempts.into_iter().map(|attempt| attempt.today(gas)).collect();
        TrackedTransaction { sender, nonce, purpose, attempts, mined }
    }
}
