//! A bad endpoint before a good one: drops, delays, duplicates, refuses, lies about heads and logs, and is not to be
//! trusted with transactions. Every raw transaction that is sent through it is kept.

mod fault;
mod sent;
mod stale;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use alloy::{
    primitives::{Address, Bytes, keccak256},
    providers::{Provider, ProviderBuilder, RootProvider},
    rpc::client::ClientBuilder,
    transports::RpcError,
};
use oraculum::chain::LowLatencyWs;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use tokio::sync::broadcast;

use crate::{
    Res,
    rpc::{
        Local,
        server::{Backend, Reply, RpcServer},
    },
};

pub use self::{
    fault::Fault,
    sent::{Aim, Sent, aim},
};

/// The proxy; it ends when dropped.
#[derive(Debug)]
pub struct FaultProxy {
    /// Where it listens.
    pub local: Local,
    _server: RpcServer,
    state: Arc<State>,
    heads: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    upstream: RootProvider,
    rng: Mutex<StdRng>,
    /// Faults in a thousand calls.
    per_mille: AtomicU32,
    sent: Mutex<Vec<Sent>>,
    counts: Mutex<BTreeMap<&'static str, u32>>,
    heads: broadcast::Sender<Value>,
}

impl FaultProxy {
    /// A proxy to a WebSocket endpoint, without faults until [`Self::fail`] asks for some.
    ///
    /// # Errors
    /// If the endpoint cannot be reached, or no port is free.
    pub async fn before(url: &str, seed: u64) -> Res<Self> {
        let upstream: RootProvider = ProviderBuilder::default().connect_http(url.replacen("ws", "http", 1).parse()?);
        let state = Arc::new(State {
            upstream,
            rng: Mutex::new(StdRng::seed_from_u64(seed)),
            per_mille: AtomicU32::new(0),
            sent: Mutex::default(),
            counts: Mutex::default(),
            heads: broadcast::Sender::new(256),
        });
        let subscribed = RootProvider::new(ClientBuilder::default().pubsub(LowLatencyWs::new(url.parse()?)).await?);
        let heads = tokio::spawn(tell_heads(subscribed, state.clone()));
        let server = RpcServer::serve(state.clone()).await?;
        Ok(Self { local: server.local, _server: server, state, heads })
    }

    /// From now on this share of the calls and heads meets a fault.
    pub fn fail(&self, share: f64) {
        self.state.per_mille.store((share * 1_000.0).round() as u32, Relaxed);
    }

    /// The transactions that an account sent through it, in order, repeated sends included.
    #[must_use]
    pub fn sent_by(&self, account: Address) -> Vec<Sent> {
        locked(&self.state.sent).iter().filter(|one| one.from == account).cloned().collect()
    }

    /// How many calls and heads met each fault, and how many met none.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&'static str, u32> {
        locked(&self.state.counts).clone()
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.heads.abort();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// The fault of the next call, if it meets one.
    fn draw(&self, faults: &[Fault]) -> Option<Fault> {
        let mut rng = locked(&self.rng);
        let fault = (rng.random_range(0..1_000) < self.per_mille.load(Relaxed))
            .then(|| faults[rng.random_range(0..faults.len())]);
        *locked(&self.counts).entry(fault.map_or("none", Fault::name)).or_default() += 1;
        fault
    }

    fn some(&self, range: std::ops::RangeInclusive<u64>) -> u64 {
        locked(&self.rng).random_range(range)
    }

    async fn ask(&self, method: &str, params: &Value) -> Reply {
        match self.upstream.raw_request::<_, Value>(method.to_owned().into(), params).await {
            Ok(value) => Reply::Result(value),
            Err(RpcError::ErrorResp(error)) => {
                let data = error.data.and_then(|data| serde_json::from_str(data.get()).ok());
                Reply::Error(error.code, error.message.into_owned(), data)
            }
            Err(_) => Reply::Cut,
        }
    }

    /// Keeps a transaction that is sent.
    fn note(&self, params: &Value) {
        let raw = serde_json::from_value(params[0].clone());
        locked(&self.sent).extend(raw.ok().and_then(Sent::read));
    }

    async fn meet(&self, fault: Fault, method: &str, params: &Value) -> Reply {
        match fault {
            Fault::Cut => Reply::Cut,
            Fault::Silence => Reply::Silence,
            Fault::TooMany => Reply::Status(429),
            Fault::Broken => Reply::Status(500),
            Fault::Limit => Reply::Error(-32005, "limit exceeded".into(), None),
            Fault::Delay => {
                tokio::time::sleep(Duration::from_millis(self.some(20..=800))).await;
                self.ask(method, params).await
            }
            Fault::Twice => {
                self.ask(method, params).await;
                match self.ask(method, params).await {
                    Reply::Result(value) => Reply::Twice(value),
                    other => other,
                }
            }
            Fault::Stale => {
                let behind = self.some(1..=8);
                stale::ask(self, behind, method, params).await
            }
            Fault::EmptyLogs => Reply::Result(json!([])),
            Fault::TakenAndDenied => {
                self.ask(method, params).await;
                Reply::Error(-32603, "internal error".into(), None)
            }
            Fault::PromisedAndLost => {
                let raw: Bytes = serde_json::from_value(params[0].clone()).unwrap_or_default();
                Reply::Result(json!(keccak256(raw)))
            }
        }
    }
}

impl Backend for State {
    async fn call(&self, method: &str, params: Value) -> Reply {
        if method == "eth_sendRawTransaction" {
            self.note(&params);
        }
        match self.draw(&Fault::of(method, &params)) {
            None => self.ask(method, &params).await,
            Some(fault) => self.meet(fault, method, &params).await,
        }
    }

    fn heads(&self) -> broadcast::Receiver<Value> {
        self.heads.subscribe()
    }
}

/// Passes heads on; some are lost, some told twice, some late.
async fn tell_heads(upstream: RootProvider, state: Arc<State>) {
    let Ok(mut heads) = upstream.subscribe::<_, Value>(("newHeads",)).await else { return };
    while let Ok(head) = heads.recv().await {
        let times = match state.draw(Fault::OF_HEADS) {
            Some(Fault::Silence) => 0,
            Some(Fault::Twice) => 2,
            Some(Fault::Delay) => {
                tokio::time::sleep(Duration::from_millis(state.some(20..=800))).await;
                1
            }
            _ => 1,
        };
        for _ in 0..times {
            // No subscriber is no fault.
            let _ = state.heads.send(head.clone());
        }
    }
}
