//! Counters, logged on an interval and at shutdown.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// What the node did since it started.
        #[derive(Debug, Default)]
        pub struct Metrics { $($(#[$doc])* pub $name: Counter,)* }

        impl Metrics {
            /// All counters by name.
            #[must_use]
            pub fn snapshot(&self) -> Map<String, Value> {
                let mut all = Map::new();
                $(all.insert(stringify!($name).into(), self.$name.get().into());)*
                all
            }
        }
    };
}

counters! {
    /// Blocks taken in.
    blocks,
    /// Reorganisations rewound.
    rewinds,
    /// Requests seen on served models.
    requests,
    /// Models run.
    executed,
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
    /// Answers of ours recorded on chain.
    answered,
    /// Requests that others answered.
    yielded,
    /// Requests passed over.
    skipped,
    /// Requests this node could not answer.
    failed,
    /// Answers paid.
    claimed,
    /// Calls to the endpoint that failed.
    chain_errors,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// So many so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
