//! What goes wrong in a life, by one seed: how likely each fault is changes as the life goes on.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::StdRng};

/// How the surroundings of a node behave for a while. Shares are of a thousand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mode {
    /// Time that the endpoint takes for a call at most, ms.
    pub(crate) latency: u64,
    /// Calls that fail.
    pub(crate) errors: u32,
    /// Broadcasts that are refused.
    pub(crate) refused: u32,
    /// Broadcasts that are taken, and lost.
    pub(crate) lost: u32,
    /// Queries of a block with logs that are answered with none.
    pub(crate) hidden: u32,
    /// Receipts that are said not to be there.
    pub(crate) no_receipt: u32,
    /// Blocks by which the endpoint is behind.
    pub(crate) behind: u64,
    /// Longest range of a log query.
    pub(crate) range: u64,
    /// Whether calls can be tried in the next block.
    pub(crate) looks_ahead: bool,
    /// Time that the model takes at most, ms.
    pub(crate) model: u64,
    /// Runs that fail.
    pub(crate) failed_runs: u32,
    /// Runs that give other bits, as hardware does that is not the judge's.
    pub(crate) other_bits: u32,
    /// Signatures that the signer cannot give.
    pub(crate) unsigned: u32,
    /// Writes that the disk refuses.
    pub(crate) disk: u32,
}

impl Mode {
    /// Nothing is wrong.
    pub(crate) const CALM: Self = Self {
        latency: 20,
        errors: 0,
        refused: 0,
        lost: 0,
        hidden: 0,
        no_receipt: 0,
        behind: 0,
        range: 1_000,
        looks_ahead: true,
        model: 20,
        failed_runs: 0,
        other_bits: 0,
        unsigned: 0,
        disk: 0,
    };

    /// Some things are wrong, most of them not.
    pub(crate) fn any(rng: &mut StdRng) -> Self {
        let share = |rng: &mut StdRng, most: u32| if rng.random_bool(0.3) { rng.random_range(0..=most) } else { 0 };
        Self {
            latency: [5, 50, 800, 6_000][rng.random_range(0..4)],
            errors: share(rng, 300),
            refused: if rng.random_bool(0.1) { 1_000 } else { share(rng, 300) },
            lost: share(rng, 300),
            hidden: share(rng, 300),
            no_receipt: share(rng, 500),
            behind: if rng.random_bool(0.2) { rng.random_range(1..=3) } else { 0 },
            range: [1, 3, 10, 1_000][rng.random_range(0..4)],
            looks_ahead: rng.random_bool(0.7),
            model: [5, 100, 3_000, 40_000][rng.random_range(0..4)],
            failed_runs: share(rng, 300),
            other_bits: share(rng, 200),
            unsigned: share(rng, 300),
            disk: if rng.random_bool(0.1) { 30 } else { 0 },
        }
    }
}

/// The faults around one node. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Faults(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    rng: StdRng,
    mode: Mode,
}

impl Faults {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State { rng: StdRng::seed_from_u64(seed), mode: Mode::CALM })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.state().mode = mode;
    }

    pub(crate) fn mode(&self) -> Mode {
        self.state().mode
    }

    /// Whether something happens that does so in a share of a thousand.
    pub(crate) fn happens(&self, share: impl FnOnce(Mode) -> u32) -> bool {
        let mut state = self.state();
        let share = share(state.mode);
        share > 0 && state.rng.random_range(0..1_000) < share
    }

    pub(crate) fn disk_fails(&self) -> bool {
        self.happens(|mode| mode.disk)
    }

    /// A time up to a bound.
    pub(crate) fn time(&self, most: impl FnOnce(Mode) -> u64) -> Duration {
        let mut state = self.state();
        let most = most(state.mode);
        Duration::from_millis(state.rng.random_range(1..=most.max(1)))
    }
}
