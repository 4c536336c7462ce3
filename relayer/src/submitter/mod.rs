//! Carries answers and claims to the chain: one key, one sequence of nonces, many transactions in flight.
//!
//! A logical transaction is a [`Slot`]: one nonce and all its attempts. It is simulated first, and written to the
//! journal, signed, before it is broadcast; after that only a mined transaction frees its nonce. See [`upkeep`] for
//! what happens to a slot until it is final.

pub mod fees;
mod gas;
mod replace;
mod send;
mod sign;
mod simulate;
mod upkeep;

use std::{collections::BTreeMap, future::Future, pin::Pin, sync::Arc, time::Duration};

use alloy::{
    primitives::{B256, Bytes, U256},
    signers::local::PrivateKeySigner,
};
use futures::{StreamExt, stream::FuturesUnordered};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};

use crate::{
    chain::{Chain, ChainError, Receipt},
    journal::{Batch, Claim, Journal, Purpose, Slot},
    lifecycle::{Attested, Job, Move, Seen},
    node::{Node, StageError, Tip},
};

/// How transactions are sent.
#[derive(Debug, Clone)]
pub struct SubmitSettings {
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
}

#[cfg(test)]
mod tests;
