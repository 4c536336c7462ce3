//! One life of a chain's stages.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info};

use super::Started;
use crate::{
    api::PipelineHandles,
    chain::{Chain, HeadUpdate},
    config::Settings,
    engine::Engine,
    journal::SledJournal,
    keys::Keys,
    metrics::Metrics,
    node::{Node, StageError},
    protocol::statement::Domain,
    stages::{
        attester::Attester,
        claimer::{ClaimSettings, Claimer},
        executor::{ExecuteSettings, Executor},
        submitter::{SubmitPorts, Submitter},
        watcher::{WatchSettings, Watcher},
    },
};

/// Answers between two stages at most.
const BETWEEN: usize = 256;
const METRICS_INTERVAL: Duration = Duration::from_secs(60);

/// One life of all stages. Returns when shutdown is asked for, or with what ended one of them.
pub(super) async fn run(
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
    let claim_settings = ClaimSettings { batch: 32, patience: 256 };
    let execute_settings =
        ExecuteSettings { limit: settings.engine.queue.div_ceil(started.chains), sessions: engine.sessions() };
    let ports = SubmitPorts { answers: answers_in, claims: claims_in, heads: tips_seen.clone(), funded };

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
    let life = PipelineHandles { tips: tips_seen.clone(), funded: funded_seen, seats };
    let claimer = Claimer::new(node, claim_settings, tips_seen, claims);

    let token = shutdown.child_token();
    let mut set = JoinSet::new();
    let (following, stop, counters) = (chain.clone(), token.clone(), metrics.clone());
    let follow = async move {
        let tell = |heard: HeadUpdate| {
            if let Ok(head) = heard.head {
                heads.send_replace(Some(head));
            }
        };
        following.follow(&tell, &stop).await;
        Ok(())
    };
    set.spawn(follow.in_current_span());
    set.spawn(watcher.run(token.clone()).in_current_span());
    set.spawn(executor.run(token.clone()).in_current_span());
    set.spawn(attester.run(token.clone()).in_current_span());
    set.spawn(submitter.run(token.clone()).in_current_span());
    set.spawn(claimer.run(token.clone()).in_current_span());
    set.spawn(report(counters, journal.clone(), token.clone()).in_current_span());

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
