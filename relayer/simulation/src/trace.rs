//! What happened in a life, in order: its hash tells two runs apart, and its last lines tell of a failure.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use alloy::primitives::{B256, keccak256};
use tokio::time::Instant;

/// Lines that are kept for whoever looks into a failure.
const KEPT: usize = 4_000;

/// See the module. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    began: Instant,
    lines: Arc<Mutex<Lines>>,
}

#[derive(Debug, Default)]
struct Lines {
    hash: B256,
    last: VecDeque<String>,
}

impl Default for Trace {
    fn default() -> Self {
        Self { began: Instant::now(), lines: Arc::default() }
    }
}

impl Trace {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line, with the simulated time.
    pub(crate) fn say(&self, what: fmt::Arguments<'_>) {
        let line = format!("{:>9.3} {what}", self.began.elapsed().as_secs_f64());
        let mut lines = self.lines();
        lines.hash = keccak256([lines.hash.as_slice(), line.as_bytes()].concat());
        if lines.last.len() == KEPT {
            lines.last.pop_front();
        }
        lines.last.push_back(line);
    }

    pub(crate) fn hash(&self) -> B256 {
        self.lines().hash
    }

    pub(crate) fn last(&self) -> Vec<String> {
        self.lines().last.iter().cloned().collect()
    }
}
