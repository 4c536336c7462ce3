//! Random reorganisations: after each, the journal must be what a scan of the final chain from its beginning gives.

use std::collections::BTreeMap;

use alloy::primitives::Address;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;
use crate::{
    coordinator::abi::InferenceCoordinator as Coordinator,
    domain::{Claim, Transition},
};

/// What a block does to a request, by the request's number.
#[derive(Debug, Clone, Copy)]
enum Act {
    Request,
    /// Answered by our seat, or by another's.
    Fulfill {
        ours: bool,
    },
    Refund,
    Claim,
}

/// How far a request is on the present fork.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    Open,
    Fulfilled,
    Over,
}

/// A chain that grows and forks at random, and what its blocks hold.
struct World {
    rng: StdRng,
    rig: Rig,
    /// The acts of each block from the first on.
    blocks: Vec<Vec<(u64, Act)>>,
    /// Every request that was ever made. Its block's height is part of it, the block's hash is not.
    requests: BTreeMap<u64, Request>,
}

impl World {
    fn new(seed: u64) -> Self {
        Self { rng: StdRng::seed_from_u64(seed), rig: Rig::new(), blocks: Vec::new(), requests: BTreeMap::new() }
    }

    fn stands(&self) -> BTreeMap<u64, Stand> {
        let mut stands = BTreeMap::new();
        for (number, act) in self.blocks.iter().flatten() {
            let stand = match act {
                Act::Request => Stand::Open,
                Act::Fulfill { ours: true } => Stand::Fulfilled,
                Act::Fulfill { ours: false } | Act::Refund | Act::Claim => Stand::Over,
            };
            stands.insert(*number, stand);
        }
        stands
    }

    /// Mines a block in which what can happen may happen; what a lost block of this height held may be in it again.
    fn mine(&mut self, lost: Option<&Vec<(u64, Act)>>) {
        let height = self.blocks.len() as u64 + 1;
        let mut acts = Vec::new();
        for (number, _) in lost.into_iter().flatten().filter(|(_, act)| matches!(act, Act::Request)) {
            if self.rng.random_bool(0.6) {
                acts.push((*number, Act::Request));
            }
        }
        if self.rng.random_bool(0.4) {
            let number = self.requests.len() as u64;
            let quorum = if self.rng.random_bool(0.8) { 1 } else { 2 };
            self.requests.insert(number, Request { quorum, ..request(number, height) });
            acts.push((number, Act::Request));
        }
        for (number, stand) in self.stands() {
            let act = match stand {
                Stand::Open if self.rng.random_bool(0.2) => Act::Fulfill { ours: self.rng.random_bool(0.7) },
                Stand::Open if self.rng.random_bool(0.05) => Act::Refund,
                Stand::Fulfilled if self.rng.random_bool(0.15) => Act::Claim,
                _ => continue,
            };
            acts.push((number, act));
        }
        let logs = acts.iter().map(|(number, act)| {
            let request = &self.requests[number];
            match act {
                Act::Request => requested(request),
                Act::Fulfill { ours } => fulfilled(request, if *ours { 0 } else { 5 }),
                Act::Refund => alloy::sol_types::SolEvent::encode_log_data(&Coordinator::Refunded {
                    account: Address::ZERO,
                    requestId: id(request),
                    amount: alloy::primitives::U256::ZERO,
                }),
                Act::Claim => claimed(request),
            }
        });
        self.rig.mine(logs.collect());
        self.blocks.push(acts);
    }

    /// Replaces the last blocks by others, fewer or more of them.
    fn reorganise(&mut self, depth: usize) {
        let kept = self.blocks.len() - depth;
        let lost = self.blocks.split_off(kept);
        self.rig.chain().reorg(depth);
        let more = self.rng.random_range(0..4usize);
        for index in 0..(depth + more).saturating_sub(1) {
            self.mine(lost.get(index));
        }
    }

    /// A transaction of ours carries the answers of some that are open.
    fn send_some(&mut self) {
        for task in self.rig.open() {
            if self.rng.random_bool(0.3) {
                let step =
                    Transition::Sent { block: task.block.hash, sender: Address::ZERO, nonce: 1, hash: B256::ZERO };
                let batch = Batch { moves: vec![(task.id, step)], ..Batch::default() };
                self.rig.bench.node.journal.commit(&batch).unwrap();
            }
        }
    }
}

/// What a journal says of the chain. What is on its way counts as open, and what is final as settled: both are the
/// node's, not the chain's.
struct Account {
    jobs: BTreeMap<B256, String>,
    claims: BTreeMap<B256, Claim>,
    blocks: (Option<BlockRef>, Vec<BlockRef>),
}

fn account(rig: &Rig) -> Account {
    let journal = &rig.bench.node.journal;
    let everything = || Position::first_at(0)..Position::last_at(u64::MAX);
    let read = |view| journal.walk(view, everything(), usize::MAX).unwrap().into_iter().map(|at| at.id);
    let jobs = read(View::Requested).map(|id| {
        let told = match journal.job(id).unwrap().unwrap() {
            Job::Seen(Seen { task }) | Job::Sent(Sent { task, .. }) => format!("open {task:?}"),
            Job::Included(Included { task, at, ending, .. })
            | Job::Closed(Closed { task, end: CloseReason::Finalized { at, ending, .. } }) => {
                format!("{ending:?} in {at:?} {task:?}")
            }
            Job::Closed(closed) => format!("{closed:?}"),
        };
        (id, told)
    });
    let cursor = journal.cursor().unwrap();
    let oldest = cursor.map_or(0, |cursor| cursor.number.saturating_sub(settings().depth));
    let recent_blocks =
        journal.recent_blocks().unwrap().into_iter().filter(|block| block.number >= oldest.max(1)).collect();
    // Forgotten where no reorganisation can reach; when exactly depends on how the chain was read.
    let claims = read(View::Vesting)
        .chain(read(View::Paid))
        .map(|id| (id, journal.claim(id).unwrap().unwrap()))
        .filter(|(_, claim)| claim.paid_at.is_none_or(|at| at > oldest))
        .collect();
    Account { jobs: jobs.collect(), claims, blocks: (cursor, recent_blocks) }
}

async fn live(seed: u64) -> (usize, usize) {
    let mut world = World::new(seed);
    let (mut compared, mut reorg_epoch) = (0, 0);
    // The lowest block that may be replaced before the watcher looks again.
    let mut floor = 0;
    for _ in 0..60 {
        let height = world.blocks.len();
        match world.rng.random_range(0..10) {
            0..5 => {
                for _ in 0..world.rng.random_range(1..4) {
                    world.mine(None);
                }
            }
            5 => {
                for _ in 0..world.rng.random_range(1..30) {
                    world.mine(None);
                }
            }
            6 => world.send_some(),
            _ if height > floor => {
                let depth = world.rng.random_range(1..=(height - floor).min(settings().depth as usize));
                world.reorganise(depth);
            }
            _ => {}
        }
        if world.rng.random_bool(0.3) {
            continue;
        }
        // A head below the cursor may be an endpoint that lags: a reorganisation shows when the new fork is the longer.
        let cursor = world.rig.bench.node.journal.cursor().unwrap().map_or(0, |cursor| cursor.number as usize);
        while world.blocks.len() <= cursor {
            world.mine(None);
        }
        world.rig.advance().await;
        floor = world.blocks.len().saturating_sub(settings().depth as usize);
        reorg_epoch = world.rig.published.borrow().map_or(0, |head| head.reorg_epoch) as usize;

        let bench = Bench::over(world.rig.bench.node.chain.clone(), world.rig.bench.signer.clone());
        let mut fresh = Rig::on(bench, settings());
        fresh.advance().await;
        let (ours, theirs) = (account(&world.rig), account(&fresh));
        let at = format!("seed {seed}, block {}", world.blocks.len());
        for id in ours.jobs.keys().chain(theirs.jobs.keys()) {
            assert_eq!(ours.jobs.get(id), theirs.jobs.get(id), "{at}");
        }
        for id in ours.claims.keys().chain(theirs.claims.keys()) {
            assert_eq!(ours.claims.get(id), theirs.claims.get(id), "{at}");
        }
        assert_eq!(ours.blocks, theirs.blocks, "{at}");
        compared += 1;
    }
    (compared, reorg_epoch)
}

#[tokio::test]
async fn after_any_reorganisation_the_journal_is_what_a_scan_from_the_beginning_gives() {
    let (mut compared, mut reorg_epoch) = (0, 0);
    for seed in 0..6 {
        let (more, of) = live(seed).await;
        compared += more;
        reorg_epoch += of;
    }
    assert!(compared > 180 && reorg_epoch > 45, "{compared} comparisons over {reorg_epoch} reorganisations");
}
