//! From a configuration to a chain that is what the configuration says.

use std::{collections::HashMap, sync::Arc, time::Instant};

use alloy::primitives::{Address, B256};
use tracing::{info, warn};

use super::{NodeError, Pool};
use crate::{
    chain::{AlloyChain, Backoff, Chain, ChainError, ClientSettings, Endpoint, Endpoints, PoolSettings},
    config::{ChainSettings, Settings},
    coordinator::{ReadError, Views, abi::InferenceCoordinator as Coordinator},
    keys::Keys,
};

/// The endpoints of a chain, not connected to yet.
fn endpoints(chain: &ChainSettings) -> Result<Pool, NodeError> {
    let client = ClientSettings {
        timeout: chain.request_timeout,
        poll: chain.poll_interval,
        requests_per_second: chain.requests_per_second,
        trust: chain.trust()?,
    };
    let endpoint = |url: &Endpoint| (url.to_string(), Arc::new(AlloyChain::new(url.clone(), client.clone())));
    let settings = PoolSettings { chain_id: chain.chain_id, quorum: chain.quorum, timeout: chain.request_timeout };
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
    let (began, mut backoff, mut is_told) = (Instant::now(), Backoff::default(), false);
    let (ready, is_coordinator) = loop {
        match check(&chain, coordinator).await {
            Ok(found) => break found,
            Err(NodeError::Read(ReadError::Chain(error))) if began.elapsed() < tried && error.is_retryable() => {
                if !std::mem::replace(&mut is_told, true) {
                    warn!(%error, seconds = tried.as_secs(), "no endpoint can be used yet; trying them again");
                }
                tokio::time::sleep(backoff.failed()).await;
            }
            Err(NodeError::Read(ReadError::Chain(error))) => return Err(NodeError::Unreachable { error, tried }),
            Err(error) => return Err(error),
        }
    };
    if ready < settings.chain.rpc_urls.len() {
        warn!(ready, of = settings.chain.rpc_urls.len(), "some endpoints do not answer; going on with the others");
    }
    if is_coordinator { Ok(chain) } else { Err(ReadError::NotACoordinator(coordinator).into()) }
}

/// Number of endpoints that are ready, and whether the contract answers as a coordinator.
async fn check(chain: &Arc<Pool>, coordinator: Address) -> Result<(usize, bool), NodeError> {
    let ready = match chain.check().await {
        Err(ChainError::WrongChain { endpoint, found, expected }) => {
            return Err(NodeError::WrongChain { endpoint, found, expected });
        }
        checked => checked.map_err(ReadError::from)?,
    };
    if chain.code(coordinator).await.map_err(ReadError::from)?.is_empty() {
        return Err(NodeError::NoContract(coordinator));
    }
    match Views::new(&**chain, coordinator).read(Coordinator::parameterVersionCall {}).await {
        Err(ReadError::Chain(ChainError::Reverted(_))) => Ok((ready, false)),
        Err(error) => Err(error.into()),
        Ok(_) => Ok((ready, true)),
    }
}

/// Warns of what keeps a node from earning, with its remedy. None of it stops the start: all can be mended while it runs.
pub(super) async fn warn_of_what_is_missing(
    settings: &Settings,
    keys: &Keys,
    chain: &Pool,
    models: &HashMap<B256, String>,
) {
    let (signer, owner) = (keys.signer.address(), settings.node.owner);
    let views = Views::new(chain, settings.chain.coordinator);
    if let Ok(registered) = views.read(Coordinator::signerOfCall { owner }).await
        && registered != signer
    {
        warn!(%owner, %signer, %registered, "the signer is not registered for the owner: `oraculum node register` does that");
    }
    let mut seats = 0;
    for model in models.keys() {
        if let Ok(Some(held)) = views.seats(*model).await {
            seats += held.iter().filter(|seat| seat.signer == signer).count();
        }
    }
    if seats == 0 {
        warn!(%signer, models = models.len(), "the signer holds no seat on a served model, so nothing can be answered: `oraculum node join MODEL` takes one");
    }
    let senders: Vec<_> = keys.senders.iter().map(|key| key.address()).collect();
    info!(endpoints = settings.chain.rpc_urls.len(), %signer, ?senders, seats, models = models.len(), "the node is set up");
}
