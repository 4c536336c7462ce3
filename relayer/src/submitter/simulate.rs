//! From an answer or a claim to a transaction whose simulation passed.

use alloy::primitives::Bytes;
use tracing::{debug, warn};

use super::{Done, Draft, Submitter, Work, gas};
use crate::{
    chain::{At, Call, Chain, ChainError},
    contract::{self, Refusal, refusal},
    journal::{Item, Journal, Purpose},
    lifecycle::{Move, Skip},
    node::{StageError, Standing},
};

impl<C: Chain, J: Journal> Submitter<C, J> {
    /// Simulates what can be sent now; `gas_factor` multiplies the formula's gas limit.
    pub(super) fn begin(&mut self, work: Work, gas_factor: u64) -> Result<(), StageError> {
        let Some(tip) = self.tip().filter(|_| self.hold.is_none() && *self.ports.funded.borrow()) else {
            self.waiting.push(work);
            return Ok(());
        };
        let mut draft = match &work {
            Work::Claim(claims) => {
                let data = contract::claim(claims);
                let ids = claims.iter().map(|claim| claim.id).collect();
                Draft { purpose: Purpose::Claim { ids }, gas: gas::claim(claims.len(), &data), data }
            }
            Work::Answer(answer) => {
                let task = &answer.task;
                let place = match self.node.standing(task, tip.next()) {
                    Standing::Now(place) => place,
                    Standing::From(_) => {
                        self.waiting.push(work);
                        return Ok(());
                    }
                    Standing::NoSeat => return self.close(task.id, Move::Skipped(Skip::NoSeat)),
                    Standing::Expired => {
                        let deadline = task.request.deadline();
                        return self.close(task.id, Move::Skipped(Skip::Expired { deadline }));
                    }
                };
                let data = contract::fulfil(answer, &place);
                let purpose = Purpose::Answer { items: vec![Item { id: task.id, block: task.block.hash }] };
                Draft { purpose, gas: gas::answer(answer, &place, &data), data }
            }
        };
        draft.gas = (draft.gas * gas_factor).min(gas::TRANSACTION_CAP);
        let call = Call {
            from: Some(self.sender.address()),
            to: self.node.domain.coordinator,
            data: draft.data.clone(),
            gas: Some(draft.gas),
        };
        let chain = self.node.chain.clone();
        self.simulating += 1;
        self.tasks.push(Box::pin(async move {
            let result = chain.call(&call, At::Pending).await;
            Done::Simulated(work, draft, result)
        }));
        Ok(())
    }

    pub(super) fn simulated(
        &mut self,
        work: Work,
        draft: Draft,
        result: Result<Bytes, ChainError>,
    ) -> Result<(), StageError> {
        let refusal = match result {
            Ok(_) => return self.send(work, draft),
            Err(ChainError::Reverted(data)) => refusal(&data),
            Err(ChainError::OutOfGas(_)) => Refusal::Gas,
            Err(error) => {
                self.node.metrics.chain_errors.add();
                warn!(%error, label = error.label(), "cannot simulate; trying again");
                self.waiting.push(work);
                return Ok(());
            }
        };
        match (work, refusal) {
            (work, Refusal::Gas) if draft.gas < gas::TRANSACTION_CAP => self.begin(work, 4),
            // Answered in the pool, perhaps: it stays until the chain says so, in case that transaction is dropped.
            (work @ Work::Answer(_), Refusal::NotOpen | Refusal::TooEarly) => {
                self.waiting.push(work);
                Ok(())
            }
            (Work::Answer(answer), Refusal::Stale(reason)) => {
                debug!(id = %answer.task.id, reason, "the chain moved; looking again at the next tip");
                self.waiting.push(Work::Answer(answer));
                Ok(())
            }
            (Work::Answer(answer), Refusal::Expired) => {
                let deadline = answer.task.request.deadline();
                self.close(answer.task.id, Move::Skipped(Skip::Expired { deadline }))
            }
            (Work::Answer(answer), refusal) => {
                self.close(answer.task.id, Move::Failed(format!("the simulation refuses the answer: {refusal:?}")))
            }
            // One item that cannot be paid must not hold back the others; the claimer offers them again.
            (Work::Claim(claims), refusal) if claims.len() > 1 => {
                debug!(items = claims.len(), ?refusal, "splitting a claim");
                let (left, right) = claims.split_at(claims.len() / 2);
                self.begin(Work::Claim(left.to_vec()), 1)?;
                self.begin(Work::Claim(right.to_vec()), 1)
            }
            (Work::Claim(claims), refusal) => {
                debug!(id = ?claims.first().map(|claim| claim.id), ?refusal, "cannot claim yet");
                Ok(())
            }
        }
    }
}
