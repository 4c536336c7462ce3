use std::{
    collections::VecDeque,
    sync::Mutex,
    time::{Duration, Instant},
};

use super::{queue::MAX_READY, *};
use crate::{
    chain::BlockRef,
    domain::{Job, Skip, Wait},
    engine::{Device, ExecutionProfile},
    journal::{SledJournal, View},
    policy::{Price, PriceTerms},
    protocol::{Outcome, request::Request},
    testing::{Bench, Log, block, chain::FakeChain, id, input, request, requested},
};

/// An engine whose runs take a time of the test's clock, and which remembers their inputs.
#[derive(Debug, Default)]
struct Slow {
    time: Duration,
    ran: Mutex<Vec<Bytes>>,
    /// The errors of the next runs; then they succeed.
    errors: Mutex<VecDeque<EngineError>>,
}

impl Engine for Slow {
    fn run(
        &self,
        _: B256,
        input: Bytes,
        _: crate::protocol::OutputFormat,
    ) -> BoxFuture<'_, Result<Inference, EngineError>> {
        async move {
            self.ran.lock().unwrap().push(input);
            tokio::time::sleep(self.time).await;
            if let Some(error) = self.errors.lock().unwrap().pop_front() {
                return Err(error);
            }
            let profile = ExecutionProfile {
                file_hash: B256::ZERO,
                runtime: String::new(),
                device: Device::Cpu,
                provider_fallback: false,
                partial: false,
                options: String::new(),
            };
            let (outcome, output, failure) = (Outcome::Ok, Bytes::new(), None);
            Ok(Inference {
                outcome,
                output,
                failure,
                profile,
                queue_time: Duration::ZERO,
                run_time: self.time,
                trace: None,
                guard: None,
            })
        }
        .boxed()
    }
}

struct Rig {
    bench: Bench,
    engine: Arc<Slow>,
    executor: Executor<FakeChain, SledJournal>,
    heads: watch::Sender<Option<ChainHead>>,
    _funded: watch::Sender<bool>,
    executed: mpsc::Receiver<Executed>,
}

impl Rig {
    fn new(time: Duration, limit: usize) -> Self {
        let (bench, engine) = (Bench::new(), Arc::new(Slow { time, ..Slow::default() }));
        let (heads, heads_in) = watch::channel(None);
        let (funded, funded_in) = watch::channel(true);
        let (executed_out, executed) = mpsc::channel(100_000);
        let ports = ExecutePorts { heads: heads_in, funded: funded_in, executed: executed_out };
        let settings = ExecuteSettings { limit, sessions: 1 };
        let executor = Executor::new(bench.node.clone(), engine.clone(), settings, ports);
        Self { bench, engine, executor, heads, _funded: funded, executed }
    }

    fn journal(&self) -> &SledJournal {
        &self.bench.node.journal
    }

    /// Journals requests of one block with their inputs.
    fn ask(&self, requests: impl IntoIterator<Item = Request>, at: BlockRef) {
        let seen = requests.into_iter().map(|request| {
            (Task { id: id(&request), block: at, request: request.clone() }, input(request.nonce).into())
        });
        self.journal().commit(&Batch { seen: seen.collect(), ..Batch::default() }).unwrap();
    }

    async fn tell(&mut self, number: u64, reorg_epoch: u64) {
        let mut header = self.bench.node.chain.head().await.unwrap();
        (header.block, header.timestamp) = (block(number), number);
        self.heads.send_replace(Some(ChainHead { header, reorg_epoch, final_block: None }));
        self.executor.poll().await.unwrap();
        self.executor.start().await.unwrap();
    }

    /// Lets every run that was begun end, and those that follow.
    async fn drain(&mut self) {
        while let Some(ran) = self.executor.runs.next().await {
            self.executor.finish(ran).await.unwrap();
            self.executor.start().await.unwrap();
        }
    }

    /// The nonces of the requests that were run, in order.
    fn ran(&self) -> Vec<u64> {
        let ran = self.engine.ran.lock().unwrap();
        ran.iter().map(|input| input.iter().fold(0, |nonce, byte| nonce << 8 | u64::from(*byte))).collect()
    }

    fn skip(&self, request: &Request) -> Option<Skip> {
        match self.journal().job(id(request)).unwrap() {
            Some(Job::Closed(closed)) => match closed.end {
                crate::domain::CloseReason::Skipped { reason } => Some(reason),
                _ => None,
            },
            _ => None,
        }
    }
}

fn due(nonce: u64, blocks: u16) -> Request {
    Request { deadline_blocks: blocks, ..request(nonce, 1) }
}

#[tokio::test(start_paused = true)]
async fn what_is_due_first_is_run_first() {
    let mut rig = Rig::new(Duration::from_millis(1), 1);
    rig.ask([due(0, 300), due(1, 100), due(2, 200)], block(1));
    rig.tell(1, 0).await;
    rig.drain().await;
    assert_eq!(rig.ran(), [1, 2, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_job_in_hand_is_not_run_again_and_one_given_up_is() {
    let mut rig = Rig::new(Duration::from_millis(1), 8);
    rig.ask([due(0, 300)], block(1));
    rig.tell(1, 0).await;
    rig.drain().await;
    let held = rig.executed.recv().await.unwrap();
    rig.tell(2, 0).await;
    rig.drain().await;
    assert_eq!(rig.ran(), [0]);
    drop(held);
    rig.tell(3, 0).await;
    rig.drain().await;
    assert_eq!(rig.ran(), [0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_a_reorganisation_moved_is_run_for_its_new_block() {
    let mut rig = Rig::new(Duration::from_millis(1), 8);
    rig.ask([due(0, 300)], block(1));
    rig.tell(1, 0).await;
    rig.drain().await;
    let old = rig.executed.recv().await.unwrap();
    rig.ask([due(0, 300)], block(2));
    rig.tell(2, 1).await;
    rig.drain().await;
    let new = rig.executed.recv().await.unwrap();
    assert_eq!((old.task.block, new.task.block), (block(1), block(2)));
    rig.tell(2, 2).await;
    rig.drain().await;
    assert_eq!(rig.ran(), [0, 0], "a reorganisation elsewhere does not take it out of hand");
}

#[tokio::test(start_paused = true)]
async fn what_can_hardly_be_in_time_is_run_after_all_that_can() {
    let mut rig = Rig::new(Duration::from_secs(1), 1_000);
    // Seconds for blocks and for runs, both to be measured first.
    rig.ask((0..20).map(|nonce| due(nonce, 500)), block(1));
    for number in 1..=20 {
        rig.tell(number, 0).await;
    }
    rig.drain().await;
    let earlier: Vec<_> = (100..160).map(|nonce| due(nonce, 60)).collect();
    rig.ask(earlier.iter().cloned().chain((200..205).map(|nonce| due(nonce, 70))), block(1));
    rig.executor.settings.limit = 1;
    rig.tell(20, 0).await;
    for _ in 0..55 {
        let ran = rig.executor.runs.next().await.unwrap();
        rig.executor.finish(ran).await.unwrap();
        rig.executor.start().await.unwrap();
    }
    // At head 20 each takes a second, and so does a block: block 61 is the last that can hold an answer to the first 60.
    let ran = rig.ran().split_off(20);
    assert!(ran[..40].iter().all(|nonce| *nonce < 200), "{ran:?}");
    assert!(ran[40..45].iter().all(|nonce| *nonce >= 200), "{ran:?}");
    assert!(ran[45..].iter().all(|nonce| *nonce < 200), "an estimate gives nothing up: {ran:?}");
    rig.tell(60, 0).await;
    let reason = |nonce: u64| rig.bench.node.conditions.wait(id(&due(nonce, 60))).map(|wait| wait.reason);
    assert!((100..160).any(|nonce| reason(nonce) == Some(WaitReason::Overload)));
    rig.tell(61, 0).await;
    let ran = rig.ran();
    let left: Vec<_> = earlier.iter().filter(|request| !ran.contains(&request.nonce)).collect();
    let reasons: Vec<_> = left.iter().filter_map(|request| rig.skip(request)).collect();
    assert!(reasons.iter().all(|reason| matches!(reason, Skip::Overloaded { .. })), "{reasons:?}");
    assert!(left.len() > 1 && reasons.len() + 1 == left.len(), "all but the one that is being run");
}

#[tokio::test]
async fn an_input_that_the_journal_dropped_is_read_from_the_chain() {
    let mut rig = Rig::new(Duration::ZERO, 8);
    let request = request(7, 1);
    let header = rig.bench.node.chain.mine(vec![requested(&request)]);
    rig.ask([request.clone()], header.block);
    let task = Task { id: id(&request), block: header.block, request };
    for step in [
        Transition::Skipped(Skip::NoSeat),
        Transition::Included { at: header.block, transaction: None, ending: crate::domain::Resolution::Refunded },
        Transition::Reopened,
    ] {
        rig.journal().commit(&Batch { moves: vec![(task.id, step)], ..Batch::default() }).unwrap();
    }
    assert_eq!(rig.journal().input(task.id).unwrap(), None);
    rig.tell(1, 0).await;
    rig.drain().await;
    assert_eq!(rig.ran(), [7]);
}

#[tokio::test(start_paused = true)]
async fn with_a_hundred_thousand_requests_waiting_a_bounded_number_is_in_memory() {
    const WAITING: u64 = 100_000;
    let mut rig = Rig::new(Duration::from_secs(3_600), 256);
    let began = Instant::now();
    for first in (0..WAITING).step_by(1_000) {
        rig.ask((first..first + 1_000).map(|nonce| due(nonce, 1_000)), block(1));
    }
    eprintln!("{WAITING} requests journalled in {:?}; {} kB resident", began.elapsed(), resident());
    assert_eq!(rig.journal().count(View::Open) as u64, WAITING);
    let before = resident();
    for number in 1..10 {
        let began = Instant::now();
        rig.tell(number, 0).await;
        let held: usize = rig.executor.queues.values().map(ModelBacklog::in_memory).sum();
        eprintln!("head {number}: {held} in memory, looked in {:?}", began.elapsed());
        assert!(held <= MAX_READY + JOBS_PER_SESSION, "{held}");
        assert_eq!(rig.executor.runs.len(), JOBS_PER_SESSION);
    }
    eprintln!("the executor added {} kB", resident().saturating_sub(before));
}

fn engine_errors() -> Vec<EngineError> {
    let (runtime, reference, reason) = Default::default();
    vec![
        EngineError::Stopped(String::new()),
        EngineError::Runtime(String::new()),
        EngineError::UnknownModel(B256::ZERO),
        EngineError::Device(String::new()),
        EngineError::Unconfirmed { runtime, reference, reason },
        EngineError::OutOfMemory(String::new()),
        EngineError::Overloaded { waiting: 1 },
        EngineError::Timeout { limit: Duration::ZERO },
    ]
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_is_not_the_requests_leaves_the_job_open_and_it_is_tried_again() {
    for error in engine_errors() {
        let mut rig = Rig::new(Duration::from_millis(1), 8);
        rig.engine.errors.lock().unwrap().push_back(error.clone());
        rig.ask([due(0, 300)], block(1));
        rig.tell(1, 0).await;
        rig.drain().await;
        assert!(matches!(rig.journal().job(id(&due(0, 300))).unwrap(), Some(Job::Seen(_))), "{error}");
        rig.tell(2, 0).await;
        tokio::time::advance(Duration::from_secs(1)).await;
        rig.tell(3, 0).await;
        rig.drain().await;
        assert_eq!(rig.ran(), [0, 0], "{error}");
        assert!(rig.executed.try_recv().is_ok(), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_is_the_requests_closes_its_job() {
    let mut rig = Rig::new(Duration::from_millis(1), 8);
    let format = crate::protocol::OutputFormat { width: 3, ..crate::protocol::OutputFormat::NATIVE };
    rig.engine.errors.lock().unwrap().push_back(EngineError::InvalidFormat(format));
    rig.ask([due(0, 300)], block(1));
    rig.tell(1, 0).await;
    rig.drain().await;
    let job = rig.journal().job(id(&due(0, 300))).unwrap();
    assert!(
        matches!(job, Some(Job::Closed(closed)) if matches!(closed.end, crate::domain::CloseReason::Failed { .. }))
    );
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_stays_down_is_tried_seldom_and_then_serves_all_that_waits() {
    let mut rig = Rig::new(Duration::from_millis(1), 1_000);
    let down = std::iter::repeat_n(EngineError::Stopped(String::new()), 1_000);
    *rig.engine.errors.lock().unwrap() = down.collect();
    rig.ask((0..100).map(|nonce| due(nonce, 1_000)), block(1));
    for number in 1..=120 {
        rig.tell(number, 0).await;
        rig.drain().await;
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    // In two minutes: those at once, then after 1, 2, 4, 8, 16 and every 30 seconds, or half of each, one.
    let tried = rig.ran().len();
    assert!((JOBS_PER_SESSION + 5..JOBS_PER_SESSION + 14).contains(&tried), "{tried}");
    rig.engine.errors.lock().unwrap().clear();
    for number in 121..=160 {
        rig.tell(number, 0).await;
        rig.drain().await;
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert_eq!(rig.ran().len(), tried + 100);
    assert_eq!(rig.executed.len(), 100);
}

/// Resident memory in kB, where the system tells.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// F13: requests waited, some for ever, and nothing was said of it, at any level.
#[tokio::test(start_paused = true)]
async fn every_request_that_waits_has_a_reason_a_price_and_a_next_look() {
    let log = Log::start();
    let mut rig = Rig::new(Duration::from_secs(10), 1);
    let wait = |rig: &Rig, request: &Request| rig.bench.node.conditions.wait(id(request));
    // It pays 1,000 wei, and its answer needs 115,000 gas.
    rig.bench.policy.send_modify(|policy| {
        policy.terms = PriceTerms { min_pay: 0, margin_percent: 0 };
        policy.fees.min_priority_fee = 0;
    });
    rig.bench.node.price.send_replace(Some(Price { gas: 1, byte: 0 }));
    let [dear, second, third] = [due(1, 50), due(2, 60), due(3, 70)];
    rig.ask([dear.clone(), second.clone(), third.clone()], block(1));
    for number in 1..20 {
        rig.tell(number, 0).await;
    }
    let cheaper = Wait { reason: WaitReason::CheaperGas, price: Some((1_000, 115_000)), next_look: 20 };
    assert_eq!(wait(&rig, &dear), Some(cheaper));
    assert_eq!(log.with("a request waits").len(), 3, "one line per request and reason: {:?}", log.with(""));
    assert!(log.with("pays=1000 asks=115000").len() == 3);

    // Gas is free: one runs, and the others wait for it.
    rig.bench.node.price.send_replace(Some(Price { gas: 0, byte: 0 }));
    rig.tell(20, 0).await;
    assert_eq!((wait(&rig, &dear), wait(&rig, &second).map(|wait| wait.reason)), (None, Some(WaitReason::CheaperGas)));
    rig.tell(21, 0).await;
    let queued = Wait { reason: WaitReason::Queue, price: Some((1_000, 0)), next_look: 22 };
    assert_eq!((wait(&rig, &second), wait(&rig, &third)), (Some(queued), Some(queued)));
    rig._funded.send_replace(false);
    rig.tell(22, 0).await;
    assert_eq!(wait(&rig, &third).map(|wait| wait.reason), Some(WaitReason::Funds));
    assert_eq!(log.with("a request waits").len(), 3 + 2 + 2);
}
