//! Simulation of what is to be sent. Every item of a batch is tried by itself, in one call, so that a bad item is found
//! before it costs the others anything.

use alloy::primitives::Bytes;
use tracing::debug;

use super::{QueuedAnswer, Simulated, Submission, Submitter};
use crate::{
    chain::{At, Call, Chain, ChainError, PARENT_HASH},
    coordinator::{self, Revert, RevertReason},
    domain::{Purpose, Skip, Transition, WaitReason},
    journal::Journal,
    node::StageError,
    pricing::gas,
    transactions::{SendOutcome, TxCandidate},
};

/// How many times the usual gas limit is tried, once, where that does not suffice.
const AMPLE: u64 = 4;

/// State that a call is tried on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallState {
    /// State of the pending block: the latest one's hash is known there, and the pool's transactions have run, with the
    /// answers of others that are on their way. It has to be built, which takes long when it is full.
    Pool,
    /// State of the latest block: its own hash is not known in it.
    Latest,
    /// State of the latest block, in the block of this number, which is the next: the latest one's hash is known, and the
    /// pool does not matter.
    Next(u64),
}

/// Tells whether an endpoint runs a call in the next block as that will be: some have no such calls, and some do not know
/// the hash of the block before then.
pub(super) async fn looks_ahead(chain: &impl Chain) -> bool {
    let Ok(head) = chain.head().await else { return false };
    let call = Call { from: None, to: None, data: PARENT_HASH.into(), gas: None, block: Some(head.block.number + 1) };
    chain.call(&call, At::Latest).await.is_ok_and(|hash| **hash == *head.block.hash)
}

/// Tells whether a simulation refused something, or could not be made.
fn refuses(result: &Result<Bytes, ChainError>, probed: bool) -> bool {
    match result {
        Err(ChainError::Reverted(data)) if probed => {
            coordinator::endings(data).is_none_or(|endings| endings.iter().any(Option::is_some))
        }
        Ok(_) => probed,
        Err(_) => true,
    }
}

impl<C: Chain, J: Journal> Submitter<C, J> {
    pub(super) fn simulate(&mut self, submission: Submission, candidate: TxCandidate, state: CallState) {
        let (at, block) = match state {
            CallState::Pool => (At::Pending, None),
            CallState::Latest => (At::Latest, None),
            CallState::Next(block) => (At::Latest, Some(block)),
        };
        let from = self.transactions.an_account();
        let probed = matches!(&candidate.purpose, Purpose::Answer { items } if items.len() > 1);
        let call = if probed {
            let data = coordinator::probe(candidate.to, &candidate.data);
            Call { from, to: None, data, gas: Some(gas::TRANSACTION_CAP), block }
        } else {
            Call { from, to: Some(candidate.to), data: candidate.data.clone(), gas: Some(candidate.gas), block }
        };
        self.claiming += usize::from(matches!(submission, Submission::Claim(_)));
        let chain = self.node.chain.clone();
        self.simulations.push(Box::pin(async move {
            let result = chain.call(&call, at).await;
            Simulated { submission, candidate, state, probed, result }
        }));
    }

    pub(super) fn simulated(&mut self, simulated: Simulated) -> Result<(), StageError> {
        let Simulated { submission, candidate, state, probed, result } = simulated;
        self.claiming -= usize::from(matches!(submission, Submission::Claim(_)));
        if matches!(state, CallState::Next(_)) && refuses(&result, probed) {
            // Another endpoint may have answered, one that cannot try the next block.
            if !matches!(result, Err(ChainError::Reverted(_) | ChainError::OutOfGas(_)) | Ok(_)) {
                self.looks_ahead = false;
            }
            self.simulate(submission, candidate, CallState::Pool);
            return Ok(());
        }
        match (submission, result) {
            (Submission::Answers(queued), Err(ChainError::Reverted(data))) if probed => {
                match coordinator::endings(&data) {
                    Some(endings) if endings.len() == queued.len() => self.probed(queued, candidate, endings),
                    _ => {
                        debug!(items = queued.len(), "the endpoint cannot try a batch: trying its halves");
                        self.halve(queued)
                    }
                }
            }
            (Submission::Answers(queued), Ok(_) | Err(ChainError::OutOfGas(_))) if probed => self.halve(queued),
            (submission, Ok(_)) => self.send(submission, candidate),
            (Submission::Answers(queued), Err(ChainError::Reverted(data))) => {
                self.refused_one(queued, &candidate, Revert::decode(&data))
            }
            (Submission::Answers(queued), Err(ChainError::OutOfGas(_))) => {
                self.refused_one(queued, &candidate, Revert::out_of_gas())
            }
            (Submission::Claim(claims), Err(ChainError::Reverted(data))) => {
                self.refused_claim(claims, &candidate, &Revert::decode(&data))
            }
            (Submission::Claim(claims), Err(ChainError::OutOfGas(_))) => {
                self.refused_claim(claims, &candidate, &Revert::out_of_gas())
            }
            (submission, Err(error)) => {
                self.node.metrics.chain_errors.add();
                debug!(%error, label = error.label(), "cannot simulate; trying again");
                match submission {
                    Submission::Answers(queued) => {
                        self.wait(&queued, WaitReason::Endpoint);
                        self.waiting.extend(queued);
                    }
                    Submission::Claim(claims) => self.waiting_claims.push(claims),
                }
                Ok(())
            }
        }
    }

    /// Sends what a batch's probe found good; the rest goes the way of an answer that was refused alone.
    fn probed(
        &mut self,
        queued: Vec<QueuedAnswer>,
        candidate: TxCandidate,
        endings: Vec<Option<Bytes>>,
    ) -> Result<(), StageError> {
        if endings.iter().all(Option::is_none) {
            return self.send(Submission::Answers(queued), candidate);
        }
        for (queued, ending) in queued.into_iter().zip(endings) {
            match ending {
                // Tried again with what is left: cheaper than to send what was never tried as it is.
                None => self.ready.push_back(queued),
                Some(data) => {
                    let revert = Revert::decode(&data);
                    if revert.reason == RevertReason::Gas {
                        // By itself, with the gas limit of one.
                        self.alone.insert(queued.answer.task.id);
                        self.ready.push_back(queued);
                    } else {
                        self.refused(queued, &revert)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Tries the halves of a batch. Where an endpoint cannot run the probe, single calls find the bad items in the end.
    fn halve(&mut self, queued: Vec<QueuedAnswer>) -> Result<(), StageError> {
        let Some(head) = self.head else {
            self.waiting.extend(queued);
            return Ok(());
        };
        let (left, right) = queued.split_at(queued.len() / 2);
        for half in [left, right] {
            let mut kept = Vec::new();
            let mut assigned = Vec::new();
            for queued in half {
                if let Some(assignment) = self.assignment(queued, head.next())? {
                    assigned.push((queued.answer.clone(), assignment));
                    kept.push(queued.clone());
                }
            }
            if !kept.is_empty() {
                let candidate = self.candidate(&assigned, 1);
                self.simulate(Submission::Answers(kept), candidate, CallState::Pool);
            }
        }
        Ok(())
    }

    fn refused_one(
        &mut self,
        mut queued: Vec<QueuedAnswer>,
        candidate: &TxCandidate,
        revert: Revert,
    ) -> Result<(), StageError> {
        let (Some(queued), Some(head)) = (queued.pop(), self.head) else { return Ok(()) };
        if revert.reason == RevertReason::Gas {
            let Some(assignment) = self.assignment(&queued, head.next())? else { return Ok(()) };
            let amply = self.candidate(&[(queued.answer.clone(), assignment)], AMPLE);
            if amply.gas > candidate.gas {
                self.simulate(Submission::Answers(vec![queued]), amply, CallState::Pool);
                return Ok(());
            }
        }
        self.refused(queued, &revert)
    }

    fn refused(&mut self, queued: QueuedAnswer, revert: &Revert) -> Result<(), StageError> {
        let task = &queued.answer.task;
        match revert.reason {
            // Answered in the pool, perhaps: it stays until the chain says so, in case that transaction is dropped.
            RevertReason::NotOpen | RevertReason::TooEarly => self.waiting.push(queued),
            RevertReason::Stale => {
                debug!(id = %task.id, %revert, "the chain moved; trying the answer again at the next head");
                self.waiting.push(queued);
            }
            RevertReason::Expired => {
                let deadline = task.request.deadline();
                self.close(task.id, Transition::Skipped(Skip::Expired { deadline }))?;
            }
            RevertReason::Gas | RevertReason::Other => {
                self.close(task.id, Transition::Failed(format!("the simulation refuses the answer: {revert}")))?;
            }
        }
        Ok(())
    }

    /// Splits a claim that is refused: one item that cannot be paid must not hold back the others. The claimer offers them
    /// again.
    fn refused_claim(
        &mut self,
        claims: Vec<crate::domain::Claim>,
        candidate: &TxCandidate,
        revert: &Revert,
    ) -> Result<(), StageError> {
        let amply = self.claim_draft(&claims, AMPLE);
        if revert.reason == RevertReason::Gas && amply.gas > candidate.gas {
            self.simulate(Submission::Claim(claims), amply, CallState::Pool);
        } else if claims.len() > 1 {
            debug!(items = claims.len(), %revert, "splitting a claim");
            let (left, right) = claims.split_at(claims.len() / 2);
            for half in [left, right] {
                let candidate = self.claim_draft(half, 1);
                self.simulate(Submission::Claim(half.to_vec()), candidate, CallState::Pool);
            }
        } else {
            debug!(id = ?claims.first().map(|claim| claim.id), %revert, "cannot claim yet");
        }
        Ok(())
    }

    /// Sends what passed. What cannot be sent now is tried again: money and gas prices change, and so do jobs.
    fn send(&mut self, submission: Submission, candidate: TxCandidate) -> Result<(), StageError> {
        let outcome = self.transactions.send(candidate)?;
        self.sending(submission, outcome)
    }

    /// Takes in what became of a submission.
    pub(super) fn sending(&mut self, submission: Submission, outcome: SendOutcome) -> Result<(), StageError> {
        match outcome {
            SendOutcome::Signing(id) => {
                self.signing.insert(id, submission);
            }
            SendOutcome::Sent => {
                if let Submission::Answers(queued) = &submission {
                    self.affordable = self.affordable.saturating_mul(2);
                    for queued in queued {
                        self.node.conditions.goes_on(queued.answer.task.id);
                        self.alone.remove(&queued.answer.task.id);
                    }
                }
            }
            // As soon as there is room, in their order.
            SendOutcome::Later => match submission {
                Submission::Answers(queued) => {
                    if !self.transactions.is_funded() {
                        self.wait(&queued, WaitReason::Funds);
                    }
                    queued.into_iter().rev().for_each(|queued| self.ready.push_front(queued))
                }
                Submission::Claim(claims) => self.claims.push_front(claims),
            },
            // The claimer offers claims again.
            SendOutcome::AboveFeeCap => {
                if let Submission::Answers(queued) = submission {
                    self.wait(&queued, WaitReason::FeeCap);
                    self.waiting.extend(queued);
                }
            }
            // Fewer may fit; where not even one does, none goes before the next head.
            SendOutcome::TooMuch => {
                if let Submission::Answers(queued) = submission {
                    self.affordable = (queued.len() / 2).max(1);
                    if queued.len() > 1 {
                        queued.into_iter().rev().for_each(|queued| self.ready.push_front(queued));
                    } else {
                        self.waiting.extend(queued);
                        self.waiting.extend(self.ready.drain(..));
                        self.wait(&self.waiting, WaitReason::SpendingLimit);
                    }
                }
            }
            SendOutcome::Refused(id) => {
                if let Submission::Answers(queued) = submission {
                    self.ready.extend(queued.into_iter().filter(|queued| queued.answer.task.id != id));
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
