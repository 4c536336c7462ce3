//! The first layout: a single sending key, one answer per transaction, no views. Kept to be read once.

use alloy::primitives::{Address, B256, Bytes};
use serde::{Deserialize, de::DeserializeOwned};

use super::{Attempt, Identity, Item, JournalError, Purpose, Record, Slot, VERSION, open::IDENTITY, store::damaged};
use crate::{
    chain::{BlockRef, Receipt},
    lifecycle::{self, Ending, Task},
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
    to: Address,
    data: Bytes,
    gas: u64,
    attempts: Vec<Attempt>,
    mined: Option<Receipt>,
}

#[derive(Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
enum OldJob {
    Seen(lifecycle::Seen),
    Sent { task: Task, nonce: u64, hash: B256 },
    Settled { task: Task, at: BlockRef, transaction: Option<B256>, ending: Ending, nonce: Option<u64> },
    Closed(lifecycle::Closed),
}

/// What a database of the first layout holds, in today's terms.
pub(super) fn records(
    db: &sled::Db,
) -> Result<impl Iterator<Item = Result<Record, JournalError>> + use<>, JournalError> {
    let meta = db.open_tree("meta")?;
    let owner: Owner = serde_json::from_slice(&meta.get(IDENTITY)?.ok_or_else(damaged)?)?;
    let Owner { chain_id, coordinator, signer, sender } = owner;
    let head = Record::Journal { version: VERSION, identity: Identity { chain_id, coordinator, signer } };
    let cursor = meta.get("cursor")?.map(|bytes| serde_json::from_slice(&bytes)).transpose()?.map(Record::Cursor);
    let ring = db.open_tree("ring")?.iter().map(|entry| {
        let (key, value) = entry?;
        let number = <[u8; 8]>::try_from(key.as_ref()).map_err(|_| damaged())?;
        let hash = B256::try_from(value.as_ref()).map_err(|_| damaged())?;
        Ok(Record::Ring(BlockRef { number: u64::from_be_bytes(number), hash }))
    });
    let jobs = values::<OldJob>(db, "jobs")?.map(move |job| Ok(Record::Job(Box::new(job?.today(sender)))));
    let inputs = db.open_tree("inputs")?.iter().map(|entry| {
        let (id, bytes) = entry?;
        let id = B256::try_from(id.as_ref()).map_err(|_| damaged())?;
        Ok(Record::Input { id, bytes: Bytes::copy_from_slice(&bytes) })
    });
    let slots = values::<OldSlot>(db, "slots")?.map(move |slot| Ok(Record::Slot(Box::new(slot?.today(sender)))));
    let claims = values(db, "claims")?.map(|claim| Ok(Record::Claim(Box::new(claim?))));
    let first = std::iter::once(head).chain(cursor).map(Ok);
    Ok(first.chain(ring).chain(jobs).chain(inputs).chain(slots).chain(claims))
}

fn values<T: DeserializeOwned>(
    db: &sled::Db,
    tree: &str,
) -> Result<impl Iterator<Item = Result<T, JournalError>> + use<T>, JournalError> {
    Ok(db.open_tree(tree)?.iter().values().map(|value| Ok(serde_json::from_slice(&value?)?)))
}

impl OldJob {
    fn today(self, sender: Address) -> lifecycle::Job {
        use lifecycle::{Job, Sent, Settled};
        match self {
            Self::Seen(seen) => Job::Seen(seen),
            Self::Sent { task, nonce, hash } => Job::Sent(Sent { task, sender, nonce, hash }),
            Self::Settled { task, at, transaction, ending, nonce } => {
                let sent = nonce.map(|nonce| (sender, nonce));
                Job::Settled(Settled { task, at, transaction, ending, sent })
            }
            Self::Closed(closed) => Job::Closed(closed),
        }
    }
}

impl OldSlot {
    fn today(self, sender: Address) -> Slot {
        let Self { nonce, purpose, to, data, gas, attempts, mined } = self;
        let purpose = match purpose {
            OldPurpose::Answer { id, block } => Purpose::Answer { items: vec![Item { id, block }] },
            OldPurpose::Claim { ids } => Purpose::Claim { ids },
            OldPurpose::Cancel => Purpose::Cancel,
        };
        Slot { sender, nonce, purpose, to, data, gas, attempts, mined }
    }
}
