//! Runs the model of each job when it is this node's turn to answer.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use alloy::primitives::{B256, Bytes};
use futures::{FutureExt, StreamExt, stream::FuturesUnordered};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    chain::Chain,
    crash::crash_point,
    engine::{Engine, EngineError, Inference},
    journal::{Batch, Journal},
    lifecycle::{Executed, Job, Move, Seen, Skip},
    node::{Node, StageError, Standing, Tip},
    watcher::Ready,
};

/// The second stage.
pub struct Executor<C, J> {
    node: Arc<Node<C, J>>,
    engine: Arc<dyn Engine>,
    /// The most models run at once; the engine queues per session beneath.
    limit: usize,
    jobs: mpsc::Receiver<Ready>,
    tips: watch::Receiver<Option<Tip>>,
    funded: watch::Receiver<bool>,
    out: mpsc::Sender<Executed>,
    /// Jobs by the head at which to look at them again.
    parked: BTreeMap<u64, Vec<Ready>>,
    /// Jobs whose model runs, by request and block.
    running: HashSet<(B256, B256)>,
}

type Ran = (Seen, Bytes, Result<Inference, EngineError>);

impl<C: Chain, J: Journal> Executor<C, J> {
    /// An executor that runs at most `limit` jobs at once, and none while `funded` is false.
    pub fn new(
        node: Arc<Node<C, J>>,
        engine: Arc<dyn Engine>,
        limit: usize,
        jobs: mpsc::Receiver<Ready>,
        tips: watch::Receiver<Option<Tip>>,
        funded: watch::Receiver<bool>,
        out: mpsc::Sender<Executed>,
    ) -> Self {
        let (parked, running) = Default::default();
        Self { node, engine, limit: limit.max(1), jobs, tips, funded, out, parked, running }
    }

    /// Runs jobs until shutdown. What is not signed by then is still in the journal.
    ///
    /// # Errors
    /// The journal's.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), StageError> {
        let mut runs = FuturesUnordered::new();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                Some(ran) = runs.next(), if !runs.is_empty() => self.finish(ran).await?,
                changed = async { tokio::select! {
                    changed = self.tips.changed() => changed,
                    changed = self.funded.changed() => changed,
                } } => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    let now = self.head();
                    let later = self.parked.split_off(&(now + 1));
                    for ready in std::mem::replace(&mut self.parked, later).into_values().flatten() {
                        // A parked job may have been answered, or be in another block by now.
                        if self.is_open(&ready.0)? {
                            self.plan(ready, &runs)?.into_iter().for_each(|ready| runs.push(self.start(ready)));
                        }
                    }
                }
                job = self.jobs.recv(), if runs.len() < self.limit => {
                    let Some(ready) = job else { return Ok(()) };
                    self.plan(ready, &runs)?.into_iter().for_each(|ready| runs.push(self.start(ready)));
                }
            }
        }
    }

    fn head(&self) -> u64 {
        self.tips.borrow().map_or(0, |tip| tip.header.block.number)
    }

    fn is_open(&self, seen: &Seen) -> Result<bool, StageError> {
        let job = self.node.journal.job(seen.task.id)?;
        Ok(matches!(job, Some(Job::Seen(now)) if now.task.block == seen.task.block))
    }

    fn park(&mut self, ready: Ready, at: u64) {
        let slot = self.parked.entry(at).or_default();
        if !slot.iter().any(|(seen, _)| seen == &ready.0) {
            slot.push(ready);
        }
    }

    /// What to run now; the rest is parked or closed.
    fn plan<T>(&mut self, ready: Ready, runs: &FuturesUnordered<T>) -> Result<Option<Ready>, StageError> {
        let task = &ready.0.task;
        if self.running.contains(&(task.id, task.block.hash)) {
            return Ok(None);
        }
        let head = self.head();
        match self.node.standing(task, head + 1) {
            Standing::Now(_) if !*self.funded.borrow() || runs.len() >= self.limit => self.park(ready, head + 1),
            Standing::Now(_) => {
                self.running.insert((task.id, task.block.hash));
                return Ok(Some(ready));
            }
            // The block before it is the head at which its transaction can be sent.
            Standing::From(block) => self.park(ready, block.saturating_sub(1).max(head + 1)),
            Standing::NoSeat => self.close(task.id, Move::Skipped(Skip::NoSeat))?,
            Standing::Expired => {
                let deadline = task.request.deadline();
                self.close(task.id, Move::Skipped(Skip::Expired { deadline }))?;
            }
        }
        Ok(None)
    }

    fn close(&self, id: B256, step: Move) -> Result<(), StageError> {
        match &step {
            Move::Skipped(reason) => {
                self.node.metrics.skipped.add();
                debug!(%id, %reason, "skipped");
            }
            Move::Failed(reason) => {
                self.node.metrics.failed.add();
                warn!(%id, reason, "cannot answer");
            }
            _ => {}
        }
        crash_point("closed.before");
        self.node.journal.commit(&Batch { moves: vec![(id, step)], ..Batch::default() })?;
        crash_point("closed.after");
        Ok(())
    }

    fn start(&self, (seen, input): Ready) -> impl Future<Output = Ran> + Send + use<C, J> {
        let engine = self.engine.clone();
        async move {
            let request = &seen.task.request;
            let result = engine.run(request.model_id, input.clone(), request.output).await;
            (seen, input, result)
        }
        .boxed()
    }

    async fn finish(&mut self, (seen, input, result): Ran) -> Result<(), StageError> {
        self.running.remove(&(seen.task.id, seen.task.block.hash));
        match result {
            Ok(inference) => {
                self.node.metrics.executed.add();
                let executed = seen.executed(inference.outcome, inference.output);
                self.out.send(executed).await.map_err(|_| StageError::Gone("attester"))
            }
            Err(error) if error.is_retryable() => {
                warn!(id = %seen.task.id, %error, "the model did not run; trying again at the next block");
                let next = self.head() + 1;
                self.park((seen, input), next);
                Ok(())
            }
            Err(error) => self.close(seen.task.id, Move::Failed(error.to_string())),
        }
    }
}
