//! One life: a chain with requests, nodes that answer them, and everything that goes wrong, all from one seed.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use alloy::primitives::B256;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio_util::sync::CancellationToken;

use crate::{
    check,
    evm::{BASE_FEE, NODES},
    faults::{Faults, Mode},
    node::{Loss, SimulatedNode},
    process::Death,
    trace::Trace,
    world::World,
};

/// Blocks after the last fault in which all has to be in order again.
const CALM_BLOCKS: u64 = 60;

/// Time between two of them at least, ms.
const CALM_INTERVAL: u64 = 4_000;

/// What a life came to.
#[derive(Debug)]
pub(crate) struct Lived {
    /// Hash of all that happened.
    pub(crate) hash: B256,
    pub(crate) requests: usize,
    pub(crate) violations: Vec<String>,
    /// The last that happened.
    pub(crate) trace: Vec<String>,
}

/// Lives the life of a seed, on this thread.
///
/// # Errors
/// If there can be no runtime.
pub(crate) fn live(seed: u64) -> std::io::Result<Lived> {
    oraculum::chance::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    Ok(runtime.block_on(Life::begin(seed).live()))
}

struct Life {
    rng: StdRng,
    seed: u64,
    world: Arc<Mutex<World>>,
    nodes: Vec<Arc<SimulatedNode>>,
    trace: Trace,
    /// Time between two blocks, ms.
    interval: u64,
}

impl Life {
    fn begin(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let trace = Trace::default();
        let world = Arc::new(Mutex::new(World::new(trace.clone())));
        let count = rng.random_range(1..=NODES);
        let nodes = (0..count).map(|index| {
            let faults = Faults::new(rng.random());
            let rng = StdRng::seed_from_u64(rng.random());
            Arc::new(SimulatedNode::new(index, world.clone(), faults, trace.clone(), rng))
        });
        let nodes = nodes.collect();
        let interval = [250, 2_000, 12_000][rng.random_range(0..3)];
        Self { rng, seed, world, nodes, trace, interval }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn live(mut self) -> Lived {
        self.trace.say(format_args!("seed {} nodes {} interval {}", self.seed, self.nodes.len(), self.interval));
        let shutdown = CancellationToken::new();
        let running: Vec<_> = self.nodes.iter().map(|node| tokio::spawn(node.clone().live(shutdown.clone()))).collect();
        let blocks = self.rng.random_range(20..=70);
        for _ in 0..blocks {
            self.trouble();
            self.block().await;
        }
        for node in &self.nodes {
            node.faults.set(Mode::CALM);
            node.with_process(|process, _| process.plan(Death { operations: u32::MAX, before: true }));
        }
        self.world().base_fee = BASE_FEE;
        self.trace.say(format_args!("calm"));
        // What a node left alone for a while, it has tried again by the end.
        self.interval = self.interval.max(CALM_INTERVAL);
        for _ in 0..CALM_BLOCKS {
            self.pause().await;
            self.mine(usize::MAX);
        }
        // What the last block brought is taken in.
        tokio::time::sleep(Duration::from_secs(60)).await;
        let mut violations = check::all(&self.world(), &self.nodes);
        shutdown.cancel();
        for node in running {
            if let Err(error) = node.await {
                violations.push(format!("a node panicked: {error}"));
            }
        }
        let requests = check::requests(&self.world()).len();
        Lived { hash: self.trace.hash(), requests, violations, trace: self.trace.last() }
    }

    async fn pause(&mut self) {
        let jitter = self.rng.random_range(0..=self.interval / 4);
        tokio::time::sleep(Duration::from_millis(self.interval - self.interval / 8 + jitter)).await;
    }

    fn mine(&mut self, most: usize) {
        let seconds = (self.interval / 1_000).max(1);
        self.world().mine(seconds, most);
    }

    async fn block(&mut self) {
        self.pause().await;
        if self.rng.random_bool(0.4) {
            for _ in 0..self.rng.random_range(1..=4) {
                let sizes = [(); 4].map(|()| self.rng.random_range(0..80));
                self.world().ask(sizes);
            }
        }
        let seconds = (self.interval / 1_000).max(1);
        if self.rng.random_bool(0.05) {
            let depth = self.rng.random_range(1..=5);
            let share = [0.0, 0.5, 1.0][self.rng.random_range(0..3)];
            let mut rng = StdRng::seed_from_u64(self.rng.random());
            self.world().reorganise(depth, seconds, || rng.random_bool(share));
        } else {
            let most = if self.rng.random_bool(0.1) { 0 } else { usize::MAX };
            self.mine(most);
        }
    }

    /// Changes what goes wrong, now and then.
    fn trouble(&mut self) {
        for index in 0..self.nodes.len() {
            let node = self.nodes[index].clone();
            if self.rng.random_bool(0.15) {
                let calm = self.rng.random_bool(0.4);
                node.faults.set(if calm { Mode::CALM } else { Mode::any(&mut self.rng) });
            }
            if self.rng.random_bool(0.06) {
                let lost = if self.rng.random_bool(0.25) { Loss::Power } else { Loss::Kill };
                let death = Death { operations: self.rng.random_range(0..12), before: self.rng.random_bool(0.5) };
                self.trace.say(format_args!("node {index} will die: {death:?} {lost:?}"));
                node.with_process(|process, loss| {
                    *loss = lost;
                    process.plan(death);
                });
            }
            if self.rng.random_bool(0.3) {
                let journal = node.journal.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if let Err(error) = oraculum::journal::Journal::sync(&*journal) {
                    self.trace.say(format_args!("sync: {error}"));
                }
            }
        }
        if self.rng.random_bool(0.1) {
            let factor = [1, 1, 3, 20][self.rng.random_range(0..4)];
            self.world().base_fee = BASE_FEE * factor;
        }
        if self.rng.random_bool(0.03) {
            self.trace.say(format_args!("the pool is lost"));
            self.world().drop_pool();
        }
    }
}
