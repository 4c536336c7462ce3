//! Runs the model of each job when it is this node's turn to answer.
//!
//! The journal is the queue: at every head each model's open jobs are read in the order of their deadlines, and only a
//! window of those that may be run now is held in memory, without their inputs. What can no longer be in time is dropped
//! before it costs a run.

mod backoff;
mod block_pace;
mod queue;

use std::{collections::HashMap, sync::Arc, time::Duration};

use alloy::primitives::{B256, Bytes};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::{
    block_pace::BlockPace,
    queue::{ModelBacklog, Skipped},
};
use crate::{
    chain::{Chain, ChainError, LogScope},
    coordinator::{Event, decode_log},
    domain::{ChainHead, Executed, Lease, Seen, Task, Transition, WaitReason},
    engine::{Engine, EngineError, Fault, Inference},
    failpoint::failpoint,
    journal::{Batch, Journal, JournalError},
    node::{Node, StageError},
};

/// Jobs of a model that are with the engine at once, per session: one runs while the others are prepared.
const JOBS_PER_SESSION: usize = 8;
/// Time between two polls of the journal on a chain that makes no blocks.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Settings for running jobs.
#[derive(Debug, Clone, Copy)]
pub struct ExecuteSettings {
    /// Runs at once at most; the engine queues per session beneath.
    pub limit: usize,
    /// Number of sessions that each model has.
    pub sessions: usize,
}

/// Channels of the executor.
#[derive(Debug)]
pub struct ExecutePorts {
    /// Head of the chain as the watcher took it in.
    pub heads: watch::Receiver<Option<ChainHead>>,
    /// Whether a key can pay for transactions; nothing runs while none can.
    pub funded: watch::Receiver<bool>,
    /// Outputs for the attester.
    pub executed: mpsc::Sender<Executed>,
}

/// Stage that runs the models of open jobs.
pub struct Executor<C, J> {
    node: Arc<Node<C, J>>,
    engine: Arc<dyn Engine>,
    settings: ExecuteSettings,
    ports: ExecutePorts,
    queues: HashMap<B256, ModelBacklog>,
    blocks: BlockPace,
    reorg_epoch: u64,
    runs: FuturesUnordered<BoxFuture<'static, Ran>>,
}

struct Ran {
    task: Task,
    lease: Lease,
    result: Result<Inference, AttemptError>,
}

#[derive(Debug, thiserror::Error)]
enum AttemptError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("its input cannot be read: {0}")]
    Input(#[from] ChainError),
}

impl AttemptError {
    /// The label under which metrics count this error.
    fn label(&self) -> &'static str {
        match self {
            Self::Engine(error) => error.metrics_label(),
            Self::Journal(_) => "journal",
            Self::Input(error) => error.label(),
        }
    }
}

impl<C: Chain, J: Journal> Executor<C, J> {
    /// Makes an executor that has not looked at the journal yet.
    pub fn new(node: Arc<Node<C, J>>, engine: Arc<dyn Engine>, settings: ExecuteSettings, ports: ExecutePorts) -> Self {
        let (queues, blocks, reorg_epoch, runs) = Default::default();
        Self { node, engine, settings, ports, queues, blocks, reorg_epoch, runs }
    }

    /// Runs jobs until shutdown. What is not signed by then is still in the journal.
    ///
    /// # Errors
    /// `Journal` where the journal fails; `Gone` if the attester ended.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), StageError> {
        let mut tick = tokio::time::interval(POLL_INTERVAL);
        loop {
            // What comes rarely goes first, so that nothing keeps it waiting.
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                _ = tick.tick() => self.poll().await?,
                changed = self.ports.funded.changed() => if changed.is_err() { return Ok(()) },
                changed = self.ports.heads.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    self.poll().await?;
                }
                Some(ran) = self.runs.next(), if !self.runs.is_empty() => self.finish(ran).await?,
            }
            self.start().await?;
        }
    }

    fn head(&self) -> Option<u64> {
        self.ports.heads.borrow().map(|head| head.header.block.number)
    }

    /// Reads the journal at a new head.
    async fn poll(&mut self) -> Result<(), StageError> {
        let Some(head) = *self.ports.heads.borrow_and_update() else { return Ok(()) };
        self.blocks.observe(head.header);
        if std::mem::replace(&mut self.reorg_epoch, head.reorg_epoch) != head.reorg_epoch {
            for queue in self.queues.values_mut() {
                queue.rewound(&*self.node.journal)?;
            }
        }
        let waiting = self.node.journal.waiting();
        self.queues.retain(|model, queue| {
            queue.in_memory() > 0 || queue.runs() > 0 || waiting.iter().any(|(waits, _)| waits == model)
        });
        let height = head.header.block.number;
        self.node.conditions.forget_before(height);
        // What is still here from before could not be run yet.
        let funded = *self.ports.funded.borrow();
        for (task, reason) in self.queues.values().flat_map(ModelBacklog::waiting) {
            self.node.waits(task, if funded { reason } else { WaitReason::Funds }, height + 1);
        }
        for (model, _) in waiting {
            self.refill(model, height).await?;
        }
        Ok(())
    }

    async fn refill(&mut self, model: B256, head: u64) -> Result<(), StageError> {
        let queue = self.queues.entry(model).or_default();
        let skipped = queue.refill(&self.node, model, head).await?;
        let expired = queue.set_late_aside(head, &self.blocks, self.settings.sessions);
        self.skip(skipped)?;
        self.skip(expired)
    }

    fn skip(&self, skipped: Vec<Skipped>) -> Result<(), StageError> {
        if skipped.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::default();
        for (id, reason) in skipped {
            self.node.conditions.goes_on(id);
            debug!(%id, %reason, "skipped");
            batch.moves.push((id, Transition::Skipped(reason)));
        }
        self.close(&batch)
    }

    fn close(&self, batch: &Batch) -> Result<(), StageError> {
        failpoint("closed.before");
        self.node.journal.commit(batch)?;
        failpoint("closed.after");
        Ok(())
    }

    /// Hands the engine what is due first, as much as it takes.
    async fn start(&mut self) -> Result<(), StageError> {
        let Some(head) = self.head().filter(|_| *self.ports.funded.borrow()) else { return Ok(()) };
        let most = self.settings.sessions.max(1) * JOBS_PER_SESSION;
        while self.runs.len() < self.settings.limit.max(1) {
            let free = self.queues.iter().filter(|(_, queue)| queue.runs() < queue.backoff.allows(most));
            let empty = free.clone().find(|(_, queue)| queue.needs_refill()).map(|(model, _)| *model);
            if let Some(model) = empty {
                self.refill(model, head).await?;
            }
            let free = self.queues.iter().filter(|(_, queue)| queue.runs() < queue.backoff.allows(most));
            let next = free.filter_map(|(model, queue)| Some((queue.first()?, *model))).min();
            let Some(queue) = next.and_then(|(_, model)| self.queues.get_mut(&model)) else { return Ok(()) };
            if let Some((task, lease)) = queue.take(&*self.node.journal)? {
                self.node.conditions.goes_on(task.id);
                self.runs.push(self.begin(task, lease));
            }
        }
        Ok(())
    }

    fn begin(&self, task: Task, lease: Lease) -> BoxFuture<'static, Ran> {
        let (node, engine) = (self.node.clone(), self.engine.clone());
        async move {
            let result = async {
                let input = input(&node, &task).await?;
                Ok(engine.run(task.request.model_id, input, task.request.output).await?)
            };
            let result = result.await;
            Ran { task, lease, result }
        }
        .boxed()
    }

    async fn finish(&mut self, Ran { task, lease, result }: Ran) -> Result<(), StageError> {
        let (id, model) = (task.id, task.request.model_id);
        let queue = self.queues.entry(model).or_default();
        queue.ended(result.as_ref().ok().map(|inference| inference.run_time).filter(|time| !time.is_zero()));
        if let Err(error) = &result {
            self.node.metrics.did_not_run(task.request.model_id, error.label());
        }
        let next = self.ports.heads.borrow().map_or(0, |head| head.header.block.number) + 1;
        match result {
            Ok(inference) => {
                if queue.backoff.succeeded(id) {
                    info!(%model, "the model is answered for again");
                }
                let Inference { profile, queue_time, run_time, .. } = &inference;
                let provider = profile.place();
                debug!(%id, %provider, ?queue_time, ?run_time, "the model ran");
                self.node.metrics.ran(task.request.model_id, &provider, *queue_time, *run_time);
                // Without a seat by now, the job is given up: at the next head it is asked again whether it is ours.
                let Some(seat) = self.node.seat_for(&task) else { return Ok(()) };
                let executed = Seen { task }.executed(inference.outcome, inference.output, seat).held(lease);
                self.ports.executed.send(executed).await.map_err(|_| StageError::Gone("attester"))
            }
            Err(AttemptError::Journal(error)) => Err(error.into()),
            Err(AttemptError::Engine(error)) if error.fault() == Fault::Request => {
                warn!(%id, %error, "cannot answer");
                let moves = vec![(id, Transition::Failed(error.to_string()))];
                self.close(&Batch { moves, ..Batch::default() })
            }
            Err(AttemptError::Engine(error)) => {
                let retry = queue.backoff.failed(id, &error);
                let next_look = next + retry.blocks - 1;
                queue.park(id, next_look);
                self.node.waits(&task, WaitReason::Model, next_look);
                debug!(%id, %error, blocks = retry.blocks, "the model did not run; its request stays open");
                if retry.tell {
                    warn!(%model, %error, "requests of this model have no answer now; they stay open and are tried again");
                }
                Ok(())
            }
            Err(error) => {
                debug!(%id, %error, "the model did not run; trying again at the next block");
                queue.park(id, next);
                self.node.waits(&task, WaitReason::Endpoint, next);
                Ok(())
            }
        }
    }
}

/// Reads a job's input from the journal, or from its block's logs if a reorganisation opened a job again that was closed.
async fn input<C: Chain, J: Journal>(node: &Node<C, J>, task: &Task) -> Result<Bytes, AttemptError> {
    if let Some(input) = node.journal.input(task.id)? {
        return Ok(input);
    }
    let logs = node.chain.logs(node.domain.coordinator, LogScope::Block(task.block.hash)).await?;
    let found = logs.iter().filter_map(decode_log).find_map(|log| match log.event {
        Event::Requested { id, input, .. } if id == task.id => Some(input),
        _ => None,
    });
    found.ok_or_else(|| ChainError::UnknownBlock(task.block.hash.to_string()).into())
}

#[cfg(test)]
mod tests;
