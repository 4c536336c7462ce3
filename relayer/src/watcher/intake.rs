//! What a block's logs, and their loss, mean for jobs and claims.

use std::collections::{HashMap, HashSet};

use alloy::primitives::{B256, Bytes};
use tracing::{info, warn};

use crate::{
    chain::{BlockRef, Chain},
    contract::{Event, Noted},
    journal::{Batch, Claim, Journal, JournalError, Position, View},
    lifecycle::{Ending, Move, Skip, Task},
    node::Node,
    policy::Terms,
    protocol::request::{InputKind, Level, Request},
};

/// Blocks for which closed jobs are kept, for `oraculum jobs`.
const HISTORY: u64 = 50_000;
/// Closed jobs kept at most, of each way to close.
const KEPT: usize = 100_000;
/// Records that one batch closes or forgets at most; the next batch goes on.
const STEP: usize = 1_024;

/// Adds to a batch what the logs mean, and what is final by now.
pub(super) fn take<C: Chain, J: Journal>(
    node: &Node<C, J>,
    noted: &[Noted],
    cursor: u64,
    final_block: Option<u64>,
    depth: u64,
    batch: &mut Batch,
) -> Result<(), JournalError> {
    let deep = final_block.map(|last| last.min(cursor));
    // What this batch holds, for it may hold much.
    let (mut fresh, mut claims) = (HashMap::new(), HashMap::new());
    for log in noted {
        match &log.event {
            Event::Requested { id, request, input } if node.seats().serves(request.model_id) => {
                let task = Task { id: *id, request: (**request).clone(), block: log.block };
                if let Some(reason) = pass_over(&task.request, node.policy.borrow().terms(task.request.model_id)) {
                    info!(%id, %reason, "skipped");
                    batch.moves.push((*id, Move::Skipped(reason)));
                }
                fresh.insert(*id, batch.seen.len());
                batch.seen.push((task, input.clone()));
            }
            Event::Fulfilled { id, outcome, seats, output } => {
                let Some(task) = find(node, batch, &fresh, *id)? else { continue };
                let ours = held(node, &task.request, seats);
                let output_commitment = alloy::primitives::keccak256(output);
                if ours {
                    let vesting = node.seats().rules(task.request.version).map_or(0, |rules| u64::from(rules.vesting));
                    let claim = Claim {
                        id: *id,
                        outcome: *outcome,
                        output_commitment,
                        seats: seats.clone(),
                        fulfilled_at: log.block.number,
                        vests_at: log.block.number + vesting,
                        request: task.request,
                        paid_at: None,
                    };
                    claims.insert(*id, claim);
                }
                let ending = Ending::Fulfilled { outcome: *outcome, output_commitment, seats: seats.clone(), ours };
                settle(batch, *id, log, ending, deep);
            }
            Event::Refunded(id) if find(node, batch, &fresh, *id)?.is_some() => {
                let ending = Ending::Refunded;
                settle(batch, *id, log, ending, deep);
            }
            Event::DeliveryFailed(id) if find(node, batch, &fresh, *id)?.is_some() => {
                warn!(%id, transaction = ?log.transaction, "the consumer's callback failed; it can be redelivered");
            }
            Event::Claimed(id) => {
                let known = match claims.remove(id) {
                    Some(claim) => Some(claim),
                    None => node.journal.claim(*id)?,
                };
                if let Some(claim) = known {
                    claims.insert(*id, Claim { paid_at: Some(log.block.number), ..claim });
                }
            }
            _ => {}
        }
    }
    batch.claims.extend(claims.into_values());
    close(&*node.journal, cursor, deep, cursor.checked_sub(depth), batch)
}

/// Adds to a batch what became final, and forgets what is over: only up to the block `settled`, which no reorganisation
/// that is rewound can reach, for what is forgotten cannot be taken back.
pub(super) fn close(
    journal: &impl Journal,
    cursor: u64,
    deep: Option<u64>,
    settled: Option<u64>,
    batch: &mut Batch,
) -> Result<(), JournalError> {
    if let Some(deep) = deep {
        let settled = journal.walk(View::Settled, Position::first_at(0)..Position::first_at(deep + 1), STEP)?;
        batch.moves.extend(settled.into_iter().map(|at| (at.id, Move::Confirmed)));
    }
    let out_of_reach = deep.min(settled);
    if let Some(last) = out_of_reach {
        for at in journal.walk(View::Paid, Position::first_at(0)..Position::first_at(last + 1), STEP)? {
            batch.claims_gone.push(at.id);
        }
        // A claim written in this very batch would come back after being forgotten.
        if !batch.claims_gone.is_empty() {
            let gone: HashSet<_> = batch.claims_gone.iter().collect();
            batch.claims.retain(|claim| !gone.contains(&claim.id));
        }
    }
    // The request, or what settled it, is as old: no reorganisation is so deep.
    let old = Position::first_at(cursor.saturating_sub(HISTORY));
    for view in [View::Confirmed, View::Skipped, View::Failed] {
        let surplus = journal.count(view).saturating_sub(KEPT).min(STEP);
        let oldest = journal.walk(view, Position::first_at(0)..Position::first_at(out_of_reach.unwrap_or(0)), STEP)?;
        let gone = oldest.into_iter().enumerate().take_while(|(n, at)| *n < surplus || *at < old);
        batch.vanished.extend(gone.map(|(_, at)| at.id));
    }
    Ok(())
}

/// The batch that takes back everything above a block.
pub(super) fn rewind<C: Chain, J: Journal>(node: &Node<C, J>, ancestor: BlockRef) -> Result<Batch, JournalError> {
    let journal = &*node.journal;
    let mut batch = Batch { cursor: Some(ancestor), ..Batch::default() };
    let above = || Position::first_at(ancestor.number + 1)..Position::last_at(u64::MAX);
    let lost = |view: View| journal.walk(view, above(), usize::MAX).map(|at| at.into_iter().map(|at| at.id));
    let vanished: HashSet<B256> = lost(View::Requested)?.collect();
    for id in lost(View::Settled)?.chain(lost(View::Confirmed)?).filter(|id| !vanished.contains(id)) {
        batch.moves.push((id, Move::Reopened));
        // What this node passed over, another had answered.
        if let Some(job) = journal.job(id)? {
            let request = &job.task().request;
            let reason = pass_over(request, node.policy.borrow().terms(request.model_id));
            batch.moves.extend(reason.map(|reason| (id, Move::Skipped(reason))));
        }
    }
    batch.vanished = vanished.into_iter().collect();
    batch.claims_gone = lost(View::Fulfilled)?.collect();
    for id in lost(View::Paid)?.filter(|id| !batch.claims_gone.contains(id)).collect::<Vec<_>>() {
        batch.claims.extend(journal.claim(id)?.map(|claim| Claim { paid_at: None, ..claim }));
    }
    Ok(batch)
}

/// Settles a job, and confirms it at once if that is final already.
fn settle(batch: &mut Batch, id: B256, log: &Noted, ending: Ending, deep: Option<u64>) {
    batch.moves.push((id, Move::Settled { at: log.block, transaction: log.transaction, ending }));
    if deep.is_some_and(|deep| log.block.number <= deep) {
        batch.moves.push((id, Move::Confirmed));
    }
}

fn find<C, J: Journal>(
    node: &Node<C, J>,
    batch: &Batch,
    fresh: &HashMap<B256, usize>,
    id: B256,
) -> Result<Option<Task>, JournalError> {
    if let Some((task, _)) = fresh.get(&id).and_then(|at| batch.seen.get(*at)) {
        return Ok(Some(task.clone()));
    }
    Ok(node.journal.job(id)?.map(|job| job.task().clone()))
}

fn held<C, J: Journal>(node: &Node<C, J>, request: &Request, seats: &Bytes) -> bool {
    let table = node.seats();
    seats.chunks_exact(4).any(|seat| {
        let index = seat.iter().fold(0u32, |index, byte| index << 8 | u32::from(*byte));
        table.is_held(request.model_id, index, node.signer)
    })
}

/// Why a request is not worth looking at, if so.
fn pass_over(request: &Request, terms: Terms) -> Option<Skip> {
    let not_offered = |what: &str| Some(Skip::NotOffered { what: what.into() });
    if request.input_kind != InputKind::Inline {
        return not_offered("an input that is not inline");
    }
    if request.level != Level::Fast {
        return not_offered("a level other than `Fast`");
    }
    if request.quorum != 1 {
        return not_offered("a quorum above 1");
    }
    if !request.token.is_zero() {
        return not_offered("pay in a token");
    }
    let pays = request.pay();
    if pays < terms.min_pay {
        return Some(Skip::Unprofitable { pays, asks: terms.min_pay });
    }
    None
}
