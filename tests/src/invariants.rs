//! What must hold of a chain, whatever happened before.

use std::collections::{BTreeMap, HashMap, HashSet};

use alloy::{
    consensus::Transaction,
    primitives::{Address, B256, Bytes, keccak256},
    providers::Provider,
    rpc::types::{Log, TransactionReceipt},
    sol_types::SolEvent,
};

use crate::{
    Res,
    abi::InferenceCoordinator::{Claimed, Request, Requested, Result as Answered, Skipped},
    consumer::Consumer,
    deployment::{Deployment, request_of},
    rpc::faults::{Aim, Sent},
};

/// Blocks after which every answer has vested, by the deployment's parameters.
const VESTING: u64 = 34;
/// Answers per simulated claim.
const CLAIM: usize = 64;

/// What an audit found in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// Requests on the chain, each answered once.
    pub answered: usize,
    /// Transactions of the nodes on the chain.
    pub transactions: usize,
    /// Of these, the ones that reverted because a reorganisation brought the same bytes back.
    pub excused: usize,
    /// Answers that are paid already; the rest can be claimed.
    pub paid: usize,
}

/// A reorganisation: the first height that it made anew, and the transactions that were signed before it.
///
/// Such a transaction can be mined again as it is, by the chain or by a rebroadcast, where its request is no longer what
/// it was signed for. Then it reverts, and nobody could have prevented it.
#[derive(Debug, Clone)]
pub struct Fork {
    /// The first block that is another one than before.
    pub from: u64,
    /// What was signed before.
    pub signed: HashSet<B256>,
}

/// Audits a chain on which nothing is under way any more: every request on it is answered exactly once and rightly, no
/// transaction of the senders reverted or had an item skipped (but for what `forks` excuse), and the pay of every answer is claimed once or can be.
///
/// # Errors
/// The first thing that does not hold.
pub async fn check(deployment: &Deployment, consumer: &Consumer, senders: &[Address], forks: &[Fork]) -> Res<Checked> {
    let logs = deployment.logs_from(0).await?;
    let mut requests: HashMap<B256, Request> = HashMap::new();
    let mut paid = HashSet::new();
    for log in &logs {
        if let Ok(event) = Requested::decode_log(&log.inner) {
            requests.insert(event.requestId, request_of(&event));
        } else if let Ok(event) = Claimed::decode_log(&log.inner)
            && let Some(id) = event.requestIds.iter().find(|id| !paid.insert(**id))
        {
            return Err(format!("{id} is paid twice").into());
        }
    }
    // Refuses what is answered twice, and answers to what was not asked.
    let answers = consumer.answers(deployment).await?;
    if let Some(id) = requests.keys().find(|id| !answers.contains_key(*id)) {
        return Err(format!("{id} and perhaps others of {} are not answered", requests.len()).into());
    }
    if let Some(id) = paid.iter().find(|id| !answers.contains_key(*id)) {
        return Err(format!("{id} is paid without an answer").into());
    }
    consumer.check(&answers)?;
    let (transactions, excused) = sound(deployment, senders, forks).await?;

    deployment.mine(VESTING).await?;
    let mut due: Vec<Answered> = answers
        .iter()
        .filter(|(id, _)| !paid.contains(*id))
        .map(|(id, answer)| Answered {
            request: requests[id].clone(),
            outcome: answer.outcome,
            outputCommitment: keccak256(&answer.output),
            seats: answer.seats.clone(),
            fulfilledAt: answer.answered_at,
        })
        .collect();
    due.sort_by_key(|result| result.fulfilledAt);
    for results in due.chunks(CLAIM) {
        // It reverts if a single one is not on record or has not vested.
        deployment.coordinator.claim(results.to_vec()).gas(30_000_000).call().await.map_err(|error| {
            format!("some pay of the answers in blocks from {} cannot be claimed: {error}", results[0].fulfilledAt)
        })?;
    }
    Ok(Checked { answered: answers.len(), transactions, excused, paid: paid.len() })
}

/// Counts the senders' transactions, and those of them that `forks` excuse; no other may have reverted or had an item
/// skipped.
async fn sound(deployment: &Deployment, senders: &[Address], forks: &[Fork]) -> Res<(usize, usize)> {
    let (mut count, mut excused) = (0, 0);
    for number in 0..=deployment.provider.get_block_number().await? {
        let Some(receipts) = deployment.provider.get_block_receipts(number.into()).await? else { continue };
        for receipt in receipts.iter().filter(|receipt| senders.contains(&receipt.from)) {
            count += 1;
            let Some(wrong) = waste(receipt) else { continue };
            let hash = receipt.transaction_hash;
            if forks.iter().any(|fork| fork.from <= number && fork.signed.contains(&hash)) {
                excused += 1;
                continue;
            }
            let nonce = deployment.provider.get_transaction_by_hash(hash).await?.map(|found| found.nonce());
            return Err(format!("{hash} (nonce {nonce:?}) in block {number} {wrong}").into());
        }
    }
    Ok((count, excused))
}

fn waste(receipt: &TransactionReceipt) -> Option<String> {
    if !receipt.status() {
        return Some("reverted".into());
    }
    let skipped = |log: &Log| Skipped::decode_log(&log.inner).ok().map(|event| (event.requestId, event.reason));
    receipt.logs().iter().find_map(skipped).map(|(id, reason)| format!("skipped {id}: {reason}"))
}

/// Checks all that a sender ever signed, on a chain without reorganisations: the transactions of one nonce are the same
/// answers, the same claims, or cancellations, and no request is answered under two nonces unless the first was cancelled.
///
/// # Errors
/// The first nonce or request for which this does not hold.
pub fn nonces(deployment: &Deployment, sent: &[Sent], mined: &HashSet<B256>) -> Res<()> {
    let mut aims: BTreeMap<u64, Vec<(Aim, bool)>> = BTreeMap::new();
    for one in sent {
        aims.entry(one.nonce).or_default().push((one.aim(deployment.domain), mined.contains(&one.hash)));
    }
    let mut answered: HashMap<B256, u64> = HashMap::new();
    for (nonce, aims) in &aims {
        let cancelled = aims.iter().any(|(aim, mined)| *mined && *aim == Aim::Cancel);
        let mut kinds: Vec<&Aim> = aims.iter().map(|(aim, _)| aim).filter(|aim| **aim != Aim::Cancel).collect();
        kinds.sort_unstable();
        kinds.dedup();
        if kinds.len() > 1 {
            return Err(format!("nonce {nonce} was used for different things: {kinds:?}").into());
        }
        let Some(Aim::Answer(ids)) = kinds.first().filter(|_| !cancelled) else { continue };
        for id in ids {
            if let Some(other) = answered.insert(*id, *nonce) {
                return Err(format!("{id} was answered under the nonces {other} and {nonce}").into());
            }
        }
    }
    Ok(())
}

/// The hashes of an account's mined transactions.
///
/// # Errors
/// If a call fails.
pub async fn mined_of(deployment: &Deployment, account: Address) -> Res<HashSet<B256>> {
    let mut hashes = HashSet::new();
    for number in 0..=deployment.provider.get_block_number().await? {
        let receipts = deployment.provider.get_block_receipts(number.into()).await?.unwrap_or_default();
        hashes.extend(receipts.iter().filter(|one| one.from == account).map(|one| one.transaction_hash));
    }
    Ok(hashes)
}

/// Checks the fees of all that a sender signed: none above the cap, and of one nonce each new transaction offers at
/// least a tenth more than the one before, rounded up, for the fee and the priority fee alike.
///
/// # Errors
/// The first nonce for which this does not hold.
pub fn fees(sent: &[Sent], cap: u128) -> Res<usize> {
    let mut last: BTreeMap<u64, &Sent> = BTreeMap::new();
    let mut replaced = 0;
    for one in sent {
        if one.max_fee > cap || one.max_priority_fee > one.max_fee {
            return Err(format!("nonce {}: {} wei per gas with a cap of {cap}", one.nonce, one.max_fee).into());
        }
        let Some(before) = last.insert(one.nonce, one) else { continue };
        if before.hash == one.hash {
            continue;
        }
        replaced += 1;
        let enough = |old: u128, new: u128| new >= old + old.div_ceil(10);
        if !enough(before.max_fee, one.max_fee) || !enough(before.max_priority_fee, one.max_priority_fee) {
            return Err(format!(
                "nonce {}: {} and priority fee {} replaced by {} and priority fee {}",
                one.nonce, before.max_fee, before.max_priority_fee, one.max_fee, one.max_priority_fee
            )
            .into());
        }
    }
    Ok(replaced)
}

/// The raw bytes of a mined transaction.
///
/// # Errors
/// If the call fails, or the chain does not have the transaction.
pub async fn raw(deployment: &Deployment, hash: B256) -> Res<Bytes> {
    Ok(deployment.provider.raw_request("eth_getRawTransactionByHash".into(), [hash]).await?)
}
