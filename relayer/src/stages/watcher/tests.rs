mod history;
mod keys;
mod reorgs;

use alloy::primitives::LogData;

use super::*;
use crate::{
    domain::{CloseReason, Closed, Included, Job, Resolution, Rules, SeatTable, Seen, Sent, Skip, Task, Transition},
    journal::{Position, SledJournal},
    protocol::request::Request,
    testing::{Bench, MODEL, chain::FakeChain, claimed, fulfilled, id, request, requested},
};

/// A watcher whose heads are given by hand.
struct Rig {
    bench: Bench,
    watcher: Watcher<FakeChain, SledJournal>,
    published: watch::Receiver<Option<ChainHead>>,
    _heads: watch::Sender<Option<Header>>,
}

fn settings() -> WatchSettings {
    WatchSettings {
        deployment_block: 1,
        finality: Finality::Depth(3),
        depth: 8,
        page: 16,
        models: watch::channel(HashMap::from([(MODEL, "iris/v1".to_owned())])).1,
        started_at: 0,
    }
}

impl Rig {
    fn new() -> Self {
        Self::on(Bench::new(), settings())
    }

    fn on(bench: Bench, settings: WatchSettings) -> Self {
        let (heads, heads_seen) = watch::channel(None);
        let (published_out, published) = watch::channel(None);
        let watcher = Watcher::new(bench.node.clone(), settings, heads_seen, published_out).unwrap();
        Self { bench, watcher, published, _heads: heads }
    }

    fn chain(&self) -> &FakeChain {
        &self.bench.node.chain
    }

    fn mine(&self, logs: Vec<LogData>) -> Header {
        self.chain().mine(logs)
    }

    /// Mines a block with a request; returns the request.
    fn ask(&self, nonce: u64) -> Request {
        let request = request(nonce, self.height() + 1);
        self.mine(vec![requested(&request)]);
        request
    }

    fn height(&self) -> u64 {
        futures::executor::block_on(self.chain().head()).unwrap().block.number
    }

    async fn advance(&mut self) {
        let head = self.chain().head().await.unwrap();
        self.watcher.advance(head).await.unwrap();
    }

    /// What is to be answered.
    fn open(&self) -> Vec<Task> {
        let journal = &self.bench.node.journal;
        let everything = Position::first_at(0)..Position::last_at(u64::MAX);
        let open = journal.due(MODEL, everything, usize::MAX).unwrap();
        assert_eq!(open.len(), journal.count(View::Open));
        open.into_iter().map(|at| journal.job(at.id).unwrap().unwrap().task().clone()).collect()
    }

    fn claims(&self) -> Vec<crate::domain::Claim> {
        self.bench.node.journal.claims().map(Result::unwrap).collect()
    }

    fn state(&self, request: &Request) -> &'static str {
        self.bench.node.journal.job(id(request)).unwrap().map_or("none", |job| job.name())
    }
}

#[tokio::test]
async fn a_request_is_journalled_with_the_cursor_and_its_input() {
    let mut rig = Rig::new();
    let request = rig.ask(0);
    rig.advance().await;
    assert_eq!(rig.open()[0].request, request);
    let input = rig.bench.node.journal.input(id(&request)).unwrap();
    assert_eq!(input, Some(crate::testing::input(0).into()));
    let head = rig.chain().head().await.unwrap();
    assert_eq!(rig.bench.node.journal.cursor().unwrap(), Some(head.block));
    assert_eq!(rig.published.borrow().map(|head| head.header), Some(head));
}

#[tokio::test]
async fn a_model_that_comes_later_is_watched_from_then_on() {
    let models = watch::Sender::new(HashMap::new());
    let mut rig = Rig::on(Bench::new(), WatchSettings { models: models.subscribe(), ..settings() });
    let mut unserved = SeatTable::default();
    unserved.set_rules(0, Rules { window: 4, vesting: 10 });
    *rig.bench.node.seats_mut() = unserved;
    rig.ask(0);
    rig.advance().await;
    assert!(rig.open().is_empty());
    models.send_replace(HashMap::from([(MODEL, "iris/v1".to_owned())]));
    let request = rig.ask(1);
    rig.advance().await;
    assert_eq!(rig.open().into_iter().map(|task| task.request).collect::<Vec<_>>(), [request]);
}

#[tokio::test]
async fn history_is_read_in_pages_that_shrink_when_refused_and_every_block_is_taken_in_once() {
    let mut rig = Rig::new();
    for nonce in 0..60 {
        rig.ask(nonce);
    }
    rig.chain().limit_range(5);
    rig.advance().await;
    let (ranges, by_hash) = rig.chain().queries();
    assert!(ranges.iter().all(|(from, to)| to - from < 5));
    let last = ranges.iter().map(|(_, to)| *to).max();
    assert_eq!((last, by_hash), (Some(52), 8), "the last blocks are read by hash");
    let journal = &rig.bench.node.journal;
    assert_eq!(journal.count(View::Open), 60, "no block is left out");
    let seen: u64 = journal.event_counts().iter().filter(|tally| tally.event == "seen").map(|tally| tally.count).sum();
    assert_eq!(seen, 60, "none is taken in twice");
}

#[tokio::test]
async fn what_was_answered_long_ago_is_not_open() {
    let mut rig = Rig::new();
    let answered = rig.ask(0);
    for _ in 0..30 {
        rig.mine(Vec::new());
    }
    rig.mine(vec![fulfilled(&answered, 0)]);
    let open = rig.ask(1);
    rig.advance().await;
    assert_eq!(rig.open().iter().map(|task| task.id).collect::<Vec<_>>(), vec![id(&open)]);
    assert_eq!(rig.state(&answered), "included");
}

#[tokio::test]
async fn open_jobs_are_open_after_a_restart() {
    let mut rig = Rig::new();
    let request = rig.ask(0);
    rig.advance().await;
    assert_eq!(rig.open().len(), 1);
    let mut rig = Rig::on(rig.bench, settings());
    rig.advance().await;
    assert_eq!(rig.open().iter().map(|task| task.id).collect::<Vec<_>>(), vec![id(&request)]);
}

#[tokio::test]
async fn the_rules_are_known_before_any_log_names_them() {
    let mut rig = Rig::new();
    rig.mine(Vec::new());
    assert!(rig.bench.node.seats().rules(1).is_none());
    rig.advance().await;
    // Else the open jobs of a node that starts again would count as nobody's.
    assert!(rig.bench.node.seats().rules(1).is_some());
}

#[tokio::test]
async fn an_answer_of_ours_becomes_a_claim_that_is_forgotten_when_no_reorganisation_can_unpay_it() {
    let mut rig = Rig::new();
    let request = rig.ask(0);
    let at = rig.mine(vec![fulfilled(&request, 0)]).block.number;
    rig.advance().await;
    let claims = rig.claims();
    assert_eq!((claims[0].fulfilled_at, claims[0].vests_at), (at, at + 10));
    rig.mine(vec![claimed(&request)]);
    rig.advance().await;
    assert_eq!(rig.claims()[0].paid_at, Some(at + 1));
    for _ in 0..7 {
        rig.mine(Vec::new());
    }
    rig.advance().await;
    assert_eq!(rig.claims().len(), 1, "final, but within the depth of what is rewound");
    rig.mine(Vec::new());
    rig.advance().await;
    assert!(rig.claims().is_empty());
}

#[tokio::test]
async fn an_answer_of_others_closes_the_job_without_a_claim() {
    let mut rig = Rig::new();
    let request = rig.ask(0);
    rig.mine(vec![fulfilled(&request, 5)]);
    rig.advance().await;
    let job = rig.bench.node.journal.job(id(&request)).unwrap().unwrap();
    assert!(
        matches!(job, Job::Included(settled) if matches!(settled.ending, Resolution::Fulfilled { ours: false, .. }))
    );
    assert!(rig.claims().is_empty());
}

#[tokio::test]
async fn a_settled_job_is_confirmed_at_the_depth_and_not_before() {
    let mut rig = Rig::new();
    let request = rig.ask(0);
    rig.mine(vec![fulfilled(&request, 0)]);
    for _ in 0..2 {
        rig.mine(Vec::new());
    }
    rig.advance().await;
    assert_eq!(rig.state(&request), "included");
    rig.mine(Vec::new());
    rig.advance().await;
    assert_eq!(rig.state(&request), "finalized");
}

#[tokio::test]
async fn a_request_in_another_block_after_a_reorganisation_is_open_with_the_new_hash() {
    let mut rig = Rig::new();
    let request = rig.ask(0);
    rig.advance().await;
    let old = rig.open().remove(0);
    rig.chain().reorg(1);
    rig.mine(vec![requested(&request)]);
    rig.mine(Vec::new());
    rig.advance().await;
    let new = rig.open().remove(0);
    assert_eq!(new.id, old.id);
    assert_ne!(new.block.hash, old.block.hash);
    assert_eq!(rig.published.borrow().map(|head| head.reorg_epoch), Some(1));
}

#[tokio::test]
async fn a_request_that_a_reorganisation_took_is_forgotten() {
    let mut rig = Rig::new();
    let request = rig.ask(0);
    rig.advance().await;
    rig.chain().reorg(1);
    rig.mine(Vec::new());
    rig.advance().await;
    assert_eq!(rig.state(&request), "none");
    assert!(rig.open().is_empty());
}

#[tokio::test]
async fn an_answer_that_a_reorganisation_took_opens_the_job_again() {
    let mut rig = Rig::new();
    let request = rig.ask(0);
    rig.advance().await;
    rig.mine(vec![fulfilled(&request, 0)]);
    rig.advance().await;
    assert_eq!(rig.state(&request), "included");
    rig.chain().reorg(1);
    rig.mine(Vec::new());
    rig.mine(Vec::new());
    rig.advance().await;
    assert_eq!(rig.state(&request), "seen");
    assert_eq!(rig.open().len(), 1);
    assert!(rig.claims().is_empty());
}

#[tokio::test]
async fn a_reorganisation_while_the_node_was_away_is_found_before_history_is_read() {
    let mut rig = Rig::new();
    let request = rig.ask(0);
    rig.advance().await;
    let bench = rig.bench;
    bench.node.chain.reorg(1);
    for _ in 0..40 {
        bench.node.chain.mine(Vec::new());
    }
    let mut rig = Rig::on(bench, settings());
    rig.advance().await;
    assert_eq!(rig.state(&request), "none");
    assert!(rig.open().is_empty());
}

#[tokio::test]
async fn a_reorganisation_deeper_than_the_ring_halts_and_says_what_to_do() {
    let mut rig = Rig::new();
    rig.ask(0);
    for _ in 0..20 {
        rig.mine(Vec::new());
        rig.advance().await;
    }
    let cursor = rig.bench.node.journal.cursor().unwrap();
    rig.chain().reorg(9);
    for _ in 0..10 {
        rig.mine(Vec::new());
    }
    let head = rig.chain().head().await.unwrap();
    let (heads, heads_seen) = watch::channel(Some(head));
    rig.watcher.heads = heads_seen;
    let ended = rig.watcher.run(CancellationToken::new()).await.unwrap_err();
    drop(heads);
    assert!(ended.is_lasting());
    let told = ended.to_string();
    assert!(told.contains("`chain.reorg_depth`") && told.contains("another block 13 than"), "{told}");
    assert_eq!(rig.bench.node.journal.cursor().unwrap(), cursor, "the journal is left as it was");
}

#[tokio::test]
async fn a_reorganisation_as_deep_as_the_recent_blocks_reach_is_rewound() {
    let mut rig = Rig::new();
    let kept = rig.ask(0);
    for _ in 0..20 {
        rig.mine(Vec::new());
        rig.advance().await;
    }
    rig.chain().reorg(8);
    let new = rig.ask(1);
    for _ in 0..10 {
        rig.mine(Vec::new());
    }
    rig.advance().await;
    assert_eq!((rig.state(&kept), rig.state(&new)), ("seen", "seen"));
}

#[tokio::test]
async fn a_reorganisation_of_the_whole_deployment_is_scanned_anew() {
    let mut rig = Rig::new();
    let gone = rig.ask(0);
    rig.advance().await;
    rig.chain().reorg(1);
    let new = rig.ask(1);
    rig.mine(Vec::new());
    rig.advance().await;
    assert_eq!((rig.state(&gone), rig.state(&new)), ("none", "seen"));
}

#[tokio::test]
async fn an_endpoint_that_misses_blocks_below_the_head_proves_no_reorganisation() {
    let mut rig = Rig::new();
    for _ in 0..20 {
        rig.mine(Vec::new());
        rig.advance().await;
    }
    let mut ahead = rig.chain().head().await.unwrap();
    (ahead.block.number, ahead.parent) = (ahead.block.number + 1, B256::ZERO);
    rig.chain().reorg(12);
    let lagging = rig.watcher.advance(ahead).await;
    assert!(matches!(lagging, Err(WatchError::Chain(ChainError::UnknownBlock(_)))), "{lagging:?}");
    assert_eq!(rig.published.borrow().map(|head| head.reorg_epoch), Some(0));
}

#[tokio::test]
async fn with_a_tag_a_settled_job_is_confirmed_when_the_chain_says_so() {
    let finality = Finality::Tag(crate::chain::Tag::Finalized);
    let mut rig = Rig::on(Bench::new(), WatchSettings { finality, ..settings() });
    let request = rig.ask(0);
    rig.mine(vec![fulfilled(&request, 0)]);
    for _ in 0..30 {
        rig.mine(Vec::new());
    }
    rig.advance().await;
    assert_eq!((rig.state(&request), rig.published.borrow().and_then(|head| head.final_block)), ("included", None));
    rig.chain().set_tagged(2);
    rig.mine(Vec::new());
    rig.advance().await;
    assert_eq!((rig.state(&request), rig.published.borrow().and_then(|head| head.final_block)), ("finalized", Some(2)));
}

#[tokio::test]
async fn an_endpoint_that_lags_changes_nothing() {
    let mut rig = Rig::new();
    let old = rig.mine(Vec::new());
    rig.ask(0);
    rig.advance().await;
    let cursor = rig.bench.node.journal.cursor().unwrap();
    rig.watcher.advance(old).await.unwrap();
    assert_eq!(rig.bench.node.journal.cursor().unwrap(), cursor);
    assert_eq!(rig.published.borrow().map(|head| head.reorg_epoch), Some(0));
}

#[tokio::test]
async fn what_pays_too_little_is_skipped_with_the_reason() {
    let bench = Bench::new();
    bench.policy.send_modify(|policy| policy.terms.min_pay = 1_001);
    let mut rig = Rig::on(bench, settings());
    let request = rig.ask(0);
    rig.advance().await;
    assert!(rig.open().is_empty());
    let job = rig.bench.node.journal.job(id(&request)).unwrap().unwrap();
    let reason = Skip::Unprofitable { pays: 1_000, asks: 1_001 };
    assert!(matches!(job, Job::Closed(closed) if closed.end == crate::domain::CloseReason::Skipped { reason }));
}

#[tokio::test]
async fn logs_that_an_endpoint_leaves_out_are_asked_for_again() {
    let mut rig = Rig::new();
    let request = rig.ask(0);
    rig.chain().lie_empty(EMPTY_BLOCK_READS - 1);
    rig.advance().await;
    assert_eq!(rig.state(&request), "seen");
    rig.mine(Vec::new());
    let (_, before) = rig.chain().queries();
    rig.advance().await;
    assert_eq!(rig.chain().queries().1, before + 1, "an empty block is believed at once");
}

#[tokio::test]
async fn a_filter_that_names_the_coordinator_in_vain_holds_nothing_up() {
    let mut rig = Rig::new();
    rig.ask(0);
    rig.chain().lie_empty(usize::MAX);
    rig.advance().await;
    assert_eq!(rig.bench.node.journal.cursor().unwrap().map(|cursor| cursor.number), Some(1));
}

#[test]
fn what_is_long_over_is_forgotten_and_what_is_open_is_not() {
    let bench = Bench::new();
    let journal = &*bench.node.journal;
    let tasks: Vec<_> = [10, 11, 12, 40_000].map(crate::testing::task).into();
    let seen = tasks.iter().map(|task| (task.clone(), task.id.to_vec().into())).collect();
    // The first stays open; of the others one is skipped, one failed, and one skipped lately.
    let moves = vec![
        (tasks[1].id, Transition::Skipped(Skip::NoSeat)),
        (tasks[2].id, Transition::Failed("why".into())),
        (tasks[3].id, Transition::Skipped(Skip::NoSeat)),
    ];
    let batch = Batch { seen, moves, ..Batch::default() };
    journal.commit(&batch).unwrap();
    let forgotten = |cursor: u64, final_block: Option<u64>| {
        let heights = Heights { head: cursor, cursor, final_block, depth: 0 };
        intake::prune(journal, heights).unwrap().map_or_else(Vec::new, |batch| batch.vanished)
    };
    assert!(forgotten(50_010, Some(50_007)).is_empty());
    assert_eq!(forgotten(50_012, Some(50_009)), [tasks[1].id]);
    let mut both = forgotten(60_000, Some(59_997));
    both.sort();
    let mut expected = vec![tasks[1].id, tasks[2].id];
    expected.sort();
    assert_eq!(both, expected);
    assert!(forgotten(60_000, None).is_empty(), "nothing is final");
}
