//! Owns the chains and their stages: starts them, and decides what happens when one ends.
//!
//! Each chain has its own journal, keys and stages; the engine and its loaded models serve all. A stage that ends by
//! itself takes the others of its chain with it; they are built anew from the journal. A chain that fails leaves the
//! others alone, unless its configuration is wrong at the start.

mod config_updates;
mod connect;
mod error;
mod head_watch;
mod models;
pub mod stages;
mod warm_up;

pub use config_updates::ConfigUpdates;
pub use connect::connect;
pub use error::NodeError;
pub use models::ServedModels;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use alloy::primitives::B256;
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span, error, error_span, info};

use self::stages::Pipeline;
use crate::{
    api::{self, NodeStatus, PipelineHandles},
    chain::{AlloyChain, Backoff, Endpoints},
    chance,
    config::Settings,
    engine::OnnxEngine,
    journal::{Identity, Journal, JournalError, SledJournal},
    keys::{Keys, Signer},
    metrics::Metrics,
    model::{ModelStore, StoreChanges},
    node::StageError,
    policy::Policy,
    protocol::statement::Domain,
    stages::{executor::ExecuteSettings, watcher::WatchSettings},
};

/// Restarts within [`RESTART_WINDOW`] after which a node that serves one chain gives up.
const MAX_RESTARTS: usize = 5;
/// The time in which restarts are counted.
const RESTART_WINDOW: Duration = Duration::from_secs(300);
/// How long a chain that cannot be served yet is left alone, where others are served.
const START_RETRY_PAUSE: Duration = Duration::from_secs(10);

/// The endpoints of a chain, as a node uses them.
pub type Pool = Endpoints<AlloyChain>;

/// Runs a node of one chain until shutdown. `served` has the models that it serves, once it does and as they come.
///
/// # Errors
/// `NodeError`: what keeps the node from starting, or what restarting the stages did not mend.
pub async fn run(
    settings: Settings,
    keys: Keys,
    served: watch::Sender<ServedModels>,
    shutdown: CancellationToken,
) -> Result<(), NodeError> {
    run_chains(vec![(settings, keys)], watch::channel(None).1, Some(served), shutdown).await
}

/// Runs a node of several chains until shutdown, on the engine of the first one's configuration. A chain that fails
/// while it runs is given up alone; what is wrong with a configuration at the start ends all. What may change while it runs
/// is taken from `updates`.
///
/// # Errors
/// `NodeError`: the first chain's that was given up.
pub async fn run_all(
    chains: Vec<(Settings, Keys)>,
    updates: ConfigUpdates,
    shutdown: CancellationToken,
) -> Result<(), NodeError> {
    run_chains(chains, updates, None, shutdown).await
}

async fn run_chains(
    chains: Vec<(Settings, Keys)>,
    updates: ConfigUpdates,
    served: Option<watch::Sender<ServedModels>>,
    shutdown: CancellationToken,
) -> Result<(), NodeError> {
    check_apart(&chains)?;
    let Some((first, _)) = chains.first() else { return Ok(()) };
    let engine = tokio::select! {
        () = shutdown.cancelled() => return Ok(()),
        engine = OnnxEngine::start(first.engine_options()) => Arc::new(engine?),
    };
    let count = chains.len();
    let stop = shutdown.child_token();
    let mut serving = JoinSet::new();
    for (index, (settings, keys)) in chains.into_iter().enumerate() {
        let span = if count > 1 { error_span!("chain", id = settings.chain.chain_id) } else { Span::none() };
        let (updates, engine, served) = (updates.clone(), engine.clone(), served.clone().unwrap_or_default());
        let node = ServedChain { settings, keys, updates, index, engine, served, chains: count };
        serving.spawn(node.serve(stop.clone()).instrument(span));
    }
    let mut result = Ok(());
    while let Some(joined) = serving.join_next().await {
        let ended = joined.unwrap_or_else(|panic| {
            error!(%panic, "a chain's supervisor panicked");
            Err(StageError::Gone("panicked chain").into())
        });
        if let Err(error) = &ended {
            if error.is_configuration() {
                stop.cancel();
            } else if !serving.is_empty() {
                error!(%error, "a chain is given up; the others go on");
            }
        }
        result = result.and(ended);
    }
    result
}

/// Refuses chains that share what belongs to one.
fn check_apart(chains: &[(Settings, Keys)]) -> Result<(), NodeError> {
    for (index, (settings, keys)) in chains.iter().enumerate() {
        for (other, others) in &chains[..index] {
            if other.node.data_dir == settings.node.data_dir {
                return Err(NodeError::Shared(format!("node.data_dir, {}", settings.node.data_dir.display())));
            }
            if other.chain.chain_id != settings.chain.chain_id {
                continue;
            }
            let chain = settings.chain.chain_id;
            if other.chain.coordinator == settings.chain.coordinator {
                return Err(NodeError::Shared(format!("the coordinator {} of chain {chain}", other.chain.coordinator)));
            }
            let sender = |key: &&Arc<dyn Signer>| others.senders.iter().any(|other| other.address() == key.address());
            if let Some(shared) = keys.senders.iter().find(sender) {
                return Err(NodeError::Shared(format!("the sending key {} on chain {chain}", shared.address())));
            }
        }
    }
    Ok(())
}

/// What follows the failure of a stage.
#[derive(Debug, PartialEq, Eq)]
enum AfterFailure {
    GiveUp,
    Stop,
    BuildAnew,
}

/// The pause before stages are built anew after so many failures: 2 s, doubled up to 32 s, of which up to half is left out by
/// chance, so that not all nodes come back at once.
fn restart_pause(failures: usize) -> Duration {
    Duration::from_secs(1 << failures.min(5)).mul_f64(0.5 + chance::share() / 2.0)
}

/// What follows a failure, the last of so many within [`RESTART_WINDOW`].
fn after_failure(error: &StageError, is_stopping: bool, is_only_chain: bool, failures: usize) -> AfterFailure {
    if error.is_lasting() {
        AfterFailure::GiveUp
    } else if is_stopping {
        // Such as a call that was cut off: whoever stops a node is not to be told of an error.
        AfterFailure::Stop
    } else if is_only_chain && failures > MAX_RESTARTS {
        // One of several chains is never given up: no other process could take its place.
        AfterFailure::GiveUp
    } else {
        AfterFailure::BuildAnew
    }
}

/// How a chain ended. What ended it comes first; a journal that fails at last is no matter of the configuration.
fn ended(result: Result<(), NodeError>, synced: Result<(), JournalError>) -> Result<(), NodeError> {
    result.and(synced.map_err(|error| StageError::from(error).into()))
}

/// A chain and what serves it.
struct ServedChain {
    settings: Settings,
    keys: Keys,
    updates: ConfigUpdates,
    /// Its place among the configurations.
    index: usize,
    engine: Arc<OnnxEngine>,
    served: watch::Sender<ServedModels>,
    /// Number of chains that the process serves.
    chains: usize,
}

impl ServedChain {
    async fn serve(self, shutdown: CancellationToken) -> Result<(), NodeError> {
        let (mut first, mut backoff) = (true, Backoff::default());
        let (started, changes) = loop {
            let started = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                started = self.start() => started,
            };
            match started {
                Ok(started) => break started,
                Err(error) if self.chains == 1 || (first && error.is_configuration()) => return Err(error),
                Err(error) => {
                    if std::mem::replace(&mut first, false) {
                        error!(%error, "this chain cannot be served yet; trying again");
                    }
                    tokio::select! {
                        () = shutdown.cancelled() => return Ok(()),
                        () = tokio::time::sleep(START_RETRY_PAUSE + backoff.failed()) => {}
                    }
                }
            }
        };
        let _service = match self.settings.node.status_listen {
            Some(address) => {
                let chain = started.chain.clone();
                let status = NodeStatus {
                    chain_id: self.settings.chain.chain_id,
                    journal: started.journal.clone(),
                    metrics: started.metrics.clone(),
                    endpoints: Box::new(move || chain.health()),
                    pipeline: started.pipeline.subscribe(),
                };
                let bound = api::serve(address, &self.settings.node.data_dir, status);
                Some(bound.await.map_err(|error| NodeError::Status { address, error })?)
            }
            None => None,
        };
        let (updates, policy) = (self.updates.clone(), &started.policy);
        let following = config_updates::follow(updates, self.index, &self.settings, self.served.subscribe(), policy);
        let loading = models::follow(
            &self.settings.node,
            changes,
            &started.engine,
            &self.served,
            &started.models,
            &started.metrics,
        );
        tokio::pin!(following, loading);
        let mut failures: Vec<Instant> = Vec::new();
        let result = loop {
            let ended = tokio::select! {
                ended = stages::run(self.pipeline(&started), &started.pipeline, &shutdown) => ended,
                never = &mut following => match never {},
                never = &mut loading => match never {},
            };
            let Err(error) = ended else { break Ok(()) };
            failures.retain(|at| at.elapsed() < RESTART_WINDOW);
            failures.push(Instant::now());
            match after_failure(&error, shutdown.is_cancelled(), self.chains == 1, failures.len()) {
                AfterFailure::GiveUp => break Err(error.into()),
                AfterFailure::Stop => {
                    info!(%error, "a stage failed while all were stopping; its work goes on at the next start");
                    break Ok(());
                }
                AfterFailure::BuildAnew => error!(%error, "a stage ended; building all anew from the journal"),
            }
            tokio::select! {
                () = shutdown.cancelled() => break Ok(()),
                () = tokio::time::sleep(restart_pause(failures.len())) => {}
            }
        };
        info!(counters = %started.metrics.so_far(&*started.journal), "stopped");
        ended(result, started.journal.sync())
    }

    fn pipeline(&self, started: &Started) -> Pipeline<Pool, SledJournal> {
        let Settings { chain, engine, .. } = &self.settings;
        Pipeline {
            chain: started.chain.clone(),
            journal: started.journal.clone(),
            engine: started.engine.clone(),
            keys: self.keys.clone(),
            domain: Domain { chain_id: chain.chain_id, coordinator: chain.coordinator },
            policy: started.policy.subscribe(),
            metrics: started.metrics.clone(),
            watch: WatchSettings {
                deployment_block: chain.deployment_block,
                finality: chain.finality(),
                depth: chain.reorg_depth,
                page: chain.log_page,
                models: started.models.subscribe(),
                started_at: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            },
            execute: ExecuteSettings { limit: engine.queue.div_ceil(self.chains), sessions: started.engine.sessions() },
        }
    }

    /// Everything that can be found wrong before work is taken. With it comes what tells of changes of the store since.
    async fn start(&self) -> Result<(Started, StoreChanges), NodeError> {
        let Self { settings, keys, engine, .. } = self;
        let chain = connect(settings).await?;
        let identity = Identity {
            chain_id: settings.chain.chain_id,
            coordinator: settings.chain.coordinator,
            signer: keys.signer.address(),
        };
        let journal = Arc::new(SledJournal::open(&settings.node.data_dir, &identity)?);
        let changes = StoreChanges::since_now(ModelStore::new(&settings.node.models_dir));
        let named = models::load(&settings.node, engine).await?;
        let models = models::by_id(&named);
        let policy = Policy::new(settings, |name| config_updates::id_of(&named, name)).map_err(NodeError::Policy)?;
        let policy = watch::Sender::new(policy);
        connect::warn_of_what_is_missing(settings, keys, &chain, &models).await;
        let (engine, metrics, pipeline) = (engine.clone(), Arc::<Metrics>::default(), watch::Sender::new(None));
        models::tell_places(&named, &engine, &metrics);
        self.served.send_replace(named);
        let models = watch::Sender::new(models);
        Ok((Started { chain, journal, engine, models, policy, metrics, pipeline }, changes))
    }
}

/// A chain that is ready to be served: connected, its journal open, its models loaded.
struct Started {
    chain: Arc<Pool>,
    journal: Arc<SledJournal>,
    engine: Arc<OnnxEngine>,
    /// Ids and names of the models that are served.
    models: watch::Sender<HashMap<B256, String>>,
    policy: watch::Sender<Policy>,
    metrics: Arc<Metrics>,
    /// The running stages; `None` while they are built anew.
    pipeline: watch::Sender<Option<PipelineHandles>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_while_all_stop_is_no_error() {
        let passing = StageError::Gone("submitter");
        assert_eq!(after_failure(&passing, true, true, MAX_RESTARTS + 1), AfterFailure::Stop);
        assert_eq!(after_failure(&passing, false, true, MAX_RESTARTS), AfterFailure::BuildAnew);
        assert_eq!(after_failure(&passing, false, true, MAX_RESTARTS + 1), AfterFailure::GiveUp);
        assert_eq!(after_failure(&passing, false, false, MAX_RESTARTS + 1), AfterFailure::BuildAnew);
        let lasting = StageError::ReorgTooDeep { oldest: 1, cursor: 2 };
        assert_eq!(after_failure(&lasting, true, false, 1), AfterFailure::GiveUp);
    }

    #[test]
    fn a_chain_whose_database_failed_is_given_up_at_once_among_several_too() {
        let failed = StageError::Journal(JournalError::Store(sled::Error::ReportableBug("failed".into())));
        assert_eq!(after_failure(&failed, false, false, 1), AfterFailure::GiveUp);
    }

    #[test]
    fn a_journal_that_fails_at_the_end_hides_no_cause_and_ends_no_other_chain() {
        let full = || {
            let source = std::io::ErrorKind::StorageFull.into();
            Err(JournalError::Folder { path: "db".into(), source })
        };
        assert!(!ended(Ok(()), full()).unwrap_err().is_configuration());
        let cause = Err(StageError::Gone("submitter").into());
        assert!(matches!(ended(cause, full()), Err(NodeError::Stage(StageError::Gone(_)))));
        assert!(ended(Ok(()), Ok(())).is_ok());
    }
}
