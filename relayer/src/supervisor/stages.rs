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

use super::{head_watch, warm_up};
use crate::{
    api::PipelineHandles,
    chain::{Call, Chain, Finality, HeadUpdate},
    conditions::{Conditions, Obstacle},
    coordinator::abi::InferenceCoordinator as Coordinator,
    engine::Engine,
    journal::Journal,
    keys::Keys,
    metrics::Metrics,
    node::{Node, StageError},
    policy::Policy,
    protocol::statement::Domain,
    stages::{
        attester::Attester,
        claimer::{ClaimSettings, Claimer},
        executor::{ExecutePorts, ExecuteSettings, Executor},
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

/// What the stages of a chain are made of.
pub struct Pipeline<C, J> {
    /// Endpoints of the chain.
    pub chain: Arc<C>,
    /// Journal of the deployment.
    pub journal: Arc<J>,
    /// Runs the models.
    pub engine: Arc<dyn Engine>,
    /// Sign answers and transactions.
    pub keys: Keys,
    /// Chain and coordinator.
    pub domain: Domain,
    /// Policy of what is answered, and what that may cost.
    pub policy: watch::Receiver<Policy>,
    /// Counters of what the node did.
    pub metrics: Arc<Metrics>,
    /// How the chain is watched.
    pub watch: WatchSettings,
    /// How models are run.
    pub execute: ExecuteSettings,
}

/// Runs all stages, until shutdown is asked for or one of them ends. Meanwhile `running` has the handles to look at them.
///
/// # Errors
/// `StageError`: of the stage that ended the others.
pub async fn run<C: Chain, J: Journal>(
    pipeline: Pipeline<C, J>,
    running: &watch::Sender<Option<PipelineHandles>>,
    shutdown: &CancellationToken,
) -> Result<(), StageError> {
    let Pipeline { chain, journal, engine, keys, domain, policy, metrics, watch: watch_settings, execute } = pipeline;
    let signer = keys.signer.address();
    let node = Arc::new(Node::new(chain.clone(), journal.clone(), domain, signer, policy, metrics.clone()));

    let (headers, headers_in) = watch::channel(None);
    let (heads, heads_in) = watch::channel(None);
    let (funded, funded_seen) = watch::channel(true);
    let (executed, executed_in) = mpsc::channel(ANSWER_BUFFER);
    let (answers, answers_in) = mpsc::channel(ANSWER_BUFFER);
    let (claims, claims_in) = mpsc::channel(CLAIM_BUFFER);

    let claim_settings = ClaimSettings { batch: 32, max_wait: 256 };
    let ports = SubmitPorts { answers: answers_in, claims: claims_in, heads: heads_in.clone(), funded };

    let (reported, announced) = (headers_in.clone(), headers_in.clone());
    let warming = warm_up::follow(announced, watch_settings.models.clone(), domain.coordinator, engine.clone());
    let finality = watch_settings.finality;
    let watcher = Watcher::new(node.clone(), watch_settings, headers_in, heads)?;
    let execute_ports = ExecutePorts { heads: heads_in.clone(), funded: funded_seen.clone(), executed };
    let executor = Executor::new(node.clone(), engine, execute, execute_ports);
    let attester = Attester::new(node.clone(), keys.signer.clone(), executed_in, answers);
    let submitter = Submitter::new(node.clone(), keys.senders.clone(), ports)?;
    let seats = {
        let node = node.clone();
        Arc::new(move || {
            // Read once: a second reading waits for whoever waits to write, who waits for the first.
            let seats = node.seats();
            seats.models().iter().map(|model| seats.held(*model, node.signer)).sum()
        })
    };
    let conditions = node.conditions.clone();
    let handles =
        PipelineHandles { heads: heads_in.clone(), funded: funded_seen, conditions: conditions.clone(), seats };
    let claimer = Claimer::new(node, claim_settings, heads_in, claims);

    let token = shutdown.child_token();
    let mut set = JoinSet::new();
    let (following, stop, counters) = (chain.clone(), token.clone(), metrics.clone());
    let follow = async move {
        let tell = |heard: HeadUpdate| {
            if let Ok(head) = heard.head {
                headers.send_replace(Some(head));
            }
        };
        following.follow(&tell, &stop).await;
        Ok(())
    };
    set.spawn(follow.in_current_span());
    let watching = head_watch::watch(reported, conditions.clone(), token.clone());
    set.spawn(watching.map(Ok).in_current_span());
    let sender = keys.senders.first().map_or(signer, |key| key.address());
    let data = Coordinator::parameterVersionCall {}.abi_encode().into();
    let call = Call { from: None, to: Some(domain.coordinator), data, gas: None, block: None };
    let trying = try_capabilities(chain.clone(), conditions, call, sender, finality, token.clone());
    set.spawn(trying.map(Ok).in_current_span());
    let stop = token.clone();
    let warming = async move {
        stop.run_until_cancelled(warming).await;
        Ok(())
    };
    set.spawn(warming.in_current_span());
    set.spawn(watcher.run(token.clone()).in_current_span());
    set.spawn(executor.run(token.clone()).in_current_span());
    set.spawn(attester.run(token.clone()).in_current_span());
    set.spawn(submitter.run(token.clone()).in_current_span());
    set.spawn(claimer.run(token.clone()).in_current_span());
    set.spawn(report(counters, journal.clone(), token.clone()).in_current_span());

    running.send_replace(Some(handles));
    let first = set.join_next().await;
    running.send_replace(None);
    let asked = shutdown.is_cancelled();
    token.cancel();
    let mut ends: Vec<_> = first.into_iter().map(StageEnd::from).collect();
    while let Some(next) = set.join_next().await {
        ends.push(next.into());
    }
    outcome(asked, ends)
}

/// Tries whether the endpoints can do what the node needs, at the start and again while they cannot.
async fn try_capabilities<C: Chain>(
    chain: Arc<C>,
    conditions: Arc<Conditions>,
    call: Call,
    sender: Address,
    finality: Finality,
    shutdown: CancellationToken,
) {
    let mut told = Vec::new();
    let trying = async {
        loop {
            let mut lacks = chain.lacks(&call, sender, finality).await;
            if !lacks.all.is_empty() {
                // A block may have been reorganised meanwhile.
                tokio::time::sleep(CAPABILITY_DOUBT).await;
                lacks = chain.lacks(&call, sender, finality).await;
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
        biased;
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

async fn report<J: Journal>(
    metrics: Arc<Metrics>,
    journal: Arc<J>,
    shutdown: CancellationToken,
) -> Result<(), StageError> {
    let mut last = None;
    loop {
        tokio::select! {
            biased;
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
