//! What the node counts and measures, logged on an interval and at shutdown, and served to Prometheus.
//!
//! What happens to jobs is counted by the journal ([`crate::journal::Journal::event_counts`]), the only place that knows which moves
//! count.

use std::{sync::atomic::AtomicU64, time::Duration};

use alloy::primitives::{Address, B256, U256};
use prometheus_client::{
    metrics::{
        counter::Counter as Inner,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};
use serde_json::{Map, Value};

use crate::journal::Journal;

/// Labels and their values.
pub(crate) type Labels = Vec<(&'static str, String)>;

/// The unit of amounts of money and of prices of gas; a metric's name ends in it.
pub(crate) fn wei() -> Unit {
    Unit::Other("wei".into())
}

/// The unit of distances between blocks; a metric's name ends in it.
pub(crate) fn blocks() -> Unit {
    Unit::Other("blocks".into())
}

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident),* $(,)?) => {
        /// What the node did since it started.
        #[derive(Debug)]
        pub struct Metrics {
            $($(#[doc = $doc])* pub $name: Counter,)*
            runs: Family<Labels, Histogram, fn() -> Histogram>,
            waits: Family<Labels, Histogram, fn() -> Histogram>,
            run_errors: Family<Labels, Inner>,
            elsewhere: Family<Labels, Gauge>,
            rewound: Histogram,
            balances: Family<Labels, Gauge<f64, AtomicU64>>,
        }

        impl Default for Metrics {
            fn default() -> Self {
                Self {
                    $($name: Counter::default(),)*
                    runs: Family::new_with_constructor(seconds),
                    waits: Family::new_with_constructor(seconds),
                    run_errors: Family::default(),
                    elsewhere: Family::default(),
                    rewound: Histogram::new(exponential_buckets(1.0, 2.0, 10)),
                    balances: Family::default(),
                }
            }
        }

        impl Metrics {
            fn snapshot(&self) -> Map<String, Value> {
                let mut all = Map::new();
                $(all.insert(stringify!($name).into(), self.$name.get().into());)*
                all
            }

            fn register_counters(&self, registry: &mut Registry) {
                $(registry.register(stringify!($name), concat!($($doc),*).trim().trim_end_matches('.'), self.$name.0.clone());)*
            }
        }
    };
}

counters! {
    /// Blocks taken in.
    blocks,
    /// Reorganisations rewound.
    rewinds,
    /// Answers signed.
    attested,
    /// Transactions broadcast for the first time.
    sent,
    /// Broadcasts of the same bytes again.
    rebroadcast,
    /// Replacements with a higher fee.
    replaced,
    /// Transactions mined.
    mined,
    /// Transactions mined that reverted.
    reverted,
    /// Calls to the endpoint that failed.
    chain_errors,
}

/// From 100 µs to 52 s.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(1e-4, 2.0, 20))
}

impl Metrics {
    /// The counters, and what happened to jobs since the start, for a line of the log.
    #[must_use]
    pub fn so_far(&self, journal: &impl Journal) -> Value {
        let mut all = self.snapshot();
        for tally in journal.event_counts() {
            let name = if tally.reason.is_empty() {
                format!("job {}", tally.event)
            } else {
                format!("job {}: {}", tally.event, tally.reason)
            };
            let sum = all.get(&name).and_then(Value::as_u64).unwrap_or(0) + tally.count;
            all.insert(name, sum.into());
        }
        Value::Object(all)
    }

    /// A model ran on a provider, after it waited for its session.
    pub fn ran(&self, model: B256, provider: &str, waited: Duration, took: Duration) {
        let model = ("model", model.to_string());
        self.waits.get_or_create(&vec![model.clone()]).observe(waited.as_secs_f64());
        self.runs.get_or_create(&vec![model, ("provider", provider.to_owned())]).observe(took.as_secs_f64());
    }

    /// A model did not run.
    pub fn did_not_run(&self, model: B256, label: &str) {
        self.run_errors.get_or_create(&vec![("model", model.to_string()), ("error", label.to_owned())]).inc();
    }

    /// A model is loaded at a place, and whether that is another than was asked for.
    pub fn serves(&self, model: B256, place: &str, is_elsewhere: bool) {
        let labels = vec![("model", model.to_string()), ("provider", place.to_owned())];
        self.elsewhere.get_or_create(&labels).set(is_elsewhere.into());
    }

    /// A reorganisation took so many blocks back.
    pub fn rewound(&self, blocks: u64) {
        self.rewinds.add();
        self.rewound.observe(blocks as f64);
    }

    /// A sending key was found to have so much, in wei.
    pub fn has(&self, sender: Address, balance: U256) {
        self.balances.get_or_create(&vec![("sender", sender.to_string())]).set(f64::from(balance));
    }

    /// Has a registry show all this.
    pub(crate) fn register(&self, registry: &mut Registry) {
        self.register_counters(registry);
        let (seconds, runs, waits) = (Unit::Seconds, self.runs.clone(), self.waits.clone());
        registry.register_with_unit("run", "How long models ran, by model and provider", seconds.clone(), runs);
        registry.register_with_unit("run_wait", "How long runs waited for their session", seconds, waits);
        let elsewhere = "1 for a model that runs elsewhere than engine.provider asks, wholly or in part, else 0";
        registry.register("model_elsewhere", elsewhere, self.elsewhere.clone());
        registry.register("run_errors", "Runs that gave no answer", self.run_errors.clone());
        let (balances, depths) = (self.balances.clone(), self.rewound.clone());
        registry.register_with_unit(
            "balance",
            "Balance of the sending keys when it was read last, wei",
            wei(),
            balances,
        );
        registry.register_with_unit("reorg", "Depth of the reorganisations rewound, blocks", blocks(), depths);
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(Inner);

impl Counter {
    /// One more.
    pub fn add(&self) {
        self.0.inc();
    }

    /// So many so far.
    pub fn get(&self) -> u64 {
        self.0.get()
    }
}
