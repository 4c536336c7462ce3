//! A node: the very stages of the relayer, in processes that die and come back.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use alloy::{
    consensus::TxEip1559,
    primitives::{Address, B256, Bytes, Signature, keccak256},
    signers::local::PrivateKeySigner,
};
use futures::{FutureExt, future::BoxFuture};
use oraculum::{
    chain::Finality,
    engine::{Device, Engine, EngineError, ExecutionProfile, Inference},
    journal::memory::{Crash, MemoryJournal},
    keys::{Keys, SignCall, SignError, Signer},
    metrics::Metrics,
    policy::{Policy, PriceTerms},
    pricing::FeeSettings,
    protocol::{
        Outcome, OutputFormat,
        statement::{CompactSignature, Domain, Statement},
    },
    stages::{executor::ExecuteSettings, watcher::WatchSettings},
    supervisor::stages::{self, Pipeline},
};
use rand::{Rng, rngs::StdRng};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    endpoint::Endpoint,
    evm::{self, Genesis},
    faults::Faults,
    journal::NodeJournal,
    process::Process,
    trace::Trace,
    world::{FINAL, World},
};

/// How a life may end a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    Kill,
    Power,
}

/// All that a node's key signed, over all of its processes: what the key itself would remember.
pub(crate) type Signed = Arc<Mutex<HashMap<(B256, B256), B256>>>;

/// What a node is, whichever process it runs in.
pub(crate) struct SimulatedNode {
    pub(crate) index: usize,
    world: Arc<Mutex<World>>,
    pub(crate) faults: Faults,
    trace: Trace,
    /// The process that runs now, and what ends it if it dies.
    process: Mutex<(Arc<Process>, Loss)>,
    pub(crate) journal: Mutex<Arc<MemoryJournal>>,
    signed: Signed,
    /// Whether it ever lost power, and with it transactions that others still have.
    pub(crate) lost_power: AtomicBool,
    /// What the node did that it must not do.
    pub(crate) violations: Arc<Mutex<Vec<String>>>,
    rng: Mutex<StdRng>,
}

impl SimulatedNode {
    pub(crate) fn new(index: usize, world: Arc<Mutex<World>>, faults: Faults, trace: Trace, rng: StdRng) -> Self {
        Self {
            index,
            world,
            faults,
            trace,
            process: Mutex::new((Arc::default(), Loss::Kill)),
            journal: Mutex::default(),
            signed: Signed::default(),
            lost_power: AtomicBool::new(false),
            violations: Arc::default(),
            rng: Mutex::new(rng),
        }
    }

    pub(crate) fn sender(&self) -> Address {
        evm::key("sender", self.index).address()
    }

    /// The process that runs now, and what is to be lost if it dies.
    pub(crate) fn with_process(&self, act: impl FnOnce(&Process, &mut Loss)) {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        let (process, loss) = &mut *process;
        act(process, loss);
    }

    fn draw(&self, from: u64, to: u64) -> u64 {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).random_range(from..=to)
    }

    /// Runs until shutdown: one process after another.
    pub(crate) async fn live(self: Arc<Self>, shutdown: CancellationToken) {
        let mut failures = 0u32;
        while !shutdown.is_cancelled() {
            let process = Arc::new(Process::default());
            self.with_process(|_, _| {});
            self.process.lock().unwrap_or_else(PoisonError::into_inner).0 = process.clone();
            self.trace.say(format_args!("node {} starts", self.index));
            let pipeline = self.pipeline(&process);
            let ended = stages::run(pipeline, &watch::Sender::new(None), &shutdown).await;
            if shutdown.is_cancelled() && !process.is_dead() {
                return;
            }
            self.trace.say(format_args!("node {} ended: dead {} {ended:?}", self.index, process.is_dead()));
            if process.is_dead() {
                self.bury();
                failures = 0;
            } else {
                failures += 1;
            }
            let pause = Duration::from_millis(self.draw(1, 20_000)).max(Duration::from_secs(1 << failures.min(5)));
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Leaves the next process what the dead one's journal had.
    fn bury(&self) {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let loss = self.process.lock().unwrap_or_else(PoisonError::into_inner).1;
        let crash = match loss {
            Loss::Kill => Crash::Killed,
            Loss::Power => Crash::PowerLost { writes: self.draw(0, journal.unsynced() as u64) as usize },
        };
        self.lost_power.fetch_or(loss == Loss::Power, Ordering::Relaxed);
        self.trace.say(format_args!("node {} is left with {crash:?}", self.index));
        match journal.crash(crash) {
            Ok(found) => *journal = Arc::new(found),
            Err(error) => self.violate(format!("the journal cannot be read after a crash: {error}")),
        }
    }

    fn violate(&self, what: String) {
        self.violations.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    fn pipeline(&self, process: &Arc<Process>) -> Pipeline<Endpoint, NodeJournal> {
        let genesis = Genesis::get();
        let (faults, trace) = (self.faults.clone(), self.trace.clone());
        let memory = self.journal.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let signer = |name| -> Arc<dyn Signer> {
            Arc::new(NodeSigner {
                key: evm::key(name, self.index),
                process: process.clone(),
                faults: faults.clone(),
                signed: self.signed.clone(),
                violations: self.violations.clone(),
            })
        };
        // The clock of the chain is the clock of everybody.
        let started_at = self.world.lock().unwrap_or_else(PoisonError::into_inner).head().timestamp;
        let fees = FeeSettings { max_fee_per_gas: 100_000_000_000, min_priority_fee: 1_000_000, bump_percent: 10 };
        let policy = Policy {
            fees,
            terms: PriceTerms { min_pay: 0, margin_percent: -100 },
            models: HashMap::new(),
            max_spend_per_hour: None,
            balance_alert: 0,
            max_batch: 8,
            batch_wait: Duration::ZERO,
        };
        Pipeline {
            chain: Arc::new(Endpoint {
                world: self.world.clone(),
                process: process.clone(),
                faults: faults.clone(),
                hidden: Mutex::default(),
            }),
            journal: Arc::new(NodeJournal {
                node: self.index,
                memory,
                process: process.clone(),
                faults: faults.clone(),
                trace,
            }),
            engine: Arc::new(Model { process: process.clone(), faults: faults.clone() }),
            keys: Keys { signer: signer("signer"), senders: vec![signer("sender")] },
            domain: genesis.domain,
            policy: watch::channel(policy).1,
            metrics: Arc::new(Metrics::default()),
            watch: WatchSettings {
                deployment_block: genesis.block.number + 1,
                finality: Finality::Depth(FINAL),
                depth: 32,
                page: 64,
                models: watch::channel([(genesis.model, "simulated".to_owned())].into()).1,
                started_at,
            },
            execute: ExecuteSettings { limit: 64, sessions: 1 },
        }
    }
}

/// The answer to a question, as the judge gives it; `other` in one bit.
pub(crate) fn answer(input: &[u8], other: bool) -> Bytes {
    let mut output = vec![1, 3, 6, 2, 0, 0, 0, 1, 0, 0, 0, 3];
    output.extend(&keccak256(input)[..12]);
    if other {
        output[23] ^= 1;
    }
    output.into()
}

/// Runs the model: it takes its time and fails now and then.
struct Model {
    process: Arc<Process>,
    faults: Faults,
}

impl Engine for Model {
    fn run(&self, model: B256, input: Bytes, _: OutputFormat) -> BoxFuture<'_, Result<Inference, EngineError>> {
        async move {
            let run_time = self.faults.time(|mode| mode.model);
            tokio::time::sleep(run_time).await;
            self.process.lives();
            if self.faults.happens(|mode| mode.failed_runs) {
                return Err(EngineError::Device("the device is gone".into()));
            }
            let profile = ExecutionProfile {
                file_hash: model,
                runtime: "simulated".into(),
                device: Device::Cpu,
                provider_fallback: false,
                partial: false,
                options: String::new(),
            };
            let output = answer(&input, self.faults.happens(|mode| mode.other_bits));
            let (outcome, queue_time) = (Outcome::Ok, Duration::ZERO);
            Ok(Inference { outcome, output, failure: None, profile, queue_time, run_time, trace: None, guard: None })
        }
        .boxed()
    }
}

/// Signs, and remembers what over all processes of its node.
struct NodeSigner {
    key: PrivateKeySigner,
    process: Arc<Process>,
    faults: Faults,
    signed: Signed,
    violations: Arc<Mutex<Vec<String>>>,
}

impl fmt::Debug for NodeSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.key.address())
    }
}

impl NodeSigner {
    fn unavailable(&self) -> bool {
        self.process.lives();
        self.faults.happens(|mode| mode.unsigned)
    }
}

impl Signer for NodeSigner {
    fn address(&self) -> Address {
        self.key.address()
    }

    fn sign_statement(&self, statement: &Statement, domain: Domain) -> SignCall<CompactSignature> {
        if self.unavailable() {
            return futures::future::ready(Err(SignError::Unavailable("by chance".into()))).boxed();
        }
        let mut signed = self.signed.lock().unwrap_or_else(PoisonError::into_inner);
        let digest = statement.digest(domain);
        let before = *signed.entry((statement.request_id, statement.block_hash)).or_insert(digest);
        if before != digest {
            let what = format!("two answers to {} in one block are signed", statement.request_id);
            self.violations.lock().unwrap_or_else(PoisonError::into_inner).push(what);
        }
        Signer::sign_statement(&self.key, statement, domain)
    }

    fn sign_transaction(&self, transaction: &TxEip1559) -> SignCall<Signature> {
        if self.unavailable() {
            return futures::future::ready(Err(SignError::Unavailable("by chance".into()))).boxed();
        }
        Signer::sign_transaction(&self.key, transaction)
    }
}
