//! What is sent was tried first. Of a batch every item is tried by itself, in one call, so that a bad
//! item is found before it costs the others anything.

use alloy::primitives::Bytes;
use tracing::{debug, warn};

use super::{QueuedAnswer, Simulated, Submission, Submitter};
use crate::{
    chain::{At, Call, Chain, ChainError, PARENT_HASH},
    coordinator::{self, Revert, RevertReason},
    domain::{Purpose, Skip, Transition},
    journal::Journal,
    node::StageError,
    pricing::gas,
    transactions::{Draft, SendOutcome},
};

/// The state that something is tried on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallState {
    /// The pending block: the latest one's hash is known there, and the pool's transactions have run, with the answers of
    /// others that are on their way. It has to be built, which takes long when it is full.
    Pool,
    /// The latest block as it is: its own hash is not known in it.
    Latest,
    /// The latest block, in the block of this number, which is the next: its hash is known, and the pool does not matter.
    Next(u64),
}

/// Whether an endpoint runs a call in the next block as that will be: some have no such calls, and some do not know the hash
/// of the block before then.
pub(super) async fn looks_ahead(chain: &impl Chain) -> bool {
    let Ok(head) = chain.head().await else { return false };
    let call = Call { from: None, to: None, data: PARENT_HASH.into(), gas: None, block: Some(head.block.number + 1) };
    chain.call(&call, At::Latest).await.is_ok_and(|hash| **hash == *head.block.hash)
}

/// Whether a simulation refused something, or could not be made.
fn refuses(result: &Result<Bytes, ChainError>, probed: bool) -> bool {
    match result {
        Err(ChainError::Reverted(told)) if probed => {
            coordinator::endings(told).is_none_or(|endings| endings.iter().any(Option::is_some))
        }
        Ok(_) => probed,
        Err(_) => true,
    }
}

impl<C: Chain, J: Journal> Submitter<C, J> {
    pub(super) fn simulate(&mut self, work: Submission, draft: Draft, state: CallState) {
        let (at, block) = match state {
            CallState::Pool => (At::Pending, None),
            CallState::Latest => (At::Latest, None),
            CallState::Next(block) => (At::Latest, Some(block)),
        };
        let from = self.transactions.an_account();
        let probed = matches!(&draft.purpose, Purpose::Answer { items } if items.len() > 1);
        let call = if probed {
            let data = coordinator::probe(draft.to, &draft.data);
            Call { from, to: None, data, gas: Some(gas::TRANSACTION_CAP), block }
        } else {
            Call { from, to: Some(draft.to), data: draft.data.clone(), gas: Some(draft.gas), block }
        };
        self.claiming += usize::from(matches!(work, Submission::Claim(_)));
        let chain = self.node.chain.clone();
        self.simulations.push(Box::pin(async move {
            let result = chain.call(&call, at).await;
            Simulated { work, draft, state, probed, result }
        }));
    }

    pub(super) fn simulated(&mut self, simulated: Simulated) -> Result<(), StageError> {
        let Simulated { work, draft, state, probed, result } = simulated;
        self.claiming -= usize::from(matches!(work, Submission::Claim(_)));
        if matches!(state, CallState::Next(_)) && refuses(&result, probed) {
            // Another endpoint may have answered, one that cannot look ahead.
            if !matches!(result, Err(ChainError::Reverted(_) | ChainError::OutOfGas(_)) | Ok(_)) {
                self.looks_ahead = false;
            }
            self.simulate(work, draft, CallState::Pool);
            return Ok(());
        }
        match (work, result) {
            (Submission::Answers(held), Err(ChainError::Reverted(told))) if probed => match coordinator::endings(&told)
            {
                Some(endings) if endings.len() == held.len() => self.probed(held, draft, endings),
                _ => {
                    debug!(items = held.len(), "the endpoint cannot try a batch: trying its halves");
                    self.halve(held)
                }
            },
            (Submission::Answers(held), Ok(_) | Err(ChainError::OutOfGas(_))) if probed => self.halve(held),
            (work, Ok(_)) => self.send(work, draft),
            (Submission::Answers(held), Err(ChainError::Reverted(data))) => {
                self.refused_one(held, &draft, Revert::decode(&data))
            }
            (Submission::Answers(held), Err(ChainError::OutOfGas(_))) => {
                self.refused_one(held, &draft, Revert::out_of_gas())
            }
            (Submission::Claim(claims), Err(ChainError::Reverted(data))) => {
                self.refused_claim(claims, &draft, &Revert::decode(&data))
            }
            (Submission::Claim(claims), Err(ChainError::OutOfGas(_))) => {
                self.refused_claim(claims, &draft, &Revert::out_of_gas())
            }
            (work, Err(error)) => {
                self.node.metrics.chain_errors.add();
                warn!(%error, label = error.label(), "cannot simulate; trying again");
                match work {
                    Submission::Answers(held) => self.waiting.extend(held),
                    Submission::Claim(claims) => self.claims.push_back(claims),
                }
                Ok(())
            }
        }
    }

    /// Sends what a batch's probe found good; the rest goes the way of an answer that was refused alone.
    fn probed(&mut self, held: Vec<QueuedAnswer>, draft: Draft, endings: Vec<Option<Bytes>>) -> Result<(), StageError> {
        if endings.iter().all(Option::is_none) {
            return self.send(Submission::Answers(held), draft);
        }
        for (held, ending) in held.into_iter().zip(endings) {
            match ending {
                // Tried again with what is left: cheaper than to send what was never tried as it is.
                None => self.ready.push_back(held),
                Some(data) => {
                    let revert = Revert::decode(&data);
                    if revert.reason == RevertReason::Gas {
                        // By itself, with the gas limit of one.
                        self.alone.insert(held.answer.task.id);
                        self.ready.push_back(held);
                    } else {
                        self.refused(held, &revert)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// An endpoint that cannot run the probe tells good from bad by one call each, at the end.
    fn halve(&mut self, held: Vec<QueuedAnswer>) -> Result<(), StageError> {
        let Some(tip) = self.tip else {
            self.waiting.extend(held);
            return Ok(());
        };
        let (left, right) = held.split_at(held.len() / 2);
        for half in [left, right] {
            let mut kept = Vec::new();
            let mut placed = Vec::new();
            for held in half {
                if let Some(place) = self.place(held, tip.next())? {
                    placed.push((held.answer.clone(), place));
                    kept.push(held.clone());
                }
            }
            if !kept.is_empty() {
                let draft = self.draft(&placed, 1);
                self.simulate(Submission::Answers(kept), draft, CallState::Pool);
            }
        }
        Ok(())
    }

    fn refused_one(
        &mut self,
        mut held: Vec<QueuedAnswer>,
        draft: &Draft,
        revert: Revert,
    ) -> Result<(), StageError> {
        let (Some(held), Some(tip)) = (held.pop(), self.tip) else { return Ok(()) };
        if revert.reason == RevertReason::Gas && draft.gas < gas::TRANSACTION_CAP {
            if let Some(place) = self.place(&held, tip.next())? {
                let draft = self.draft(&[(held.answer.clone(), place)], 4);
                self.simulate(Submission::Answers(vec![held]), draft, CallState::Pool);
            }
            return Ok(());
        }
        self.refused(held, &revert)
    }

    fn refused(&mut self, held: QueuedAnswer, revert: &Revert) -> Result<(), StageError> {
        let task = &held.answer.task;
        match revert.reason {
            // Answered in the pool, perhaps: it stays until the chain says so, in case that transaction is dropped.
            RevertReason::NotOpen | RevertReason::TooEarly => self.waiting.push(held),
            RevertReason::Stale => {
                debug!(id = %task.id, %revert, "the chain moved; trying the answer again at the next head");
                self.waiting.push(held);
            }
            RevertReason::Expired => {
                let deadline = task.request.deadline();
                self.close(task.id, Transition::Skipped(Skip::Expired { deadline }))?;
            }
            RevertReason::Gas | RevertReason::AlreadyPaid | RevertReason::Other => {
                self.close(task.id, Transition::Failed(format!("the simulation refuses the answer: {revert}")))?;
            }
        }
        Ok(())
    }

    /// One item that cannot be paid must not hold back the others; the claimer offers them again.
    fn refused_claim(
        &mut self,
        claims: Vec<crate::domain::Claim>,
        draft: &Draft,
        revert: &Revert,
    ) -> Result<(), StageError> {
        if revert.reason == RevertReason::Gas && draft.gas < gas::TRANSACTION_CAP {
            let draft = self.claim_draft(&claims, 4);
            self.simulate(Submission::Claim(claims), draft, CallState::Pool);
        } else if claims.len() > 1 {
            debug!(items = claims.len(), %revert, "splitting a claim");
            let (left, right) = claims.split_at(claims.len() / 2);
            for half in [left, right] {
                let draft = self.claim_draft(half, 1);
                self.simulate(Submission::Claim(half.to_vec()), draft, CallState::Pool);
            }
        } else {
            debug!(id = ?claims.first().map(|claim| claim.id), %revert, "cannot claim yet");
        }
        Ok(())
    }

    /// Sends what passed. What cannot be sent now is tried again: money and gas prices change, and so do jobs.
    fn send(&mut self, work: Submission, draft: Draft) -> Result<(), StageError> {
        match self.transactions.send(draft)? {
            SendOutcome::Sent => {
                if let Submission::Answers(held) = &work {
                    self.affordable = self.affordable.saturating_mul(2);
                    for held in held {
                        self.alone.remove(&held.answer.task.id);
                    }
                }
            }
            // As soon as there is room, in their order.
            SendOutcome::Later => match work {
                Submission::Answers(held) => held.into_iter().rev().for_each(|held| self.ready.push_front(held)),
                Submission::Claim(claims) => self.claims.push_front(claims),
            },
            // The claimer offers claims again.
            SendOutcome::AboveFeeCap => {
                if let Submission::Answers(held) = work {
                    self.waiting.extend(held);
                }
            }
            // Fewer may fit; where not even one does, none goes before the next look.
            SendOutcome::TooMuch => {
                if let Submission::Answers(held) = work {
                    self.affordable = (held.len() / 2).max(1);
                    if held.len() > 1 {
                        held.into_iter().rev().for_each(|held| self.ready.push_front(held));
                    } else {
                        self.waiting.extend(held);
                        self.waiting.extend(self.ready.drain(..));
                    }
                }
            }
            SendOutcome::Refused(id) => {
                if let Submission::Answers(held) = work {
                    self.ready.extend(held.into_iter().filter(|held| held.answer.task.id != id));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        chain::{AlloyChain, ClientSettings, RootCertificates},
        dev::{Anvil, AnvilOptions},
    };

    #[tokio::test]
    async fn a_call_in_the_next_block_knows_the_latest_ones_hash_on_anvil() {
        let anvil = Anvil::start(&AnvilOptions::default()).await.unwrap();
        let settings = ClientSettings {
            timeout: Duration::from_secs(10),
            poll: Duration::from_secs(1),
            requests_per_second: 0.0,
            trust: RootCertificates::default(),
        };
        let chain = AlloyChain::new(anvil.http().clone(), settings);
        anvil.mine(3).await.unwrap();
        assert!(looks_ahead(&chain).await);
    }
}
