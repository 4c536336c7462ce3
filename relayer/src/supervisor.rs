//! Owns the stages: makes their channels, starts them, and decides what happens when one ends.
//!
//! A stage that ends by itself takes the others with it; all are built anew from the journal, a few times, then the
//! node gives up with the last error.

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use alloy::primitives::B256;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    abi::InferenceCoordinator as Coordinator,
    attester::Attester,
    chain::{AlloyChain, Chain, ChainError, ClientSettings, Endpoints, Heard, PoolSettings, Trust},
    claimer::{ClaimSettings, Claimer},
    config::{self, ChainSettings, Endpoint, Settings},
    contract::{ReadError, Views},
    engine::{Engine, EngineOptions, Limits, LoadError, OnnxEngine, Provider, Source, StartError},
    executor::{ExecuteSettings, Executor},
    journal::{Identity, Journal, JournalError, SledJournal},
    keys::Keys,
    metrics::Metrics,
    model::{ModelError, ModelStore},
    node::{Node, StageError},
    policy::Policy,
    protocol::statement::Domain,
    status::{self, Board, Life},
    submitter::{SubmitPorts, Submitter},
    watcher::{WatchSettings, Watcher},
};

/// Answers between two stages at most.
const BETWEEN: usize = 256;
/// Restarts within `RESTART_WINDOW` after which the node gives up.
const RESTARTS: usize = 5;
const RESTART_WINDOW: Duration = Duration::from_secs(300);
const METRICS_INTERVAL: Duration = Duration::from_secs(60);

/// The endpoints of a chain, as a node uses them.
pub type Pool = Endpoints<AlloyChain>;

/// Why a node does not run, or stopped.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum NodeError {
    #[error("{error}; the endpoint was tried for {} s: check `chain.rpc_urls` and whether it runs", .tried.as_secs())]
    Unreachable { error: ChainError, tried: Duration },
    #[error(
        "{endpoint} is on chain {found}, and the configuration says {expected}: correct `chain.rpc_urls` or `chain.chain_id`"
    )]
    WrongChain { endpoint: String, found: u64, expected: u64 },
    #[error("{0}; correct `chain.ca_file`")]
    CaFile(String),
    #[error("there is no contract at {0} on this chain: correct `chain.coordinator` or `chain.rpc_urls`")]
    NoContract(alloy::primitives::Address),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Engine(#[from] StartError),
    #[error("model {name}: {error}")]
    Load { name: String, error: LoadError },
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error("there is no model to serve in {}: `oraculum model add` puts one there, or correct `node.models_dir`", .0.display())]
    NoModel(PathBuf),
    #[error("{0}")]
    Policy(String),
    #[error("cannot serve the status on {address}: {error}; correct `node.status_listen`")]
    Status { address: std::net::SocketAddr, error: std::io::Error },
    #[error(transparent)]
    Stage(#[from] StageError),
}

/// Runs a node until shutdown.
///
/// # Errors
/// `NodeError`: what stops a start, or what restarting the stages did not help.
pub async fn run(settings: Settings, keys: Keys, shutdown: CancellationToken) -> Result<(), NodeError> {
    let started = tokio::select! {
        () = shutdown.cancelled() => return Ok(()),
        started = start(&settings, &keys) => started?,
    };
    let _status = match settings.node.status_listen {
        Some(address) => {
            let chain = started.chain.clone();
            let board = Board {
                chain_id: settings.chain.chain_id,
                journal: started.journal.clone(),
                metrics: started.metrics.clone(),
                endpoints: Box::new(move || chain.health()),
                life: started.life.subscribe(),
            };
            let bound = status::serve(address, &settings.node.data_dir, board);
            Some(bound.await.map_err(|error| NodeError::Status { address, error })?)
        }
        None => None,
    };
    let mut failures: Vec<Instant> = Vec::new();
    let result = loop {
        let ended = stages(&settings, &keys, &started, &shutdown).await;
        let Err(error) = ended else { break Ok(()) };
        failures.retain(|at| at.elapsed() < RESTART_WINDOW);
        failures.push(Instant::now());
        if failures.len() > RESTARTS || error.is_lasting() {
            break Err(error.into());
        }
        error!(%error, "a stage ended; building all anew from the journal");
        tokio::select! {
            () = shutdown.cancelled() => break Ok(()),
            () = tokio::time::sleep(Duration::from_secs(1 << failures.len().min(5))) => {}
        }
    };
    info!(counters = %started.metrics.so_far(&*started.journal), "stopped");
    started.journal.sync()?;
    result
}

struct Started {
    chain: Arc<Pool>,
    journal: Arc<SledJournal>,
    engine: Arc<OnnxEngine>,
    models: HashSet<B256>,
    policy: watch::Sender<Policy>,
    metrics: Arc<Metrics>,
    life: watch::Sender<Option<Life>>,
}

/// Everything that can be found wrong before work is taken.
async fn start(settings: &Settings, keys: &Keys) -> Result<Started, NodeError> {
    let chain = connect(settings).await?;
    let identity = Identity {
        chain_id: settings.chain.chain_id,
        coordinator: settings.chain.coordinator,
        signer: keys.signer.address(),
    };
    let journal = Arc::new(SledJournal::open(&settings.node.data_dir, &identity)?);
    let limits = Limits { queue: settings.engine.queue, run: settings.engine.time_limit, ..Limits::default() };
    let engine = OnnxEngine::start(EngineOptions {
        runtime: settings.engine.runtime.clone(),
        provider: match settings.engine.provider {
            config::Provider::Cpu => Provider::Cpu,
            config::Provider::Cuda => Provider::Cuda,
            config::Provider::Auto => Provider::Auto,
        },
        devices: settings.engine.device_ids.clone(),
        limits,
    })
    .await?;
    let store = ModelStore::new(&settings.node.models_dir);
    let chosen = if settings.node.serve.is_empty() {
        store.list()?.into_iter().map(|summary| summary.model).collect::<Result<Vec<_>, _>>()?
    } else {
        settings.node.serve.iter().map(|name| store.open(name)).collect::<Result<Vec<_>, _>>()?
    };
    if chosen.is_empty() {
        return Err(NodeError::NoModel(settings.node.models_dir.clone()));
    }
    let (mut models, mut named) = (HashSet::new(), Vec::new());
    for model in chosen {
        let failed = |error| NodeError::Load { name: model.name.clone(), error };
        engine.load(Source::card(&model).map_err(failed)?).await.map_err(failed)?;
        named.push((model.name.clone(), model.id));
        models.insert(model.id);
    }
    let served =
        |name: &str| named.iter().find(|(known, id)| known == name || id.to_string() == name).map(|(_, id)| *id);
    let policy = watch::Sender::new(Policy::new(settings, served).map_err(NodeError::Policy)?);
    warn_of_what_is_missing(settings, keys, &chain, &models).await;
    Ok(Started {
        chain,
        journal,
        engine: Arc::new(engine),
        models,
        policy,
        metrics: Arc::default(),
        life: watch::Sender::new(None),
    })
}

/// The endpoints of a chain, not connected to yet.
fn endpoints(chain: &ChainSettings) -> Result<Pool, NodeError> {
    let trust =
        chain.ca_file.as_deref().map(Trust::from_file).transpose().map_err(NodeError::CaFile)?.unwrap_or_default();
    let client = ClientSettings {
        timeout: chain.request_timeout,
        poll: chain.poll_interval,
        requests_per_second: chain.requests_per_second,
        trust,
    };
    let endpoint = |url: &Endpoint| (url.to_string(), Arc::new(AlloyChain::new(url.clone(), client.clone())));
    let settings = PoolSettings { chain_id: chain.chain_id, quorum: chain.quorum, patience: chain.request_timeout };
    Ok(Endpoints::new(chain.rpc_urls.iter().map(endpoint).collect(), settings))
}

/// Connects and checks that chain and coordinator are what the configuration says.
///
/// # Errors
/// `Unreachable` after trying for `chain.start_timeout`, `WrongChain`, `NoContract`, or `Read` for a contract that is something
/// else.
pub async fn connect(settings: &Settings) -> Result<Arc<Pool>, NodeError> {
    let ChainSettings { coordinator, start_timeout: tried, .. } = settings.chain;
    let chain = Arc::new(endpoints(&settings.chain)?);
    let (began, mut pause) = (Instant::now(), Duration::from_millis(250));
    let ready = loop {
        match chain.check().await {
            Ok(ready) => break ready,
            Err(ChainError::WrongChain { endpoint, found, expected }) => {
                return Err(NodeError::WrongChain { endpoint, found, expected });
            }
            Err(error) if began.elapsed() < tried => {
                warn!(%error, "trying the endpoints again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(5));
            }
            Err(error) => return Err(NodeError::Unreachable { error, tried }),
        }
    };
    if ready < settings.chain.rpc_urls.len() {
        warn!(ready, of = settings.chain.rpc_urls.len(), "some endpoints do not answer; going on with the others");
    }
    if chain.code(coordinator).await.map_err(ReadError::from)?.is_empty() {
        return Err(NodeError::NoContract(coordinator));
    }
    match Views::new(&*chain, coordinator).read(Coordinator::parameterVersionCall {}).await {
        Err(ReadError::Chain(ChainError::Reverted(_))) => Err(ReadError::NotACoordinator(coordinator).into()),
        Err(error) => Err(error.into()),
        Ok(_) => Ok(chain),
    }
}

/// What keeps a node from earning, each in a line with its remedy. None stops it: all can be mended while it runs.
async fn warn_of_what_is_missing(settings: &Settings, keys: &Keys, chain: &Pool, models: &HashSet<B256>) {
    let (signer, owner) = (keys.signer.address(), settings.node.owner);
    let views = Views::new(chain, settings.chain.coordinator);
    if let Ok(registered) = views.read(Coordinator::signerOfCall { owner }).await
        && registered != signer
    {
        warn!(%owner, %signer, %registered, "the signer is not registered for the owner: `oraculum node register` does that");
    }
    let mut seats = 0;
    for model in models {
        if let Ok(Some(held)) = views.seats(*model).await {
            seats += held.iter().filter(|seat| seat.signer == signer).count();
        }
    }
    if seats == 0 {
        warn!(%signer, models = models.len(), "the signer holds no seat on a served model, so nothing can be answered: `oraculum node join MODEL` takes one");
    }
    let senders: Vec<_> = keys.senders.iter().map(|key| key.address()).collect();
    for sender in &senders {
        if chain.balance(*sender).await.is_ok_and(|balance| balance.is_zero()) {
            warn!(account = %sender, "a sending key has no money for gas: send it some");
        }
    }
    info!(endpoints = settings.chain.rpc_urls.len(), %signer, ?senders, seats, models = models.len(), "the node is set up");
}

/// One life of all stages. Returns when shutdown is asked for, or with what ended one of them.
async fn stages(
    settings: &Settings,
    keys: &Keys,
    started: &Started,
    shutdown: &CancellationToken,
) -> Result<(), StageError> {
    let Started { chain, journal, engine, models, metrics, .. } = started;
    let domain = Domain { chain_id: settings.chain.chain_id, coordinator: settings.chain.coordinator };
    let signer = keys.signer.address();
    let node = Arc::new(Node::new(
        chain.clone(),
        journal.clone(),
        domain,
        signer,
        started.policy.subscribe(),
        metrics.clone(),
    ));

    let (heads, heads_seen) = watch::channel(None);
    let (tips, tips_seen) = watch::channel(None);
    let (funded, funded_seen) = watch::channel(true);
    let (executed, executed_in) = mpsc::channel(BETWEEN);
    let (answers, answers_in) = mpsc::channel(BETWEEN);
    let (claims, claims_in) = mpsc::channel(4);

    let watch_settings = WatchSettings {
        deployment_block: settings.chain.deployment_block,
        finality: settings.chain.finality,
        depth: settings.chain.reorg_depth,
        page: settings.chain.log_page,
        models: models.clone(),
    };
    let claim_settings = ClaimSettings { batch: 32, every: 16, patience: 256 };
    let execute_settings = ExecuteSettings { limit: settings.engine.queue, sessions: engine.sessions() };
    let ports = SubmitPorts { answers: answers_in, claims: claims_in, tips: tips_seen.clone(), funded };

    let watcher = Watcher::new(node.clone(), watch_settings, heads_seen, tips)?;
    let engine: Arc<dyn Engine> = engine.clone();
    let executor =
        Executor::new(node.clone(), engine, execute_settings, tips_seen.clone(), funded_seen.clone(), executed);
    let attester = Attester::new(node.clone(), keys.signer.clone(), executed_in, answers);
    let submitter = Submitter::new(node.clone(), keys.senders.clone(), ports)?;
    let seats = {
        let node = node.clone();
        Arc::new(move || node.seats().models().iter().map(|model| node.seats().held(*model, node.signer)).sum())
    };
    let life = Life { tips: tips_seen.clone(), funded: funded_seen.clone(), seats };
    let claimer = Claimer::new(node, claim_settings, tips_seen, claims);

    let token = shutdown.child_token();
    let mut set = JoinSet::new();
    let (following, stop, counters) = (chain.clone(), token.clone(), metrics.clone());
    set.spawn(async move {
        let tell = |heard: Heard| {
            if let Ok(head) = heard.head {
                heads.send_replace(Some(head));
            }
        };
        following.follow(&tell, &stop).await;
        Ok(())
    });
    set.spawn(watcher.run(token.clone()));
    set.spawn(executor.run(token.clone()));
    set.spawn(attester.run(token.clone()));
    set.spawn(submitter.run(token.clone()));
    set.spawn(claimer.run(token.clone()));
    set.spawn(report(counters, journal.clone(), token.clone()));

    started.life.send_replace(Some(life));
    let first = set.join_next().await;
    started.life.send_replace(None);
    let asked = shutdown.is_cancelled();
    token.cancel();
    let mut result = ended(first);
    while let Some(next) = set.join_next().await {
        result = result.and(ended(Some(next)));
    }
    match result {
        Ok(()) if !asked => Err(StageError::Gone("pipeline")),
        result => result,
    }
}

fn ended(joined: Option<Result<Result<(), StageError>, tokio::task::JoinError>>) -> Result<(), StageError> {
    match joined {
        Some(Ok(result)) => result,
        Some(Err(panic)) => {
            error!(%panic, "a stage panicked");
            Err(StageError::Gone("panicked stage"))
        }
        None => Ok(()),
    }
}

async fn report(
    metrics: Arc<Metrics>,
    journal: Arc<SledJournal>,
    shutdown: CancellationToken,
) -> Result<(), StageError> {
    let mut last = None;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(METRICS_INTERVAL) => {
                let now = metrics.so_far(&*journal);
                if last.as_ref() != Some(&now) {
                    info!(counters = %now, "so far");
                    last = Some(now);
                }
            }
        }
    }
}
