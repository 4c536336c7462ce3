//! What keeps a node from answering now, and what each open request waits for: the stages say it, the operator's service shows
//! it. In memory only: after a start it is found out anew.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use alloy::primitives::B256;
use tracing::{info, warn};

use crate::domain::{Wait, WaitReason};

/// Requests whose wait is remembered at most; of more, those that are looked at again first.
const MAX_WAITS: usize = 65_536;
/// Heads after which a wait is forgotten that was to be looked at again: its request is open no more.
const STALE_AFTER: u64 = 64;

/// What can keep a node from answering, besides what its endpoints, seats and balances show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Obstacle {
    /// The chain cannot be followed.
    Chain,
    /// No new head comes.
    Head,
    /// The endpoints cannot do what the node needs.
    Capability,
    /// A sending key's account cannot be read.
    Account,
    /// No endpoint takes transactions.
    Broadcast,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Chain => "the chain cannot be followed",
            Self::Head => "no new block comes",
            Self::Capability => "no endpoint can do what the node needs",
            Self::Account => "the account of a sending key cannot be read",
            Self::Broadcast => "no endpoint takes a transaction",
        })
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Conditions {
    obstacles: Mutex<BTreeMap<Obstacle, String>>,
    waits: Mutex<HashMap<B256, Wait>>,
}

impl Conditions {
    fn known(&self) -> MutexGuard<'_, BTreeMap<Obstacle, String>> {
        self.obstacles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<B256, Wait>> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of an obstacle; the operator is told when it arises, not each time that it is met.
    pub fn hinder(&self, obstacle: Obstacle, details: impl fmt::Display) {
        let details = details.to_string();
        let known = self.known().insert(obstacle, details.clone());
        if known.is_none() {
            warn!(details, "{obstacle}; trying again");
        }
    }

    /// Takes note that there is no such obstacle, or none any more.
    pub fn clear(&self, obstacle: Obstacle) {
        if self.known().remove(&obstacle).is_some() {
            info!("no longer: {obstacle}");
        }
    }

    /// Obstacles with their details, a line each.
    #[must_use]
    pub fn obstacles(&self) -> Vec<String> {
        self.known().iter().map(|(obstacle, details)| format!("{obstacle}: {details}")).collect()
    }

    /// Takes note of a request's wait; the operator is told once of each request and reason.
    pub fn waits(&self, id: B256, wait: Wait) {
        let mut waiting = self.waiting();
        if waiting.len() >= MAX_WAITS && !waiting.contains_key(&id) {
            return;
        }
        let before = waiting.insert(id, wait);
        if before.is_none_or(|before| before.reason != wait.reason) {
            let (pays, asks) = wait.price.unzip();
            info!(%id, reason = %wait.reason, pays, asks, next_look = wait.next_look, "a request waits");
        }
    }

    /// Takes note that a request goes on to wait for the same; false if it waits for something else, or was not known to wait.
    pub fn still_waits(&self, id: B256, reason: WaitReason, next_look: u64) -> bool {
        let mut waiting = self.waiting();
        let known = waiting.get_mut(&id).filter(|wait| wait.reason == reason);
        known.map(|wait| wait.next_look = next_look).is_some()
    }

    /// Takes note that a request waits for nothing: it is being answered, or closed.
    pub fn goes_on(&self, id: B256) {
        self.waiting().remove(&id);
    }

    /// Forgets the waits of requests that were not looked at when they should have been: others answered them.
    pub fn forget_before(&self, head: u64) {
        self.waiting().retain(|_, wait| wait.next_look.saturating_add(STALE_AFTER) >= head);
    }

    /// Wait of a request, if it waits.
    #[must_use]
    pub fn wait(&self, id: B256) -> Option<Wait> {
        self.waiting().get(&id).copied()
    }

    /// Number of requests that wait, by reason.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<WaitReason, u64> {
        let mut counts = BTreeMap::new();
        for wait in self.waiting().values() {
            *counts.entry(wait.reason).or_default() += 1;
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Log;

    #[test]
    fn an_obstacle_is_told_when_it_arises_and_when_it_is_gone() {
        let (log, conditions) = (Log::start(), Conditions::default());
        for attempt in 0..100 {
            conditions.hinder(Obstacle::Broadcast, format!("busy {attempt}"));
        }
        assert_eq!(conditions.obstacles(), ["no endpoint takes a transaction: busy 99"]);
        conditions.clear(Obstacle::Broadcast);
        conditions.clear(Obstacle::Broadcast);
        assert_eq!((conditions.obstacles().len(), log.with("").len()), (0, 2));
    }

    #[test]
    fn a_wait_is_told_once_for_each_reason_and_forgotten_when_nobody_looks_again() {
        let (log, conditions) = (Log::start(), Conditions::default());
        let id = B256::repeat_byte(1);
        for next_look in 0..100 {
            let reason = if next_look < 50 { WaitReason::CheaperGas } else { WaitReason::Funds };
            conditions.waits(id, Wait { reason, price: Some((1, 2)), next_look });
        }
        assert_eq!(log.with("a request waits").len(), 2);
        assert!(log.with("pays=1 asks=2").len() == 2, "{:?}", log.with(""));
        conditions.forget_before(99 + STALE_AFTER);
        assert_eq!(conditions.counts(), [(WaitReason::Funds, 1)].into());
        conditions.forget_before(100 + STALE_AFTER);
        assert_eq!(conditions.wait(id), None);
    }
}
