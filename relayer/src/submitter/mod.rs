//! Carries answers and claims to the chain: one key, one sequence of nonces, many transactions in flight.
//!
//! A logical transaction is a [`Slot`]: one nonce and all its attempts. It is simulated first, and written to the
//! journal, signed, before it is broadcast; after that only a mined transaction frees its nonce. See [`upkeep`] for
//! what happens to a slot until it is final.

pub mod fees;
mod gas;
mod sign;
mod upkeep;

use std::{collections::BTreeMap, future::Future, pin::Pin, sync::Arc, time::Duration};

use alloy::{
    primitives::{B256, Bytes, U256},
    signers::local::PrivateKeySigner,
};
use futures::{StreamExt, stream::FuturesUnordered};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use self::fees::{FeeSettings, Fees, market};
use crate::{
    chain::{At, Call, Chain, ChainError, Receipt},
    contract::{self, Refusal, refusal},
    journal::{Batch, Claim, Journal, Purpose, Slot},
    lifecycle::{Attested, Job, Move, Seen, Skip},
    node::{Node, StageError, Standing, Tip},
    watcher::Ready,
};

/// How transactions are sent.
#[derive(Debug, Clone)]
pub struct SubmitSettings {
    /// What to pay for gas.
    pub fees: FeeSettings,
    /// Blocks on top of a transaction until its nonce is forgotten.
    pub confirmations: u64,
    /// The most transactions in flight.
    pub max_in_flight: usize,
    /// Blocks after which an unmined transaction at the head of the queue is replaced with a higher fee.
    pub replace_after: u64,
}

/// The channels of the submitter.
#[derive(Debug)]
pub struct SubmitPorts {
    /// Signed answers.
    pub answers: mpsc::Receiver<Attested>,
    /// Claims whose vesting has passed.
    pub claims: mpsc::Receiver<Vec<Claim>>,
    /// The tip.
    pub tips: watch::Receiver<Option<Tip>>,
    /// Whether the key can pay for transactions.
    pub funded: watch::Sender<bool>,
    /// Jobs to run again.
    pub redo: mpsc::Sender<Ready>,
}

/// What is to become a transaction.
#[derive(Debug, Clone)]
enum Work {
    Answer(Box<Attested>),
    Claim(Vec<Claim>),
}

/// A transaction without nonce and fees.
#[derive(Debug, Clone)]
struct Draft {
    purpose: Purpose,
    data: Bytes,
    gas: u64,
}

/// What a background call brought.
enum Done {
    Simulated(Work, Draft, Result<Bytes, ChainError>),
    Broadcast(u64, B256, Result<(), ChainError>),
    Account(Result<(u64, U256), ChainError>),
    Mined(u64, Result<Option<Receipt>, ChainError>),
    Tips(Result<Vec<u128>, ChainError>),
}

type Task = Pin<Box<dyn Future<Output = Done> + Send>>;

/// The last stage.
pub struct Submitter<C, J> {
    node: Arc<Node<C, J>>,
    sender: PrivateKeySigner,
    settings: SubmitSettings,
    ports: SubmitPorts,
    tasks: FuturesUnordered<Task>,
    simulating: usize,
    slots: BTreeMap<u64, Slot>,
    next: u64,
    /// Transactions of our key that the journal does not know are in the pool up to this nonce: nothing is sent before
    /// they are mined, for they may be answers.
    hold: Option<u64>,
    /// Looked at again at the next tip.
    waiting: Vec<Work>,
    /// Jobs to hand back to the executor.
    redo: Vec<Ready>,
    recent_tips: Vec<u128>,
    balance: U256,
    rewinds: u64,
    upkeep: upkeep::Memory,
}

impl<C: Chain, J: Journal> Submitter<C, J> {
    /// A submitter that goes on where the journal ends.
    ///
    /// # Errors
    /// The journal's.
    pub fn new(
        node: Arc<Node<C, J>>,
        sender: PrivateKeySigner,
        settings: SubmitSettings,
        ports: SubmitPorts,
    ) -> Result<Self, StageError> {
        let slots = node.journal.slots()?.into_iter().map(|slot| (slot.nonce, slot)).collect();
        Ok(Self {
            node,
            sender,
            settings,
            ports,
            slots,
            tasks: FuturesUnordered::new(),
            simulating: 0,
            next: 0,
            hold: None,
            waiting: Vec::new(),
            redo: Vec::new(),
            recent_tips: Vec::new(),
            balance: U256::ZERO,
            rewinds: 0,
            upkeep: upkeep::Memory::default(),
        })
    }

    /// Sends until shutdown. What was not broadcast by then is in the journal, and is broadcast at the next start.
    ///
    /// # Errors
    /// The journal's and the signer's.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), StageError> {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            begun = self.recover() => begun?,
        }
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        loop {
            let room = self.simulating + self.waiting.len() + self.in_flight() < self.settings.max_in_flight;
            tokio::select! {
                () = shutdown.cancelled() => return self.drain().await,
                Some(done) = self.tasks.next(), if !self.tasks.is_empty() => self.done(done)?,
                changed = self.ports.tips.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    self.on_tip()?;
                }
                Some(answer) = self.ports.answers.recv(), if room => self.begin(Work::Answer(Box::new(answer)), 1)?,
                Some(claims) = self.ports.claims.recv(), if room => self.begin(Work::Claim(claims), 1)?,
                _ = tick.tick() => self.on_tick()?,
            }
        }
    }

    /// Lets broadcasts on their way end, so that the next start finds less to do.
    async fn drain(mut self) -> Result<(), StageError> {
        let grace = tokio::time::sleep(Duration::from_secs(2));
        tokio::pin!(grace);
        while self.upkeep.broadcasting > 0 {
            tokio::select! {
                () = &mut grace => break,
                Some(done) = self.tasks.next() => {
                    if matches!(done, Done::Broadcast(..)) {
                        self.upkeep.broadcasting -= 1;
                    }
                }
            }
        }
        Ok(())
    }

    fn in_flight(&self) -> usize {
        self.slots.values().filter(|slot| slot.mined.is_none()).count()
    }

    fn tip(&self) -> Option<Tip> {
        *self.ports.tips.borrow()
    }

    fn is_open(&self, answer: &Attested) -> Result<bool, StageError> {
        let job = self.node.journal.job(answer.task.id)?;
        Ok(matches!(job, Some(Job::Seen(Seen { task })) if task.block == answer.task.block))
    }

    /// Simulates what can be sent now; `gas_factor` multiplies the formula's gas limit.
    fn begin(&mut self, work: Work, gas_factor: u64) -> Result<(), StageError> {
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
                let purpose = Purpose::Answer { id: task.id, block: task.block.hash };
                Draft { purpose, gas: gas::answer(answer, &place, &data), data }
            }
        };
        draft.gas = (draft.gas * gas_factor).min(gas::TRANSACTION_CAP);
        let call = Call {
            from: Some(self.node.sender),
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

    fn done(&mut self, done: Done) -> Result<(), StageError> {
        match done {
            Done::Simulated(work, draft, result) => {
                self.simulating -= 1;
                self.simulated(work, draft, result)
            }
            Done::Broadcast(nonce, hash, result) => {
                self.upkeep.broadcasting -= 1;
                self.broadcast_done(nonce, hash, result)
            }
            Done::Account(Ok((nonce, balance))) => self.account(nonce, balance),
            Done::Mined(nonce, Ok(receipt)) => self.receipt(nonce, receipt),
            Done::Tips(Ok(tips)) => {
                self.recent_tips = tips;
                Ok(())
            }
            Done::Account(Err(error)) | Done::Mined(_, Err(error)) | Done::Tips(Err(error)) => {
                self.node.metrics.chain_errors.add();
                debug!(%error, label = error.label(), "asking again at the next tip");
                self.upkeep.asking = false;
                Ok(())
            }
        }
    }

    fn simulated(&mut self, work: Work, draft: Draft, result: Result<Bytes, ChainError>) -> Result<(), StageError> {
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

    fn close(&mut self, id: B256, step: Move) -> Result<(), StageError> {
        match &step {
            Move::Skipped(reason) => {
                self.node.metrics.skipped.add();
                info!(%id, %reason, "skipped");
            }
            Move::Failed(reason) => {
                self.node.metrics.failed.add();
                error!(%id, reason, "cannot answer");
            }
            _ => {}
        }
        self.node.journal.commit(&Batch { moves: vec![(id, step)], ..Batch::default() })?;
        Ok(())
    }

    fn market(&self) -> Fees {
        let base_fee = self.tip().map_or(0, |tip| tip.header.base_fee);
        market(self.settings.fees, base_fee, &self.recent_tips)
    }

    /// What the transactions in flight may cost at most.
    fn committed(&self) -> U256 {
        let unmined = self.slots.values().filter(|slot| slot.mined.is_none());
        unmined
            .filter_map(|slot| slot.attempts.last().map(|last| U256::from(slot.gas) * U256::from(last.max_fee)))
            .sum()
    }

    /// Signs, writes down and broadcasts a transaction whose simulation passed.
    fn send(&mut self, work: Work, draft: Draft) -> Result<(), StageError> {
        if let Work::Answer(answer) = &work {
            if !self.is_open(answer)? {
                return Ok(());
            }
            self.note_rewind()?;
            // After a reorganisation the old transaction may still be in somebody's pool: it is sent again if it says
            // the same, else the new one takes its nonce.
            let old = self.slots.values().find(|slot| {
                slot.mined.is_none() && matches!(&slot.purpose, Purpose::Answer { id, .. } if *id == answer.task.id)
            });
            if let Some(old) = old {
                return if old.data == draft.data {
                    self.resend(old.nonce)
                } else {
                    self.replace(old.nonce, Some(draft))
                };
            }
        }
        let fees = self.market();
        let cost = U256::from(draft.gas) * U256::from(fees.max_fee);
        let needed = self.committed() + cost;
        if self.balance < needed {
            self.out_of_funds(needed);
            self.waiting.push(work);
            return Ok(());
        }
        let nonce = self.next;
        let to = self.node.domain.coordinator;
        let attempt = self.sign(nonce, to, &draft, fees)?;
        let (hash, raw) = (attempt.hash, attempt.raw.clone());
        let Draft { purpose, data, gas } = draft;
        let mut batch = Batch::default();
        if let Purpose::Answer { id, block } = &purpose {
            batch.moves.push((*id, Move::Sent { block: *block, nonce, hash }));
        }
        let slot = Slot { nonce, purpose, to, data, gas, attempts: vec![attempt], mined: None };
        batch.slots.push(slot.clone());
        if let Some((id, illegal)) = self.node.journal.commit(&batch)?.first() {
            debug!(%id, %illegal, "not sent");
            return Ok(());
        }
        self.next += 1;
        self.slots.insert(nonce, slot);
        self.node.metrics.sent.add();
        self.broadcast(nonce, hash, raw);
        Ok(())
    }

    /// The transaction of a job that was opened again says the right thing already.
    fn resend(&mut self, nonce: u64) -> Result<(), StageError> {
        let Some(slot) = self.slots.get(&nonce) else { return Ok(()) };
        if let (Purpose::Answer { id, block }, Some(last)) = (&slot.purpose, slot.attempts.last()) {
            let sent = Move::Sent { block: *block, nonce, hash: last.hash };
            self.node.journal.commit(&Batch { moves: vec![(*id, sent)], ..Batch::default() })?;
        }
        self.rebroadcast(nonce);
        Ok(())
    }

    fn out_of_funds(&mut self, needed: U256) {
        if self.ports.funded.send_replace(false) {
            error!(
                account = %self.node.sender, balance = %self.balance, %needed,
                "the sending key cannot pay for gas: no more work is taken until it is funded; send it money"
            );
        }
    }

    fn broadcast(&mut self, nonce: u64, hash: B256, raw: Bytes) {
        let chain = self.node.chain.clone();
        self.upkeep.broadcasting += 1;
        self.tasks.push(Box::pin(async move { Done::Broadcast(nonce, hash, chain.send(&raw).await) }));
    }
}

#[cfg(test)]
mod tests;
