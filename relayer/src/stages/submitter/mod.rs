//! Turns signed answers and claims into transactions: what is ready together goes out together.
//!
//! An answer that comes alone is simulated and sent at once. While simulations run, or as many transactions are in flight
//! as the pools promise room for, answers gather, and the next simulation takes as many as fit: batches form by
//! themselves when the chain is the bottleneck, and only then. See [`Transactions`](crate::transactions) for what happens
//! to a transaction once it is sent.

mod collect;
mod simulate;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use alloy::primitives::{B256, Bytes};
use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};

use crate::{
    chain::{Chain, ChainError},
    domain::{Attested, ChainHead, Claim, Job, Seen, Transition},
    failpoint::failpoint,
    journal::{Batch, Journal},
    keys::Signer,
    node::{Node, StageError},
    transactions::{Transactions, TxCandidate as Draft, TxId},
};

/// Simulations at once. With one, an answer waits for the whole round trip of the one before it.
const SIMULATIONS: usize = 2;
/// Signed answers held at most; more stay in the channel, and hold back the stages before.
const HELD: usize = 256;

/// The channels of the submitter.
#[derive(Debug)]
pub struct SubmitPorts {
    /// Signed answers.
    pub answers: mpsc::Receiver<Attested>,
    /// Claims whose vesting has passed.
    pub claims: mpsc::Receiver<Vec<Claim>>,
    /// The tip.
    pub tips: watch::Receiver<Option<ChainHead>>,
    /// Whether a key can pay for transactions.
    pub funded: watch::Sender<bool>,
}

/// A signed answer, and since when it waits.
#[derive(Debug, Clone)]
struct QueuedAnswer {
    answer: Attested,
    since: Instant,
}

/// What is to become a transaction. Answers are never empty.
#[derive(Debug, Clone)]
enum Submission {
    Answers(Vec<QueuedAnswer>),
    Claim(Vec<Claim>),
}

/// What a simulation ended with, and what it was of.
struct Simulated {
    work: Submission,
    draft: Draft,
    state: simulate::CallState,
    /// Whether the items were tried one by one, in the probe.
    probed: bool,
    result: Result<Bytes, ChainError>,
}

/// The last stage.
pub struct Submitter<C, J> {
    node: Arc<Node<C, J>>,
    transactions: Transactions<C, J>,
    ports: SubmitPorts,
    /// The tip that `transactions` knows, too: without it nothing has a price.
    tip: Option<ChainHead>,
    simulations: FuturesUnordered<BoxFuture<'static, Simulated>>,
    /// How many of them are of claims.
    claiming: usize,
    /// To be simulated as soon as there is room.
    ready: VecDeque<QueuedAnswer>,
    claims: VecDeque<Vec<Claim>>,
    /// In transactions that are being signed.
    signing: HashMap<TxId, Submission>,
    /// Looked at again at the next tip.
    waiting: Vec<QueuedAnswer>,
    /// Answers of a transaction at most, where money is short.
    affordable: usize,
    /// Answers that go out alone, because a batch with them failed.
    alone: HashSet<B256>,
    /// Whether the endpoint can try a call in the next block.
    looks_ahead: bool,
}

impl<C: Chain, J: Journal> Submitter<C, J> {
    /// A submitter that goes on where the journal ends, and pays with these keys.
    ///
    /// # Errors
    /// The journal's; `SenderGone` if it holds transactions of another key.
    pub fn new(node: Arc<Node<C, J>>, senders: Vec<Arc<dyn Signer>>, ports: SubmitPorts) -> Result<Self, StageError> {
        let transactions = Transactions::new(node.clone(), senders)?;
        Ok(Self {
            node,
            transactions,
            ports,
            tip: None,
            simulations: FuturesUnordered::new(),
            claiming: 0,
            ready: VecDeque::new(),
            claims: VecDeque::new(),
            signing: HashMap::new(),
            waiting: Vec::new(),
            affordable: usize::MAX,
            alone: HashSet::new(),
            looks_ahead: false,
        })
    }

    /// Sends until shutdown. What was not broadcast by then is in the journal, and is broadcast at the next start.
    ///
    /// # Errors
    /// The journal's and the signer's.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), StageError> {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            begun = self.transactions.recover() => begun?,
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            looks_ahead = simulate::looks_ahead(&*self.node.chain) => self.looks_ahead = looks_ahead,
        }
        debug!(self.looks_ahead, "whether the endpoint tries calls in the next block");
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        let mut come = Vec::new();
        loop {
            let room = HELD.saturating_sub(self.ready.len() + self.waiting.len());
            let batch_due = self.batch_due();
            tokio::select! {
                () = shutdown.cancelled() => {
                    self.transactions.drain().await;
                    return Ok(());
                }
                Some(simulated) = self.simulations.next(), if !self.simulations.is_empty() => {
                    self.simulated(simulated)?;
                }
                stepped = self.transactions.step() => stepped?,
                changed = self.ports.tips.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    let tip = *self.ports.tips.borrow_and_update();
                    if let Some(tip) = tip {
                        self.tip = Some(tip);
                        self.transactions.on_head(tip)?;
                        self.retry_waiting()?;
                    }
                }
                1.. = self.ports.answers.recv_many(&mut come, room), if room > 0 => {
                    let since = Instant::now();
                    self.ready.extend(come.drain(..).map(|answer| QueuedAnswer { answer, since }));
                }
                Some(claims) = self.ports.claims.recv(), if self.claims.len() < 4 => self.claims.push_back(claims),
                () = tokio::time::sleep_until(batch_due.unwrap_or_else(Instant::now)), if batch_due.is_some() => {}
                _ = tick.tick() => {
                    self.transactions.on_tick()?;
                    self.retry_waiting()?;
                }
            }
            self.pump()?;
        }
    }

    /// Starts what can be started, and tells the other stages what they have to know.
    fn pump(&mut self) -> Result<(), StageError> {
        self.alone.extend(self.transactions.take_left_out());
        for (id, outcome) in self.transactions.take_resolved() {
            if let Some(work) = self.signing.remove(&id) {
                self.sending(work, outcome)?;
            }
        }
        let funded = self.transactions.is_funded();
        self.ports.funded.send_if_modified(|known| std::mem::replace(known, funded) != funded);
        while self.simulations.len() < SIMULATIONS && self.transactions.has_room() {
            // Answers have deadlines, claims do not: one simulation at most is of a claim.
            let begun = self.begin_answers()? || self.claiming == 0 && self.begin_claim();
            if !begun {
                break;
            }
        }
        Ok(())
    }

    /// What waited may be ready now.
    fn retry_waiting(&mut self) -> Result<(), StageError> {
        for held in std::mem::take(&mut self.waiting) {
            if self.is_open(&held.answer)? {
                self.ready.push_back(held);
            } else {
                self.alone.remove(&held.answer.task.id);
            }
        }
        Ok(())
    }

    fn is_open(&self, answer: &Attested) -> Result<bool, StageError> {
        let job = self.node.journal.job(answer.task.id)?;
        Ok(matches!(job, Some(Job::Seen(Seen { task })) if task.block == answer.task.block))
    }

    fn close(&mut self, id: B256, step: Transition) -> Result<(), StageError> {
        match &step {
            Transition::Skipped(reason) => {
                info!(%id, %reason, "skipped");
            }
            Transition::Failed(reason) => {
                error!(%id, reason, "cannot answer");
            }
            _ => {}
        }
        self.alone.remove(&id);
        failpoint("closed.before");
        self.node.journal.commit(&Batch { moves: vec![(id, step)], ..Batch::default() })?;
        failpoint("closed.after");
        Ok(())
    }
}

#[cfg(test)]
mod tests;
