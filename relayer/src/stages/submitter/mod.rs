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
    domain::{Attested, ChainHead, Claim, Job, Seen, Transition, WaitReason},
    failpoint::failpoint,
    journal::{Batch, Journal},
    keys::Signer,
    node::{Node, StageError},
    transactions::{Transactions, TxCandidate, TxId},
};

/// Simulations at once at most. With one, an answer waits for the whole round trip of the one before it.
const MAX_SIMULATIONS: usize = 2;
/// Signed answers in memory at most; more stay in the channel, and hold back the stages before.
const MAX_QUEUED: usize = 256;

/// Channels of the submitter.
#[derive(Debug)]
pub struct SubmitPorts {
    /// Signed answers of the attester.
    pub answers: mpsc::Receiver<Attested>,
    /// Claims whose vesting has passed.
    pub claims: mpsc::Receiver<Vec<Claim>>,
    /// Head of the chain as the watcher took it in.
    pub heads: watch::Receiver<Option<ChainHead>>,
    /// Whether a key can pay for transactions.
    pub funded: watch::Sender<bool>,
}

/// A signed answer, and since when it waits.
#[derive(Debug, Clone)]
struct QueuedAnswer {
    answer: Attested,
    since: Instant,
}

/// Content of a transaction to be. Answers are never empty.
#[derive(Debug, Clone)]
enum Submission {
    Answers(Vec<QueuedAnswer>),
    Claim(Vec<Claim>),
}

/// Result of a simulation, and what it was of.
struct Simulated {
    submission: Submission,
    candidate: TxCandidate,
    state: simulate::CallState,
    /// Whether the items were tried one by one, in a probe.
    probed: bool,
    result: Result<Bytes, ChainError>,
}

/// Stage that sends answers and claims.
pub struct Submitter<C, J> {
    node: Arc<Node<C, J>>,
    transactions: Transactions<C, J>,
    ports: SubmitPorts,
    /// Head that `transactions` knows, too: without it nothing has a price.
    head: Option<ChainHead>,
    simulations: FuturesUnordered<BoxFuture<'static, Simulated>>,
    /// Number of simulations that are of claims.
    claiming: usize,
    /// Answers to simulate as soon as there is room.
    ready: VecDeque<QueuedAnswer>,
    claims: VecDeque<Vec<Claim>>,
    /// Answers and claims in transactions that are being signed.
    signing: HashMap<TxId, Submission>,
    /// Answers to try again at the next head.
    waiting: Vec<QueuedAnswer>,
    /// Claims to try again then.
    waiting_claims: Vec<Vec<Claim>>,
    /// Answers of a transaction at most, while money is short.
    affordable: usize,
    /// Ids of answers that go out alone, because a batch with them failed.
    alone: HashSet<B256>,
    /// Whether the endpoint can try a call in the next block.
    looks_ahead: bool,
}

impl<C: Chain, J: Journal> Submitter<C, J> {
    /// Makes a submitter that goes on where the journal ends, and pays with these keys.
    ///
    /// # Errors
    /// `Journal` where the journal fails; `SenderGone` if it holds transactions of another key.
    pub fn new(node: Arc<Node<C, J>>, senders: Vec<Arc<dyn Signer>>, ports: SubmitPorts) -> Result<Self, StageError> {
        let transactions = Transactions::new(node.clone(), senders)?;
        Ok(Self {
            node,
            transactions,
            ports,
            head: None,
            simulations: FuturesUnordered::new(),
            claiming: 0,
            ready: VecDeque::new(),
            claims: VecDeque::new(),
            signing: HashMap::new(),
            waiting: Vec::new(),
            waiting_claims: Vec::new(),
            affordable: usize::MAX,
            alone: HashSet::new(),
            looks_ahead: false,
        })
    }

    /// Sends until shutdown. What was not broadcast by then is in the journal, and is broadcast at the next start.
    ///
    /// # Errors
    /// `Journal` where the journal fails, `Signer` where a key does.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), StageError> {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            begun = self.transactions.recover() => begun?,
        }
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            looks_ahead = simulate::looks_ahead(&*self.node.chain) => self.looks_ahead = looks_ahead,
        }
        debug!(self.looks_ahead, "checked whether the endpoint tries calls in the next block");
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        let mut arrived = Vec::new();
        loop {
            let room = MAX_QUEUED.saturating_sub(self.ready.len() + self.waiting.len());
            let batch_due = self.batch_due();
            // What comes rarely goes first, so that nothing keeps it waiting.
            tokio::select! {
                biased;
                () = shutdown.cancelled() => {
                    self.transactions.drain().await;
                    return Ok(());
                }
                _ = tick.tick() => {
                    self.transactions.on_tick()?;
                    self.retry_waiting()?;
                }
                changed = self.ports.heads.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    let head = *self.ports.heads.borrow_and_update();
                    if let Some(head) = head {
                        self.head = Some(head);
                        self.transactions.on_head(head)?;
                        self.retry_waiting()?;
                    }
                }
                Some(claims) = self.ports.claims.recv(), if self.claims.len() + self.waiting_claims.len() < 4 => self.claims.push_back(claims),
                () = tokio::time::sleep_until(batch_due.unwrap_or_else(Instant::now)), if batch_due.is_some() => {}
                Some(simulated) = self.simulations.next(), if !self.simulations.is_empty() => {
                    self.simulated(simulated)?;
                }
                stepped = self.transactions.step() => stepped?,
                1.. = self.ports.answers.recv_many(&mut arrived, room), if room > 0 => {
                    let since = Instant::now();
                    self.ready.extend(arrived.drain(..).map(|answer| QueuedAnswer { answer, since }));
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
        while self.simulations.len() < MAX_SIMULATIONS && self.transactions.has_room() {
            // Answers have deadlines, claims do not: one simulation at most is of a claim.
            let begun = self.begin_answers()? || self.claiming == 0 && self.begin_claim();
            if !begun {
                break;
            }
        }
        Ok(())
    }

    /// Moves what waited to what is ready, if it is still open.
    fn retry_waiting(&mut self) -> Result<(), StageError> {
        self.claims.extend(self.waiting_claims.drain(..));
        for queued in std::mem::take(&mut self.waiting) {
            if self.is_open(&queued.answer)? {
                self.ready.push_back(queued);
            } else {
                self.alone.remove(&queued.answer.task.id);
            }
        }
        Ok(())
    }

    /// Takes note of what answers wait for until the next head.
    fn wait(&self, queued: &[QueuedAnswer], reason: WaitReason) {
        let next_look = self.head.map_or(0, |head| head.header.block.number) + 1;
        for queued in queued {
            self.node.waits(&queued.answer.task, reason, next_look);
        }
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
        self.node.conditions.goes_on(id);
        failpoint("closed.before");
        self.node.journal.commit(&Batch { moves: vec![(id, step)], ..Batch::default() })?;
        failpoint("closed.after");
        Ok(())
    }
}

#[cfg(test)]
mod tests;
