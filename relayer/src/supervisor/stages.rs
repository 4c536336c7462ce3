//! The stages of a chain, from their start to the end of all.

use std::{sync::Arc, time::Duration};

use alloy::{primitives::Address, sol_types::SolCall};
use futures::FutureExt;
use tokio::{
    sync::{mpsc, watch},
    task::{JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info, warn};

use super::{Pool, Started, head_watch};
use crate::{
    api::PipelineHandles,
    chain::{Call, Chain, HeadUpdate},
    conditions::{Conditions, Obstacle},
    config::{ChainSettings, Settings},
    coordinator::abi::InferenceCoordinator as Coordinator,
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

/// Answers between two stages, at most.
const ANSWER_BUFFER: usize = 256;
/// Batches of claims between claimer and submitter, at most.
const CLAIM_BUFFER: usize = 4;
/// Time between two tries of what endpoints can do: they are exchanged behind their addresses.
const CAPABILITY_INTERVAL: Duration = Duration::from_secs(60);
/// The same while they cannot do enough.
const LACKING_INTERVAL: Duration = Duration::from_secs(5);
/// Pause before what an endpoint refused is tried once more.
const CAPABILITY_DOUBT: Duration = Duration::from_secs(2);
/// The pause between two log lines of counters.
const METRICS_INTERVAL: Duration = Duration::from_secs(60);

/// Runs all stages, until shutdown is asked for or one of them ends.
///
/// # Errors
/// `StageError`: of the stage that ended the others.
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
    let (executed, executed_in) = mpsc::channel(ANSWER_BUFFER);
    let (answers, answers_in) = mpsc::channel(ANSWER_BUFFER);
    let (claims, claims_in) = mpsc::channel(CLAIM_BUFFER);

    let watch_settings = WatchSettings {
        deployment_block: settings.chain.deployment_block,
        finality: settings.chain.finality(),
        depth: settings.chain.reorg_depth,
        page: settings.chain.log_page,
        models: models.clone(),
    };
    let claim_settings = ClaimSettings { batch: 32, patience: 256 };
    let execute_settings =
        ExecuteSettings { limit: settings.engine.queue.div_ceil(started.chains), sessions: engine.sessions() };
    let ports = SubmitPorts { answers: answers_in, claims: claims_in, heads: tips_seen.clone(), funded };

    let reported = heads_seen.clone();
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
    let conditions = node.conditions.clone();
    let handles =
        PipelineHandles { heads: tips_seen.clone(), funded: funded_seen, conditions: conditions.clone(), seats };
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
    let watching = head_watch::watch(reported, conditions.clone(), token.clone());
    set.spawn(watching.map(Ok).in_current_span());
    let sender = keys.senders.first().map_or(signer, |key| key.address());
    let trying = try_capabilities(chain.clone(), conditions, settings.chain.clone(), sender, token.clone());
    set.spawn(trying.map(Ok).in_current_span());
    set.spawn(watcher.run(token.clone()).in_current_span());
    set.spawn(executor.run(token.clone()).in_current_span());
    set.spawn(attester.run(token.clone()).in_current_span());
    set.spawn(submitter.run(token.clone()).in_current_span());
    set.spawn(claimer.run(token.clone()).in_current_span());
    set.spawn(report(counters, journal.clone(), token.clone()).in_current_span());

    started.pipeline.send_replace(Some(handles));
    let first = set.join_next().await;
    started.pipeline.send_replace(None);
    let asked = shutdown.is_cancelled();
    token.cancel();
    let mut ends: Vec<_> = first.into_iter().map(StageEnd::from).collect();
    while let Some(next) = set.join_next().await {
        ends.push(next.into());
    }
    outcome(asked, ends)
}

/// Tries whether the endpoints can do what the node needs, at the start and again while they cannot.
async fn try_capabilities(
    chain: Arc<Pool>,
    conditions: Arc<Conditions>,
    settings: ChainSettings,
    sender: Address,
    shutdown: CancellationToken,
) {
    let mut told = Vec::new();
    let data = Coordinator::parameterVersionCall {}.abi_encode().into();
    let call = Call { from: None, to: Some(settings.coordinator), data, gas: None, block: None };
    let trying = async {
        loop {
            let mut lacks = chain.lacks(&call, sender, settings.finality()).await;
            if !lacks.all.is_empty() {
                // A block may have been reorganised meanwhile.
                tokio::time::sleep(CAPABILITY_DOUBT).await;
                lacks = chain.lacks(&call, sender, settings.finality()).await;
            }
            for line in &lacks.some {
                if !told.contains(line) {
                    warn!("{line}; the other endpoints are asked instead");
                }
            }
            told = lacks.some;
            if lacks.all.is_empty() {
                conditions.clear(Obstacle::Capability);
            } else {
                conditions.hinder(Obstacle::Capability, format!("{}; use another", lacks.all.join("; ")));
            }
            let lacking = !lacks.all.is_empty();
            tokio::time::sleep(if lacking { LACKING_INTERVAL } else { CAPABILITY_INTERVAL }).await;
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        never = trying => never,
    }
}

/// How a stage ended.
enum StageEnd {
    /// It was told to.
    Told,
    /// By an error.
    Failed(StageError),
    Panicked,
}

impl From<Result<Result<(), StageError>, JoinError>> for StageEnd {
    fn from(joined: Result<Result<(), StageError>, JoinError>) -> Self {
        match joined {
            Ok(Ok(())) => Self::Told,
            Ok(Err(error)) => Self::Failed(error),
            Err(panic) => {
                error!(%panic, "a stage panicked");
                Self::Panicked
            }
        }
    }
}

/// What all stages come to, from how each ended, in order; `asked` if the first one ended after a shutdown was asked for.
///
/// The cause is the first stage that failed or panicked. One that found its channel's other end gone lost another stage; in a
/// shutdown that is how stages end which are told so at different moments.
fn outcome(asked: bool, ends: Vec<StageEnd>) -> Result<(), StageError> {
    let mut lost = None;
    for end in ends {
        match end {
            StageEnd::Told => {}
            StageEnd::Panicked => return Err(StageError::Gone("panicked stage")),
            StageEnd::Failed(StageError::Gone(stage)) => lost = lost.or(Some(stage)),
            StageEnd::Failed(cause) => return Err(cause),
        }
    }
    if asked { Ok(()) } else { Err(StageError::Gone(lost.unwrap_or("pipeline"))) }
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

#[cfg(test)]
mod tests {
    use StageEnd::{Failed, Panicked, Told};

    use super::*;
    use crate::journal::JournalError;

    fn gone() -> StageEnd {
        Failed(StageError::Gone("submitter"))
    }

    #[test]
    fn a_stage_whose_channel_ends_during_a_shutdown_is_no_failure() {
        assert!(outcome(true, vec![Told, gone(), Told, gone()]).is_ok());
        assert!(outcome(true, vec![gone(), Told]).is_ok());
        assert!(outcome(true, vec![Told, Told]).is_ok());
    }

    #[test]
    fn a_failure_during_a_shutdown_is_told_and_so_is_a_panic() {
        let journal = || Failed(StageError::Journal(JournalError::Missing("here".into())));
        assert!(matches!(outcome(true, vec![Told, gone(), journal()]), Err(StageError::Journal(_))));
        assert!(matches!(outcome(true, vec![gone(), Panicked]), Err(StageError::Gone("panicked stage"))));
    }

    #[test]
    fn the_stage_that_failed_is_named_and_not_those_that_lost_it() {
        let deep = || Failed(StageError::ReorgTooDeep { oldest: 1, cursor: 2 });
        let ended = outcome(false, vec![gone(), gone(), deep(), Told]);
        assert!(ended.is_err_and(|error| error.is_lasting()));
        assert!(matches!(outcome(false, vec![gone(), Told]), Err(StageError::Gone("submitter"))));
        assert!(matches!(outcome(false, vec![Told, Told]), Err(StageError::Gone("pipeline"))));
    }
}
