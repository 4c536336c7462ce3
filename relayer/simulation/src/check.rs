//! What must hold after a life, whatever happened in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, atomic::Ordering},
};

use alloy::{
    primitives::{B256, keccak256},
    sol_types::SolEvent,
};
use oraculum::{
    chain::BlockRef,
    coordinator::{Event, abi::InferenceCoordinator::Skipped, decode_log},
    domain::{CloseReason, Closed, Job, JobState, Skip},
    journal::{Journal, Position, View},
};

use crate::{
    node::{SimulatedNode, answer},
    world::{FINAL, Mined, World},
};

/// A request on the chain.
pub(crate) struct Asked {
    pub(crate) block: BlockRef,
    pub(crate) input: Vec<u8>,
}

/// The requests on the chain.
pub(crate) fn requests(world: &World) -> BTreeMap<B256, Asked> {
    let events = world.transactions().flat_map(|(_, mined)| &mined.logs).filter_map(decode_log);
    let asked = events.filter_map(|log| match log.event {
        Event::Requested { id, input, .. } => Some((id, Asked { block: log.block, input: input.to_vec() })),
        _ => None,
    });
    asked.collect()
}

/// Everything that does not hold.
pub(crate) fn all(world: &World, nodes: &[Arc<SimulatedNode>]) -> Vec<String> {
    let mut found = Vec::new();
    let asked = requests(world);
    let mut answered: BTreeMap<B256, BlockRef> = BTreeMap::new();
    for log in world.transactions().flat_map(|(_, mined)| &mined.logs).filter_map(decode_log) {
        let Event::Fulfilled { id, output, .. } = log.event else { continue };
        if answered.insert(id, log.block).is_some() {
            found.push(format!("{id} is answered twice"));
        }
        let right = asked.get(&id).is_some_and(|asked| {
            [false, true].into_iter().any(|other| keccak256(answer(&asked.input, other)) == keccak256(&output))
        });
        if !right {
            found.push(format!("{id} is answered with {output}"));
        }
    }
    for (id, asked) in &asked {
        if !answered.contains_key(id) && !nodes.iter().all(|node| may_pass_over(node, *id)) {
            let states: Vec<_> = nodes.iter().map(|node| state(node, *id)).collect();
            found.push(format!("{id}, asked in block {}, is not answered: {states:?}", asked.block.number));
        }
    }
    for node in nodes {
        found.extend(node.violations.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned());
        found.extend(
            of_journal(world, node, &asked, &answered).into_iter().map(|what| format!("node {}: {what}", node.index)),
        );
        found.extend(of_transactions(world, node, nodes.len()));
    }
    found
}

/// What a node's journal says of a request.
fn state(node: &SimulatedNode, id: B256) -> String {
    let journal = node.journal.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match journal.job(id) {
        Ok(Some(Job::Closed(closed))) => format!("{:?}", closed.end),
        Ok(Some(job)) => job.name().to_owned(),
        other => format!("{other:?}"),
    }
}

/// Whether a node gave a request up for good reason: the model was too slow for all that was asked; or it signed another answer,
/// or may have: lost power took its records, or a process died between signature and broadcast, and the model gave other bits
/// afterwards.
fn may_pass_over(node: &SimulatedNode, id: B256) -> bool {
    let journal = node.journal.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let reason = match journal.job(id) {
        Ok(Some(Job::Closed(Closed { end: CloseReason::Skipped { reason: Skip::Overloaded { .. } }, .. }))) => {
            return true;
        }
        Ok(Some(Job::Closed(Closed { end: CloseReason::Failed { reason }, .. }))) => reason,
        _ => return false,
    };
    let forgotten = node.lost_power.load(Ordering::Relaxed) && reason.contains("the journal may have forgotten");
    forgotten || reason.contains("this key signed another answer")
}

/// What a node's journal says that is not so.
fn of_journal(
    world: &World,
    node: &SimulatedNode,
    asked: &BTreeMap<B256, Asked>,
    answered: &BTreeMap<B256, BlockRef>,
) -> Vec<String> {
    let journal = node.journal.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let everything = Position::first_at(0)..Position::last_at(u64::MAX);
    let Ok(places) = journal.walk(View::Requested, everything, usize::MAX) else {
        return vec!["its journal cannot be read".into()];
    };
    let mut found = Vec::new();
    if journal.cursor().ok().flatten() != Some(world.head().block) {
        found.push(format!("it is at {:?}, the chain at {:?}", journal.cursor(), world.head().block));
    }
    for id in places.iter().map(|place| place.id) {
        let Ok(Some(job)) = journal.job(id) else {
            found.push(format!("the job {id} cannot be read"));
            continue;
        };
        let block = job.task().block;
        if asked.get(&id).map(|asked| asked.block) != Some(block) {
            found.push(format!("it knows {id} in {block:?}, which the chain has not there"));
        }
        let at = answered.get(&id).copied();
        let is_so = match &job {
            Job::Included(job) => Some(job.at) == at,
            Job::Closed(_) if job.state() == JobState::Finalized => at.is_some(),
            // It passed the request over, and does not follow it.
            Job::Closed(_) => true,
            Job::Seen(_) | Job::Sent(_) => at.is_none(),
        };
        if !is_so {
            found.push(format!("{id} is {}, and the chain has its answer in {at:?}", job.name()));
        }
    }
    let known: BTreeSet<B256> = places.into_iter().map(|place| place.id).collect();
    for id in asked.keys().filter(|id| !known.contains(*id)) {
        found.push(format!("it has never seen {id}"));
    }
    found
}

/// What a node's transactions are that they must not be.
fn of_transactions(world: &World, node: &SimulatedNode, nodes: usize) -> Vec<String> {
    let mut found = Vec::new();
    let sender = node.sender();
    for (header, mined) in world.transactions() {
        if mined.signed.as_ref().is_none_or(|(from, _)| *from != sender) {
            continue;
        }
        let skipped = mined.logs.iter().any(|log| Skipped::decode_log(&log.inner).is_ok());
        // Nobody can prevent that a transaction is mined where a reorganisation changed what it was made for, or that
        // another node was quicker.
        let excused = nodes > 1 || world.forks.iter().any(|fork| *fork <= header.block.number);
        if (!mined.receipt.success || skipped) && !excused {
            found.push(format!("node {}: the transaction {} came to nothing", node.index, mined.hash));
        }
    }
    // The ledger has what is final, to the wei. What lost power took of it is not found again.
    let last_final = world.head().block.number.saturating_sub(FINAL);
    let of_sender = |mined: &Mined| mined.signed.as_ref().is_some_and(|(from, _)| *from == sender);
    let ours = world.transactions().filter(|(header, mined)| header.block.number <= last_final && of_sender(mined));
    let spent: u128 = ours.map(|(_, mined)| mined.receipt.cost()).sum();
    let journal = node.journal.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let booked: u128 = journal.ledger(0).unwrap_or_default().iter().map(|entry| entry.spent).sum();
    if booked != spent && !node.lost_power.load(Ordering::Relaxed) {
        found.push(format!("node {}: its ledger has {booked} wei spent, the chain {spent}", node.index));
    }
    // What lost power made it forget may wait behind a nonce that it will use one day.
    let next = world.nonce(sender, false);
    for (nonce, hash) in world.pooled(sender) {
        if nonce <= next || !node.lost_power.load(Ordering::Relaxed) {
            found.push(format!("node {}: {hash} is still in the pool", node.index));
        }
    }
    found
}
